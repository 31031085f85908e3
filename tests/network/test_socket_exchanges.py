"""`exchange`: parts of a connection that are operations of their own."""

from __future__ import annotations

import asyncio
import socket

import pytest

from tests.network._records import only
from tests.network._sockets import SECONDS
from volnux.telemetry import traced_event, traced_socket


def told(registry):
    """What each operation carried, by its name."""
    return {op.operation: (op.bytes_sent, op.bytes_received) for op in registry.network_ops()}


def ask(sock, far, size):
    sock.sendall(bytes(size))
    far.sendall(bytes(size * 2))
    sock.recv(1000)


def test_bytes_count_for_the_exchange(pair, registry):
    """What crosses in the block is the exchange's, and the connection has the rest."""
    with traced_socket(pair[0]) as sock:
        ask(sock, pair[1], 1)
        with sock.exchange("LOGIN"):
            ask(sock, pair[1], 10)
        ask(sock, pair[1], 2)
        with sock.exchange("STAT"):
            ask(sock, pair[1], 20)

    assert told(registry) == {"tcp": (3, 6), "LOGIN": (10, 20), "STAT": (20, 40)}


def test_the_exchange_is_an_operation(pair, registry, clock):
    """It goes to the same host, runs under the event that is current in it, and has its own time."""
    with traced_socket(pair[0]) as sock:
        peer = sock.getpeername()
        with traced_event("step") as event, sock.exchange("LOGIN") as op:
            clock.advance(2)
            op.set_attribute("user", "ada")
    connection, login = registry.network_ops()

    assert (login.host, login.port) == peer
    assert (login.parent_id, login.latency) == (event.task_id, 2)
    assert login.attributes == {"source": "counted", "user": "ada"}
    assert connection.attributes == {"source": "counted", "exchanges": 1}


def test_an_exchange_in_async_code(pair, registry):
    """The block may be an `async with`."""

    async def main():
        with traced_socket(pair[0]) as sock:
            async with sock.exchange("LOGIN"):
                ask(sock, pair[1], 5)

    asyncio.run(main())

    assert told(registry) == {"LOGIN": (5, 10), "tcp": (0, 0)}


def test_an_exchange_in_an_exchange(pair, registry):
    """The inner one has what crosses in it."""
    with traced_socket(pair[0]) as sock, sock.exchange("outer"):
        ask(sock, pair[1], 1)
        with sock.exchange("inner"):
            ask(sock, pair[1], 2)
        ask(sock, pair[1], 3)

    assert told(registry) == {"inner": (2, 4), "outer": (4, 8), "tcp": (0, 0)}


def test_exchanges_that_overlap(pair, registry):
    """Whichever ends first, bytes count for one that is open."""
    sock = traced_socket(pair[0])
    first, second = sock.exchange("first"), sock.exchange("second")
    first.__enter__()
    second.__enter__()
    ask(sock, pair[1], 1)
    first.__exit__(None, None, None)
    ask(sock, pair[1], 2)
    second.__exit__(None, None, None)
    ask(sock, pair[1], 4)
    sock.close()

    assert told(registry) == {"first": (0, 0), "second": (3, 6), "tcp": (4, 8)}


def test_an_exchange_that_fails(pair, registry):
    """It fails with what leaves the block; the connection goes on."""
    with traced_socket(pair[0]) as sock:
        sock.settimeout(0.001)
        with pytest.raises(TimeoutError), sock.exchange("LOGIN"):
            sock.sendall(b"xxx")
            sock.recv(1)
        sock.settimeout(SECONDS)
        ask(sock, pair[1], 1)
    connection, login = registry.network_ops()

    assert (login.status, login.error_type, login.bytes_sent) == ("failed", "TimeoutError", 3)
    assert (connection.status, connection.bytes_sent) == ("completed", 1)


def test_an_exchange_around_the_connection(echo_server, registry):
    """It may begin before there is a connection, and end after it."""
    with socket.socket() as bare:
        sock = traced_socket(bare)
        with sock.exchange("all"):
            sock.settimeout(SECONDS)
            sock.connect(echo_server.address)
            sock.sendall(b"x")
            assert sock.recv(1) == b"x"
            sock.close()

    assert told(registry) == {"all": (1, 1), "tcp": (0, 0)}


def test_an_exchange_of_a_duplicate(pair, registry):
    """Two sockets of one connection have its exchanges in common."""
    with traced_socket(pair[0]) as sock, sock.dup() as twin, twin.exchange("LOGIN"):
        ask(sock, pair[1], 1)

    assert told(registry) == {"LOGIN": (1, 2), "tcp": (0, 0)}


def test_an_exchange_after_the_end(pair, registry):
    """Nothing crosses any more, and nobody is hurt."""
    sock = traced_socket(pair[0])
    sock.close()
    with sock.exchange("late"):
        pass

    assert told(registry) == {"tcp": (0, 0), "late": (0, 0)}


def test_no_exchange_is_no_attribute(pair, registry):
    """How many exchanges there were is said if there were any."""
    with traced_socket(pair[0]):
        pass

    assert only(registry).attributes == {"source": "counted"}
