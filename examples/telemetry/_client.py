"""An HTTP connection that counts: every byte, each way, as it passes the socket."""

from __future__ import annotations

import http.client
import socket
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from volnux.telemetry import NetworkOp

TIMEOUT: Final = 10.0


class CountedConnection(http.client.HTTPConnection):
    """A connection that tells `op` of every byte: request line, headers, bodies."""

    def __init__(self, host: str, port: int, op: NetworkOp) -> None:
        super().__init__(host, port, timeout=TIMEOUT)
        self._op = op

    def connect(self) -> None:
        """Connect a socket of ours in place of the one that `http.client` would make."""
        self.sock = _CountedSocket(self._op)
        self.sock.settimeout(self.timeout)
        self.sock.connect((self.host, self.port))


class _CountedSocket(socket.socket):
    """Counting here, below every buffer, also counts what came before a connection broke."""

    def __init__(self, op: NetworkOp) -> None:
        super().__init__()
        self._op = op

    def sendall(self, data: Any, flags: int = 0) -> None:
        super().sendall(data, flags)
        self._op.sent(memoryview(data).nbytes)

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        count = super().recv_into(buffer, nbytes, flags)
        self._op.received(count)
        return count
