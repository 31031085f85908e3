"""The socket of an `http.client` connection: one that counts, and gives its responses a file that does."""

from __future__ import annotations

from io import BufferedReader
from socket import SocketIO

from volnux.telemetry.clients._socket import CountedSocket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from volnux.telemetry.clients._exchange import Exchange

_readinto = SocketIO.readinto


class HttpSocket(CountedSocket):
    """A socket whose account is an exchange at a time."""

    #: Whether an exchange has used it.
    _self_used = False

    def makefile(self, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if mode != "rb" or args or kwargs:
            return super().makefile(mode, *args, **kwargs)
        return BufferedReader(ResponseFile(self.__wrapped__, self._self_account))


class ResponseFile(SocketIO):
    """The file that a response is read from; when it is closed, the exchange is over."""

    def __init__(self, sock: Any, exchange: Any) -> None:
        super().__init__(sock, "r")
        sock._io_refs += 1  # as `makefile` does: a closed socket stays open for its files
        self._exchange: Exchange = exchange

    def readinto(self, buffer: Any) -> int | None:
        exchange = self._exchange
        try:
            count = _readinto(self, buffer)
        except BaseException as error:
            exchange.trouble(error)
            raise
        if count:
            # The buffer is used again, and what is read late has to be kept.
            is_late = exchange._response is None
            exchange.received(count, bytes(buffer[:count]) if is_late else buffer)
        elif count == 0:
            exchange.closed_by_peer()
        return count

    def close(self) -> None:
        if not self.closed:
            exchange = self._exchange
            if exchange._wire is not None:
                exchange.about_to_close(self._sock)  # type: ignore[attr-defined]  # SocketIO's own
            exchange.file_closed()
        super().close()
