"""What the kernel says a TCP socket has carried: the oracle of every count in these tests.

The conventions of Linux, found by experiment and asserted in test_tcp_info.py:

- `tcpi_bytes_sent` is payload handed to the wire, neither SYN nor FIN, each retransmission again.
- `tcpi_bytes_acked` counts the SYN of the side that connected (not of the side that accepted), and
  the FIN once the peer has acknowledged it, which may be late.
- `tcpi_bytes_received` counts the peer's FIN as one byte from the moment it arrives, read or not;
  data still unread in the socket is in it.
"""

from __future__ import annotations

import select
import socket
import struct
import sys
from typing import Any, NamedTuple

import pytest

LINUX = sys.platform == "linux"
needs_tcp_info = pytest.mark.skipif(not LINUX, reason="TCP_INFO is Linux's")
#: The state of a socket that is closed in both directions, or was reset.
CLOSED = 7

_SIZE = 256
_ACKED, _RECEIVED, _SENT, _RETRANSMITTED = 120, 128, 200, 208
_UNSENT = 144

_FIN_WAS_RECEIVED = {6, 8, 9, 11}  # TIME_WAIT, CLOSE_WAIT, LAST_ACK, CLOSING
_FIONREAD = 0x541B


class TcpInfo(NamedTuple):
    """The payload that a TCP socket has carried, without SYN, FIN and retransmissions."""

    bytes_sent: int
    bytes_received: int
    #: Of the received bytes, those that nobody has read from the socket yet.
    bytes_unread: int
    #: Of what was written to the socket, the bytes that have never been on the wire.
    bytes_unsent: int
    bytes_retransmitted: int
    #: Whether the peer has ended its side in order.
    fin_received: bool
    state: int


def tcp_info(sock: Any, *, accepted: bool = False) -> TcpInfo | None:
    """Return what the kernel says, or None where it says nothing (not Linux, not TCP).

    Args:
        sock: a socket, TLS or not (the wire is under the TLS), or a file descriptor.
        accepted: the socket comes from `accept`. This matters only for a socket that is closed in
            both directions: in that state nothing else tells an end in order from a reset.
    """
    if not LINUX:
        return None
    descriptor = sock if isinstance(sock, int) else sock.fileno()
    if descriptor < 0:
        return None
    try:
        # A second object on the same descriptor, so that no patched socket class has a say.
        plain = socket.SocketType(fileno=descriptor)
    except OSError:
        return None
    try:
        return _read(plain, accepted=accepted)
    except OSError:
        return None
    finally:
        plain.detach()


def _read(sock: socket.SocketType, *, accepted: bool) -> TcpInfo | None:
    import fcntl

    # Between two system calls more may arrive: agree with the second look, or look again.
    data = b""
    while True:
        before, data = data, sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _SIZE)
        if len(data) < _RETRANSMITTED + 8:
            return None
        if before[_RECEIVED : _RECEIVED + 8] == data[_RECEIVED : _RECEIVED + 8]:
            break
        unread = struct.unpack("i", fcntl.ioctl(sock.fileno(), _FIONREAD, b"\0" * 4))[0]
    state = data[0]
    acked, received, sent, retransmitted = (
        struct.unpack_from("=Q", data, offset)[0]
        for offset in (_ACKED, _RECEIVED, _SENT, _RETRANSMITTED)
    )
    unsent = struct.unpack_from("=I", data, _UNSENT)[0]
    sent -= retransmitted
    fin = state in _FIN_WAS_RECEIVED
    if state == CLOSED and not _in_error(sock):
        # Only an end in order acknowledges our FIN, and it comes with the peer's.
        fin = acked - sent - (not accepted) == 1
    return TcpInfo(sent, received - fin, unread, unsent, retransmitted, fin, state)


def _in_error(sock: socket.SocketType) -> bool:
    poll = select.poll()
    poll.register(sock.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def wait_until_sent(sock: socket.SocketType, seconds: float) -> None:
    """Wait until the kernel has put on the wire all that was written, or the peer is gone."""
    if not LINUX:
        return
    level, option = socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT
    before = sock.getsockopt(level, option)
    # With this the socket counts as writable only when nothing waits to be sent.
    sock.setsockopt(level, option, 1)
    poll = select.poll()
    poll.register(sock.fileno(), select.POLLOUT)
    poll.poll(seconds * 1000)
    sock.setsockopt(level, option, before)
