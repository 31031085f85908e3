"""These tests pass, and the lint has something to say about them."""

from __future__ import annotations

import threading

import shop


def test_prices_are_watched(hosts):
    prices = shop.prices(hosts)
    assert next(prices) == b"done"

    watcher = threading.Thread(target=prices.close, name="watcher")
    watcher.start()
    watcher.join()
