"""An HTTP/2 server (hypercorn) and an aiohttp server, each in a thread with its own event loop."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import TYPE_CHECKING, Any

import hypercorn.asyncio
from aiohttp import web
from hypercorn.config import Config

from tests.network._account import PATIENCE
from tests.network._asgi_app import HOLD, App, plan
from tests.network._listener import Serving, tcp_socket

if TYPE_CHECKING:
    from tests.network._account import Exchange
    from tests.network._authority import Authority


class LoopServer(Serving):
    """Serves an `App` on 127.0.0.1 while its block lasts.

    Args:
        tls: whose certificate to show; no TLS without.
    """

    def __init__(self, *, tls: Authority | None = None) -> None:
        self.tls = tls
        bare = tcp_socket()
        # From here on clients can connect, however long the loop takes to start.
        bare.listen(128)
        self.host, self.port = bare.getsockname()
        self._descriptor = bare.detach()
        self._ready = threading.Event()
        self._failures: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, name="test-server-loop")
        self._thread.start()
        assert self._ready.wait(PATIENCE), "the server did not start"
        if self._failures:
            self.close()

    @property
    def exchanges(self) -> list[Exchange]:
        """All exchanges so far, finished or not."""
        return self._app.exchanges

    def url(self, target: str = "/") -> str:
        """The URL of a route."""
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}{target}"

    def wait_begun(self, count: int, timeout: float = PATIENCE) -> list[Exchange]:
        """Wait until so many requests have come."""
        return self._app.wait_begun(count, timeout)

    def wait_exchanges(self, count: int, timeout: float = PATIENCE) -> list[Exchange]:
        """Wait until so many exchanges are finished, and none is open; return them."""
        return self._app.wait_exchanges(count, timeout)

    def wait_idle(self, timeout: float = PATIENCE) -> list[Exchange]:
        """Wait until every exchange that has begun is finished; return all."""
        return self._app.wait_idle(timeout)

    def total_attempts(self, path: str) -> int:
        """How often a path (or a target with its query) was asked for."""
        return self._app.total_attempts(path)

    def release(self) -> None:
        """Let whatever hangs, now or later, go on."""
        self._loop.call_soon_threadsafe(self._app.released.set)

    def close(self) -> None:
        """End the loop and its thread.

        Raises:
            AssertionError: The thread did not end, or the server failed.
        """
        if self._thread.is_alive():
            try:
                self._loop.call_soon_threadsafe(self._stop.set)
            except RuntimeError:
                pass  # It has just ended by itself.
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the server did not end"
        if self._failures:
            raise AssertionError("the server failed") from self._failures.pop()

    def _run(self) -> None:
        # Not `asyncio.run`: a test may have chosen another kind of loop for its own side.
        loop = self._loop = asyncio.SelectorEventLoop()
        loop.set_exception_handler(self._note)
        try:
            loop.run_until_complete(self._main())
        except BaseException as failure:
            self._failures.append(failure)
        finally:
            self._ready.set()
            loop.run_until_complete(_wind_up(loop))
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

    def _note(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        # What clients do to a server, and what ending it does to its tasks, is no failure.
        if not isinstance(error, (OSError, asyncio.CancelledError)):
            self._failures.append(error or RuntimeError(context["message"]))

    async def _main(self) -> None:
        self._stop = asyncio.Event()
        self._app = App()
        await self._serve()

    async def _end(self) -> None:
        """Wait until the server is closed, then cut off whoever is still there."""
        self._ready.set()
        await self._stop.wait()
        self._app.released.set()
        # Left alone, TLS waits half a minute for the goodbye of a client that is not listening.
        await _cut_off(self._loop)

    async def _serve(self) -> None:
        raise NotImplementedError


class H2Server(LoopServer):
    """Hypercorn: HTTP/2 by ALPN over TLS (HTTP/1.1 for who wants it), by prior knowledge without."""

    async def _serve(self) -> None:
        config = Config()
        config.bind = [f"fd://{self._descriptor}"]
        config.errorlog = config.accesslog = None
        config.graceful_timeout = 0.5
        if self.tls is not None:
            config.certfile = config.keyfile = self.tls.certificate()
        await hypercorn.asyncio.serve(
            self._app,  # type: ignore[arg-type]
            config,
            shutdown_trigger=self._end,
        )


class AiohttpServer(LoopServer):
    """aiohttp's own server: HTTP/1.1, over TLS or not."""

    async def _serve(self) -> None:
        application = web.Application(client_max_size=2**30)
        application.router.add_route("*", "/{tail:.*}", self._handle)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        try:
            listening = socket.socket(fileno=self._descriptor)
            context = self.tls.server_context() if self.tls else None
            await web.SockSite(runner, listening, ssl_context=context).start()
            await self._end()
        finally:
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        exchange = self._app.admit(request.method, request.path_qs, request.headers.items())
        try:
            return await self._answer(request, exchange)
        except BaseException as error:
            exchange.error = type(error).__name__
            raise
        finally:
            self._app.finish(exchange)

    async def _answer(self, request: web.Request, exchange: Exchange) -> web.StreamResponse:
        body = await request.read()
        exchange.request_body_bytes = len(body)
        answer = plan(request.path_qs, exchange.headers, body)
        if answer.parts[:1] == [HOLD]:
            await self._app.released.wait()
        exchange.status = answer.status
        headers: Any = answer.headers
        response = web.StreamResponse(status=answer.status, headers=headers)
        await response.prepare(request)
        async for part in self._app.parts(exchange, answer):
            await response.write(part)
        await response.write_eof()
        return response


async def _cut_off(loop: asyncio.SelectorEventLoop) -> None:
    for transport in list(loop._transports.values()):  # type: ignore[attr-defined]
        transport.abort()
    await asyncio.sleep(0)  # They tell their protocols in the next turn of the loop.


async def _wind_up(loop: asyncio.SelectorEventLoop) -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await _cut_off(loop)
