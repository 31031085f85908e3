"""A socket that counts: a transparent proxy around one, plain or TLS.

Everything that moves bytes is counted at the lowest layer of Python, once: what a socket does by way of
its own other methods it does on the wrapped one, which counts nothing. A byte counts as sent when the
system has taken it, and as received when the program has.
"""

from __future__ import annotations

import socket
from operator import index
from time import monotonic
from weakref import WeakKeyDictionary

from volnux.telemetry._proxy import Proxy, defines, proxy_class
from volnux.telemetry.clients._buffers import (
    APART,
    UNSEEN,
    Watched,
    bytes_of,
    is_ready_to_send,
    spread,
)
from volnux.telemetry.clients._roots import is_trouble

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, Protocol

    class Account(Protocol):
        """Where what crosses a socket is counted."""

        def sent(self, count: int, data: Any) -> None: ...
        def received(self, count: int, data: Any) -> None: ...
        def closed_by_peer(self) -> None: ...
        def trouble(self, error: BaseException) -> None: ...
        def about_to_close(self, sock: Any) -> None: ...
        def file_closed(self) -> None: ...
        def closed(self) -> None: ...


class Idle:
    """The account of a connection that nobody is using."""

    def sent(self, count: int, data: Any) -> None:
        """Count nothing."""

    received = sent

    def closed_by_peer(self) -> None:
        """Nobody waits for anything."""

    def trouble(self, error: BaseException) -> None:
        """Nothing can fail."""

    def about_to_close(self, sock: Any) -> None:
        """Nothing is left to be asked."""

    file_closed = closed = closed_by_peer


IDLE = Idle()


class CountedSocket(Proxy):
    """A socket, plain or TLS, whose bytes go to an account. It is what the wrapped one is otherwise.

    `_self_account` may be set at any time; what crosses afterwards is counted there.
    """

    _self_account: Account

    #: What is found in the proxy is found at once: by wrapt's own way that takes five times as long.
    __getattribute__ = object.__getattribute__

    def __init__(self, sock: Any, account: Account) -> None:
        super().__init__(sock)
        self._self_account = account
        self._self_send = sock.send
        self._self_recv = sock.recv
        self._self_recv_into = sock.recv_into

    def __enter__(self) -> Any:
        self.__wrapped__.__enter__()
        return self

    def __exit__(self, *exc_info: object) -> None:
        if isinstance(exc_info[1], BaseException):
            self._self_account.trouble(exc_info[1])
        self.close()

    def __reduce_ex__(self, protocol: object) -> Any:
        # A socket cannot be pickled, but by multiprocessing, which knows how to hand it on.
        return _itself, (self.__wrapped__,)

    def _self_like(self, wrapped: Any) -> Any:
        return counted(wrapped, self._self_account)

    # --- out ------------------------------------------------------------------------------------

    def send(self, data: Any, flags: int = 0) -> int:
        try:
            count: int = self._self_send(data, flags) if flags else self._self_send(data)
        except BaseException as error:
            self._self_failed(error)
            raise
        self._self_account.sent(count, data)
        return count

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        # The system's own says after a failure not how far it came, so it is done in steps here.
        begun = monotonic()
        try:
            count: int = self._self_send(data, flags) if flags else self._self_send(data)
        except BaseException as error:
            self._self_failed(error)
            raise
        self._self_account.sent(count, data)
        if count < (len(data) if type(data) is bytes else memoryview(data).nbytes):
            self._self_send_rest(data, count, flags, begun)

    def _self_send_rest(self, data: Any, done: int, flags: int, begun: float) -> None:
        timeout = self.__wrapped__.gettimeout()
        with bytes_of(data) as view:
            while done < len(view):
                if timeout:
                    self._self_wait_to_send(begun + timeout)
                with view[done:] as rest:  # given back at once: it keeps a bytearray from changing
                    done += self.send(rest, flags)

    def _self_wait_to_send(self, deadline: float) -> None:
        """Wait until something can be sent; the timeout of `sendall` is one for all of its steps."""
        try:
            is_ready = is_ready_to_send(self.__wrapped__, deadline - monotonic())
        except BaseException as error:
            self._self_failed(error)
            raise
        if not is_ready:
            late = TimeoutError("timed out")
            self._self_failed(late)
            raise late

    def sendto(self, data: Any, *args: Any) -> int:
        count: int = self._self_do("sendto", data, *args)
        self._self_account.sent(count, data)
        return count

    def sendmsg(self, buffers: Iterable[Any], *args: Any) -> int:
        parts = list(buffers)  # it may be an iterator, and is needed twice
        count: int = self._self_do("sendmsg", parts, *args)
        spread(self._self_account.sent, count, parts)
        return count

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        watched = Watched(file)
        try:
            done: int = self.__wrapped__.sendfile(watched, offset, count)
        except BaseException as error:
            # On its way out it sets the file where it came to.
            if watched.place is not None and watched.place > offset:
                self._self_account.sent(watched.place - offset, UNSEEN)
            self._self_failed(error)
            raise
        self._self_account.sent(done, UNSEEN)
        return done

    # --- in -------------------------------------------------------------------------------------

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        try:
            data: bytes = self._self_recv(size, flags) if flags else self._self_recv(size)
        except BaseException as error:
            self._self_failed(error)
            raise
        if data and not flags:
            self._self_account.received(len(data), data)
        elif not index(flags) & APART:
            self._self_came(len(data), data, size)
        return data

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        try:
            count: int = (
                self._self_recv_into(buffer, nbytes, flags)
                if nbytes or flags
                else self._self_recv_into(buffer)
            )
        except BaseException as error:
            self._self_failed(error)
            raise
        if count and not flags:
            self._self_account.received(count, buffer)
        elif not index(flags) & APART:
            self._self_came(count, buffer, nbytes or memoryview(buffer).nbytes)
        return count

    def recvfrom(self, size: int, flags: int = 0, /) -> tuple[bytes, Any]:
        found: tuple[bytes, Any] = self._self_take("recvfrom", size, flags)
        if not index(flags) & APART:
            self._self_came(len(found[0]), found[0], size)
        return found

    def recvfrom_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> tuple[int, Any]:
        found: tuple[int, Any] = self._self_take("recvfrom_into", buffer, nbytes, flags)
        if not index(flags) & APART:
            self._self_came(found[0], buffer, nbytes or memoryview(buffer).nbytes)
        return found

    def recvmsg(self, size: int, *args: Any) -> tuple[bytes, Any, int, Any]:
        found: tuple[bytes, Any, int, Any] = self._self_take("recvmsg", size, *args)
        if not (len(args) > 1 and index(args[1]) & APART):
            self._self_came(len(found[0]), found[0], size)
        return found

    def recvmsg_into(self, buffers: Iterable[Any], *args: Any) -> tuple[int, Any, int, Any]:
        parts = list(buffers)
        found: tuple[int, Any, int, Any] = self._self_take("recvmsg_into", parts, *args)
        if len(args) > 1 and index(args[1]) & APART:
            return found
        if found[0]:
            spread(self._self_account.received, found[0], parts)
        else:
            self._self_came(0, b"", sum(memoryview(part).nbytes for part in parts))
        return found

    def _self_do(self, name: str, *args: Any, **kwargs: Any) -> Any:
        try:
            return getattr(self.__wrapped__, name)(*args, **kwargs)
        except BaseException as error:
            self._self_failed(error)
            raise

    #: What takes in by `recvfrom` and the like, which tell who has sent it.
    _self_take = _self_do

    def _self_came(self, count: int, data: Any, wanted: int) -> None:
        if count:
            self._self_account.received(count, data)
        elif wanted and self.__wrapped__.type == socket.SOCK_STREAM:
            self._self_account.closed_by_peer()

    def _self_failed(self, error: BaseException) -> None:
        if is_trouble(error):
            self._self_account.trouble(error)

    # --- around ---------------------------------------------------------------------------------

    def accept(self) -> tuple[Any, Any]:
        sock, address = self.__wrapped__.accept()
        return self._self_like(sock), address

    def dup(self) -> Any:
        return self._self_like(self.__wrapped__.dup())

    def makefile(self, *args: Any, **kwargs: Any) -> Any:
        # The socket module's own, on this one: the file reads and writes through what is counted here.
        return socket.socket.makefile(self, *args, **kwargs)

    def _decref_socketios(self) -> None:
        self._self_account.about_to_close(self.__wrapped__)
        self._self_account.file_closed()
        self.__wrapped__._decref_socketios()
        self._self_look_closed()

    def close(self) -> None:
        self._self_account.about_to_close(self.__wrapped__)
        self.__wrapped__.close()
        self._self_look_closed()

    def _self_look_closed(self) -> None:
        # Files that are still open keep a closed socket open.
        if self.__wrapped__.fileno() < 0:
            self._self_account.closed()

    def detach(self) -> int:
        self._self_account.about_to_close(self.__wrapped__)
        number: int = self.__wrapped__.detach()
        self._self_look_closed()
        return number


class _CountedTLS:
    """What a TLS socket has besides, or does otherwise."""

    def sendall(self: Any, data: Any, flags: int = 0) -> None:
        if flags or getattr(self.__wrapped__, "_sslobj", None) is None:
            CountedSocket.sendall(self, data, flags)
            return
        # As TLS has it: what is empty is not sent, and each step has the timeout for itself.
        done = self.send(data) if type(data) is bytes and data else 0
        if done and done == len(data):
            return
        with bytes_of(data) as view:
            while done < len(view):
                with view[done:] as rest:
                    done += self.send(rest)

    def recv(self: Any, buflen: int = 1024, flags: int = 0) -> bytes:
        return CountedSocket.recv(self, buflen, flags)

    def recvfrom(self: Any, buflen: int = 1024, flags: int = 0) -> tuple[bytes, Any]:
        return CountedSocket.recvfrom(self, buflen, flags)

    def read(self: Any, *args: Any, **kwargs: Any) -> Any:
        found = self._self_do("read", *args, **kwargs)
        wanted = args[0] if args else kwargs.get("len", 1024)
        if isinstance(found, int):
            self._self_came(found, args[1] if len(args) > 1 else kwargs["buffer"], wanted)
        else:
            self._self_came(len(found), found, wanted)
        return found

    def write(self: Any, data: Any) -> int:
        count: int = self._self_do("write", data)
        self._self_account.sent(count, data)
        return count

    def do_handshake(self: Any, *args: Any, **kwargs: Any) -> None:
        self._self_do("do_handshake", *args, **kwargs)

    def unwrap(self: Any) -> Any:
        plain = self._self_do("unwrap")
        return self if plain is self.__wrapped__ else self._self_like(plain)


def _itself(sock: Any) -> Any:
    return sock


_TLS_METHODS: dict[str, Callable[..., Any]] = {
    name: method for name, method in vars(_CountedTLS).items() if not name.startswith("_")
}
_known: WeakKeyDictionary[type, WeakKeyDictionary[type, Any]] = WeakKeyDictionary()


def counted(sock: Any, account: Account, base: type = CountedSocket) -> Any:
    """Return a socket, plain or TLS, as one that counts."""
    kind = type(sock)
    special = _TLS_METHODS if defines(kind, "unwrap") else {}
    known = _known.setdefault(base, WeakKeyDictionary())
    return proxy_class(base, kind, special, known)(sock, account)
