"""The kernel's count as volnux reads it: what crossed, in every state that a connection can be in."""

from __future__ import annotations

import select
import socket

import pytest

from tests.network._sockets import fill, reset, wait_for
from tests.network._tcp_info import needs_tcp_info
from volnux.telemetry.clients._kernel import is_accepted, taken_bytes, wire_bytes

pytestmark = needs_tcp_info


def counts(pair):
    return wire_bytes(pair[0]), wire_bytes(pair[1], accepted=True)


def exchange(pair):
    pair[0].sendall(b"x" * 100)
    pair[1].sendall(b"y" * 50)


def test_a_new_connection(pair):
    """A SYN is no byte."""
    assert counts(pair) == ((0, 0), (0, 0))


def test_both_ways(pair):
    """What has arrived counts, read or not."""
    exchange(pair)
    assert counts(pair) == ((100, 50), (50, 100))


@pytest.mark.parametrize("first", [0, 1])
def test_a_fin_is_no_byte(first, pair):
    """Neither on its way out nor when it has come."""
    exchange(pair)
    pair[first].shutdown(socket.SHUT_WR)
    wait_for(pair[1 - first], select.POLLRDHUP)
    assert counts(pair) == ((100, 50), (50, 100))


@pytest.mark.parametrize("first", [0, 1])
def test_both_have_ended_it(first, pair):
    """Whoever was first, and whoever had made the connection."""
    exchange(pair)
    pair[first].shutdown(socket.SHUT_WR)
    wait_for(pair[1 - first], select.POLLRDHUP)
    pair[1 - first].shutdown(socket.SHUT_WR)
    wait_for(pair[first], select.POLLRDHUP)
    assert counts(pair) == ((100, 50), (50, 100))


@pytest.mark.parametrize("near", [0, 1])
@pytest.mark.parametrize("is_noticed", [False, True])
def test_a_reset_is_no_byte(is_noticed, near, pair):
    """Nor does one take anything off."""
    exchange(pair)
    pair[near].recv(100)
    sent = (100, 50)[near]
    reset(pair[1 - near])
    wait_for(pair[near], 0)
    if is_noticed:
        with pytest.raises(ConnectionResetError):
            pair[near].recv(1)
    assert wire_bytes(pair[near], accepted=near == 1) == (sent, 150 - sent)


@pytest.mark.parametrize("is_ended", [False, True])
def test_what_waits_to_be_sent(is_ended, pair):
    """It counts, for it will be sent; a FIN behind it does not."""
    taken = fill(pair[0])
    if is_ended:
        pair[0].shutdown(socket.SHUT_WR)
    assert (wire_bytes(pair[0]), taken_bytes(pair[0])) == ((taken, 0), taken)


def test_what_a_reset_keeps_from_being_sent(pair):
    """It has been taken, and will never cross."""
    taken = fill(pair[0])
    reset(pair[1])
    wait_for(pair[0], 0)
    sent, _ = wire_bytes(pair[0])
    assert taken_bytes(pair[0]) == taken
    assert 0 < sent < taken


def test_who_made_the_connection(pair):
    """The kernel knows, while nothing is on its way."""
    assert (is_accepted(pair[0]), is_accepted(pair[1])) == (False, True)
    exchange(pair)
    wait_for(pair[0], select.POLLIN)
    assert is_accepted(pair[0]) is False


def test_what_is_not_tcp():
    """Of what is no TCP connection, or closed, nothing is known."""
    near, far = socket.socketpair()
    with near, far:
        assert (wire_bytes(near), taken_bytes(near), is_accepted(near)) == (None, None, False)
    assert wire_bytes(near) is None
    assert wire_bytes(object()) is None


def test_not_connected():
    """A new socket has carried nothing."""
    with socket.socket() as sock:
        assert (wire_bytes(sock), is_accepted(sock)) == ((0, 0), False)
