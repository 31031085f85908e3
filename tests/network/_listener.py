"""A listening socket with a thread for itself and one for each connection, all bounded."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Any

from tests.network._account import PATIENCE, Account
from tests.network._wire import Gate, Wire, readable

if TYPE_CHECKING:
    from typing_extensions import Self

    from tests.network._authority import Authority


def tcp_socket() -> socket.SocketType:
    """A socket on a free port of 127.0.0.1."""
    bound = socket.SocketType(socket.AF_INET, socket.SOCK_STREAM)
    bound.bind(("127.0.0.1", 0))
    return bound


class Serving:
    """What every server here is: it serves while its block lasts, over TLS if it has an authority."""

    tls: Authority | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def ca(self) -> Authority:
        """The authority behind the certificate: `.pem`, `.client_context()`."""
        assert self.tls is not None, "a plain server has no certificate"
        return self.tls

    def close(self) -> None:
        """End the service."""
        raise NotImplementedError


class Listener(Serving, Account):
    """Serves each connection in a thread of its own, while its block lasts.

    Args:
        bound: where to listen.
        tls: whose certificate to show; no TLS without.
        certificate: which one of the authority's: "good", "wrong-name", "expired", "untrusted".
    """

    def __init__(
        self, bound: socket.SocketType, tls: Authority | None = None, certificate: str = "good"
    ) -> None:
        super().__init__()
        self.tls = tls
        #: Where clients connect to.
        self.address: Any = bound.getsockname()
        self._context = tls.server_context(certificate) if tls else None
        self._listening = bound
        self._stop = Gate()
        self._wires: list[Wire] = []
        self._threads: list[threading.Thread] = []
        self._mistakes: list[BaseException] = []
        self._listening.listen(128)
        self._listening.setblocking(False)
        self._accepting = threading.Thread(target=self._accept, name="test-server")
        self._accepting.start()

    def close(self) -> None:
        """End every connection and thread.

        Raises:
            AssertionError: A thread did not end, or the server itself made a mistake.
        """
        if self._stop.is_open:
            return
        self._stop.open()
        self._accepting.join(PATIENCE)
        for wire in self._wires:
            wire.interrupt()
        for thread in self._threads:
            thread.join(PATIENCE)
        self._listening.close()
        left = [t.name for t in (self._accepting, *self._threads) if t.is_alive()]
        if left:
            raise AssertionError(f"the server did not end: {left}")
        self._stop.close()
        if self._mistakes:
            raise AssertionError("the server made a mistake") from self._mistakes[0]

    def _accept(self) -> None:
        while True:
            readable(self._listening, self._stop)
            if self._stop.is_open:
                return
            try:
                descriptor, _ = self._listening._accept()  # type: ignore[attr-defined]
            except BlockingIOError:
                continue  # That client has left again.
            bare = socket.SocketType(fileno=descriptor)
            wire = Wire(bare, self.connect(), self._stop)
            thread = threading.Thread(
                target=self._talk, args=(wire,), name=f"test-server-{wire.account.number}"
            )
            self._wires.append(wire)
            self._threads.append(thread)
            thread.start()

    def _serve(self, wire: Wire) -> None:
        raise NotImplementedError

    def _talk(self, wire: Wire) -> None:
        account = wire.account
        try:
            if self._context is not None:
                wire.start_tls(self._context)
            self._serve(wire)
        except OSError as error:  # What clients do to a server, TLS errors included.
            account.error = type(error).__name__
        except BaseException as mistake:
            self._mistakes.append(mistake)
        finally:
            wire.end()
            self.finish(account)
