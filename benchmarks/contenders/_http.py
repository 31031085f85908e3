"""Five HTTP clients that fetch the same 1 KiB over a connection that is kept."""

from __future__ import annotations

import asyncio
import http.client
import os
from itertools import repeat
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from benchmarks.contenders import _work

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: Where the server is, as the coordinator tells its workers.
URL = os.environ.get("BENCHMARKS_URL", "")


def cases(finish: Callable[[], object]) -> dict[str, _work.Run]:
    """One case for each library; its connections are made at the first call."""
    return {
        "http.client": _http_client(finish),
        "urllib3": _urllib3(finish),
        "requests": _requests(finish),
        "httpx": _httpx(finish),
        "httpx_async": _httpx_async(finish),
        "aiohttp": _aiohttp(finish),
    }


def _http_client(finish: Callable[[], object]) -> _work.Run:
    connection = http.client.HTTPConnection(urlsplit(URL).netloc)

    def run(n: int) -> None:
        for _ in repeat(None, n):
            connection.request("GET", "/")
            connection.getresponse().read()
        finish()

    return run


def _urllib3(finish: Callable[[], object]) -> _work.Run:
    import urllib3

    manager = urllib3.PoolManager()

    def run(n: int) -> None:
        for _ in repeat(None, n):
            manager.request("GET", URL)
        finish()

    return run


def _requests(finish: Callable[[], object]) -> _work.Run:
    import requests

    session = requests.Session()
    session.trust_env = False

    def run(n: int) -> None:
        for _ in repeat(None, n):
            session.get(URL)
        finish()

    return run


def _httpx(finish: Callable[[], object]) -> _work.Run:
    import httpx

    client = httpx.Client(trust_env=False)

    def run(n: int) -> None:
        for _ in repeat(None, n):
            client.get(URL)
        finish()

    return run


class _Looping:
    """An event loop that goes on between runs, as the connections on it do."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self, drive: Callable[[], object]) -> None:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        self._loop.run_until_complete(drive())  # type: ignore[arg-type]  # a coroutine


def _httpx_async(finish: Callable[[], object]) -> _work.Run:
    import httpx

    looping = _Looping()
    made: list[httpx.AsyncClient] = []

    def run(n: int) -> None:
        async def drive() -> None:
            if not made:
                made.append(httpx.AsyncClient(trust_env=False))
            for _ in repeat(None, n):
                await made[0].get(URL)

        looping.run(drive)
        finish()

    return run


def _aiohttp(finish: Callable[[], object]) -> _work.Run:
    import aiohttp

    looping = _Looping()
    made: list[aiohttp.ClientSession] = []

    def run(n: int) -> None:
        async def drive() -> None:
            if not made:
                made.append(aiohttp.ClientSession())
            for _ in repeat(None, n):
                async with made[0].get(URL) as response:
                    await response.read()

        looping.run(drive)
        finish()

    return run


def switched(
    cases: Mapping[str, _work.Run],
    on: Callable[[str], object],
    off: Callable[[str], object],
) -> Mapping[str, _work.Run]:
    """Each case with its own library instrumented, and no other."""

    def switch(case: str, run: _work.Run) -> _work.Run:
        library = case.removesuffix("_async")

        def after() -> dict[str, object]:
            off(library)
            return {}

        return _work.Prepared(run, lambda: on(library), after)

    return {case: switch(case, run) for case, run in cases.items()}
