"""A connection of aiohttp that counts: what stands between its transport and its protocol.

What comes in goes past here on its way to aiohttp's protocol. What goes out is told by whoever writes it,
and counts when it has left the transport's buffer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import wraps
from weakref import WeakSet

from volnux.telemetry.clients._kernel import taken_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from volnux.telemetry.clients._exchange import Exchange

#: What we keep in a protocol of aiohttp: its line.
LINE = "_volnux_line"
#: As many bytes as every socket takes that has nothing to send.
_LITTLE = 2048
#: All there are.
LINES: WeakSet[Line] = WeakSet()


class Line(asyncio.Protocol):
    """The protocol of a connection, in front of aiohttp's own, which it passes on what it is told.

    It shows nothing of the other: in a class with a `__getattr__` all that is looked up is found slowly.
    """

    __slots__ = (
        "__weakref__",
        "_gone",
        "_handler",
        "_is_closing",
        "_left",
        "_mark",
        "_queued",
        "_transport",
        "exchange",
        "is_tls",
        "queue",
        "sock",
    )

    def __init__(self, handler: Any, transport: Any, exchange: Exchange) -> None:
        #: Whose bytes they are: the exchange that is on the connection, or was the last one.
        self.exchange = exchange
        self._handler = handler
        self._transport = transport
        self._is_closing: Callable[[], bool] = transport.is_closing
        self._left: Callable[[], int] = transport.get_write_buffer_size
        self.sock = transport.get_extra_info("socket")
        self.is_tls = transport.get_extra_info("ssl_object") is not None
        #: What has been written and has not left. With it: how many bytes that is, how many have left
        #: since it began, and what the kernel had taken then.
        self.queue: deque[Any] = deque()
        self._queued = self._gone = 0
        self._mark: int | None = None

    def detach(self) -> None:
        """Leave the connection to aiohttp's own protocol."""
        vars(self._handler).pop(LINE, None)
        # A TLS transport that is closed has not even a protocol to be asked for.
        if not self._is_closing() and self._transport.get_protocol() is self:
            self._transport.set_protocol(self._handler)

    # --- in -------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self.queue:
            self._flush()
        self.exchange.received(len(data), data)
        self._handler.data_received(data)

    def eof_received(self) -> bool | None:
        exchange = self.exchange
        if not exchange.is_ended:
            exchange.about_to_close(self.sock)
            exchange.closed_by_peer()
        found: bool | None = self._handler.eof_received()
        return found

    def connection_lost(self, exc: Exception | None) -> None:
        exchange = self.exchange
        LINES.discard(self)
        if exchange.is_ended:
            self._handler.connection_lost(exc)
            return
        self._flush()
        # Where aiohttp closes a connection that it does not understand, it has noted why.
        error = self._handler.exception() if exc is None else exc
        if error is not None and not exchange.response.is_complete:
            exchange.trouble(error)
        self._handler.connection_lost(exc)
        exchange.closed()

    # --- out ------------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        self._handler.pause_writing()

    def resume_writing(self) -> None:
        self._flush()
        self._handler.resume_writing()

    def written(self, data: Any) -> None:
        """Count bytes of the request that have been given to the transport."""
        if self._is_closing():  # which it was not before: it has failed
            return
        exchange, size = self.exchange, len(data)
        # Little and for the first time always goes at once: nothing is before it.
        if (exchange.is_sending or size > _LITTLE) and (self.queue or self._left()):
            self._put((data,))
        else:
            exchange.is_sending = True
            exchange.sent(size, data)

    def written_all(self, chunks: Iterable[Any]) -> None:
        """Count several pieces that have been given to the transport at once."""
        if self._is_closing():
            return
        self.exchange.is_sending = True
        if self.queue or self._left():
            self._put(chunks)
        else:
            for chunk in chunks:
                self.exchange.sent(len(chunk), chunk)

    def _put(self, chunks: Iterable[Any]) -> None:
        for data in chunks:
            self.queue.append(data)
            self._queued += len(data)
        self._flush()
        if self.queue and self._mark is None and not self.is_tls:
            self._mark = taken_bytes(self.sock)
            self._gone = 0

    def finish(self) -> None:
        """Count what has left the transport's buffer by now, and nothing more."""
        if self.queue:
            self._flush()
            self._forget()

    def _flush(self) -> None:
        if not self.queue:
            return
        if not self._is_closing():
            self._take(self._queued - self._left())
            return
        # A transport that fails forgets what it had not sent; the kernel knows what it was given.
        now = None if self._mark is None else taken_bytes(self.sock)
        if now is not None and self._mark is not None:
            self._take(now - self._mark - self._gone)

    def _take(self, count: int) -> None:
        while count > 0 and self.queue:
            data = self.queue[0]
            step = min(count, len(data))
            self.exchange.sent(step, data)
            count -= step
            self._queued -= step
            self._gone += step
            if step == len(data):
                self.queue.popleft()
            else:
                self.queue[0] = memoryview(data)[step:]
        if not self.queue:
            self._forget()

    def _forget(self) -> None:
        self.queue.clear()
        self._queued = self._gone = 0
        self._mark = None


def put_before(handler: Any, exchange: Exchange) -> Line:
    """Put a line before a connected protocol."""
    transport = handler.transport
    handler._volnux_line = line = Line(handler, transport, exchange)
    try:
        transport.set_protocol(line)
    except BaseException:
        del handler._volnux_line
        raise
    LINES.add(line)
    return line


class _Outgoing:
    """What a websocket writes to: its transport, with an account."""

    __slots__ = ("_line", "_transport")

    def __init__(self, transport: Any, line: Line) -> None:
        self._transport = transport
        self._line = line

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: Any) -> None:
        self._transport.write(data)
        self._line.written(data)


# --- the taps ---------------------------------------------------------------------------------------


def writing(original: Callable[..., None]) -> Callable[..., None]:
    """Wrap what writes to a connection."""

    @wraps(original)
    def _write(self: Any, chunk: Any) -> None:
        original(self, chunk)
        line: Line | None = getattr(self._protocol, LINE, None)
        if line is not None:
            line.written(chunk)

    return _write


def writing_lines(original: Callable[..., None]) -> Callable[..., None]:
    """Wrap what writes several pieces at once."""

    @wraps(original)
    def _writelines(self: Any, chunks: Iterable[Any]) -> None:
        original(self, chunks)
        line: Line | None = getattr(self._protocol, LINE, None)
        if line is not None:
            line.written_all(chunks)

    return _writelines


def opening_websocket(original: Callable[..., None]) -> Callable[..., None]:
    """Wrap what makes the writer of a websocket, which writes to the transport by itself."""

    @wraps(original)
    def __init__(self: Any, protocol: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        original(self, protocol, *args, **kwargs)
        line = getattr(protocol, LINE, None)
        if isinstance(line, Line):  # a test's protocol may have everything
            self.transport = _Outgoing(self.transport, line)

    return __init__
