"""The socket of an `http.client` connection, made to count, and to give its responses a file that tells its end.

A proxy would be asked for something a dozen times in each exchange, and what a proxy passes on is found
slowly. So the socket stays what it is, and its class becomes one with the same layout whose methods count.
What they count for stands beside the socket, in a `Carrier`.
"""

from __future__ import annotations

from io import BufferedIOBase, BufferedReader, RawIOBase
from socket import SocketIO, socket
from ssl import SSLSocket
from time import monotonic
from weakref import WeakKeyDictionary, ref

from volnux.telemetry._proxy import Proxy, proxy_class
from volnux.telemetry.clients._socket import IDLE, counted, is_trouble

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from volnux.telemetry.clients._exchange import Exchange
    from volnux.telemetry.clients._socket import Account

_close = SocketIO.close
_classes: WeakKeyDictionary[type, type] = WeakKeyDictionary()
_others: WeakKeyDictionary[type, Any] = WeakKeyDictionary()


class Carrier:
    """What a connection's socket carries, an exchange at a time.

    Attributes:
        exchange: a weak reference to it: to whom it matters, the connection or the response's file, has it.
        is_tls: whether the socket is one of TLS.
        is_used: whether it has carried an exchange before.
    """

    __slots__ = ("_sock", "exchange", "is_tls", "is_used")

    def __init__(self, sock: Any) -> None:
        self.is_tls = isinstance(sock, SSLSocket)
        self.is_used = False
        number = id(sock)
        self._sock = ref(sock, lambda _: CARRIERS.pop(number, None))
        self.exchange: Callable[[], Exchange | None] = _nobody
        CARRIERS[number] = self

    @property
    def account(self) -> Account:
        """Where bytes count."""
        return self.exchange() or IDLE


def _nobody() -> None:
    return None


#: By the identity of the socket, for as long as it is there and open.
CARRIERS: dict[int, Carrier] = {}


def made_to_count(sock: Any) -> Any:
    """Return a connection's socket as one that counts: itself, or what stands in for it."""
    kind = type(sock)
    if issubclass(kind, socket) and kind.makefile is socket.makefile:
        try:
            sock.__class__ = _counting(kind)
        except Exception:  # noqa: BLE001  # whatever its class has against being inherited from
            pass
        else:
            Carrier(sock)
            return sock
    return proxy_class(OtherSocket, kind, {}, _others)(sock)


# --- sockets ----------------------------------------------------------------------------------------

#: What a plain socket, and one of TLS, is seldom asked for: done by a proxy that is made for it.
_SELDOM = ("recv", "recvfrom", "recvfrom_into", "recvmsg", "recvmsg_into", "send", "sendmsg", "sendto")
_SELDOM_IN_TLS = ("recv", "recv_into", "recvfrom", "recvfrom_into", "sendto")


def _counting(kind: type) -> type:
    """Return the class of those sockets of a class that count."""
    found = _classes.get(kind)
    if found is None:
        body: dict[str, Any] = {"__slots__": (), "__module__": kind.__module__}
        body |= {"__qualname__": kind.__qualname__, "__doc__": kind.__doc__}
        is_tls = issubclass(kind, SSLSocket)
        body |= _of_any(kind) | (_of_tls(kind) if is_tls else _of_plain(kind))
        found = _classes[kind] = type(kind)(kind.__name__, (kind,), body)
    return found


def _seen(sock: Any, account: Account) -> Any:
    """Return a proxy that counts, of a socket as its own class has it."""
    return counted(super(_classes[type(sock).__bases__[0]], sock), account)


def _account_of(sock: Any) -> Account:
    carrier = CARRIERS.get(id(sock))
    return IDLE if carrier is None else carrier.account


def _seldom(name: str) -> Callable[..., Any]:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(_seen(self, _account_of(self)), name)(*args, **kwargs)

    return method


def _of_any(kind: Any) -> dict[str, Any]:
    def makefile(self: Any, mode: str = "r", buffering: int | None = None, **kwargs: Any) -> Any:
        carrier = CARRIERS.get(id(self))
        exchange = None if carrier is None else carrier.exchange()
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
        exchange, carrier.exchange = carrier.exchange, _nobody
        try:
            return seen.sendfile(*args, **kwargs)
        finally:
            carrier.exchange = exchange

    def dup(self: Any) -> Any:
        copy, carrier = kind.dup(self), CARRIERS.get(id(self))
        if carrier is not None:
            Carrier(copy).exchange = carrier.exchange
        return copy

    def _real_close(self: Any, *args: Any) -> None:
        account = _account_of(self)
        account.about_to_close(self)
        CARRIERS.pop(id(self), None)
        kind._real_close(self, *args)
        account.closed()

    def detach(self: Any) -> int:
        account = _account_of(self)
        account.about_to_close(self)
        CARRIERS.pop(id(self), None)
        number: int = kind.detach(self)
        account.closed()
        return number

    return {each.__name__: each for each in (makefile, sendfile, dup, _real_close, detach)}


def _of_plain(kind: Any) -> dict[str, Any]:
    find, own_send, own_recv_into = CARRIERS.get, kind.send, kind.recv_into

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

    return {name: _seldom(name) for name in _SELDOM} | {"sendall": sendall, "recv_into": recv_into}


def _of_tls(kind: Any) -> dict[str, Any]:
    def send(self: Any, data: Any, flags: int = 0) -> int:
        account = _account_of(self)
        try:
            count: int = kind.send(self, data, flags)
        except BaseException as error:
            if is_trouble(error):
                account.trouble(error)
            raise
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

    def read(self: Any, len: int = 1024, buffer: Any = None) -> Any:  # noqa: A002  # its own name
        account = _account_of(self)
        try:
            found = kind.read(self, len, buffer)
        except BaseException as error:
            if is_trouble(error):
                account.trouble(error)
            raise
        count = found if buffer is not None else found.__len__()
        if count:
            account.received(count, found if buffer is None else buffer)
        elif len:
            account.closed_by_peer()
        return found

    def write(self: Any, data: Any) -> int:
        account = _account_of(self)
        count: int = kind.write(self, data)
        account.sent(count, data)
        return count

    def seldom(name: str) -> Callable[..., Any]:
        seen = _seldom(name)

        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            # As long as it is one of TLS it does so by `read`, or not at all.
            own = seen if self._sslobj is None else getattr(kind, name)
            return own(self, *args, **kwargs)

        return method

    methods = {each.__name__: each for each in (send, sendall, read, write)}
    return {name: seldom(name) for name in _SELDOM_IN_TLS} | methods


class ResponseFile(SocketIO):
    """The file that a response is read from; when it is closed, the exchange is over."""

    exchange: Exchange

    def close(self) -> None:
        exchange = self.exchange
        if not exchange._ended and not self.closed:
            if exchange._wire is not None:
                exchange.about_to_close(self._sock)  # type: ignore[attr-defined]  # SocketIO's own
            if exchange.is_decoded_later:
                exchange.file_closed()
            elif not exchange.is_held:
                exchange.end()
        _close(self)


# --- others -----------------------------------------------------------------------------------------

class OtherSocket(Proxy):
    """What stands in a connection in place of a socket: TLS in TLS, pyOpenSSL's, or a test's.

    It may have little of what sockets have, and nothing is asked of it but what it is asked for.
    """

    _self_file: OtherFile | None = None

    def __init__(self, sock: Any) -> None:
        super().__init__(sock)
        self._self_carrier = Carrier(self)

    def sendall(self, data: Any, *args: Any) -> Any:
        found = self._self_do("sendall", data, *args)
        try:
            count = memoryview(data).nbytes
        except TypeError:  # nobody knows what it was
            return found
        self._self_carrier.account.sent(count, data)
        return found

    def recv(self, *args: Any) -> Any:
        data = self._self_do("recv", *args)
        if isinstance(data, bytes) and data:
            self._self_carrier.account.received(len(data), data)
        return data

    def makefile(self, *args: Any, **kwargs: Any) -> Any:
        file = self.__wrapped__.makefile(*args, **kwargs)
        exchange = self._self_carrier.exchange()
        if exchange is None or not issubclass(type(file), BufferedIOBase) or not file.readable():
            return file
        self._self_file = OtherFile(file, exchange)
        return BufferedReader(self._self_file)

    def close(self) -> None:
        self.__wrapped__.close()
        # A file that is still open is read to its end.
        if self._self_file is None or self._self_file.closed:
            self._self_carrier.account.closed()

    def _self_do(self, name: str, *args: Any) -> Any:
        try:
            return getattr(self.__wrapped__, name)(*args)
        except OSError as error:
            self._self_carrier.account.trouble(error)
            raise


class OtherFile(RawIOBase):
    """The file of such a one that a response is read from, as it is itself underneath."""

    def __init__(self, file: Any, exchange: Exchange) -> None:
        self._file = file
        self._exchange = exchange

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        number: int = self._file.fileno()
        return number

    def readinto(self, buffer: Any) -> int | None:
        exchange = self._exchange
        try:
            data = self._file.read1(len(buffer))
        except BaseException as error:
            exchange.trouble(error)
            raise
        if data is None:
            return None
        count = len(data)
        buffer[:count] = data
        if count:
            exchange.received(count, data)
        else:
            exchange.closed_by_peer()
        return count

    def close(self) -> None:
        if not self.closed:
            self._exchange.file_closed()
            self._file.close()
        super().close()
