"""httpx in the three ways it runs: blocking, on asyncio, and on trio where that is installed."""

from __future__ import annotations

import asyncio
import importlib.util
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from volnux.telemetry import traced_client

if TYPE_CHECKING:
    from collections.abc import Callable

#: HTTP/2 alone: without TLS, so that the kernel's numbers are those of HTTP.
HTTP2 = {"http1": False, "http2": True}


class Run:
    """One way to run: clients, and requests by them whose bodies are read."""

    name = "sync"
    make: Callable[..., Any] = httpx.Client

    def client(self, *, traced: bool = True, **options: Any) -> Any:
        """A client that has to be closed."""
        client = self.make(**{"trust_env": False, "timeout": 10, **options})
        return traced_client(client) if traced else client

    def steps(self, work: Callable[[Any], Any], **options: Any) -> Any:
        """Run `work(fetcher)` with a client, and return what it returns."""
        with self.client(**options) as client:
            return work(client)

    def fetch(self, url: str, method: str = "GET", **options: Any) -> httpx.Response:
        """One request by a client of its own."""
        sent = {name: options.pop(name) for name in ("content", "headers") if name in options}
        return self.steps(lambda client: client.request(method, url, **sent), **options)

    def fetch_all(self, *urls: str, **options: Any) -> list[httpx.Response]:
        """One request after the other, by one client."""
        return self.steps(lambda client: [client.get(url) for url in urls], **options)

    def either(
        self, sync: Callable[[Any], Any], asynchronous: Callable[[Any], Any], **options: Any
    ) -> Any:
        """Do the steps that fit this way."""
        return self.steps(sync, **options)

    def failing(self, url: str, method: str = "GET", **options: Any) -> BaseException:
        """One request in vain; what was raised."""
        with pytest.raises(Exception) as caught:
            self.fetch(url, method, **options)
        return caught.value


class Asyncio(Run):
    """On asyncio."""

    name = "asyncio"
    make = httpx.AsyncClient

    def loop(self, work: Callable[[], Any]) -> Any:
        """Run a coroutine function."""
        return asyncio.run(work())

    def steps(self, work: Callable[[Any], Any], **options: Any) -> Any:
        async def run() -> Any:
            async with self.client(**options) as client:
                return await work(client)

        return self.loop(run)

    def fetch_all(self, *urls: str, **options: Any) -> list[httpx.Response]:
        async def work(client: Any) -> list[httpx.Response]:
            return [await client.get(url) for url in urls]

        return self.steps(work, **options)

    def either(
        self, sync: Callable[[Any], Any], asynchronous: Callable[[Any], Any], **options: Any
    ) -> Any:
        return self.steps(asynchronous, **options)


class Trio(Asyncio):
    """On trio."""

    name = "trio"

    def loop(self, work: Callable[[], Any]) -> Any:
        import trio

        return trio.run(work)


HAS_TRIO = importlib.util.find_spec("trio") is not None
ON_TRIO = [
    pytest.mark.skipif(not HAS_TRIO, reason="trio is not installed"),
    # httpx leaves its generators to trio where a body is not read to its end, and trio says so.
    pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning"),
]
ASYNC: list[Any] = [
    pytest.param(Asyncio(), id="asyncio"),
    pytest.param(Trio(), id="trio", marks=ON_TRIO),
]
RUNS: list[Any] = [pytest.param(Run(), id="sync"), *ASYNC]
