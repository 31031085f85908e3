"""`traced_socket`: a socket whose connection is a network operation."""

from __future__ import annotations

import errno
import os
import socket
import ssl

from volnux.telemetry.clients._connection import Connection, ConnectionExchange, kind_of, peer_of
from volnux.telemetry.clients._patching import LOCK, Patches
from volnux.telemetry.clients._socket import IDLE, CountedSocket, counted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from volnux.telemetry.clients._socket import Account

    AnySocket = TypeVar("AnySocket", bound=socket.socket)

#: What a `connect` says that goes on, or is over, of a socket that does not block.
_UNDER_WAY = {errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EALREADY, errno.EISCONN}


class TracedSocket(CountedSocket):
    """What `traced_socket` returns: the socket, and `exchange`.

    Its account is its connection until the socket is closed, or goes on as another one.
    """

    _self_account: Account
    _self_connection: Connection

    def __init__(self, sock: Any, connection: Connection) -> None:
        super().__init__(sock, connection)
        self._self_connection = connection

    def exchange(self, operation: str) -> ConnectionExchange:
        """Have what crosses in a with-block count as an operation of its own; see `traced_socket`."""
        return ConnectionExchange(self._self_connection, operation)

    def connect(self, address: Any) -> None:
        is_first = self._self_begin(address)
        try:
            self.__wrapped__.connect(address)
        except BaseException as error:
            self._self_not_connected(error, is_first=is_first)
            raise

    def connect_ex(self, address: Any) -> int:
        is_first = self._self_begin(address)
        try:
            code: int = self.__wrapped__.connect_ex(address)
        except BaseException as error:
            self._self_not_connected(error, is_first=is_first)
            raise
        if code:
            self._self_not_connected(OSError(code, os.strerror(code)), is_first=is_first)
        return code

    def getsockopt(self, *args: Any) -> Any:
        found = self.__wrapped__.getsockopt(*args)
        if found and args == (socket.SOL_SOCKET, socket.SO_ERROR):
            # How a connect ended that did not block; asked for once, it is gone.
            self._self_failed(OSError(found, os.strerror(found)))
        return found

    def sendto(self, data: Any, *args: Any) -> int:
        if args:
            self._self_begin(args[-1])
        return super().sendto(data, *args)

    def sendmsg(self, buffers: Any, *args: Any) -> int:
        self._self_begin(args[2] if len(args) > 2 else None)
        return super().sendmsg(buffers, *args)

    def _self_take(self, name: str, *args: Any) -> Any:
        found = super()._self_take(name, *args)
        # Who listens for datagrams learns from the first one whom it talks to.
        self._self_begin(found[-1])
        return found

    def accept(self) -> tuple[Any, Any]:
        sock, address = self.__wrapped__.accept()
        traced = _traced(sock, self._self_connection.name)
        traced._self_begin(address)
        traced._self_connection.accepted()
        return traced, address

    def _self_begin(self, address: Any) -> bool:
        """Begin the operation; return False if it has begun, or this socket has no part in it."""
        connection = self._self_connection
        if connection.is_open or self._self_account is IDLE:
            return False
        return connection.begin(peer_of(address))

    def _self_not_connected(self, error: BaseException, *, is_first: bool) -> None:
        if getattr(error, "errno", None) in _UNDER_WAY:
            return
        if is_first:
            self._self_account.about_to_close(self.__wrapped__)
            self._self_connection.end(error)
        else:
            self._self_failed(error)

    def _self_like(self, wrapped: Any) -> Any:
        return counted(wrapped, self._self_connection.share(), TracedSocket)

    # --- its end --------------------------------------------------------------------------------

    def _self_look_closed(self) -> None:
        if self.__wrapped__.fileno() < 0:
            self._self_leave()

    def _self_leave(self) -> None:
        """Have no part in the connection any more."""
        account, self._self_account = self._self_account, IDLE
        account.closed()

    def _self_untraced(self) -> Any:
        """End what is recorded, and return the socket itself."""
        self._self_account.about_to_close(self.__wrapped__)
        self._self_leave()
        return self.__wrapped__

    def __del__(self) -> None:
        # Dropped without a close: the socket goes, and the operation with it.
        try:
            self._self_untraced()
        except (AttributeError, TypeError, ValueError):
            pass  # half made, or half of the interpreter is gone


def traced_socket(sock: AnySocket, operation: str | None = None) -> AnySocket:
    r"""Return a socket that records its connection: the same in all it does, but that it counts.

    Hand it on in place of the one given, which must not be used beside it. The connection is one
    network operation, from here (or from `connect`) to its close, under the event that is current
    then, with every byte that went each way; with `sock.exchange("LOGIN")` as a with-block what
    crosses in the block is an operation of its own, and the connection's has the rest. Sockets that a
    listening one accepts are traced; a `dup` counts for the same connection.

    Of TLS, `bytes_sent` and `bytes_received` are the plain bytes that the program exchanged; in Linux
    the attributes `wire_bytes_sent` and `wire_bytes_received` are what crossed the wire for it, as the
    kernel counts. `SSLContext.wrap_socket` of a traced socket gives a traced one, whose operation is
    that of the connection.

    Args:
        sock: any socket of the standard library, connected or not, plain or TLS.
        operation: what is done with it, in few words; "tcp", "udp" or "unix" if nothing is said.

    Raises:
        TypeError: it is no socket.

    Example:
        >>> with traced_socket(socket.create_connection(("example.org", 25))) as sock:
        ...     with sock.exchange("EHLO"):
        ...         sock.sendall(b"EHLO me\r\n")
        ...         sock.recv(1024)
    """
    if not isinstance(sock, socket.socket):
        raise TypeError(f"traced_socket() needs a socket, not {sock!r}")
    if isinstance(sock, TracedSocket):
        return sock
    _see_tls()
    traced = _traced(sock, operation or kind_of(sock))
    traced._self_connection.found(sock)
    return traced


def _traced(sock: Any, name: str) -> TracedSocket:
    connection = Connection(name)
    if isinstance(sock, ssl.SSLSocket):
        connection.upgraded()
    try:
        address = sock.getpeername()
    except OSError:
        pass  # not connected yet
    else:
        connection.begin(peer_of(address))
    traced: TracedSocket = counted(sock, connection, TracedSocket)
    return traced


_tls = Patches()


def _see_tls() -> None:
    """Have `SSLContext.wrap_socket` give a traced socket for a traced one; done once."""
    with LOCK:
        if not _tls:
            _tls.wrap(ssl.SSLContext, "wrap_socket", _wrapping)


def _wrapping(original: Callable[..., Any]) -> Callable[..., Any]:
    from functools import wraps

    @wraps(original)
    def wrap_socket(self: ssl.SSLContext, sock: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(sock, TracedSocket):
            return original(self, sock, *args, **kwargs)
        connection, plain = sock._self_connection, sock.__wrapped__
        try:
            wrapped = original(self, plain, *args, **kwargs)
        except BaseException as error:
            if plain.fileno() < 0:  # taken over, and closed
                connection.trouble(error)
                sock._self_leave()
            raise
        connection.upgraded()
        # From here on the new one has this one's part in the connection.
        sock._self_account, account = IDLE, sock._self_account
        traced = counted(wrapped, connection, TracedSocket)
        traced._self_account = account
        return traced

    return wrap_socket
