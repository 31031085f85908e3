"""Random exchanges, for whoever compares what was counted with what the kernel says."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from typing import TYPE_CHECKING

import stamina
import urllib3
from stamina.instrumentation import set_on_retry_hooks
from tenacity import AsyncRetrying, Retrying, stop_after_attempt, wait_none

from tests.at_once import in_threads
from volnux.telemetry import capture, traced_event
from volnux.telemetry.retries import traced_retry, traced_retrying, traced_stamina

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Coroutine, Iterator

    from tests.network._drivers import Body
    from tests.network._raw_server import RawServer

EXCHANGES = 200
KINDS = ("bytes", "chunked", "gzip", "deflate", "br", "zstd", "gzip-chunked", "echo", "status")
THREADS, TASKS, CALLS = 8, 50, 500
#: Requests that are one exchange each, of every kind: target, method, body.
PLAIN: list[tuple[str, str, bytes | None]] = [
    ("/bytes/1000", "GET", None),
    ("/bytes/0", "GET", None),
    ("/bytes/1000000", "GET", None),
    ("/bytes/1000", "HEAD", None),
    ("/chunked/5000?chunk=700", "GET", None),
    ("/chunked/0", "GET", None),
    ("/chunked-trailers", "GET", None),
    ("/gzip/5000", "GET", None),
    ("/gzip/0", "GET", None),
    ("/gzip-chunked/5000", "GET", None),
    ("/deflate/5000", "GET", None),
    ("/br/5000", "GET", None),
    ("/zstd/5000", "GET", None),
    ("/status/204", "GET", None),
    ("/status/304", "GET", None),
    ("/status/404", "GET", None),
    ("/until-close/3000", "GET", None),
    ("/echo", "POST", b"x" * 3000),
    ("/echo", "PUT", b""),
    ("/headers", "DELETE", None),
]


def random_exchange(
    server: RawServer, chance: random.Random
) -> tuple[str, str, Body, dict[str, str]]:
    """Return URL, method, body and headers of a request."""
    target = _target(chance)
    method = chance.choice(["GET", "HEAD", "DELETE"]) if target != "/echo" else "POST"
    headers = {"Connection": "close"} if chance.random() < 0.1 else {}
    return server.url(target), method, _body(chance) if method == "POST" else None, headers


def _target(chance: random.Random) -> str:
    kind = chance.choice(KINDS)
    if kind == "echo":
        return "/echo"
    if kind == "status":
        return f"/status/{chance.choice([200, 204, 304, 404, 500])}"
    size = chance.choice([0, 1, chance.randrange(100), chance.randrange(100_000)])
    return f"/{kind}/{size}"


def _body(chance: random.Random) -> Body:
    size = chance.choice([0, 1, chance.randrange(1000), chance.randrange(200_000)])
    if chance.random() < 0.5:
        return chance.randbytes(size)
    return iter([chance.randbytes(size // 2), chance.randbytes(size // 2 + 1)])


def retried_requests(server: RawServer) -> Iterator[tuple[str, str, int, int]]:
    """Yield what retried, how many calls of it, retries recorded, and retries that were made."""
    for what, by_threads, by_tasks in (
        ("tenacity", _by_tenacity, _by_async_tenacity),
        ("stamina", _by_stamina, _by_async_stamina),
    ):
        made = _Attempts()
        found = _recorded(partial(in_threads, partial(by_threads, made), range(THREADS)))
        yield f"{what}: retries", f"{THREADS} threads x {CALLS} calls", found, made.again
        made = _Attempts()
        found = _recorded(partial(_in_tasks, partial(by_tasks, made)))
        yield f"{what}: retries", f"{TASKS} tasks x {CALLS} calls", found, made.again
    found = _recorded(partial(in_threads, partial(_by_urllib3, server), range(THREADS)))
    asked = len(server.wait_exchanges(THREADS * CALLS)) - THREADS * CALLS
    yield "urllib3: retries", f"{THREADS} threads x {CALLS} requests", found, asked


def _recorded(run: Callable[[], None]) -> int:
    with capture(isolated=True, strict=True) as registry, stamina.set_testing(True, attempts=3):
        set_on_retry_hooks([])  # stamina's own writes each retry to the log
        try:
            run()
        finally:
            set_on_retry_hooks(None)
        return registry.retry_stats().total_retries


class _Attempts:
    """Counts what is asked of it, and fails at first as often as a key says."""

    def __init__(self) -> None:
        self.again = 0
        self._left: dict[tuple[int, int], int] = {}
        self._lock = threading.Lock()

    def ask(self, key: tuple[int, int]) -> None:
        with self._lock:
            left = self._left.setdefault(key, hash(key) % 3)
            self._left[key] = left - 1
            if left > 0:
                self.again += 1
                raise OSError("busy")

    async def ask_later(self, key: tuple[int, int]) -> None:
        await asyncio.sleep(0)
        self.ask(key)


def _in_tasks(work: Callable[[int], Coroutine[object, object, None]]) -> None:
    async def main() -> None:
        await asyncio.gather(*map(work, range(TASKS)))

    asyncio.run(main())


def _by_tenacity(made: _Attempts, thread: int) -> None:
    retrying = traced_retrying(Retrying(stop=stop_after_attempt(3), wait=wait_none()))
    for number in range(CALLS):
        retrying(made.ask, (thread, number))


async def _by_async_tenacity(made: _Attempts, task: int) -> None:
    retrying = traced_retrying(AsyncRetrying(stop=stop_after_attempt(3), wait=wait_none()))
    for number in range(CALLS):
        await retrying(made.ask_later, (task, number))


def _by_stamina(made: _Attempts, thread: int) -> None:
    ask = traced_stamina(stamina.retry(on=OSError)(made.ask))
    for number in range(CALLS):
        ask((thread, number))


async def _by_async_stamina(made: _Attempts, task: int) -> None:
    ask = traced_stamina(stamina.retry(on=OSError)(made.ask_later))
    for number in range(CALLS):
        await ask((task, number))


def _by_urllib3(server: RawServer, thread: int) -> None:
    retry = traced_retry(urllib3.Retry(3, status_forcelist=[503], backoff_factor=0))
    with urllib3.PoolManager(retries=retry) as manager:
        for number in range(CALLS):
            with traced_event("fetch"):
                url = server.url(f"/retry/{number % 3}?key={thread}-{number}")
                manager.request("GET", url)
