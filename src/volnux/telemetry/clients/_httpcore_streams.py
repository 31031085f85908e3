"""httpcore's network streams, made to count.

A stream becomes one of a class that counts, made from its own class: the object, its attributes and what
`isinstance` says of it stay. It counts for whatever exchange its connection takes up, also where it was
opened before anything was traced.
"""

from __future__ import annotations

from contextvars import ContextVar
from time import perf_counter
from weakref import WeakSet

from volnux.telemetry.clients._gate import mishap
from volnux.telemetry.clients._patching import LOCK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from volnux.telemetry.clients._exchange import Exchange

#: The exchange for which a connection is being opened here.
OPENING: ContextVar[Exchange | None] = ContextVar("volnux_opening", default=None)

#: The class that counts which was made from a class of streams; and back.
_counting: dict[type, type] = {}
ORIGINAL: dict[type, type] = {}
#: The streams that count.
_streams: WeakSet[Any] = WeakSet()
#: What a stream that counts has besides.
_OURS = ("_volnux_account", "_volnux_opener", "_volnux_socket", "_volnux_tls")
#: Bytes that a socket takes whole or not at all once it can be written to: Linux says that it can when a
#: third of its buffer is free.
_WHOLE = 1 << 12


class State:
    """Whether the taps stand; what was made for them is given back when its last exchange ends."""

    is_over = True


def _closing(stream: Any) -> None:
    account = stream._volnux_account
    if account is not None:
        account.about_to_close(stream._volnux_socket)


def _secured(stream: Any, secure: Any, start: float) -> None:
    """Have the TLS stream that a stream has become count for the same exchange."""
    opener = stream._volnux_opener
    if opener is not None:
        opener.note("tls_seconds", perf_counter() - start)
    try:
        adopt(secure, opener)
        secure._volnux_account = stream._volnux_account
    except Exception as error:  # noqa: BLE001  # it goes on uncounted
        mishap("httpcore", error)


class _Sender:
    """Stands for a stream and its socket in the stream's own `write`, and sees how far that comes."""

    __slots__ = ("_account", "_send", "_stream", "done", "settimeout")

    def __init__(self, stream: Any, account: Any) -> None:
        sock = stream._sock
        self._stream, self._account, self._send = stream, account, sock.send
        self.settimeout = sock.settimeout
        self.done = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @property
    def _sock(self) -> _Sender:
        return self

    def send(self, data: bytes, *flags: int) -> int:
        count: int = self._send(data, *flags)
        self.done += count
        self._account.sent(count, data)
        return count


def _sync_methods(kind: Any) -> dict[str, Any]:
    read, close, start_tls = kind.read, kind.close, kind.start_tls

    def counted_read(self: Any, max_bytes: int, timeout: float | None = None) -> bytes:
        data: bytes = read(self, max_bytes, timeout)
        account = self._volnux_account
        if account is not None:
            if data:
                account.received(len(data), data)
            else:
                account.closed_by_peer()
        return data

    def counted_close(self: Any) -> None:
        _closing(self)
        close(self)

    def counted_start_tls(self: Any, *args: Any, **kwargs: Any) -> Any:
        start = perf_counter()
        secure = start_tls(self, *args, **kwargs)
        _secured(self, secure, start)
        return secure

    is_plain = kind.__module__ == "httpcore._backends.sync" and kind.__name__ == "SyncStream"
    return {
        "read": counted_read,
        "write": (_write_by_steps if is_plain else _write)(kind.write),
        "close": counted_close,
        "start_tls": counted_start_tls,
    }


def _write(write: Any) -> Any:
    def counted_write(self: Any, buffer: bytes, timeout: float | None = None) -> None:
        account = self._volnux_account
        write(self, buffer, timeout)
        if account is not None and buffer:
            account.sent(len(buffer), buffer)

    return counted_write


def _write_by_steps(write: Any) -> Any:
    def counted_write(self: Any, buffer: bytes, timeout: float | None = None) -> None:
        if not buffer:  # as it often is, and nothing happens then
            return
        account = self._volnux_account
        if account is None or len(buffer) <= _WHOLE:
            write(self, buffer, timeout)
            if account is not None:
                account.sent(len(buffer), buffer)
            return
        sender = _Sender(self, account)
        write(sender, buffer, timeout)
        if sender.done < len(buffer):  # it has found another way
            account.sent(len(buffer) - sender.done, buffer[sender.done :])

    return counted_write


def _async_methods(kind: Any) -> dict[str, Any]:
    read, write, close, start_tls = kind.read, kind.write, kind.aclose, kind.start_tls

    async def counted_read(self: Any, max_bytes: int, timeout: float | None = None) -> bytes:
        data: bytes = await read(self, max_bytes, timeout)
        account = self._volnux_account
        if account is not None:
            if data:
                account.received(len(data), data)
            else:
                account.closed_by_peer()
        return data

    async def counted_write(self: Any, buffer: bytes, timeout: float | None = None) -> None:
        account = self._volnux_account
        try:
            await write(self, buffer, timeout)
        except BaseException:
            if account is not None:
                account.sent(_sent_of(self, buffer), buffer)
            raise
        if account is not None and buffer:
            account.sent(len(buffer), buffer)

    async def counted_close(self: Any) -> None:
        _closing(self)
        await close(self)

    async def counted_start_tls(self: Any, *args: Any, **kwargs: Any) -> Any:
        start = perf_counter()
        secure = await start_tls(self, *args, **kwargs)
        _secured(self, secure, start)
        return secure

    return {
        "read": counted_read,
        "write": counted_write,
        "aclose": counted_close,
        "start_tls": counted_start_tls,
    }


def _sent_of(stream: Any, buffer: bytes) -> int:
    """Return how much of what could not be written was; at least that, where nobody knows."""
    try:
        left = int(stream._stream._transport.get_write_buffer_size())
    except Exception:  # noqa: BLE001  # not asyncio's, or closed, or TLS, where it is not the same bytes
        return 0
    return len(buffer) - left if 0 < left < len(buffer) else 0


def adopt(stream: Any, opener: Exchange | None = None) -> None:
    """Make a stream one that counts, for nobody yet.

    Args:
        stream: what a connection reads from and writes to.
        opener: the exchange that it has been opened for, if it is new.
    """
    with LOCK:
        kind = type(stream)
        if kind in ORIGINAL:
            return
        counting = _counting.get(kind)
        if counting is None:
            counting = _counting_class(kind)
        stream._volnux_account, stream._volnux_opener = None, opener
        stream._volnux_socket = stream.get_extra_info("socket")
        stream._volnux_tls = stream.get_extra_info("ssl_object") is not None
        stream.__class__ = counting
        _streams.add(stream)


def _counting_class(kind: type) -> type:
    methods = _async_methods(kind) if hasattr(kind, "aclose") else _sync_methods(kind)
    names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    counting = _counting[kind] = type(kind.__name__, (kind,), {**methods, **names})
    ORIGINAL[counting] = kind
    return counting


def release() -> None:
    """Make the streams what they were, except for those that an exchange is under way on."""
    with LOCK:
        for stream in list(_streams):
            account = stream._volnux_account
            if account is None or account.is_ended:
                _streams.discard(stream)
                let_go = getattr(account, "let_go", None)
                if let_go is not None:
                    let_go()
                stream.__class__ = ORIGINAL[type(stream)]
                for name in _OURS:
                    vars(stream).pop(name, None)
