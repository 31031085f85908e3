"""An HTTP/1.1 server on bare sockets that sends exactly the bytes its routes say, and counts them."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from typing import TYPE_CHECKING

from tests.network import _faults  # noqa: F401  (registers its routes)
from tests.network._listener import Listener, tcp_socket
from tests.network._routes import BINARY
from tests.network._turn import LAZY, ROUTES, Turn, parse
from tests.network._wire import Gate

if TYPE_CHECKING:
    from tests.network._account import Exchange
    from tests.network._authority import Authority
    from tests.network._wire import Wire

_HEAD_END = b"\r\n\r\n"


class RawServer(Listener):
    """Serves the routes of _routes.py and _faults.py on 127.0.0.1 while its block lasts.

    Args:
        tls: whose certificate to show; plain HTTP without.
        certificate: which one of the authority's: "good", "wrong-name", "expired", "untrusted".
    """

    def __init__(self, *, tls: Authority | None = None, certificate: str = "good") -> None:
        #: Opened by `release()`: whatever hangs goes on.
        self.released = Gate()
        #: One step for each part of a gated stream.
        self.steps = Gate()
        self._failures: Counter[str] = Counter()
        self._failing = threading.Lock()
        super().__init__(tcp_socket(), tls, certificate)
        self.host, self.port = self.address

    def url(self, target: str = "/") -> str:
        """The URL of a route."""
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}{target}"

    def release(self) -> None:
        """Let whatever hangs, now or later, go on."""
        self.released.open()

    def step(self, count: int = 1) -> None:
        """Let so many parts of gated streams (`/drip/N`, `?gated=1`) go."""
        self.steps.step(count)

    def failures(self, key: str) -> int:
        """Count one more request of `/retry` for that key, and say how many there were."""
        with self._failing:
            self._failures[key] += 1
            return self._failures[key]

    def close(self) -> None:
        """End every connection and thread; see `Listener.close`."""
        super().close()
        self.released.close()
        self.steps.close()

    def _serve(self, wire: Wire) -> None:
        wire.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wire.drain()
        counted = wire.kernel()
        ending = "keep"
        while ending == "keep" and (head := wire.until(_HEAD_END)):
            exchange = self.begin(wire.account, *parse(head), len(head))
            try:
                ending = self._answer(wire, exchange)
                exchange.complete = True
            except Exception as error:
                exchange.error = type(error).__name__
                raise
            finally:
                counted = _settle(wire, exchange, counted)
                if ending == "reset":
                    wire.end(reset=True)
                self.finish(exchange)

    def _answer(self, wire: Wire, exchange: Exchange) -> str:
        turn = Turn(wire, exchange, self)
        name = turn.segments[0]
        if name not in LAZY:
            for _ in turn.pieces():
                pass
        if name in ROUTES:
            ROUTES[name](turn)
        else:
            turn.answer(b"no such route\n", BINARY, status=404)
        return turn.ending


def _settle(
    wire: Wire, exchange: Exchange, before: tuple[int, int] | tuple[None, None]
) -> tuple[int, int] | tuple[None, None]:
    """Write down what the kernel has counted since the exchange before."""
    try:
        wire.drain()
        after = wire.kernel()
    except OSError:
        return None, None
    if after[0] is None or before[0] is None:
        return after
    exchange.wire_received = after[0] - before[0]
    exchange.wire_sent = after[1] - before[1]
    return after
