"""aiohttp: every kind of exchange, against servers that count."""

from __future__ import annotations

import asyncio
import gc
import io
import random
import weakref

import aiohttp
import pytest
from yarl import URL

from tests.network._routes import content
from volnux.telemetry import capture, traced_client, traced_event

KINDS = ("bytes", "chunked", "gzip", "deflate", "br", "zstd", "gzip-chunked", "echo", "status")


@pytest.fixture
def registry():
    """Where everything goes, strictly."""
    with capture(strict=True) as registry:
        yield registry


def session(**options):
    """A traced session."""
    return traced_client(aiohttp.ClientSession(**options))


def only(registry):
    (op,) = registry.network_ops()
    return op


def counts(ops):
    return [(op.bytes_sent, op.bytes_received) for op in ops]


def kernel(server, count):
    """What the kernel counted at the other end."""
    return [(each.wire_received, each.wire_sent) for each in server.wait_exchanges(count)]


async def fetch(client, url, method="GET", body=None, **options):
    async with client.request(method, url, data=body, **options) as response:
        return await response.read()


def fetch_all(server, *requests, **options):
    """Make some requests by one session."""

    async def main():
        async with session(**options) as client:
            return [
                await fetch(client, server.url(target), *others) for target, *others in requests
            ]

    return asyncio.run(main())


async def pieces(*parts):
    for part in parts:
        yield part
        await asyncio.sleep(0)


PLAIN = [
    ("/bytes/1000", "GET", None),
    ("/bytes/0", "GET", None),
    ("/bytes/1000000", "GET", None),
    ("/bytes/1000", "HEAD", None),
    ("/chunked/5000?chunk=700", "GET", None),
    ("/chunked/0", "GET", None),
    ("/chunked-trailers", "GET", None),
    ("/gzip/5000", "GET", None),
    ("/gzip/0", "GET", None),
    ("/gzip/3000000", "GET", None),
    ("/gzip-chunked/5000", "GET", None),
    ("/deflate/5000", "GET", None),
    ("/br/5000", "GET", None),
    ("/zstd/5000", "GET", None),
    ("/status/204", "GET", None),
    ("/status/304", "GET", None),
    ("/status/404", "GET", None),
    ("/until-close/3000", "GET", None),
    ("/early-hints/10", "GET", None),
    ("/echo", "POST", b"x" * 3000),
    ("/echo", "PUT", b""),
    ("/echo", "POST", b"y" * 900_000),
    ("/headers", "DELETE", None),
]


@pytest.mark.parametrize(("target", "method", "body"), PLAIN)
def test_bytes_are_those_of_the_kernel(registry, raw_server, target, method, body):
    """What an exchange has sent and received is what crossed the socket, to the byte."""
    fetch_all(raw_server, (target, method, body))
    assert counts([only(registry)]) == kernel(raw_server, 1)


@pytest.mark.parametrize(("target", "method", "body"), PLAIN)
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


WAYS = {
    "read": lambda stream: stream.read(),
    "iter_chunked": lambda stream: drained(stream.iter_chunked(7)),
    "iter_chunks": lambda stream: drained(stream.iter_chunks()),
    "iter_any": lambda stream: drained(stream.iter_any()),
    "lines": lambda stream: drained(stream),
    "readexactly": lambda stream: stream.readexactly(16 * 300),
}


async def drained(stream):
    async for _ in stream:
        pass


@pytest.mark.parametrize("way", WAYS)
def test_an_operation_ends_with_the_last_piece_of_the_body(registry, raw_server, way):
    """However it is read, and while the response is still held."""

    async def main():
        async with session() as client:
            response = await client.get(raw_server.url("/stream/300"))
            assert only(registry).status == "running"
            await WAYS[way](response.content)
            if way == "readexactly":
                await response.content.read()
            assert only(registry).status == "completed"
            response.release()

    asyncio.run(main())
    assert only(registry).attributes["complete"] is True
    assert counts([only(registry)]) == kernel(raw_server, 1)


def test_an_operation_does_not_end_at_the_headers(registry, raw_server):
    """Its latency is that of the body too, however small."""

    async def main():
        async with session() as client:
            response = await client.get(raw_server.url("/bytes/10"))
            assert only(registry).status == "running"
            await response.read()
            assert only(registry).status == "completed"

    asyncio.run(main())


def test_a_response_without_a_body_ends_with_its_headers(registry, raw_server):
    """There is nothing to be read."""

    async def main():
        async with session() as client:
            response = await client.get(raw_server.url("/status/204"))
            assert only(registry).status == "completed"
            response.release()

    asyncio.run(main())


def test_the_next_exchange_may_use_the_connection_before_a_body_is_read(registry, raw_server):
    """Its bytes are its own, and so are those of the body that waits."""

    async def main():
        async with session() as client:
            waiting = await client.get(raw_server.url("/bytes/100"))
            await waiting.content.wait_eof()
            await fetch(client, raw_server.url("/gzip/2000"))
            first, second = registry.network_ops()
            assert (first.status, second.status) == ("running", "completed")
            assert await waiting.read() == content(100)

    asyncio.run(main())
    first, second = registry.network_ops()
    assert (first.status, second.attributes["connection_reused"]) == ("completed", True)
    assert first.attributes["decoded"] == 100
    assert counts([first, second]) == kernel(raw_server, 2)


def test_a_body_that_is_closed_early_is_incomplete(registry, raw_server):
    """It ends where it was closed, with what had come until then."""

    async def main():
        async with session() as client:
            async with client.get(raw_server.url("/bytes/9000000")) as response:
                assert len(await response.content.read(1000)) == 1000
            assert only(registry).status == "completed"

    asyncio.run(main())
    op = only(registry)
    assert op.attributes["complete"] is False
    assert op.attributes["decoded"] == 1000
    assert 1000 <= op.attributes["http.response.body.size"] < 9_000_000
    assert op.attributes["declared"] == 9_000_000


@pytest.mark.parametrize("way", ["release", "close"])
def test_a_body_that_has_come_and_is_given_up_ends_then(registry, raw_server, way):
    """All of it crossed, and none of it was taken."""

    async def main():
        async with session() as client:
            response = await client.get(raw_server.url("/gzip/100"))
            await response.content.wait_eof()
            assert only(registry).status == "running"
            getattr(response, way)()
            assert only(registry).status == "completed"

    asyncio.run(main())
    op = only(registry)
    assert (op.attributes["complete"], op.attributes["decoded"]) == (True, 0)


def test_a_body_that_is_let_go_ends_with_the_garbage(registry, raw_server):
    """A response that nobody reads or closes ends its operation when it is collected."""

    async def main():
        async with session() as client:
            response = await client.get(raw_server.url("/bytes/100"))
            await response.content.wait_eof()
            assert only(registry).status == "running"
            gone = weakref.ref(response)
            del response
            gc.collect()
            assert gone() is None
            assert only(registry).status == "completed"

    asyncio.run(main())
    assert only(registry).attributes["complete"] is True


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_long_body_that_is_let_go_ends_with_its_connection(registry, raw_server):
    """aiohttp keeps a response that is not complete until then."""

    async def main():
        async with session() as client:
            await client.get(raw_server.url("/bytes/9000000"))
        assert only(registry).status == "completed"

    asyncio.run(main())
    assert only(registry).attributes["complete"] is False
    gc.collect()  # aiohttp warns, as it does of any such response


def test_a_connection_that_is_kept_is_seen_to_be_reused(registry, raw_server):
    """The first exchange makes it, the second finds it; each has its own bytes."""
    fetch_all(raw_server, ("/bytes/10",), ("/gzip/2000",), ("/chunked/300",))
    ops = registry.network_ops()
    assert [op.attributes["connection_reused"] for op in ops] == [False, True, True]
    assert counts(ops) == kernel(raw_server, 3)


def test_a_connection_that_is_older_than_the_tracing_is_reused(registry, raw_server):
    """What was made before is counted from then on."""

    async def main():
        async with aiohttp.ClientSession() as client:
            await fetch(client, raw_server.url("/bytes/10"))
            assert registry.network_ops() == []
            traced_client(client)
            await fetch(client, raw_server.url("/chunked/300"))

    asyncio.run(main())
    op = only(registry)
    assert op.attributes["connection_reused"] is True
    assert "connect_seconds" not in op.attributes
    assert counts([op]) == kernel(raw_server, 2)[1:]


def test_a_new_connection_says_how_long_it_took(registry, raw_server):
    """Seconds to find the address and to connect are part of the first exchange only."""
    raw_server.host = "localhost"
    fetch_all(raw_server, ("/bytes/10",), ("/bytes/10",))
    first, second = registry.network_ops()
    assert 0 < first.attributes["connect_seconds"] < first.latency
    assert 0 < first.attributes["dns_seconds"] < first.latency
    assert {"connect_seconds", "dns_seconds", "tls_seconds"}.isdisjoint(second.attributes)


def test_each_hop_of_a_redirect_is_an_operation(registry, raw_server):
    """All of them under the event that asked."""
    with traced_event("fetch") as event:
        fetch_all(raw_server, ("/redirect/3",))
    ops = registry.network_ops()
    assert [op.attributes["http.response.status_code"] for op in ops] == [302, 302, 302, 200]
    assert {op.parent_id for op in ops} == {event.task_id}
    # aiohttp does not wait for the body of a redirect.
    seen = raw_server.wait_exchanges(4)
    assert [op.bytes_sent for op in ops] == [each.wire_received for each in seen]
    assert all(
        each.response_head_bytes <= op.bytes_received <= each.wire_sent
        for op, each in zip(ops, seen, strict=True)
    )


def test_a_streamed_upload_counts_without_its_chunks(registry, raw_server):
    """The size of the body is that of its content; the bytes sent are all that crossed."""
    fetch_all(raw_server, ("/echo", "POST", pieces(b"a" * 100, b"b" * 50)))
    op = only(registry)
    assert op.attributes["http.request.body.size"] == 150
    assert counts([op]) == kernel(raw_server, 1)


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


def test_bytes_of_a_tls_exchange_are_plain_and_on_the_wire(registry, tls_server, client_context):
    """The message is told apart from its records and the handshake, which the kernel counts."""

    async def main():
        async with session(connector=aiohttp.TCPConnector(ssl=client_context)) as client:
            await fetch(client, tls_server.url("/bytes/5000"))
            waiting = await client.get(tls_server.url("/bytes/100"))
            await waiting.content.wait_eof()
            await fetch(client, tls_server.url("/echo"), "POST", b"x" * 700)
            await waiting.read()

    asyncio.run(main())
    ops = registry.network_ops()
    seen = tls_server.wait_exchanges(3)
    assert [op.bytes_sent for op in ops] == [
        each.request_head_bytes + each.request_framed_bytes for each in seen
    ]
    assert [op.bytes_received for op in ops] == [
        each.response_head_bytes + each.response_framed_bytes for each in seen
    ]
    wire = [(op.attributes["wire_bytes_sent"], op.attributes["wire_bytes_received"]) for op in ops]
    assert wire[1:] == [(each.wire_received, each.wire_sent) for each in seen[1:]]
    assert wire[0] > (ops[0].bytes_sent + 200, ops[0].bytes_received + 200)
    assert 0 < ops[0].attributes["tls_seconds"] < ops[0].latency


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


def test_an_operation_is_named_by_method_and_template(registry, raw_server):
    """Of the path, the query and the user nothing else is kept."""

    async def main():
        client = traced_client(aiohttp.ClientSession(), route=lambda path: "/bytes/{n}")
        async with client:
            url = URL(raw_server.url("/bytes/10?token=secret")).with_user("me").with_password("pw")
            await fetch(client, url)

    asyncio.run(main())
    op = only(registry)
    assert op.operation == "GET /bytes/{n}"
    assert (op.host, op.port) == (raw_server.host, raw_server.port)
    assert "secret" not in str(op.to_dict())


def test_a_request_by_way_of_a_proxy_is_for_its_server(registry, raw_server):
    """The host is whom it is for, the bytes are those that crossed to the proxy."""

    async def main():
        async with session() as client:
            url = "http://example.org/bytes/10"
            await fetch(client, url, proxy=raw_server.url("/"))

    asyncio.run(main())
    assert (only(registry).host, only(registry).port) == ("example.org", 80)
    assert counts([only(registry)]) == kernel(raw_server, 1)


def test_a_session_of_many_tasks_keeps_its_exchanges_apart(registry, raw_server):
    """Each has its own bytes, on connections that change hands."""

    async def main():
        async with session(connector=aiohttp.TCPConnector(limit=4)) as client:
            sizes = range(0, 30_000, 1500)
            with traced_event("gather"):
                await asyncio.gather(
                    *(fetch(client, raw_server.url(f"/bytes/{size}")) for size in sizes)
                )

    asyncio.run(main())
    ops = registry.network_ops()
    assert sorted(counts(ops)) == sorted(kernel(raw_server, 20))
    assert len({op.parent_id for op in ops}) == 1


def test_a_dead_connection_and_the_one_after_it_are_two_operations(registry, raw_server):
    """aiohttp tries again by itself when a kept connection turns out to be gone."""
    targets = [("/bytes/10",), ("/retry/1?key=a&how=close",)]
    fetch_all(raw_server, *targets)
    kept, failed, again = registry.network_ops()
    assert (failed.status, failed.error_type) == ("failed", "ServerDisconnectedError")
    assert failed.attributes["connection_reused"] is True
    assert (again.status, again.attributes["connection_reused"]) == ("completed", False)
    assert counts([kept, failed, again]) == kernel(raw_server, 3)


def test_what_a_middleware_sends_is_an_operation_each(registry, raw_server):
    """The same request, sent again, is another exchange; a response that is dropped ends."""
    if not hasattr(aiohttp, "ClientHandlerType"):
        pytest.skip("this aiohttp has no middlewares")

    async def again(request, handler):
        assert (await handler(request)).status == 503
        return await handler(request)

    fetch_all(raw_server, ("/retry/1?key=a",), middlewares=[again])
    gc.collect()
    first, second = registry.network_ops()
    assert (first.error_type, second.status) == ("503", "completed")


def test_the_users_trace_configs_are_called_as_ever(registry, raw_server):
    """With the same signals in the same order as without tracing."""
    signals = [name for name in dir(aiohttp.TraceConfig) if name.startswith("on_")]

    async def main(make):
        seen = []
        config = aiohttp.TraceConfig()
        for name in signals:

            async def called(*args, name=name):
                seen.append(name)

            getattr(config, name).append(called)
        async with make(trace_configs=[config]) as client:
            await fetch(client, raw_server.url("/echo"), "POST", b"abc")
            await fetch(client, raw_server.url("/bytes/10"))
            assert client.trace_configs == [config]
        return seen

    assert asyncio.run(main(session)) == asyncio.run(main(aiohttp.ClientSession))


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
