"""The socket of an `http.client` connection, made to count, and to give its responses a file that tells its end.

A proxy would be asked for something a dozen times in each exchange, and what a proxy passes on is found
slowly. So the socket stays what it is, and its class becomes one with the same layout whose methods count.
What they count for stands beside the socket, in a `Carrier`.
"""

from __future__ import annotations

from functools import wraps
from io import BufferedReader
from socket import SocketIO, socket
from ssl import SSLSocket
from time import monotonic
from weakref import WeakKeyDictionary

from volnux.telemetry._proxy import proxy_class
from volnux.telemetry.clients._carrier import CARRIERS, Carrier, nobody
from volnux.telemetry.clients._other_socket import OtherSocket
from volnux.telemetry.clients._roots import is_trouble
from volnux.telemetry.clients._socket import IDLE, counted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from volnux.telemetry.clients._exchange import Exchange
    from volnux.telemetry.clients._socket import Account

_close = SocketIO.close
_classes: WeakKeyDictionary[type, type] = WeakKeyDictionary()
_others: WeakKeyDictionary[type, Any] = WeakKeyDictionary()


def made_to_count(sock: Any) -> Any:
    """Return a connection's socket as one that counts: itself, or what stands in for it."""
    kind = type(sock)
    if issubclass(kind, socket) and kind.makefile is socket.makefile:
        try:
            sock.__class__ = _counting(kind)
        except Exception:  # noqa: BLE001  # whatever its class has against being inherited from
            return proxy_class(OtherSocket, kind, {}, _others)(sock)
        Carrier(sock)
        return sock
    return proxy_class(OtherSocket, kind, {}, _others)(sock)


#: What a plain socket, and one of TLS, is seldom asked for: done by a proxy that is made for it.
_SELDOM = (
    "recv",
    "recvfrom",
    "recvfrom_into",
    "recvmsg",
    "recvmsg_into",
    "send",
    "sendmsg",
    "sendto",
)
_SELDOM_IN_TLS = ("recv", "recv_into", "recvfrom", "recvfrom_into", "sendto")


def _counting(kind: type) -> type:
    """Return the class of those sockets of a class that count."""
    found = _classes.get(kind)
    if found is None:
        body: dict[str, Any] = {"__slots__": (), "__module__": kind.__module__}
        body |= {"__qualname__": kind.__qualname__, "__doc__": kind.__doc__}
        body |= _of_any(kind)
        if issubclass(kind, SSLSocket):
            body |= {**_seldom_of_tls(kind), **_out_of_tls(kind), "read": _read_of_tls(kind)}
        else:
            body |= {name: _seldom(name) for name in _SELDOM}
            body |= {"sendall": _sendall_of(kind), "recv_into": _recv_into_of(kind)}
        found = _classes[kind] = type(kind)(kind.__name__, (kind,), body)
    return found


def _seen(sock: Any, account: Account) -> Any:
    """Return a proxy that counts, of a socket as its own class has it."""
    return counted(super(_classes[type(sock).__bases__[0]], sock), account)


def _account_of(sock: Any) -> Account:
    carrier = CARRIERS.get(id(sock))
    return IDLE if carrier is None else carrier.account


def _watched(account: Account, method: Callable[..., Any], *args: Any) -> Any:
    """Call a method of a socket's own class, and have its account know of what goes wrong."""
    try:
        return method(*args)
    except BaseException as error:
        if is_trouble(error):
            account.trouble(error)
        raise


def _seldom(name: str) -> Callable[..., Any]:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(_seen(self, _account_of(self)), name)(*args, **kwargs)

    return method


def _of_any(kind: Any) -> dict[str, Any]:
    def makefile(self: Any, mode: str = "r", buffering: int | None = None, **kwargs: Any) -> Any:
        carrier = CARRIERS.get(id(self))
        exchange: Any = None if carrier is None else carrier.exchange()
        if exchange is None or mode != "rb" or buffering is not None:
            return kind.makefile(self, mode, buffering, **kwargs)
        file = ResponseFile(self, "r")
        file.exchange = exchange
        self._io_refs += 1  # as its own does: a closed socket stays open for its files
        return BufferedReader(file)

    def sendfile(self: Any, *args: Any, **kwargs: Any) -> Any:
        carrier = CARRIERS.get(id(self))
        if carrier is None:
            return kind.sendfile(self, *args, **kwargs)
        # It may do so by `send`, which is not to count the same bytes again.
        seen = _seen(self, carrier.account)
        exchange, carrier.exchange = carrier.exchange, nobody
        try:
            return seen.sendfile(*args, **kwargs)
        finally:
            carrier.exchange = exchange

    def dup(self: Any) -> Any:
        copy, carrier = kind.dup(self), CARRIERS.get(id(self))
        if carrier is not None:
            made = Carrier(copy)
            made.exchange, made.is_copy = carrier.exchange, True
        return copy

    def leaving(leave: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(leave)
        def left(self: Any, *args: Any) -> Any:
            carrier = CARRIERS.pop(id(self), None)
            if carrier is None or carrier.is_copy:
                return leave(self, *args)
            account = carrier.account
            account.about_to_close(self)
            found = leave(self, *args)
            account.closed()
            return found

        return left

    methods = {each.__name__: each for each in (makefile, sendfile, dup)}
    return methods | {name: leaving(getattr(kind, name)) for name in ("_real_close", "detach")}


def _sendall_of(kind: Any) -> Callable[..., None]:
    find, own_send = CARRIERS.get, kind.send

    def sendall(self: Any, data: Any, flags: int = 0, /) -> None:
        carrier = find(id(self))
        if carrier is None or flags or type(data) is not bytes:
            _seen(self, _account_of(self)).sendall(data, flags)
            return
        # The system's own says after a failure not how far it came, so it is done in steps here.
        begun = monotonic()
        exchange = carrier.exchange()
        try:
            count: int = own_send(self, data)
        except BaseException as error:
            if exchange is not None and is_trouble(error):
                exchange.trouble(error)
            raise
        if exchange is not None:
            exchange.sent(count, data)
        if count < len(data):
            _seen(self, carrier.account)._self_send_rest(data, count, 0, begun)

    return sendall


def _recv_into_of(kind: Any) -> Callable[..., int]:
    find, own_recv_into = CARRIERS.get, kind.recv_into

    def recv_into(self: Any, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        carrier = find(id(self))
        exchange = None if carrier is None else carrier.exchange()
        if exchange is None or nbytes or flags:
            found: int = _seen(self, exchange or IDLE).recv_into(buffer, nbytes, flags)
            return found
        try:
            count: int = own_recv_into(self, buffer)
        except BaseException as error:
            if is_trouble(error):
                exchange.trouble(error)
            raise
        if count:
            exchange.received(count, buffer)
        elif memoryview(buffer).nbytes:
            exchange.closed_by_peer()
        return count

    return recv_into


def _out_of_tls(kind: Any) -> dict[str, Any]:
    def send(self: Any, data: Any, flags: int = 0) -> int:
        account = _account_of(self)
        count: int = _watched(account, kind.send, self, data, flags)
        account.sent(count, data)
        return count

    def sendall(self: Any, data: Any, flags: int = 0) -> None:
        if self._sslobj is None:
            _seen(self, _account_of(self)).sendall(data, flags)
            return
        # In one piece, if it can be: its own way is by `send`, in pieces of a view.
        done = send(self, data) if type(data) is bytes and data and not flags else 0
        if not done or done < len(data):
            with memoryview(data).cast("B")[done:] as rest:
                kind.sendall(self, rest, flags)

    def write(self: Any, data: Any) -> int:
        account = _account_of(self)
        count: int = _watched(account, kind.write, self, data)
        account.sent(count, data)
        return count

    return {"send": send, "sendall": sendall, "write": write}


def _read_of_tls(kind: Any) -> Callable[..., Any]:
    size = len

    def read(self: Any, len: int = 1024, buffer: Any = None) -> Any:
        account = _account_of(self)
        found = _watched(account, kind.read, self, len, buffer)
        count = found if buffer is not None else size(found)
        if count:
            account.received(count, found if buffer is None else buffer)
        elif len:
            account.closed_by_peer()
        return found

    return read


def _seldom_of_tls(kind: Any) -> dict[str, Any]:
    def seldom(name: str) -> Callable[..., Any]:
        seen = _seldom(name)

        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            # As long as it is one of TLS it does so by `read`, or not at all.
            own = seen if self._sslobj is None else getattr(kind, name)
            return own(self, *args, **kwargs)

        return method

    return {name: seldom(name) for name in _SELDOM_IN_TLS}


class ResponseFile(SocketIO):
    """The file that a response is read from; when it is closed, the exchange is over."""

    exchange: Exchange

    def close(self) -> None:
        exchange = self.exchange
        if not exchange._ended and not self.closed:
            if exchange._wire is not None:
                exchange.about_to_close(self._sock)  # type: ignore[attr-defined]  # SocketIO's own
            if exchange.is_decoded_later:  # else at once what `file_closed` comes to
                exchange.file_closed()
            elif not exchange.is_held:
                exchange.end()
        _close(self)
