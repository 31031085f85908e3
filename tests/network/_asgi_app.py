"""What the HTTP/2 and the aiohttp server answer: one plan for both, and the ASGI way to send it."""

from __future__ import annotations

import asyncio
import gzip
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from tests.network._account import Account, Connection
from tests.network._routes import BINARY, JSON, TEXT, content, text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    from tests.network._account import Exchange

#: A part of the body that stands for waiting until the server is released.
HOLD = None


@dataclass
class Plan:
    """A response: parts that are sent one by one, with a length or in as many frames as parts."""

    status: int
    headers: list[tuple[str, str]]
    parts: list[bytes | None]
    delay: float = 0.0
    #: The length of the body once unpacked.
    decoded: int = 0


def plan(target: str, headers: Iterable[tuple[str, str]], body: bytes) -> Plan:
    """Decide about the answer to a request."""
    url = urlsplit(target)
    name, *rest = url.path.strip("/").split("/")
    query = {key: values[-1] for key, values in parse_qs(url.query).items()}
    number = int(rest[0]) if rest else 10
    if name == "bytes":
        return _whole(content(number), BINARY)
    if name == "echo":
        return _whole(body, BINARY)
    if name == "headers":
        return _whole(json.dumps(dict(headers)).encode(), JSON)
    if name == "status":
        return _whole(b"" if number in (204, 304) else b"status\n", TEXT, status=number)
    if name == "gzip":
        packed = gzip.compress(text(number), mtime=0)
        answer = _whole(packed, TEXT, ("Content-Encoding", "gzip"))
        answer.decoded = number
        return answer
    if name == "chunked":
        size, data = int(query.get("chunk", 1000)), content(number)
        parts = [data[start : start + size] for start in range(0, number, size)]
        return Plan(200, [BINARY], [*parts], decoded=number)
    if name == "stream":
        lines = [f"line {line:010}\n".encode() for line in range(number)]
        return Plan(200, [TEXT], [*lines], float(query.get("delay", 0)), 16 * number)
    if name == "hang-before-headers":
        return Plan(200, [BINARY], [HOLD, content(number)], decoded=number)
    if name == "hang-mid-body":
        half, data = number // 2, content(number)
        return Plan(200, [BINARY], [data[:half], HOLD, data[half:]], decoded=number)
    return _whole(b"no such route\n", TEXT, status=404)


def _whole(body: bytes, *headers: tuple[str, str], status: int = 200) -> Plan:
    length = [] if status in (204, 304) else [("Content-Length", str(len(body)))]
    return Plan(status, [*length, *headers], [body], decoded=len(body))


@dataclass(eq=False)
class App(Account):
    """Plans and accounts for the requests of a server; knows no protocol.

    Of an exchange only method, target, headers, status and the lengths of both bodies are known
    here, unframed: what is on the wire is the business of the library that serves.
    """

    released: asyncio.Event = field(default_factory=asyncio.Event)

    def admit(self, method: str, target: str, headers: Iterable[tuple[str, str]]) -> Exchange:
        """Open the account of a request."""
        return self.begin(Connection(0), method, target, tuple(headers), 0)

    async def parts(self, exchange: Exchange, answer: Plan) -> AsyncIterator[bytes]:
        """Yield the body part by part, counted once the next one is asked for."""
        sent_before = False
        for part in answer.parts:
            if part is HOLD:
                await self.released.wait()
                continue
            if sent_before and answer.delay:
                await asyncio.sleep(answer.delay)
            sent_before = True
            if exchange.method == "HEAD":
                continue
            yield part
            exchange.response_body_bytes += len(part)
        exchange.response_decoded_bytes = 0 if exchange.method == "HEAD" else answer.decoded
        exchange.complete = True

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        """Serve one request of ASGI."""
        if scope["type"] != "http":
            await _lifespan(receive, send)
            return
        query = scope["query_string"].decode()
        target = scope["raw_path"].decode().partition("?")[0] + (f"?{query}" if query else "")
        headers = [(name.decode(), value.decode()) for name, value in scope["headers"]]
        exchange = self.admit(scope["method"], target, headers)
        try:
            body = await _read(receive, exchange)
            await self._send(exchange, plan(target, headers, body), send)
        except BaseException as error:
            exchange.error = type(error).__name__
            raise
        finally:
            self.finish(exchange)

    async def _send(
        self, exchange: Exchange, answer: Plan, send: Callable[[dict[str, Any]], Awaitable[None]]
    ) -> None:
        if answer.parts[:1] == [HOLD]:
            await self.released.wait()
        exchange.status = answer.status
        encoded = [(name.lower().encode(), value.encode()) for name, value in answer.headers]
        await send({"type": "http.response.start", "status": answer.status, "headers": encoded})
        async for part in self.parts(exchange, answer):
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _read(receive: Callable[[], Awaitable[dict[str, Any]]], exchange: Exchange) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError("the client is gone")
        body += message.get("body", b"")
        more = message.get("more_body", False)
        exchange.request_body_bytes = len(body)
    return body


async def _lifespan(
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
