"""The clients, driven in the same way, so that one test holds for all of them."""

from __future__ import annotations

import asyncio
import http.client
import ssl
from collections.abc import Iterable
from contextlib import ExitStack
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aiohttp
import httpx
import requests
import urllib3

from volnux.telemetry import traced_client, untrace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Mapping

NONE: Mapping[str, str] = MappingProxyType({})
Body = bytes | Iterable[bytes] | None


class Driver:
    """One client; what is made by it is closed at the end of its block."""

    name: str
    #: Whether it unpacks bodies by itself.
    decodes = True

    def __init__(self, ca: str | None = None, **options: object) -> None:
        self.ca = ca
        self.options = options
        self._made = ExitStack()

    def __enter__(self) -> Driver:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._made.close()

    def _traced(self, client: Any) -> Any:
        self._made.callback(untrace, client)
        return traced_client(client)

    def fetch(
        self, url: str, method: str = "GET", body: Body = None, headers: Mapping[str, str] = NONE
    ) -> bytes:
        """Make a request and read its whole body."""
        response = self.start(url, method, body, headers)
        try:
            return self.read(response)
        finally:
            response.close()

    def start(
        self, url: str, method: str = "GET", body: Body = None, headers: Mapping[str, str] = NONE
    ) -> object:
        """Make a request; return the response with its body unread."""
        raise NotImplementedError

    def read(self, response: object) -> bytes:
        """Read the rest of a body."""
        return response.read()  # type: ignore[attr-defined, no-any-return]

    def pieces(self, response: object, size: int) -> Iterable[bytes]:
        """Read a body in pieces of a size."""
        return iter(lambda: response.read(size), b"")  # type: ignore[attr-defined]


class HttpClient(Driver):
    """`http.client`: a connection per host and port."""

    name = "http.client"
    decodes = False

    def __init__(self, ca: str | None = None, **options: object) -> None:
        super().__init__(ca, **options)
        self._connections: dict[tuple[str, str], http.client.HTTPConnection] = {}

    def start(
        self, url: str, method: str = "GET", body: Body = None, headers: Mapping[str, str] = NONE
    ) -> object:
        parts = urlsplit(url)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        connection = self._connection(parts.scheme, parts.netloc)
        chunked = body is not None and not isinstance(body, bytes)
        if chunked:
            headers = {**headers, "Transfer-Encoding": "chunked"}
        connection.request(method, target, body, headers, encode_chunked=chunked)
        return connection.getresponse()

    def _connection(self, scheme: str, netloc: str) -> http.client.HTTPConnection:
        found = self._connections.get((scheme, netloc))
        if found is None:
            timeout = self.options.get("timeout", 10)
            if scheme == "https":
                context = ssl.create_default_context(cafile=self.ca)
                found = http.client.HTTPSConnection(netloc, timeout=timeout, context=context)
            else:
                found = http.client.HTTPConnection(netloc, timeout=timeout)
            self._made.callback(found.close)
            self._connections[scheme, netloc] = self._traced(found)
        return found


class Urllib3(Driver):
    """urllib3: a pool manager without retries."""

    name = "urllib3"

    def __init__(self, ca: str | None = None, **options: object) -> None:
        super().__init__(ca, **options)
        manager = urllib3.PoolManager(
            ca_certs=ca, timeout=options.get("timeout", 10), retries=options.get("retries", 0)
        )
        self._made.callback(manager.clear)
        self.client = self._traced(manager)

    def start(
        self, url: str, method: str = "GET", body: Body = None, headers: Mapping[str, str] = NONE
    ) -> object:
        retries = urllib3.Retry(connect=0, read=0, status=0, other=0, redirect=10)
        return self.client.request(
            method,
            url,
            body=body,
            headers=headers,
            preload_content=False,
            retries=self.options.get("retries", retries),
        )

    def pieces(self, response: object, size: int) -> Iterable[bytes]:
        return response.stream(size)  # type: ignore[attr-defined, no-any-return]


class Requests(Driver):
    """requests: a session."""

    name = "requests"

    def __init__(self, ca: str | None = None, **options: object) -> None:
        super().__init__(ca, **options)
        session = requests.Session()
        session.trust_env = False
        if ca is not None:
            session.verify = ca
        self._made.callback(session.close)
        self.client = self._traced(session)

    def start(
        self, url: str, method: str = "GET", body: Body = None, headers: Mapping[str, str] = NONE
    ) -> object:
        timeout = self.options.get("timeout", 10)
        return self.client.request(
            method, url, data=body, headers=headers, stream=True, timeout=timeout
        )

    def read(self, response: object) -> bytes:
        return response.content  # type: ignore[attr-defined, no-any-return]

    def pieces(self, response: object, size: int) -> Iterable[bytes]:
        return response.iter_content(size)  # type: ignore[attr-defined, no-any-return]


class Httpx(Driver):
    """httpx: a client."""

    name = "httpx"

    def __init__(self, ca: str | None = None, **options: object) -> None:
        super().__init__(ca, **options)
        client = httpx.Client(**_httpx_settings(ca, options))
        self._made.callback(client.close)
        self.client = self._traced(client)

    def start(
        self, url: str, method: str = "GET", body: Body = None, headers: Mapping[str, str] = NONE
    ) -> object:
        request = self.client.build_request(method, url, content=body, headers=headers)
        return self.client.send(request, stream=True)

    def pieces(self, response: object, size: int) -> Iterable[bytes]:
        return response.iter_bytes(size)  # type: ignore[attr-defined, no-any-return]


class OnALoop(Driver):
    """A client in an event loop that runs while something is asked of it."""

    def __init__(self, ca: str | None = None, **options: object) -> None:
        super().__init__(ca, **options)
        self._loop = asyncio.new_event_loop()
        self._made.callback(self._loop.close)
        self._made.callback(lambda: self._run(self._loop.shutdown_asyncgens()))

    def _run(self, waiting: Awaitable[Any]) -> Any:
        return self._loop.run_until_complete(waiting)


class Aiohttp(OnALoop):
    """aiohttp: a session."""

    name = "aiohttp"

    def __init__(self, ca: str | None = None, **options: object) -> None:
        super().__init__(ca, **options)
        self.client = self._run(self._session(ca, options))
        self._made.callback(lambda: self._run(self._close()))

    async def _session(self, ca: str | None, options: Mapping[str, Any]) -> Any:
        context = ssl.create_default_context(cafile=ca)
        timeout = aiohttp.ClientTimeout(
            total=None,
            sock_connect=options.get("timeout", 10),
            sock_read=options.get("timeout", 10),
        )
        connector = aiohttp.TCPConnector(ssl=context if ca else True)
        return self._traced(aiohttp.ClientSession(connector=connector, timeout=timeout))

    async def _close(self) -> None:
        await self.client.close()
        await asyncio.sleep(0)

    def start(
        self, url: str, method: str = "GET", body: Body = None, headers: Mapping[str, str] = NONE
    ) -> object:
        data = body if body is None or isinstance(body, bytes) else _one_by_one(body)
        return self._run(self.client.request(method, url, data=data, headers=headers))

    def read(self, response: object) -> bytes:
        return self._run(response.read())  # type: ignore[attr-defined, no-any-return]

    def pieces(self, response: object, size: int) -> Iterable[bytes]:
        return iter(lambda: self._run(response.content.read(size)), b"")  # type: ignore[attr-defined]


class AsyncHttpx(OnALoop):
    """httpx: an async client."""

    name = "httpx async"

    def __init__(self, ca: str | None = None, **options: object) -> None:
        super().__init__(ca, **options)
        client = httpx.AsyncClient(**_httpx_settings(ca, options))
        self.client = self._traced(client)
        self._made.callback(lambda: self._run(client.aclose()))

    def fetch(
        self, url: str, method: str = "GET", body: Body = None, headers: Mapping[str, str] = NONE
    ) -> bytes:
        response = self.start(url, method, body, headers)
        try:
            return self.read(response)
        finally:
            self._run(response.aclose())  # type: ignore[attr-defined]

    def start(
        self, url: str, method: str = "GET", body: Body = None, headers: Mapping[str, str] = NONE
    ) -> object:
        content = body if body is None or isinstance(body, bytes) else _one_by_one(body)
        request = self.client.build_request(method, url, content=content, headers=headers)
        response = self._run(self.client.send(request, stream=True))
        response.close = lambda: self._run(response.aclose())
        return response

    def read(self, response: object) -> bytes:
        return self._run(response.aread())  # type: ignore[attr-defined, no-any-return]

    def pieces(self, response: object, size: int) -> Iterable[bytes]:
        pieces = response.aiter_bytes(size)  # type: ignore[attr-defined]
        try:
            while True:
                yield self._run(anext(pieces))
        except StopAsyncIteration:
            return
        finally:
            self._run(pieces.aclose())


def _httpx_settings(ca: str | None, options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "verify": True if ca is None else ssl.create_default_context(cafile=ca),
        "timeout": options.get("timeout", 10),
        "follow_redirects": True,
        "trust_env": False,
    }


async def _one_by_one(body: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in body:
        yield piece


#: Those on `http.client`, and all.
ON_HTTP_CLIENT: tuple[type[Driver], ...] = (HttpClient, Urllib3, Requests)
DRIVERS: tuple[type[Driver], ...] = (*ON_HTTP_CLIENT, Httpx, AsyncHttpx, Aiohttp)
