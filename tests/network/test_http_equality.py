"""Two hundred random exchanges by each client: equal to the kernel's count, both ways, every time."""

from __future__ import annotations

import random

import pytest

from tests.network._drivers import DRIVERS
from volnux.telemetry import capture

EXCHANGES = 200
KINDS = ("bytes", "chunked", "gzip", "deflate", "br", "zstd", "gzip-chunked", "echo", "status")


def target_of(chance):
    kind = chance.choice(KINDS)
    if kind == "echo":
        return "/echo"
    if kind == "status":
        return f"/status/{chance.choice([200, 204, 304, 404, 500])}"
    size = chance.choice([0, 1, chance.randrange(100), chance.randrange(100_000)])
    return f"/{kind}/{size}"


def body_of(chance):
    size = chance.choice([0, 1, chance.randrange(1000), chance.randrange(200_000)])
    if chance.random() < 0.5:
        return chance.randbytes(size)
    return iter([chance.randbytes(size // 2), chance.randbytes(size // 2 + 1)])


@pytest.mark.parametrize("kind", DRIVERS, ids=lambda kind: kind.name)
def test_every_count_is_the_kernels(kind, raw_server):
    """All encodings and framings, with and without bodies, on connections that are kept or not."""
    chance = random.Random(f"volnux {kind.name}")  # repeatable, not secret
    with capture(strict=True) as registry, kind() as driver:
        for _ in range(EXCHANGES):
            target = target_of(chance)
            method = chance.choice(["GET", "HEAD", "DELETE"]) if target != "/echo" else "POST"
            headers = {"Connection": "close"} if chance.random() < 0.1 else {}
            body = body_of(chance) if method == "POST" else None
            driver.fetch(raw_server.url(target), method, body, headers)
    counted = [
        (each.wire_received, each.wire_sent) for each in raw_server.wait_exchanges(EXCHANGES)
    ]
    assert [(op.bytes_sent, op.bytes_received) for op in registry.network_ops()] == counted
