"""Random connections by sockets and streams, for the table of docs/network.md.

In each, lines of random length ask a `SourceServer` for so many bytes; the kernel at its end counts.
"""

from __future__ import annotations

import asyncio
import random
import select
import socket
from typing import TYPE_CHECKING, Any

from tests.network._protocols import closed
from tests.network._records import counts
from tests.network._sockets import SECONDS, wait_for
from tests.network._tcp_server import SourceServer
from tests.network._tls import connect, wire
from volnux.telemetry import capture, traced_open_connection, traced_socket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.network._account import Connection
    from tests.network._authority import Authority
    from volnux.telemetry import NetworkMetrics

CONNECTIONS = 200
Pair = tuple[Any, Any]


def connections(authority: Authority) -> Iterator[tuple[str, list[Pair], list[Pair]]]:
    """Yield what connects and, of each connection, the bytes counted here and at the other end."""
    ops, seen = _counted(SourceServer(), _by_sockets)
    yield "sockets: bytes sent / received", counts(ops), _by_kernel(seen)
    ops, seen = _counted(SourceServer(), _by_streams)
    yield "asyncio streams: bytes sent / received", counts(ops), _by_kernel(seen)
    ops, seen = _counted(SourceServer(tls=authority), _by_tls_sockets)
    far = [(it.received, it.sent) for it in seen]
    yield "TLS sockets: plain bytes sent / received", counts(ops), far
    yield "TLS sockets: wire bytes sent / received", [wire(op) for op in ops], _by_kernel(seen)


def _counted(
    server: SourceServer, connecting: Callable[[SourceServer, random.Random], None]
) -> tuple[list[NetworkMetrics], list[Connection]]:
    """Make connections, one after the other; return what both ends have recorded."""
    with server, capture(strict=True) as registry:
        connecting(server, random.Random(f"table {connecting.__name__}"))
        return registry.network_ops(), server.wait_closed(CONNECTIONS)


def _by_kernel(seen: list[Connection]) -> list[Pair]:
    return [(it.wire_received, it.wire_sent) for it in seen]


def _questions(chance: random.Random) -> Iterator[tuple[bytes, int]]:
    """Yield the lines of a connection, each with how long its answer is."""
    for _ in range(chance.randrange(6)):
        length, size = (chance.choice([1, chance.randrange(100_000)]) for _ in range(2))
        yield b"%*d\n" % (length, size), size


def _by_sockets(server: SourceServer, chance: random.Random) -> None:
    for _ in range(CONNECTIONS):
        with traced_socket(socket.create_connection(server.address, SECONDS)) as sock:
            _talk(sock, chance)
            assert sock.recv(1) == b""


def _by_tls_sockets(server: SourceServer, chance: random.Random) -> None:
    context = server.ca.client_context()
    for _ in range(CONNECTIONS):
        with connect(server, context) as sock:
            _talk(sock, chance)
            wait_for(sock, select.POLLRDHUP)  # the server's goodbye has come, too


def _talk(sock: socket.socket, chance: random.Random) -> None:
    for line, size in _questions(chance):
        if chance.random() < 0.5:
            sock.sendall(line)
        else:
            with sock.makefile("wb") as file:
                file.write(line)
        left, most, into = size, chance.randrange(100, 50_000), chance.random() < 0.5
        while left:
            if into:
                left -= sock.recv_into(bytearray(min(left, most)))
            else:
                left -= len(sock.recv(min(left, most)))
    sock.shutdown(socket.SHUT_WR)


def _by_streams(server: SourceServer, chance: random.Random) -> None:
    asyncio.run(_over_streams(server, chance))


async def _over_streams(server: SourceServer, chance: random.Random) -> None:
    for _ in range(CONNECTIONS):
        reader, writer = await traced_open_connection(*server.address)
        for line, size in _questions(chance):
            if chance.random() < 0.5:
                writer.write(line)
                await writer.drain()
            else:
                writer.writelines([line[:7], line[7:]])
            await reader.readexactly(size)
        writer.write_eof()
        assert await reader.read() == b""
        await closed(writer)
