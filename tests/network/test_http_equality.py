"""Two hundred random exchanges by each client: equal to the kernel's count, both ways, every time."""

from __future__ import annotations

import random

import pytest

from tests.network._drivers import DRIVERS
from tests.network._exactness import EXCHANGES, random_exchange
from tests.network._records import counts, kernel
from volnux.telemetry import capture


@pytest.mark.parametrize("kind", DRIVERS, ids=lambda kind: kind.name)
def test_every_count_is_the_kernels(kind, raw_server):
    """All encodings and framings, with and without bodies, on connections that are kept or not."""
    chance = random.Random(f"volnux {kind.name}")
    with capture(strict=True) as registry, kind() as driver:
        for _ in range(EXCHANGES):
            driver.fetch(*random_exchange(raw_server, chance))
    assert counts(registry.network_ops()) == kernel(raw_server, EXCHANGES)


@pytest.mark.parametrize("kind", DRIVERS, ids=lambda kind: kind.name)
def test_over_tls_both_counts_are_true(kind, tls_server, ca_pem):
    """Plain bytes are what the server exchanged; those of the wire what its kernel says."""
    chance = random.Random(f"volnux TLS {kind.name}")
    with capture(strict=True) as registry, kind(str(ca_pem)) as driver:
        for _ in range(50):
            driver.fetch(*random_exchange(tls_server, chance))
    seen, ops = tls_server.wait_exchanges(50), registry.network_ops()
    plain = [
        (
            it.request_head_bytes + it.request_framed_bytes,
            it.response_head_bytes + it.response_framed_bytes,
        )
        for it in seen
    ]
    assert counts(ops) == plain
    for op, it in zip(ops, seen, strict=True):
        # A server that closes says so over TLS, which may come after its account of the exchange.
        if op.attributes["connection_reused"] and it.header("Connection") != "close":
            wire = op.attributes["wire_bytes_sent"], op.attributes["wire_bytes_received"]
            assert wire == (it.wire_received, it.wire_sent)
