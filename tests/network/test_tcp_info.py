"""The kernel's count of a socket, read so that it equals what an application counts."""

from __future__ import annotations

import select
import socket

import pytest

from tests.network._client import read_all, read_some
from tests.network._sockets import fill, reset, wait_for
from tests.network._tcp_info import needs_tcp_info, tcp_info, wait_until_sent

pytestmark = needs_tcp_info


def counts(pair):
    """Sent and received, of the connecting end and of the accepted one."""
    near, far = tcp_info(pair[0]), tcp_info(pair[1], accepted=True)
    return near.bytes_sent, near.bytes_received, far.bytes_sent, far.bytes_received


def test_new_connection(pair):
    """The SYN of the connecting side is not counted."""
    assert counts(pair) == (0, 0, 0, 0)


def test_both_ways(pair):
    """What one end sent the other received, read or not."""
    pair[0].sendall(b"x" * 100)
    pair[1].sendall(b"y" * 2000)
    read_some(pair[0], 2000)

    assert counts(pair) == (100, 2000, 2000, 100)
    assert tcp_info(pair[1]).bytes_unread == 100
    assert tcp_info(pair[0]).bytes_unread == 0


@pytest.mark.parametrize("read", [False, True])
def test_end_in_order(pair, read):
    """The FIN is not counted, whether its end was read or not."""
    pair[0].sendall(b"x" * 100)
    pair[0].shutdown(socket.SHUT_WR)
    if read:
        read_all(pair[1])
    else:
        wait_for(pair[1], select.POLLRDHUP)
    info = tcp_info(pair[1], accepted=True)

    assert counts(pair) == (100, 0, 0, 100)
    assert info.fin_received
    assert info.bytes_unread == (0 if read else 100)


@pytest.mark.parametrize("first", [0, 1])
def test_both_ended_in_order(pair, first):
    """Nor are the FINs of both, whoever was first."""
    pair[0].sendall(b"x" * 100)
    pair[1].sendall(b"y" * 50)
    pair[first].shutdown(socket.SHUT_WR)
    read_all(pair[1 - first])
    pair[1 - first].shutdown(socket.SHUT_WR)
    read_all(pair[first])

    assert counts(pair) == (100, 50, 50, 100)
    assert tcp_info(pair[first], accepted=first == 1).fin_received


@pytest.mark.parametrize("near", [0, 1])
@pytest.mark.parametrize("noticed", [False, True])
def test_reset(pair, near, noticed):
    """A reset is no FIN, before and after the application has heard of it."""
    pair[near].sendall(b"x" * 100)
    pair[1 - near].sendall(b"y" * 50)
    read_some(pair[near], 50)
    reset(pair[1 - near])
    wait_for(pair[near], 0)
    if noticed:
        with pytest.raises(ConnectionResetError):
            pair[near].recv(1)
    info = tcp_info(pair[near], accepted=near == 1)

    assert (info.bytes_sent, info.bytes_received, info.fin_received) == (100, 50, False)


def test_unsent(pair):
    """What the peer has no room for is not sent yet; once it reads, all is."""
    sock = pair[1]
    written = fill(sock)
    full = tcp_info(sock)
    read_some(pair[0], written)
    wait_until_sent(sock, 10)
    done = tcp_info(sock)

    assert full.bytes_unsent > 0
    assert full.bytes_sent + full.bytes_unsent == written
    assert (done.bytes_sent, done.bytes_unsent) == (written, 0)


def test_descriptor(pair):
    """A descriptor is as good as a socket, and stays open."""
    pair[0].sendall(b"x")
    for _ in range(2):
        assert tcp_info(pair[0].fileno()) == tcp_info(pair[0])
    pair[0].sendall(b"x")

    assert tcp_info(pair[0].fileno()).bytes_sent == 2


def test_not_tcp():
    """There is nothing to say of what is not TCP, or closed."""
    near, far = socket.socketpair()
    with near, far:
        assert tcp_info(near) is None
    assert tcp_info(near) is None
