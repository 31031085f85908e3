"""Each assert fails once, on purpose."""

from __future__ import annotations

import pytest
import shop


def test_of_the_program_itself(volnux, hosts):
    assert shop.search(hosts, "tea") == b"tea"


def test_orders_are_loaded_at_once(volnux, hosts):
    shop.load_orders(hosts, "ada")

    volnux.assert_no_repeats()


def test_search_is_fast(volnux, servers, hosts):
    servers.takes["search.example.org"] = 1.2
    shop.search(hosts, "tea")

    volnux.assert_no_slow(1.0)


def test_most_searches_are_fast(volnux, servers, hosts):
    for milliseconds in range(100, 1100, 100):
        servers.takes["search.example.org"] = milliseconds / 1000
        shop.search(hosts, "tea")

    volnux.assert_max_seconds("search", 0.5, quantile=0.9)


def test_the_bank_answers_at_once(volnux, servers, hosts):
    servers.busy["pay.example.org"] = 2
    shop.pay(hosts, 1200)

    volnux.assert_retries("pay", max=1)


def test_a_bank_that_is_down_is_got_over(volnux, servers, hosts):
    servers.busy["pay.example.org"] = 3
    with pytest.raises(shop.BusyError):
        shop.pay(hosts, 1200)

    volnux.assert_recovered("pay")


def test_only_our_own_hosts_know_of_it(volnux, hosts):
    shop.checkout(hosts, "ada", 1200)

    volnux.assert_only_hosts("*.example.org", "localhost")


def test_a_total_needs_no_host(volnux, hosts):
    assert shop.total(hosts, [500, 700]) == 1204

    volnux.assert_no_network()


def test_pictures_are_small(volnux, hosts):
    shop.upload(hosts, b"\xff" * 90_000)

    volnux.assert_bytes(host="files.*", max_sent=64 * 1024)


def test_all_of_it_works(volnux, servers, hosts):
    servers.busy["ads.example.net"] = 1
    shop.checkout(hosts, "ada", 1200)

    volnux.assert_no_failed()


def test_a_receipt_is_sent(volnux, hosts):
    shop.pay(hosts, 1200)

    volnux.assert_recorded("send_reciept")


def test_what_is_free_is_not_paid(volnux, hosts):
    shop.checkout(hosts, "ada", 0)

    volnux.assert_not_recorded("pay")


def test_the_receipt_comes_last(volnux, hosts):
    shop.checkout(hosts, "ada", 1200)

    volnux.assert_order("pay", "ship", "send_receipt")


def test_nothing_goes_on(volnux, hosts):
    prices = shop.prices(hosts)
    assert next(prices) == b"done"

    volnux.assert_no_leaks()
