"""One request being answered: what the routes of the raw server are written with."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from tests.network._wire import Gone, Malformed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.network._account import Exchange
    from tests.network._wire import Wire

Headers = tuple[tuple[str, str], ...]
CRLF = b"\r\n"


class Turn:
    """The exchange, the wire, and what the server shares among all turns."""

    def __init__(self, wire: Wire, exchange: Exchange, shared: Any) -> None:
        self.wire, self.exchange, self.server = wire, exchange, shared
        target = urlsplit(exchange.target)
        self.segments = target.path.strip("/").split("/")
        self.query = {key: values[-1] for key, values in parse_qs(target.query).items()}
        #: What happens to the connection next: "keep", "close" or "reset".
        self.ending = "keep"
        if (exchange.header("connection") or "").lower() == "close":
            self.ending = "close"
        self._read = False

    def number(self, default: int = 10) -> int:
        """The number after the route's name."""
        return int(self.segments[1]) if len(self.segments) > 1 else default

    # Reading

    def read(self) -> bytes:
        """Read the request body, once, and return it."""
        body = bytearray()
        for piece in self.pieces():
            body += piece
        return bytes(body)

    def pieces(self) -> Iterator[bytes]:
        """Read the request body, once, as it comes."""
        if self._read:
            return
        self._read = True
        exchange = self.exchange
        if (exchange.header("transfer-encoding") or "").lower() == "chunked":
            yield from self._chunks()
            return
        for piece in self.wire.exactly(int(exchange.header("content-length") or 0)):
            exchange.request_framed_bytes += len(piece)
            exchange.request_body_bytes += len(piece)
            yield piece

    def _chunks(self) -> Iterator[bytes]:
        while size := self._chunk_size():
            for piece in self.wire.exactly(size):
                self.exchange.request_framed_bytes += len(piece)
                self.exchange.request_body_bytes += len(piece)
                yield piece
            self._line()
        while self._line() != CRLF:
            pass

    def _chunk_size(self) -> int:
        line = self._line()
        try:
            return int(line.partition(b";")[0], 16)
        except ValueError:
            raise Malformed(f"not a chunk size: {line[:80]!r}") from None

    def _line(self) -> bytes:
        line = self.wire.until(CRLF)
        if not line:
            raise Gone("in the middle of a request")
        self.exchange.request_framed_bytes += len(line)
        return line

    # Writing

    def answer(self, body: bytes, *headers: tuple[str, str], status: int = 200) -> None:
        """Send a whole response with its Content-Length."""
        self.head(status, ("Content-Length", str(len(body))), *headers)
        self.body(body)

    def head(self, status: int, *headers: tuple[str, str]) -> None:
        """Send status line and headers."""
        if self.ending == "close":
            headers = (*headers, ("Connection", "close"))
        self.exchange.status = status
        self.raw_head(_head(status, headers))

    def raw_head(self, data: bytes) -> None:
        """Send something in place of a head."""
        with self._counted("response_head_bytes"):
            self.wire.send(data)

    def interim(self, status: int, *headers: tuple[str, str]) -> None:
        """Send a response that announces another."""
        with self._counted("response_interim_bytes"):
            self.wire.send(_head(status, headers))

    def body(self, data: bytes, decoded: int | None = None) -> None:
        """Send a body, or a part of one, unframed; `decoded` is its length once unpacked."""
        if self.exchange.method == "HEAD":
            return
        before = self.exchange.response_framed_bytes
        try:
            with self._counted("response_framed_bytes"):
                self.wire.send(data)
        finally:
            sent = self.exchange.response_framed_bytes - before
            self.exchange.response_body_bytes += sent
            self.exchange.response_decoded_bytes += sent if decoded is None else 0
        self.exchange.response_decoded_bytes += decoded or 0

    def chunked(self, *headers: tuple[str, str]) -> None:
        """Send the head of a response in chunks."""
        self.head(200, ("Transfer-Encoding", "chunked"), *headers)

    def chunk(self, data: bytes, *, packed: bool = False) -> None:
        """Send one chunk."""
        self.framing(f"{len(data):x}\r\n".encode() + data + CRLF)
        if self.exchange.method != "HEAD":
            self.exchange.response_body_bytes += len(data)
            self.exchange.response_decoded_bytes += 0 if packed else len(data)

    def end_chunks(self, *trailers: tuple[str, str], decoded: int = 0) -> None:
        """Send the last chunk and the trailers; `decoded` is the length of a packed body."""
        self.framing(b"0\r\n" + _lines(trailers) + CRLF)
        self.exchange.response_decoded_bytes += decoded

    def framing(self, data: bytes) -> None:
        """Send what is between head and next head without being body."""
        if self.exchange.method != "HEAD":
            with self._counted("response_framed_bytes"):
                self.wire.send(data)

    def pace(self, *, first: bool) -> None:
        """Before each part of a stream: a step if the query says `gated`, or a pause between."""
        if "gated" in self.query:
            self.wire.wait(self.server.steps)
        elif "delay" in self.query and not first:
            self.wire.wait(self.server.released, float(self.query["delay"]))

    @contextmanager
    def _counted(self, field: str) -> Iterator[None]:
        before = self.wire.account.sent
        try:
            yield
        finally:
            sent = self.wire.account.sent - before
            setattr(self.exchange, field, getattr(self.exchange, field) + sent)


def _head(status: int, headers: Headers) -> bytes:
    line = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
    return line.encode() + _lines(headers) + CRLF


def _lines(headers: Headers) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in headers).encode("latin-1")


_REQUEST = re.compile(rb"([!-~]+) ([!-~]+) HTTP/1\.[01]\r\n")


def parse(head: bytes) -> tuple[str, str, Headers]:
    """Take apart a request head: method, target, headers."""
    start = _REQUEST.match(head)
    if start is None:
        raise Malformed(f"not a request: {head[:80]!r}")
    headers = []
    for line in head[start.end() : -4].split(CRLF):
        name, colon, value = line.decode("latin-1").partition(":")
        if colon:
            headers.append((name, value.strip()))
    return start[1].decode(), start[2].decode(), tuple(headers)


Route = Callable[[Turn], None]
#: Every route by the first segment of its path.
ROUTES: dict[str, Route] = {}
#: Those that read the request body themselves, or not at all.
LAZY: set[str] = set()


def route(name: str, *, lazy: bool = False) -> Callable[[Route], Route]:
    """Register a route; unless it is lazy, the request body is read before it is called."""

    def register(function: Route) -> Route:
        ROUTES[name] = function
        if lazy:
            LAZY.add(name)
        return function

    return register
