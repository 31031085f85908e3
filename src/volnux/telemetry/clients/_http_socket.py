"""The socket of an `http.client` connection: one that counts, and gives its responses a file that does."""

from __future__ import annotations

from io import BufferedIOBase, BufferedReader, RawIOBase
from operator import attrgetter
from socket import SocketIO, socket
from ssl import SSLSocket
from weakref import WeakKeyDictionary

from volnux.telemetry._proxy import Proxy, proxy_class
from volnux.telemetry.clients._socket import CountedSocket, counted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from volnux.telemetry.clients._exchange import Exchange

_readinto, _close = SocketIO.readinto, SocketIO.close
_others: WeakKeyDictionary[type, Any] = WeakKeyDictionary()


def carrier(sock: Any, exchange: Exchange) -> Any:
    """Return a connection's socket as one that counts for an exchange."""
    kind = type(sock)
    if issubclass(kind, socket) and kind.makefile is socket.makefile:
        found = counted(sock, exchange, HttpSocket)
    else:
        found = proxy_class(OtherSocket, kind, {}, _others)(sock, exchange)
    found._self_is_tls = isinstance(sock, SSLSocket)
    return found


def _passed_on(name: str) -> Any:
    def change(self: Any, value: Any) -> None:
        setattr(self.__wrapped__, name, value)

    return property(attrgetter(f"__wrapped__.{name}"), change)


class HttpSocket(CountedSocket):
    """A socket whose account is an exchange at a time."""

    #: Whether an exchange has used it; whether it is one of TLS.
    _self_used = _self_is_tls = False
    _self_account: Exchange

    #: What urllib3 asks for in every exchange. Found here at once: what a proxy has not is looked for in
    #: vain first, and before Python 3.12 an exception is made each time.
    fileno, settimeout, shutdown = map(_passed_on, ("fileno", "settimeout", "shutdown"))

    def makefile(self, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if mode != "rb" or args or kwargs:
            return super().makefile(mode, *args, **kwargs)
        sock = self.__wrapped__
        file = ResponseFile(sock, "r")
        file._exchange = self._self_account
        sock._io_refs += 1  # as its own does: a closed socket stays open for its files
        return BufferedReader(file)


class ResponseFile(SocketIO):
    """The file that a response is read from; when it is closed, the exchange is over."""

    _exchange: Exchange

    def readinto(self, buffer: Any) -> int | None:
        exchange = self._exchange
        try:
            count = _readinto(self, buffer)
        except BaseException as error:
            exchange.trouble(error)
            raise
        if count:
            # The buffer is used again, and what is read late has to be kept.
            if exchange._response is None:
                buffer = bytes(buffer[:count])
            exchange.received(count, buffer)
        elif count == 0:
            exchange.closed_by_peer()
        return count

    def close(self) -> None:
        exchange = self._exchange
        if not exchange._ended and not self.closed:
            if exchange._wire is not None:
                exchange.about_to_close(self._sock)  # type: ignore[attr-defined]  # SocketIO's own
            exchange.file_closed()
        _close(self)


class OtherSocket(Proxy):
    """What stands in a connection in place of a socket: TLS in TLS, pyOpenSSL's, or a test's.

    It may have little of what sockets have, and nothing is asked of it but what it is asked for.
    """

    _self_used = _self_is_tls = False
    _self_account: Exchange
    _self_file: OtherFile | None = None

    def __init__(self, sock: Any, account: Exchange) -> None:
        super().__init__(sock)
        self._self_account = account

    def sendall(self, data: Any, *args: Any) -> Any:
        found = self._self_do("sendall", data, *args)
        try:
            count = memoryview(data).nbytes
        except TypeError:  # nobody knows what it was
            return found
        self._self_account.sent(count, data)
        return found

    def recv(self, *args: Any) -> Any:
        data = self._self_do("recv", *args)
        if isinstance(data, bytes) and data:
            self._self_account.received(len(data), data)
        return data

    def makefile(self, *args: Any, **kwargs: Any) -> Any:
        file = self.__wrapped__.makefile(*args, **kwargs)
        if not issubclass(type(file), BufferedIOBase) or not file.readable():
            return file
        self._self_file = OtherFile(file, self._self_account)
        return BufferedReader(self._self_file)

    def close(self) -> None:
        self.__wrapped__.close()
        # A file that is still open is read to its end.
        if self._self_file is None or self._self_file.closed:
            self._self_account.closed()

    def _self_do(self, name: str, *args: Any) -> Any:
        try:
            return getattr(self.__wrapped__, name)(*args)
        except OSError as error:
            self._self_account.trouble(error)
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
