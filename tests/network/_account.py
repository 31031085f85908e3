"""What a server has carried, kept so that a test can wait for it and ask."""

from __future__ import annotations

import threading
from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 10.0


@dataclass
class Exchange:
    """One request, as the server saw it, and the answer to it.

    On plain TCP `wire_received == request_head_bytes + request_framed_bytes`, and `wire_sent` is
    `response_interim_bytes + response_head_bytes + response_framed_bytes`: ours and the kernel's.
    """

    connection_number: int
    #: Counts the exchanges of all connections from 1, in the order of their request heads.
    number: int
    method: str
    target: str
    #: Which time this very target is asked for, from 1.
    attempt: int
    headers: tuple[tuple[str, str], ...]
    request_head_bytes: int
    #: The body without the framing of chunks.
    request_body_bytes: int = 0
    #: The body as it came, with chunk sizes and trailers.
    request_framed_bytes: int = 0
    status: int | None = None
    #: Responses before the response: 100 and 103.
    response_interim_bytes: int = 0
    #: Status line and headers, or what was sent in their place.
    response_head_bytes: int = 0
    #: The body without the framing of chunks, compressed as it went.
    response_body_bytes: int = 0
    response_framed_bytes: int = 0
    #: The body after the client has unpacked it; as long as `response_body_bytes` if not packed.
    response_decoded_bytes: int = 0
    #: The kernel's count, of TLS records too; None where it has none.
    wire_received: int | None = None
    wire_sent: int | None = None
    #: Whether the server has done all that the route stands for, its fault included.
    complete: bool = False
    #: What cut it short: the name of an exception.
    error: str | None = None
    finished: bool = False

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    def header(self, name: str) -> str | None:
        """The last request header of that name, however it was spelled."""
        found = [value for key, value in self.headers if key.lower() == name.lower()]
        return found[-1] if found else None


@dataclass
class Connection:
    """One accepted connection; `received` and `sent` are ours, before TLS."""

    number: int
    received: int = 0
    sent: int = 0
    #: What our own calls moved through the socket: the same as above unless there is TLS.
    raw_received: int = 0
    raw_sent: int = 0
    #: The kernel's count; None where it has none.
    wire_received: int | None = None
    wire_sent: int | None = None
    tls_version: str | None = None
    alpn: str | None = None
    error: str | None = None
    finished: bool = False


@dataclass(eq=False)
class Account:
    """Connections and exchanges of one server; every question gets copies."""

    _connections: list[Connection] = field(default_factory=list)
    _exchanges: list[Exchange] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def connections(self) -> list[Connection]:
        """All connections so far, finished or not."""
        with self._changed:
            return [copy(connection) for connection in self._connections]

    @property
    def exchanges(self) -> list[Exchange]:
        """All exchanges so far, finished or not, in the order of their request heads."""
        with self._changed:
            return [copy(exchange) for exchange in self._exchanges]

    def total_attempts(self, path: str) -> int:
        """How often a path (or a target with its query) was asked for."""
        return sum(path in (exchange.path, exchange.target) for exchange in self.exchanges)

    def wait_begun(self, count: int, timeout: float = PATIENCE) -> list[Exchange]:
        """Wait until the heads of so many requests have come; return all exchanges, open or not."""
        self._wait(lambda: len(self._exchanges) >= count, timeout)
        return self.exchanges

    def wait_exchanges(self, count: int, timeout: float = PATIENCE) -> list[Exchange]:
        """Wait until so many exchanges are finished, and none is open; return them."""
        self._wait(lambda: self._idle() and len(self._exchanges) >= count, timeout)
        return self.exchanges

    def wait_idle(self, timeout: float = PATIENCE) -> list[Exchange]:
        """Wait until every exchange that has begun is finished; return all."""
        self._wait(self._idle, timeout)
        return self.exchanges

    def wait_closed(self, count: int = 1, timeout: float = PATIENCE) -> list[Connection]:
        """Wait until so many connections have been, and none is open; return all."""
        self._wait(lambda: self._closed() and len(self._connections) >= count, timeout)
        return self.connections

    def connect(self) -> Connection:
        """Open the account of a connection."""
        with self._changed:
            connection = Connection(len(self._connections) + 1)
            self._connections.append(connection)
            self._changed.notify_all()
            return connection

    def begin(
        self,
        connection: Connection,
        method: str,
        target: str,
        headers: tuple[tuple[str, str], ...],
        head_bytes: int,
    ) -> Exchange:
        """Open the account of an exchange."""
        with self._changed:
            exchange = Exchange(
                connection.number,
                len(self._exchanges) + 1,
                method,
                target,
                sum(target == other.target for other in self._exchanges) + 1,
                headers,
                head_bytes,
            )
            self._exchanges.append(exchange)
            self._changed.notify_all()
            return exchange

    def finish(self, entry: Connection | Exchange) -> None:
        """Close an account: what it says now is final."""
        with self._changed:
            entry.finished = True
            self._changed.notify_all()

    def _idle(self) -> bool:
        return all(exchange.finished for exchange in self._exchanges)

    def _closed(self) -> bool:
        return all(connection.finished for connection in self._connections)

    def _wait(self, reached: Callable[[], bool], timeout: float) -> None:
        with self._changed:
            if not self._changed.wait_for(reached, timeout):
                state = [*self._connections, *self._exchanges]
                raise AssertionError(f"the server is not there after {timeout} s: {state}")
