"""These tests pass."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import shop

pytestmark = pytest.mark.volnux(hosts=["*.example.org", "ads.example.net"])


def test_checkout(volnux, hosts, catalogue):
    assert "tea" in catalogue
    shop.checkout(hosts, "ada", 1200)

    volnux.assert_no_failed()
    volnux.assert_no_slow(1.0)
    volnux.assert_recorded("send_receipt", count=1)
    volnux.assert_order("checkout", "pay", "ship")
    (op,) = volnux.network_ops("pay.example.org")
    assert (op.bytes_sent, op.bytes_received) == (10, 4)


def test_a_busy_bank_is_asked_again(volnux, servers, hosts):
    servers.busy["pay.example.org"] = 2
    shop.checkout(hosts, "ada", 1200)

    volnux.assert_retries("pay", exactly=2, error_type=shop.BusyError)
    volnux.assert_recovered("pay")
    volnux.assert_no_failed()
    [pay] = volnux.events("pay")
    assert [attempt.backoff for attempt in pay.attempts] == [0.5, 1.0, 0.0]
    assert pay.duration == pytest.approx(1.56)


def test_without_recommendations(volnux, servers, hosts):
    volnux.allow_failed("recommend")
    servers.busy["ads.example.net"] = 1
    shop.checkout(hosts, "ada", 1200)

    volnux.assert_no_failed()


@pytest.fixture(scope="module")
def pool():
    with ThreadPoolExecutor(1) as pool:
        yield pool


def test_work_of_a_shared_pool(volnux, hosts, pool):
    pool.submit(shop.pay, hosts, 1200).result()

    volnux.assert_recorded("pay", count=1)


def test_tasks_and_their_threads(volnux, servers, hosts):
    servers.takes["search.example.org"] = 0.3

    async def main():
        shop.search(hosts, "tea")
        await asyncio.to_thread(shop.search, hosts, "cups")

    asyncio.run(main())

    volnux.assert_recorded("search", count=2)


go_on = threading.Event()
uploads = []


def test_that_leaves_a_thread_behind(hosts):
    def work():
        go_on.wait(10)
        shop.upload(hosts, b"picture of tea")

    uploads.append(threading.Thread(target=work, daemon=True))
    uploads[0].start()


def test_after_it(volnux):
    go_on.set()
    for thread in uploads:
        thread.join()

    volnux.assert_not_recorded("upload")


def test_that_sees_nothing(servers, hosts):
    servers.busy["ads.example.net"] = 1
    shop.checkout(hosts, "ada", 1200)
