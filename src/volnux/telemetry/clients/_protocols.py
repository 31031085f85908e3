"""`traced_protocol`: what a loop connects with it, on asyncio's own loops and on uvloop's.

A loop returns the bare transport beside the protocol, and does some things with transports that only
the bare one can do. So its methods that take protocols or transports are wrapped, once and for good.
"""

from __future__ import annotations

import asyncio
from functools import partial, wraps

from volnux.telemetry.clients._connection import peer_of
from volnux.telemetry.clients._patching import LOCK, Patches
from volnux.telemetry.clients._transports import (
    TracedProtocol,
    TracedTransport,
    TransportConnection,
    traced_of,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from volnux.telemetry.clients._connection import Peer

    AnyProtocol = TypeVar("AnyProtocol")


class TracedFactory:
    """Makes protocols that count, each with a connection of its own."""

    def __init__(self, factory: Callable[[], Any], name: str | None) -> None:
        self._factory = factory
        self._name = name
        self.__wrapped__ = factory

    def __call__(self) -> Any:
        return self.make(TransportConnection(self._name))

    def make(self, connection: TransportConnection) -> Any:
        """Make one for a connection that may have begun already."""
        return traced_of(self._factory(), connection)

    def connection(self, kind: str) -> TransportConnection:
        """Return a connection that can begin before there is a transport."""
        return TransportConnection(self._name or kind)


def traced_protocol(protocol: AnyProtocol, operation: str | None = None) -> AnyProtocol:
    """Return a protocol, or what makes protocols, that records its connections.

    Hand it to the loop in place of the one given: to `create_connection`, `create_server` and their
    like for Unix sockets and datagrams. Each connection is one network operation. It begins before the
    host is looked up, so that a failure to connect is recorded; a server's begins when it is accepted.
    It ends when the connection is lost. The program's transport counts what it is given; it has
    `exchange` as traced sockets have, and `loop.start_tls` and `loop.sendfile` take it. In all else
    protocols and transports are the program's and the loop's own.

    What a transport is given counts as sent at once; what had not left it when the connection was lost
    is taken off again. With TLS the numbers are those of the plain bytes, and `wire_bytes_sent` and
    `wire_bytes_received` are those of the wire, as with traced sockets.

    Args:
        protocol: a protocol, or what makes one: a class or a function without arguments.
        operation: what is done with it, in few words; "tcp", "udp" or "unix" if nothing is said.

    Raises:
        TypeError: it is neither.

    Example:
        >>> loop = asyncio.get_running_loop()
        >>> transport, protocol = await loop.create_connection(
        ...     traced_protocol(MyProtocol), "example.org", 25
        ... )
    """
    given: Any = protocol
    see_current_loop()
    if isinstance(given, (TracedFactory, TracedProtocol)):
        return protocol
    if isinstance(given, type) or not hasattr(given, "connection_made"):
        if not callable(given):
            raise TypeError(
                f"traced_protocol() needs a protocol, or what makes one, not {protocol!r}"
            )
        return TracedFactory(given, operation)  # type: ignore[return-value]  # it makes the same
    traced: AnyProtocol = traced_of(given, TransportConnection(operation))
    return traced


# --- what loops do with them ------------------------------------------------------------------------


def _connecting(
    find_destination: Callable[..., tuple[str, Peer | None, Any]], original: Callable[..., Any]
) -> Callable[..., Any]:
    @wraps(original)
    async def create(self: Any, protocol_factory: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(protocol_factory, TracedFactory):
            transport, protocol = await original(self, protocol_factory, *args, **kwargs)
            if isinstance(protocol, TracedProtocol):
                transport = protocol._self_traced(transport)
            return transport, protocol
        connection = _begun(protocol_factory, *find_destination(*args, **kwargs))
        try:
            make = partial(protocol_factory.make, connection)
            transport, protocol = await original(self, make, *args, **kwargs)
        except BaseException as error:
            connection.end(error)
            raise
        return protocol._self_traced(transport), protocol

    return create


def _begun(factory: TracedFactory, kind: str, peer: Peer | None, sock: Any) -> TransportConnection:
    connection = factory.connection(kind)
    if peer is not None:
        connection.begin(peer)
        if sock is not None:
            connection.found(sock)
    return connection


def _host_and_port(
    host: Any = None, port: Any = None, *_: Any, sock: Any = None, **__: Any
) -> tuple[str, Peer | None, Any]:
    if sock is not None:
        return "tcp", _peer_of_socket(sock), sock
    if isinstance(port, str) and port.isdigit():
        port = int(port)
    return "tcp", peer_of((host, port)), None


def _path(path: Any = None, *_: Any, sock: Any = None, **__: Any) -> tuple[str, Peer | None, Any]:
    return "unix", _peer_of_socket(sock) if path is None else peer_of(path), sock


def _datagrams(
    _: Any = None, remote_addr: Any = None, *, sock: Any = None, **__: Any
) -> tuple[str, Peer | None, Any]:
    if sock is not None:
        return "udp", _peer_of_socket(sock), sock
    return "udp", None if remote_addr is None else peer_of(remote_addr), None


def _accepted(sock: Any, *_: Any, **__: Any) -> tuple[str, Peer | None, Any]:
    return "tcp", _peer_of_socket(sock), sock


def _peer_of_socket(sock: Any) -> Peer | None:
    try:
        return peer_of(sock.getpeername())
    except (OSError, AttributeError):
        return None  # the loop says what is wrong with it


def _upgrading(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    async def start_tls(self: Any, transport: Any, protocol: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(transport, TracedTransport):
            return await original(self, transport, protocol, *args, **kwargs)
        connection, bare = transport._self_connection, transport.__wrapped__
        traced = traced_of(protocol, connection)
        try:
            secure = await original(self, bare, traced, *args, **kwargs)
        except BaseException as error:
            if bare.is_closing():
                connection.end(error)  # not every Python tells the protocol that it is lost
            raise
        connection.upgraded()
        return traced._self_traced(secure)

    return start_tls


def _sending_file(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    async def sendfile(
        self: Any, transport: Any, file: Any, offset: int = 0, count: Any = None, **kwargs: Any
    ) -> Any:
        if not isinstance(transport, TracedTransport):
            return await original(self, transport, file, offset, count, **kwargs)
        connection, bare = transport._self_connection, transport.__wrapped__
        before = _place_in(file)
        try:
            done = await original(self, bare, file, offset, count, **kwargs)
        except BaseException as error:
            after = _place_in(file)
            if not connection.caught_up(bare) and after is not None and after != before:
                # If it came anywhere, it has set the file there.
                connection.given(bare, max(0, after - offset))
            connection.failed(error)
            raise
        connection.given(bare, done)
        return done

    return sendfile


def _place_in(file: Any) -> int | None:
    try:
        return int(file.tell())
    except Exception:  # noqa: BLE001  # the file is what the program made it
        return None


_METHODS: dict[str, Callable[[Callable[..., Any]], Callable[..., Any]]] = {
    "create_connection": partial(_connecting, _host_and_port),
    "create_unix_connection": partial(_connecting, _path),
    "create_datagram_endpoint": partial(_connecting, _datagrams),
    "connect_accepted_socket": partial(_connecting, _accepted),
    "start_tls": _upgrading,
    "sendfile": _sending_file,
}
_patches = Patches()
#: Marks a method as wrapped, whichever class it was found in.
_MARK = "_volnux_wrapped"


def see_loop(kind: type) -> None:
    """Have the loops of a class take traced protocols and transports; done once for each method."""
    with LOCK:
        for name, make in _METHODS.items():
            if not hasattr(getattr(kind, name, None), _MARK):
                _patches.wrap(kind, name, make)
                setattr(vars(kind)[name], _MARK, True)


def see_current_loop() -> None:
    """See to the loop that is running, if it is none of those that everybody knows."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return
    see_loop(type(loop))


def _see_uvloop(module: Any) -> None:
    see_loop(module.Loop)


def _see_all() -> None:
    from wrapt import register_post_import_hook

    for name in ("BaseEventLoop", "SelectorEventLoop", "ProactorEventLoop"):
        if hasattr(asyncio, name):
            see_loop(getattr(asyncio, name))
    # Before it is used: a call of `create_connection` has been looked up when its arguments are made.
    register_post_import_hook(_see_uvloop, "uvloop")


_see_all()
