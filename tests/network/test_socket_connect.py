"""Connecting a traced socket: what fails is recorded, with the address as it was given."""

from __future__ import annotations

import asyncio
import errno
import select
import socket

import pytest

from tests.network._records import crossed, only, outcome
from tests.network._sockets import SECONDS, wait_for
from volnux.telemetry import traced_socket


def test_connection_refused(nobody, registry):
    """`connect` fails as it would, and the operation with it."""
    with traced_socket(socket.socket()) as sock, pytest.raises(ConnectionRefusedError) as caught:
        sock.connect(nobody)
    op = only(registry)

    assert (op.host, op.port) == nobody
    assert (op.status, op.error_type) == ("failed", "ConnectionRefusedError")
    assert op.error == str(caught.value)


def test_connection_refused_by_number(nobody, registry):
    """`connect_ex` returns what it would."""
    with traced_socket(socket.socket()) as sock:
        assert sock.connect_ex(nobody) == errno.ECONNREFUSED

    assert outcome(registry) == ("failed", "ConnectionRefusedError")


def test_no_such_host(registry):
    """A name that nobody knows is recorded as it was given."""
    with traced_socket(socket.socket()) as sock, pytest.raises(socket.gaierror):
        sock.connect(("nowhere.invalid", 80))

    assert (only(registry).host, *outcome(registry)) == ("nowhere.invalid", "failed", "gaierror")


def test_no_such_host_by_number(registry):
    """`connect_ex` raises for that, and it is recorded as well."""
    with traced_socket(socket.socket()) as sock, pytest.raises(socket.gaierror):
        sock.connect_ex(("nowhere.invalid", 80))

    assert (only(registry).host, *outcome(registry)) == ("nowhere.invalid", "failed", "gaierror")


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ((b"127.0.0.1", 9), "127.0.0.1", 9),
        (("", 9), "localhost", 9),
        (("::1", 9, 0, 0), "::1", 9),
        (("127.0.0.1", 70_000), "127.0.0.1", None),
    ],
)
def test_an_address_of_any_form(address, host, port, registry):
    """Whatever a socket takes for one, and what it does not, has a host."""
    with traced_socket(socket.socket()) as sock, pytest.raises((OSError, OverflowError, TypeError)):
        sock.settimeout(SECONDS)
        sock.connect(address)

    assert (only(registry).host, only(registry).port, only(registry).status) == (
        host,
        port,
        "failed",
    )


def test_another_try_on_the_same_socket(nobody, echo_server, registry):
    """Each attempt to connect is an operation."""
    with traced_socket(socket.socket()) as sock:
        with pytest.raises(ConnectionRefusedError):
            sock.connect(nobody)
        sock.connect(echo_server.address)
    first, second = registry.network_ops()

    assert (first.port, first.status) == (nobody[1], "failed")
    assert (second.port, second.status) == (echo_server.port, "completed")


def test_a_connect_that_does_not_block(echo_server, registry):
    """That it takes a while is no failure."""
    with traced_socket(socket.socket()) as sock:
        sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            sock.connect(echo_server.address)
        wait_for(sock, select.POLLOUT)
        assert sock.connect_ex(echo_server.address) in {0, errno.EISCONN}
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0

    assert outcome(registry) == ("completed", None)


def test_a_connect_that_fails_later(nobody, registry):
    """How it ended is asked for by `SO_ERROR`, and so recorded."""
    with traced_socket(socket.socket()) as sock:
        sock.setblocking(False)
        assert sock.connect_ex(nobody) in {errno.EINPROGRESS, errno.ECONNREFUSED}
        wait_for(sock, select.POLLOUT)
        sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    assert outcome(registry) == ("failed", "ConnectionRefusedError")


def test_a_connect_of_an_event_loop_that_fails(nobody, registry):
    """So it is with `loop.sock_connect`."""

    async def main():
        with traced_socket(socket.socket()) as sock:
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, nobody)

    with pytest.raises(ConnectionRefusedError):
        asyncio.run(main())

    assert outcome(registry) == ("failed", "ConnectionRefusedError")


def test_connected_twice(echo_server, registry):
    """That a socket is connected already ends nothing."""
    with traced_socket(socket.socket()) as sock:
        sock.connect(echo_server.address)
        with pytest.raises(OSError, match="connected"):
            sock.connect(echo_server.address)
        sock.settimeout(SECONDS)
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"

    assert (crossed(registry), outcome(registry)) == ((1, 1), ("completed", None))
