"""HTTP/2: whose the bytes of a connection are that several exchanges share.

Every frame says which stream it belongs to (RFC 9113, section 4.1), so an exchange is given the frames
of its own stream, headers and all. Frames of the connection itself, such as SETTINGS and PING, count
for an exchange that is alone on it, and for nobody otherwise: no byte counts twice.
"""

from __future__ import annotations

from _weakref import ref

from volnux.telemetry.clients._framing import ENDED, HEAD, LENGTH, Framing
from volnux.telemetry.clients._gate import mishap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TypeAlias

    from volnux.telemetry.clients._exchange import Exchange
    from volnux.telemetry.clients._framing import Data

    #: Takes a part of a frame: the stream, the frame's type, how many bytes, how many of them are of
    #: a body, and whether the stream's message ends with them.
    Give: TypeAlias = Callable[[int, int, int, int, bool], None]

#: Where the state of a connection keeps its account.
ACCOUNT = "_volnux_account"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEADER = 9
#: Stands for bytes that have been read here.
_UNREAD = memoryview(b"")
DATA, HEADERS = 0, 1
_END_STREAM, _PADDED = 0x1, 0x8


class Message(Framing):
    """A message of HTTP/2: told of its frames instead of reading them."""

    __slots__ = ()

    def feed(self, data: Data, count: int) -> None:
        """Take nothing: the frames are told."""

    def add(self, kind: int, count: int, body: int, *, is_last: bool) -> None:
        """Take a part of a frame."""
        if kind == HEADERS:
            self.head += count
            if self._state == HEAD:
                self._state = LENGTH
        self.body += body
        if is_last:
            self._state = ENDED


class Frames:
    """Follows one direction of a connection, given piece by piece."""

    __slots__ = (
        "_body",
        "_give",
        "_header",
        "_is_last",
        "_kind",
        "_left",
        "_padded",
        "_preface",
        "_stream",
    )

    def __init__(self, give: Give) -> None:
        self._give = give
        self._header = b""
        #: Of the frame under way: bytes still to come, those of them that are body, whether the next
        #: byte says how much of it is padding, and whether its message ends with it.
        self._left = self._body = 0
        self._padded = self._is_last = False
        self._stream = self._kind = 0
        #: Bytes of the preface that are still to come.
        self._preface = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        at = 0
        if data.startswith(PREFACE[:16]) and not self._left and not self._header:
            self._preface = len(PREFACE)
        if self._preface:
            at = min(self._preface, len(data))
            self._preface -= at
            self._give(0, -1, at, 0, False)  # noqa: FBT003  # five numbers of a frame
        while at < len(data):
            at += self._payload(data, at) if self._left else self._begin(data, at)

    def _begin(self, data: bytes, at: int) -> int:
        """Read a frame's header; return how many bytes that took."""
        before = len(self._header)
        header = self._header + data[at : at + _HEADER - before]
        if len(header) < _HEADER:
            self._header = header
            return len(header) - before
        self._header = b""
        flags = header[4]
        self._kind = header[3]
        self._left = int.from_bytes(header[:3], "big")
        self._stream = int.from_bytes(header[5:], "big") & 0x7FFFFFFF
        is_data = self._kind == DATA
        self._is_last = bool(flags & _END_STREAM) and self._kind in (DATA, HEADERS)
        self._padded = is_data and bool(flags & _PADDED) and self._left > 0
        self._body = self._left if is_data else 0
        self._give(self._stream, self._kind, _HEADER, 0, self._is_last and not self._left)
        return _HEADER - before

    def _payload(self, data: bytes, at: int) -> int:
        """Read of a frame what there is; return how many bytes that is."""
        if self._padded:
            self._padded = False
            self._body = max(self._left - 1 - data[at], 0)
            step, body = 1, 0
        else:
            step = min(self._left, len(data) - at)
            body = min(self._body, step)
            self._body -= body
        self._left -= step
        self._give(self._stream, self._kind, step, body, self._is_last and not self._left)
        return step


class Multiplex:
    """The account of a connection that carries several exchanges at a time."""

    def __init__(self, state: Any, open_streams: Mapping[int, Any]) -> None:
        """Begin it.

        Args:
            state: h2's of the connection, which is given all that comes in.
            open_streams: what the connection holds, by the number of the stream, of those that are open.
        """
        self._open = open_streams
        self._streams: dict[int, Exchange] = {}
        self._opener: Exchange | None = None
        self._out = Frames(self._give_sent)
        self._in = Frames(self._give_received)
        # The beginning of a frame that has come before: of nobody's, as there is no exchange yet.
        self._in.feed(bytes(getattr(state.incoming_buffer, "_data", b"")))
        self._state = ref(state)
        setattr(state, ACCOUNT, self)

    def let_go(self) -> None:
        """Leave nothing behind in the connection."""
        state = self._state()
        if state is not None:
            vars(state).pop(ACCOUNT, None)

    @property
    def is_ended(self) -> bool:
        """Whether no exchange is under way."""
        return all(exchange.is_ended for exchange in self._streams.values())

    def opened_for(self, exchange: Exchange) -> None:
        """Say that the connection is new, and which exchange it was made for."""
        self._opener = exchange

    def take_up(self, number: int, exchange: Exchange, sock: Any, *, is_tls: bool) -> None:
        """Have the frames of a stream count for an exchange."""
        self._opener = None
        for old in list(self._streams):
            if old not in self._open:
                del self._streams[old]
        exchange.request = Message(exchange.method, is_response=False)
        exchange.response = Message(exchange.method, is_response=True)
        self._streams[number] = exchange
        exchange.connected(sock, reused=number > 1, is_tls=is_tls)
        if len(self._open) > 1:
            self.shared_with_others()

    def shared_with_others(self) -> None:
        """Say that several exchanges are on the connection: the kernel's numbers are then nobody's."""
        for exchange in list(self._streams.values()):
            exchange.note("shared_connection", True)  # noqa: FBT003  # a key and its value
            exchange._wire = None

    def _owner(self, stream: int) -> Exchange | None:
        if stream:
            return self._streams.get(stream)
        alone = list(self._open)[:2]
        if len(alone) > 1:
            return None
        return self._streams.get(alone[0]) if alone else self._opener

    def _give_sent(self, stream: int, kind: int, count: int, body: int, is_last: bool) -> None:  # noqa: FBT001
        exchange = self._owner(stream)
        if exchange is not None and not exchange.is_ended:
            exchange.sent(count, _UNREAD)
            if stream and isinstance(exchange.request, Message):
                exchange.request.add(kind, count, body, is_last=is_last)

    def _give_received(self, stream: int, kind: int, count: int, body: int, is_last: bool) -> None:  # noqa: FBT001
        exchange = self._owner(stream)
        if exchange is not None and not exchange.is_ended:
            exchange.received(count, _UNREAD)
            if stream and isinstance(exchange.response, Message):
                exchange.response.add(kind, count, body, is_last=is_last)

    # --- what a stream that counts tells ------------------------------------------------------------

    def sent(self, count: int, data: bytes) -> None:
        """Count bytes that have gone out."""
        _follow(self._out, data[:count])

    def received(self, count: int, data: bytes) -> None:
        """Leave it to what h2 is given: a read that began before the connection was recorded goes there."""

    def given(self, data: bytes) -> None:
        """Count bytes that have come in."""
        _follow(self._in, bytes(data))

    def closed_by_peer(self) -> None:
        """Say that the other side has closed: what has not come will not come."""
        for exchange in list(self._streams.values()):
            if not exchange.is_ended:
                exchange.closed_by_peer()

    def about_to_close(self, sock: Any) -> None:
        """Ask the kernel once more, while the connection can still be asked."""
        for exchange in list(self._streams.values()):
            exchange.about_to_close(sock)


def _follow(frames: Frames, data: bytes) -> None:
    try:
        frames.feed(data)
    except Exception as error:  # noqa: BLE001  # what follows the bytes must not stop them
        mishap("http2", error)
