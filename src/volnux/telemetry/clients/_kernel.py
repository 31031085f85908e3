"""What the kernel says of a connection: the bytes that crossed the wire, TLS and all.

Found by experiment, in Linux: a FIN counts as a byte that came, from its arrival; neither SYN nor FIN
counts as sent; and what was taken from the program but never sent is known even after a reset.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Where Linux keeps them in its `struct tcp_info` (linux/tcp.h). 64 bits each: bytes sent, those sent
#: again among them (since 4.19); those sent again; those that the other side has acknowledged, the SYN
#: of who connected and the FIN among them; bytes received. 32 bits: segments that are not acknowledged
#: yet, and bytes that wait to be sent for the first time.
_SENT, _AGAIN, _ACKNOWLEDGED, _RECEIVED = 200, 208, 120, 128
_IN_FLIGHT, _WAITING = 24, 144
_LENGTH = 216
_TCP_INFO = 11

#: States of a connection. In these the other side's FIN has come, in those our own may wait to be sent.
_CLOSED = 7
_FIN_CAME = {6, 8, 9, 11}
_FIN_WAITS = {4, 9, 11}


def wire_bytes(sock: Any, *, accepted: bool = False) -> tuple[int, int] | None:
    """Return how many bytes a TCP connection has carried out and in so far; None if nobody knows.

    Counted by the kernel, in Linux only: without those sent again, and without the headers of TCP and
    IP. What it has yet to send counts, unless the connection is over; what has come in counts from its
    arrival, whether or not anybody has read it.

    Args:
        sock: the socket, open.
        accepted: whether the other side made the connection; it matters only once both have ended it.
    """
    info = _info(sock)
    return None if info is None else (_sent(info), _received(sock, info, accepted=accepted))


def taken_bytes(sock: Any) -> int | None:
    """Return how many bytes the kernel has taken for a TCP connection, sent or not; None if unknown."""
    info = _info(sock)
    return None if info is None else _on_the_wire(info) + _waiting(info)


def is_accepted(sock: Any) -> bool:
    """Return whether the other side made the connection, as far as the kernel lets it be seen."""
    info = _info(sock)
    if info is None or info[0] == _CLOSED or _number(info, _IN_FLIGHT, 4):
        return False
    return _number(info, _ACKNOWLEDGED) == _on_the_wire(info)


def _info(sock: Any) -> bytes | None:
    if sys.platform != "linux":
        return None
    from socket import IPPROTO_TCP

    try:
        info: bytes = sock.getsockopt(IPPROTO_TCP, _TCP_INFO, _LENGTH)
    except (OSError, AttributeError, TypeError, ValueError, ReferenceError):
        return None
    return info if len(info) == _LENGTH else None


def _sent(info: bytes) -> int:
    # What waits when a connection is over goes nowhere any more.
    return _on_the_wire(info) + (0 if info[0] == _CLOSED else _waiting(info))


def _on_the_wire(info: bytes) -> int:
    return _number(info, _SENT) - _number(info, _AGAIN)


def _waiting(info: bytes) -> int:
    waiting = _number(info, _WAITING, 4)
    return waiting - 1 if waiting and info[0] in _FIN_WAITS else waiting


def _received(sock: Any, info: bytes, *, accepted: bool) -> int:
    came = _number(info, _RECEIVED)
    if info[0] == _CLOSED:
        return came - _ended_in_order(sock, info, accepted=accepted)
    return came - (info[0] in _FIN_CAME)


def _ended_in_order(sock: Any, info: bytes, *, accepted: bool) -> bool:
    """Return whether a connection that is over was ended by both sides, and not reset."""
    # Our FIN is acknowledged then, beside all that was sent, and the SYN if it was ours.
    if _number(info, _ACKNOWLEDGED) - _on_the_wire(info) != (1 if accepted else 2):
        return False
    try:
        from select import POLLERR, poll

        look = poll()
        look.register(sock.fileno(), 0)
        return not any(event & POLLERR for _, event in look.poll(0))
    except (OSError, ValueError, ReferenceError):
        return True


def _number(info: bytes, at: int, size: int = 8) -> int:
    return int.from_bytes(info[at : at + size], sys.byteorder)
