"""aiohttp: every kind of exchange, against servers that count."""

from __future__ import annotations

import asyncio
import io
import random

import aiohttp
import pytest

from tests.network._aiohttp_client import fetch, fetch_all, pieces, session
from tests.network._exactness import KINDS, PLAIN
from tests.network._records import counts, kernel, only

CASES = [
    *PLAIN,
    ("/gzip/3000000", "GET", None),
    ("/early-hints/10", "GET", None),
    ("/echo", "POST", b"y" * 900_000),
]


@pytest.mark.parametrize(("target", "method", "body"), CASES)
def test_bytes_are_those_of_the_kernel(registry, raw_server, target, method, body):
    """What an exchange has sent and received is what crossed the socket, to the byte."""
    fetch_all(raw_server, (target, method, body))
    assert counts([only(registry)]) == kernel(raw_server, 1)


@pytest.mark.parametrize(("target", "method", "body"), CASES)
def test_body_sizes_are_those_of_the_server(registry, raw_server, target, method, body):
    """Bodies are counted apart from heads and from the framing of chunks."""
    fetch_all(raw_server, (target, method, body))
    op = only(registry)
    (seen,) = raw_server.wait_exchanges(1)
    assert op.attributes["http.request.body.size"] == seen.request_body_bytes
    assert op.attributes["http.response.body.size"] == seen.response_body_bytes
    assert op.attributes["http.response.status_code"] == seen.status
    assert op.attributes["source"] == "counted"
    assert op.attributes["complete"] is True
    assert "declared" not in op.attributes


@pytest.mark.parametrize("encoding", ["gzip", "gzip-chunked", "deflate", "br", "zstd"])
def test_decoded_bytes_are_another_number(registry, raw_server, encoding):
    """What the program got of a compressed body is told apart from what crossed the socket."""
    (body,) = fetch_all(raw_server, (f"/{encoding}/5000",))
    assert only(registry).attributes["decoded"] == len(body) == 5000


def test_nothing_is_decoded_where_aiohttp_is_told_not_to(registry, raw_server):
    """A body that stays packed has no decoded bytes."""
    fetch_all(raw_server, ("/gzip/5000",), auto_decompress=False)
    assert "decoded" not in only(registry).attributes


def test_an_uncompressed_body_is_decoded_as_it_is(registry, raw_server):
    """Without an encoding both numbers are one."""
    fetch_all(raw_server, ("/bytes/1234",))
    assert only(registry).attributes["decoded"] == 1234


def test_a_streamed_upload_counts_without_its_chunks(registry, raw_server):
    """The size of the body is that of its content; the bytes sent are all that crossed."""
    fetch_all(raw_server, ("/echo", "POST", pieces(b"a" * 100, b"b" * 50)))
    op = only(registry)
    assert op.attributes["http.request.body.size"] == 150
    assert counts([op]) == kernel(raw_server, 1)


async def plenty():
    for _ in range(20):
        yield bytes(1_000_000)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_long_upload_counts_as_it_crosses(registry, raw_server, chunked):
    """However much of it has to wait on the way."""
    body = plenty() if chunked else io.BytesIO(bytes(20_000_000))
    fetch_all(raw_server, ("/sink", "POST", body))
    assert only(registry).attributes["http.request.body.size"] == 20_000_000
    assert counts([only(registry)]) == kernel(raw_server, 1)


def test_a_long_upload_over_tls_counts_its_plain_bytes(registry, tls_server, client_context):
    """It waits as well, and is another number than that of the wire."""

    async def main():
        async with session(connector=aiohttp.TCPConnector(ssl=client_context)) as client:
            await fetch(client, tls_server.url("/sink"), "POST", plenty())

    asyncio.run(main())
    (seen,) = tls_server.wait_exchanges(1)
    assert only(registry).bytes_sent == seen.request_head_bytes + seen.request_framed_bytes


def test_a_form_with_a_file_counts_as_it_is_sent(registry, raw_server):
    """Boundaries and the headers of parts are part of the body."""

    async def main():
        form = aiohttp.FormData({"name": "value"})
        form.add_field("file", io.BytesIO(b"x" * 200_000), filename="x.bin")
        async with session() as client:
            await fetch(client, raw_server.url("/sink"), "POST", form)

    asyncio.run(main())
    (seen,) = raw_server.wait_exchanges(1)
    assert only(registry).attributes["http.request.body.size"] == seen.request_body_bytes
    assert counts([only(registry)]) == kernel(raw_server, 1)


def test_a_compressed_upload_counts_as_it_crosses(registry, raw_server):
    """What aiohttp makes of the body is what is sent."""

    async def main():
        async with session() as client:
            await fetch(client, raw_server.url("/sink"), "POST", b"x" * 90_000, compress=True)

    asyncio.run(main())
    (seen,) = raw_server.wait_exchanges(1)
    assert only(registry).attributes["http.request.body.size"] == seen.request_body_bytes < 9000
    assert counts([only(registry)]) == kernel(raw_server, 1)


@pytest.mark.parametrize("target", ["/continue", "/continue?refuse=1"])
def test_an_expected_continue_is_part_of_the_exchange(registry, raw_server, target):
    """The interim response counts, and is not taken for the response."""

    async def main():
        async with session() as client:
            await fetch(client, raw_server.url(target), "POST", b"abc", expect100=True)

    asyncio.run(main())
    (seen,) = raw_server.wait_exchanges(1)
    assert only(registry).attributes["http.response.status_code"] == seen.status
    assert counts([only(registry)]) == kernel(raw_server, 1)


def test_a_status_of_failure_is_a_failed_operation(registry, raw_server):
    """As the semantic conventions have it for clients: from 400 on, with the status as its type."""
    fetch_all(raw_server, ("/status/503",))
    op = only(registry)
    assert (op.status, op.error_type, op.error) == ("failed", "503", "HTTP status 503")


def test_a_status_that_aiohttp_raises_for_is_the_same(registry, raw_server):
    """The exception that is made of it changes nothing."""
    with pytest.raises(aiohttp.ClientResponseError):
        fetch_all(raw_server, ("/status/503",), raise_for_status=True)
    assert only(registry).error_type == "503"


def test_two_hundred_exchanges_are_those_of_the_kernel(registry, raw_server):
    """All encodings and framings, with and without bodies, on connections that are kept or not."""
    check_random_exchanges(registry, raw_server, asyncio.new_event_loop())


def test_so_they_are_on_uvloop(registry, raw_server):
    """Its transports are written in C, and remember what they call."""
    uvloop = pytest.importorskip("uvloop")
    check_random_exchanges(registry, raw_server, uvloop.new_event_loop())


def check_random_exchanges(registry, server, loop, exchanges=200):
    chance = random.Random("volnux aiohttp")  # repeatable, not secret

    async def main():
        async with session() as client:
            for _ in range(exchanges):
                await fetch(client, *random_request(chance, server))

    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
    assert counts(registry.network_ops()) == kernel(server, exchanges)


def random_request(chance, server):
    kind = chance.choice(KINDS)
    if kind == "echo":
        size = chance.choice([0, 1, chance.randrange(1000), chance.randrange(200_000)])
        body = chance.randbytes(size)
        if chance.random() < 0.5:
            body = pieces(body[: size // 2], body[size // 2 :])
        return server.url("/echo"), "POST", body
    method = chance.choice(["GET", "HEAD", "DELETE"])
    if kind == "status":
        return server.url(f"/status/{chance.choice([200, 204, 304, 404, 500])}"), method
    size = chance.choice([0, 1, chance.randrange(100), chance.randrange(100_000)])
    return server.url(f"/{kind}/{size}"), method
