"""What an HTTP connection has in place of a socket: TLS in TLS, pyOpenSSL's, or a test's."""

from __future__ import annotations

from io import BufferedIOBase, BufferedReader, RawIOBase

from volnux.telemetry._proxy import Proxy
from volnux.telemetry.clients._carrier import Carrier

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from volnux.telemetry.clients._socket import Account


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

    def __init__(self, file: Any, exchange: Account) -> None:
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
