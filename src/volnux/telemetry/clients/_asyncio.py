"""Streams of asyncio: `traced_open_connection`, and pairs that exist already."""

from __future__ import annotations

import asyncio
from functools import wraps
from weakref import WeakKeyDictionary

from volnux.telemetry._proxy import Proxy, proxy_class
from volnux.telemetry.clients._connection import ConnectionExchange
from volnux.telemetry.clients._protocols import traced_protocol
from volnux.telemetry.clients._transports import TracedTransport, TransportConnection, traced_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: As in asyncio: the longest line, and half of what is read ahead.
_LIMIT = 2**16


class TracedStreamReader(Proxy):
    """A stream reader that sees what reading fails with."""

    #: See `CountedSocket`.
    __getattribute__ = object.__getattribute__

    def __init__(self, reader: Any, connection: TransportConnection) -> None:
        super().__init__(reader)
        self._self_connection = connection


class TracedStreamWriter(Proxy):
    """What `traced_open_connection` returns to write to: the stream writer, and `exchange`."""

    #: See `CountedSocket`.
    __getattribute__ = object.__getattribute__

    def __init__(self, writer: Any, connection: TransportConnection) -> None:
        super().__init__(writer)
        self._self_connection = connection

    def exchange(self, operation: str) -> ConnectionExchange:
        """Have what crosses in a with-block count as an operation of its own.

        The block may be sync or async; see `traced_open_connection`.
        """
        return ConnectionExchange(self._self_connection, operation)

    async def drain(self) -> None:
        try:
            await self.__wrapped__.drain()
        except BaseException as error:
            self._self_connection.failed(error)
            raise
        self._self_connection.look(self.__wrapped__.transport)


def _followed(kind: type, name: str) -> Callable[..., Any]:
    """Return a method that does what the wrapped object's does, and sees how it ends."""

    @wraps(getattr(kind, name))
    async def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            found = await getattr(self.__wrapped__, name)(*args, **kwargs)
        except BaseException as error:
            self._self_connection.failed(error)
            raise
        if found:
            self._self_connection.mended()
        return found

    return method


def _itself(self: Any) -> Any:
    return self


_READER = {
    name: _followed(asyncio.StreamReader, name)
    for name in ("read", "readline", "readexactly", "readuntil", "__anext__")
}
_READER["__aiter__"] = _itself
_WRITER = {
    name: _followed(asyncio.StreamWriter, name)
    for name in ("wait_closed", "start_tls")
    if hasattr(asyncio.StreamWriter, name)
}
_readers: WeakKeyDictionary[type, Any] = WeakKeyDictionary()
_writers: WeakKeyDictionary[type, Any] = WeakKeyDictionary()


async def traced_open_connection(
    host: str | None = None,
    port: int | str | None = None,
    *,
    operation: str | None = None,
    limit: int = _LIMIT,
    **kwargs: Any,
) -> tuple[asyncio.StreamReader, TracedStreamWriter]:
    r"""Open a connection as `asyncio.open_connection` does, and record it.

    The connection is one network operation. It begins before the host is looked up, so that a failure
    to connect is recorded, and ends when the connection is lost: after `close`, with `wait_closed`.
    With `async with writer.exchange("LOGIN")` what crosses in the block is an operation of its own, and
    the connection's has the rest. What reading fails with is the operation's error, unless more is read
    after it.

    What is written counts as sent at once; what had not left the transport when the connection was lost
    is taken off again. What comes counts from its arrival. With TLS the numbers are those of the plain
    bytes; see `traced_socket`.

    Args:
        host: as in asyncio, and recorded as it is given.
        port: as in asyncio.
        operation: what is done with it, in few words; "tcp" if nothing is said.
        limit: as in asyncio.
        kwargs: whatever else `loop.create_connection` takes: `ssl`, `sock`, `server_hostname`, …

    Example:
        >>> reader, writer = await traced_open_connection("example.org", 25)
        >>> async with writer.exchange("EHLO"):
        ...     writer.write(b"EHLO me\r\n")
        ...     await reader.readline()
    """
    loop = asyncio.get_running_loop()
    reader, protocol = _reading(limit, loop)
    factory = traced_protocol(lambda: protocol, operation)
    transport, _ = await loop.create_connection(
        factory,
        host,  # type: ignore[arg-type]  # as asyncio has it: without one there is a socket
        port,  # type: ignore[arg-type]
        **kwargs,
    )
    return _pair(reader, asyncio.StreamWriter(transport, protocol, reader, loop))


async def traced_open_unix_connection(
    path: str | None = None, *, operation: str | None = None, limit: int = _LIMIT, **kwargs: Any
) -> tuple[asyncio.StreamReader, TracedStreamWriter]:
    """Open a connection as `asyncio.open_unix_connection` does; see `traced_open_connection`."""
    loop = asyncio.get_running_loop()
    reader, protocol = _reading(limit, loop)
    factory = traced_protocol(lambda: protocol, operation)
    transport, _ = await loop.create_unix_connection(factory, path, **kwargs)
    return _pair(reader, asyncio.StreamWriter(transport, protocol, reader, loop))


def _reading(
    limit: int, loop: asyncio.AbstractEventLoop
) -> tuple[asyncio.StreamReader, asyncio.StreamReaderProtocol]:
    reader = asyncio.StreamReader(limit=limit, loop=loop)
    return reader, asyncio.StreamReaderProtocol(reader, loop=loop)


def traced_streams(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, operation: str | None = None
) -> tuple[asyncio.StreamReader, TracedStreamWriter]:
    """Return a pair of streams that exists already as one that records its connection from here on.

    Use the returned pair in place of the one given. It serves servers too, first thing in the callback
    of `asyncio.start_server`: what has come and was not read yet counts.

    Args:
        reader: what reads of the connection.
        writer: what writes to it.
        operation: see `traced_open_connection`.

    Raises:
        TypeError: they are no streams of asyncio.
    """
    given: tuple[Any, Any] = reader, writer
    if not all(map(isinstance, given, (asyncio.StreamReader, asyncio.StreamWriter))):
        raise TypeError(
            f"traced_streams() needs a StreamReader and a StreamWriter, not {reader!r} and {writer!r}"
        )
    transport: Any = writer.transport
    if not isinstance(transport, TracedTransport):
        writer._transport = _taken_over(reader, transport, operation)  # type: ignore[attr-defined]
    return _pair(reader, writer)


def _taken_over(reader: Any, transport: Any, operation: str | None) -> Any:
    """Return a transport as one that counts, for whoever it serves already."""
    connection = TransportConnection(operation)
    protocol = transport.get_protocol()
    traced = traced_of(protocol, connection)
    connection.made(transport)
    connection.found(transport.get_extra_info("socket"))
    connection.came(transport, len(reader._buffer))
    if protocol is None:  # lost already
        connection.end()
    else:
        transport.set_protocol(traced)
    return traced._self_traced(transport)


def _pair(
    reader: Any, writer: asyncio.StreamWriter
) -> tuple[asyncio.StreamReader, TracedStreamWriter]:
    traced: Any = writer.transport
    connection = traced._self_connection
    return (
        _as(TracedStreamReader, reader, _READER, _readers, connection),
        _as(TracedStreamWriter, writer, _WRITER, _writers, connection),
    )


def _as(
    base: type, thing: Any, special: dict[str, Any], known: Any, connection: TransportConnection
) -> Any:
    if isinstance(thing, base):
        return thing
    return proxy_class(base, type(thing), special, known)(thing, connection)
