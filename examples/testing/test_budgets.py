"""Each limit of a marker is broken once, on purpose."""

from __future__ import annotations

import pytest
import shop


@pytest.mark.volnux(max_failed=0)
def test_no_step_fails_unseen(servers, hosts):
    servers.busy["ads.example.net"] = 1
    shop.checkout(hosts, "ada", 1200)


@pytest.mark.volnux(max_retries=1, max_seconds=1.0)
def test_paying_is_quick(servers, hosts):
    servers.busy["pay.example.org"] = 2
    shop.pay(hosts, 1200)


@pytest.mark.volnux(hosts=["*.example.org"], max_bytes=50)
class TestCheckout:
    def test_keeps_to_itself(self, hosts):
        shop.checkout(hosts, "ada", 1200)

    @pytest.mark.volnux(hosts=["*.example.*"], max_bytes=1024, max_calls=5)
    def test_has_few_steps(self, hosts):
        shop.checkout(hosts, "ada", 1200)


@pytest.mark.volnux(events={"load_order": {"max_calls": 1}, "load_*": {"max_seconds": 0.05}})
def test_history_is_loaded_at_once(hosts):
    shop.load_orders(hosts, "ada")


def test_pictures_are_stored(hosts):
    shop.upload(hosts, b"\xff" * 90_000)
