"""`traced_streams`: pairs that exist already, a client's or a server's."""

from __future__ import annotations

import asyncio
import socket
import warnings

import pytest

from tests.network._protocols import ask, closed
from tests.network._records import crossed, only
from tests.network._tcp_info import LINUX
from volnux.telemetry import capture, traced_open_connection, traced_socket, traced_streams


def test_counts_from_here_on(run, echo_server, registry):
    """What was exchanged before is nobody's."""

    async def main():
        reader, writer = await asyncio.open_connection(*echo_server.address)
        await ask(reader, writer)
        reader, writer = traced_streams(reader, writer, "ask")
        await ask(reader, writer, b"x" * 10)
        await closed(writer)

    run(main())
    op = only(registry)

    assert (op.host, op.port, op.operation) == (*echo_server.address, "ask")
    assert crossed(registry) == (10, 10)


def test_a_server_s(run, registry):
    """In the callback of a server it counts all, and what waits to be read already."""

    async def serve(reader, writer):
        greeting = await reader.readexactly(10)  # the rest is there, and waits to be read
        reader, writer = traced_streams(reader, writer, "serve")
        writer.write(greeting + await reader.readexactly(100))
        await closed(writer)

    async def main():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        await ask(reader, writer, bytes(110))
        assert await reader.read() == b""
        name = writer.get_extra_info("sockname")
        await closed(writer)
        server.close()
        return name

    client = run(main())
    op = only(registry)

    assert (op.host, op.port, op.operation) == (*client, "serve")
    assert (crossed(registry), op.status) == ((110, 100), "completed")


def test_with_tls(run, tls_echo_server, client_context, registry):
    """On the wire too, it counts from here on."""

    async def main():
        reader, writer = await asyncio.open_connection(
            *tls_echo_server.address, ssl=client_context, server_hostname="localhost"
        )
        await ask(reader, writer)
        reader, writer = traced_streams(reader, writer)
        await ask(reader, writer)
        await closed(writer)

    run(main())
    op = only(registry)

    assert crossed(registry) == (100, 100)
    if LINUX:
        # A record of a hundred bytes, and one of TLS's goodbye.
        assert op.attributes["wire_bytes_sent"] == 122 + 24


def test_twice_is_once(run, echo_server, registry):
    """What is traced stays so, with the same account."""

    async def main():
        pair = await traced_open_connection(*echo_server.address)
        again = traced_streams(*pair)
        assert (again[0] is pair[0], again[1] is pair[1]) == (True, True)
        await ask(*again)
        await closed(again[1])

    run(main())

    assert crossed(registry) == (100, 100)


def test_of_a_connection_that_is_lost(run, echo_server, registry):
    """An operation without a byte, that has ended."""

    async def main():
        reader, writer = await asyncio.open_connection(*echo_server.address)
        await closed(writer)
        traced_streams(reader, writer)

    run(main())

    assert (crossed(registry), registry.health().in_flight) == ((0, 0), 0)


@pytest.mark.parametrize("pair", [(None, None), (1, 2), (socket.socket, socket.socket)])
def test_what_is_no_pair(pair):
    """A mistake at set-up is told at once."""
    with pytest.raises(TypeError, match="needs a StreamReader and a StreamWriter"):
        traced_streams(*pair)


def test_a_traced_socket_may_be_handed_in(run, echo_server):
    """Beside the streams' operation it has one of its own, which on asyncio counts the same."""

    async def main():
        with capture(isolated=True, strict=True) as registry:
            sock = traced_socket(socket.create_connection(echo_server.address))
            reader, writer = await traced_open_connection(sock=sock)
            await ask(reader, writer)
            await closed(writer)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)
                del sock
        return registry

    registry = run(main())

    assert [op.bytes_sent for op in registry.network_ops()][-1] == 100
