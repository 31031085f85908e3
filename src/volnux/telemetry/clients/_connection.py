"""The account of a traced connection: one operation, which exchanges cut into several."""

from __future__ import annotations

import socket

from volnux.telemetry._network import NetworkOp, conclude
from volnux.telemetry._outcome import status_of, type_name
from volnux.telemetry._raw import op_extra_of
from volnux.telemetry._sites import redactor
from volnux.telemetry.clients._kernel import is_accepted, wire_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from volnux.telemetry._raw import Raw

#: The host and port at the other end.
Peer = tuple[str, "int | None"]


class Connection:
    """The account of a traced connection: one operation from its beginning to its close.

    While exchanges are open, bytes count for the one that began last; so no byte counts twice.
    """

    __slots__ = (
        "__weakref__",
        "_exchanges",
        "_is_accepted",
        "_is_tls",
        "_op",
        "_open",
        "_raw",
        "_sockets",
        "_trouble",
        "_wire",
        "_wire_before",
        "name",
        "peer",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        #: Whom it goes to; None before that is known.
        self.peer: Peer | None = None
        self._op: NetworkOp | None = None
        #: The entry of what bytes count for: None before the beginning, after the end and if nothing
        #: is recorded.
        self._raw: Raw | None = None
        self._open: list[NetworkOp] = []
        self._exchanges = 0
        self._sockets = 1
        self._trouble: tuple[str, str, str] | None = None
        self._is_tls = self._is_accepted = False
        self._wire: tuple[int, int] | None = None
        self._wire_before: tuple[int, int] | None = None

    # --- its life -------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether the operation has begun and not ended."""
        return self._op is not None

    def begin(self, peer: Peer) -> bool:
        """Begin the operation; return False if it has begun before."""
        if self._op is not None:
            return False
        self.peer = peer
        self._trouble = self._wire = None
        self._exchanges = len(self._open)
        self._wire_before = (0, 0)
        self._op = NetworkOp(*peer, self.name)
        self._op.__enter__()
        self._choose()
        return True

    def found(self, sock: Any) -> None:
        """Say that the connection was there before: what has crossed it until now is not ours."""
        self._is_accepted = is_accepted(sock)
        self._wire_before = wire_bytes(sock, accepted=self._is_accepted)

    def accepted(self) -> None:
        """Say that the other side has made the connection, just now."""
        self._is_accepted = True

    def upgraded(self) -> None:
        """Say that from here on it is TLS."""
        self._is_tls = True

    def share(self) -> Connection:
        """Have one more socket count here; the operation ends with the last of them."""
        self._sockets += 1
        return self

    def closed(self) -> None:
        """End the operation, if this was the last of its sockets."""
        self._sockets -= 1
        if self._sockets <= 0:
            self.end()

    def end(self, error: BaseException | None = None) -> None:
        """End the operation, with this error or with what is not made good; nothing if it has ended."""
        op, self._op = self._op, None
        self._choose()
        if op is None:
            return
        attributes: dict[str, Any] = {"source": "counted"}
        if self._exchanges:
            attributes["exchanges"] = self._exchanges
        if self._wire is not None:
            attributes["wire_bytes_sent"], attributes["wire_bytes_received"] = self._wire
            attributes["wire_source"] = "tcp_info"
        if error is None and self._trouble is not None and op._raw is not None:
            extra = op_extra_of(op._raw)
            extra.status, extra.error_type, extra.error = self._trouble
        conclude(op, attributes, error)

    # --- exchanges ------------------------------------------------------------------------------

    def enter(self, op: NetworkOp) -> None:
        """Have bytes count for this operation."""
        self._exchanges += 1
        self._open.append(op)
        self._choose()

    def leave(self, op: NetworkOp) -> None:
        """Have bytes count for what is still open."""
        if op in self._open:
            self._open.remove(op)
        self._choose()

    def _choose(self) -> None:
        current = self._open[-1] if self._open else self._op
        self._raw = None if current is None else current._raw

    # --- what crosses ---------------------------------------------------------------------------

    # These two do what those of `NetworkOp` do, which are made for counts that anybody gives.

    def sent(self, count: int, data: Any) -> None:
        """Count bytes that left. A success afterwards makes good what failed before."""
        self._trouble = None
        raw = self._raw
        if raw is not None and raw[5] is None:
            raw[9] += count

    def received(self, count: int, data: Any) -> None:
        """Count bytes that came."""
        self._trouble = None
        raw = self._raw
        if raw is not None and raw[5] is None:
            if raw[11] is None and count:
                now = raw[1].now
                raw[11] = now()
            raw[10] += count

    def closed_by_peer(self) -> None:
        """That the other side has said all is no failure."""

    def file_closed(self) -> None:
        """Of a file made of the socket: the socket is still there."""

    def trouble(self, error: BaseException) -> None:
        """Remember what failed."""
        # Not the exception itself: its frames hold the socket, which would never be let go.
        self._trouble = status_of(error), type_name(error), redactor().error_text(error)

    def about_to_close(self, sock: Any) -> None:
        """Ask the kernel what has crossed, while it can be asked."""
        before = self._wire_before
        if self._is_tls and self._op is not None and before is not None:
            now = wire_bytes(sock, accepted=self._is_accepted)
            if now is not None:
                self._wire = now[0] - before[0], now[1] - before[1]


class ConnectionExchange:
    """One exchange on a traced connection, as a with-block, sync or async."""

    __slots__ = ("_connection", "_op", "_operation")

    def __init__(self, connection: Connection, operation: str) -> None:
        self._connection = connection
        self._operation = operation

    def __enter__(self) -> NetworkOp:
        host, port = self._connection.peer or ("", None)
        self._op = NetworkOp(host, port, self._operation)
        self._op.__enter__()
        self._connection.enter(self._op)
        return self._op

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._connection.leave(self._op)
        conclude(self._op, {"source": "counted"}, error)

    async def __aenter__(self) -> NetworkOp:
        return self.__enter__()

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self.__exit__(kind, error, traceback)


def kind_of(sock: Any) -> str:
    """Return what an operation on a socket is called if nothing is said."""
    if sock.family == getattr(socket, "AF_UNIX", None):
        return "unix"
    return "udp" if sock.type == socket.SOCK_DGRAM else "tcp"


def peer_of(address: Any) -> Peer:
    """Return the host and port that a socket's address names; of a Unix socket's path the last part."""
    if not isinstance(address, tuple):
        name = _text_of(address).rstrip("/").rpartition("/")[2]
        # A socket pair has no name, and one that begins with a zero byte is in no folder.
        return name.replace("\0", "@") or "localhost", None
    port = address[1] if len(address) > 1 else None
    is_port = isinstance(port, int) and 0 <= port <= 65_535
    return _text_of(address[0]) or "localhost", port if is_port else None


def _text_of(name: Any) -> str:
    if isinstance(name, (bytes, bytearray)):
        return name.decode("utf-8", "replace")
    return "" if name is None else str(name)
