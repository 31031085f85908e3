"""How exchanges of aiohttp share connections, and which of them are made of one request."""

from __future__ import annotations

import asyncio
import gc

import aiohttp
import pytest
from yarl import URL

from tests.network._aiohttp_client import fetch, fetch_all, session
from tests.network._raw_server import RawServer
from tests.network._records import counts, kernel, only
from volnux.telemetry import traced_client, traced_event


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


def test_a_new_connection_says_how_long_it_took(timed_registry, raw_server):
    """Seconds to find the address and to connect are part of the first exchange only."""
    raw_server.host = "localhost"
    fetch_all(raw_server, ("/bytes/10",), ("/bytes/10",))
    first, second = timed_registry.network_ops()
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


def test_bytes_of_a_tls_exchange_are_plain_and_on_the_wire(
    timed_registry, tls_server, client_context
):
    """The message is told apart from its records and the handshake, which the kernel counts."""

    async def main():
        async with session(connector=aiohttp.TCPConnector(ssl=client_context)) as client:
            await fetch(client, tls_server.url("/bytes/5000"))
            waiting = await client.get(tls_server.url("/bytes/100"))
            await waiting.content.wait_eof()
            await fetch(client, tls_server.url("/echo"), "POST", b"x" * 700)
            await waiting.read()

    asyncio.run(main())
    ops = timed_registry.network_ops()
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


async def tunnel(reader, writer):
    """Be a proxy: connect whom it asks for, and pass on what comes."""
    target = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
    host, _, port = target.partition(":")
    there_reader, there_writer = await asyncio.open_connection(host, int(port))
    writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
    await asyncio.gather(pump(reader, there_writer), pump(there_reader, writer))


async def pump(reader, writer):
    while data := await reader.read(65_536):
        writer.write(data)
    writer.close()


def test_what_asks_a_proxy_for_a_tunnel_is_not_the_exchange(registry, tls_server, client_context):
    """The tunnel is part of the wire's number, and of no message."""

    async def main():
        proxy = await asyncio.start_server(tunnel, "127.0.0.1", 0)
        options = {"proxy": f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}"}
        async with proxy, session(connector=aiohttp.TCPConnector(ssl=client_context)) as client:
            for _ in range(2):
                await fetch(client, tls_server.url("/bytes/10"), **options)

    asyncio.run(main())
    ops = registry.network_ops()
    seen = tls_server.wait_exchanges(2)
    assert [op.port for op in ops] == [tls_server.port] * 2
    assert [op.bytes_sent for op in ops] == [each.request_head_bytes for each in seen]
    assert [op.attributes["connection_reused"] for op in ops] == [False, True]
    wire = [(op.attributes["wire_bytes_sent"], op.attributes["wire_bytes_received"]) for op in ops]
    assert wire[1] == (seen[1].wire_received, seen[1].wire_sent)


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
    """When a kept connection turns out to be gone, aiohttp tries again by itself."""
    targets = [("/bytes/10",), ("/retry/1?key=a&how=close",)]
    fetch_all(raw_server, *targets)
    kept, failed, again = registry.network_ops()
    assert (failed.status, failed.error_type) == ("failed", "ServerDisconnectedError")
    assert failed.attributes["connection_reused"] is True
    assert (again.status, again.attributes["connection_reused"]) == ("completed", False)
    assert counts([kept, failed, again]) == kernel(raw_server, 3)


# aiohttp says so, traced or not, where the rest of the first response has not arrived when it is dropped.
@pytest.mark.filterwarnings("ignore:Unclosed connection:ResourceWarning")
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


def test_a_kept_connection_that_the_server_closes_is_nobodys_failure(registry):
    """What it carried has ended, and stays as it was."""

    async def main():
        async with session() as client:
            with RawServer() as server:
                await fetch(client, server.url("/bytes/10"))
                (kept,) = client.connector._conns.values()
                (protocol, _) = kept[0]
            await protocol.closed

    asyncio.run(main())
    assert only(registry).status == "completed"
