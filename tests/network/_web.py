"""Servers for applications of the test's own, on loopback, and a client."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import hypercorn.asyncio
from hypercorn.config import Config

from volnux.telemetry import current_event, inject, propagate, traced_event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from volnux.telemetry import EventMetrics, NetworkOp

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
HEADER = f"00-{TRACE}-{PARENT}-01"
HEADERS = {"traceparent": HEADER}


def name_here() -> str | None:
    """The name of the current event."""
    event = current_event()
    return None if event is None else event.name


def injected(operation: NetworkOp | None = None) -> dict[str, str]:
    """What `inject` adds to no headers at all."""
    headers: dict[str, str] = {}
    inject(headers, operation)
    return headers


@traced_event("step")
def step() -> dict[str, str]:
    """What is sent on from an event of that name."""
    return injected()


def trace_in(headers: dict[str, str]) -> str:
    """The trace that headers name."""
    return headers["traceparent"].split("-")[1]


def trace_here() -> str:
    """The trace of what is sent from here."""
    return trace_in(injected())


def outcome(event: EventMetrics) -> tuple[str, str | None, str | None]:
    """How an event ended, with its error."""
    return event.status, event.error_type, event.error


def get(
    port: int, path: str = "/", headers: dict[str, str] = HEADERS, timeout: float = 10
) -> tuple[int, bytes]:
    """What a real client gets: status and body."""
    connection = HTTPConnection("127.0.0.1", port, timeout=timeout)
    connection.request("GET", path, headers=headers)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, body


class Silent(WSGIRequestHandler):
    """Writes no log."""

    def log_message(self, *args: object) -> None:
        """Nobody reads it."""


@contextmanager
def wsgi_server(app: Any, requests: int = 1) -> Iterator[int]:
    """The port of a server on wsgiref that has answered so many requests when the block is over."""
    with make_server("127.0.0.1", 0, app, handler_class=Silent) as server:
        serve = propagate(lambda: [server.handle_request() for _ in range(requests)])
        thread = threading.Thread(target=serve)
        thread.start()
        yield server.server_port
        thread.join()


@contextmanager
def asgi_server(app: Any) -> Iterator[int]:
    """The port of a server on hypercorn, which has ended when the block is over."""
    bare = socket.create_server(("127.0.0.1", 0))  # clients can connect from here on
    port = bare.getsockname()[1]
    stop: list[Callable[[], None]] = []

    async def main() -> None:
        ended, loop = asyncio.Event(), asyncio.get_running_loop()
        stop.append(lambda: loop.call_soon_threadsafe(ended.set))
        started.set()
        config = Config()
        config.bind = [f"fd://{bare.detach()}"]
        config.errorlog = config.accesslog = None
        config.graceful_timeout = 5
        await hypercorn.asyncio.serve(app, config, shutdown_trigger=ended.wait)  # type: ignore[arg-type]

    started = threading.Event()
    thread = threading.Thread(target=propagate(lambda: asyncio.run(main())))
    thread.start()
    started.wait()
    yield port
    stop[0]()
    thread.join()
