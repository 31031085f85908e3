"""How an operation of httpx ends when the program does not read on: closed, cancelled, let go, forked."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading

import httpx
import pytest

from tests.at_once import cancel
from tests.network._httpx_runs import ASYNC
from tests.network._records import ended
from tests.workers import in_fork
from volnux.telemetry import traced_client


def test_a_body_that_raises_fails_its_operation(registry, raw_server):
    """The program's own error while the request is being sent is what it failed with."""

    def body():
        yield b"abc"
        raise ZeroDivisionError

    with traced_client(httpx.Client()) as client, pytest.raises(ZeroDivisionError):
        client.post(raw_server.url("/echo"), content=body())
    op = ended(registry)
    assert (op.status, op.error_type) == ("failed", "ZeroDivisionError")
    assert op.attributes["http.request.body.size"] == 3


def test_a_client_closed_mid_stream_fails_who_reads_on(registry, raw_server):
    """The operation ends with the error of the next read, and with the bytes until then."""
    client = traced_client(httpx.Client())
    with client.stream("GET", raw_server.url("/bytes/5000000")) as response:
        parts = response.iter_raw()
        next(parts)
        client.close()
        with pytest.raises(httpx.ReadError):
            list(parts)
    op = ended(registry)
    assert (op.status, op.error_type) == ("failed", "OSError")
    assert 0 < op.attributes["http.response.body.size"] < 5_000_000


def test_an_async_client_closed_mid_stream_fails_who_reads_on(registry, raw_server):
    """As a blocking one does."""

    async def main():
        client = traced_client(httpx.AsyncClient())
        async with client.stream("GET", raw_server.url("/bytes/5000000")) as response:
            parts = response.aiter_raw()
            await anext(parts)
            await client.aclose()
            with pytest.raises(httpx.ReadError):
                async for _ in parts:
                    pass

    asyncio.run(main())
    op = ended(registry)
    assert (op.status, op.error_type) == ("failed", "ReadError")


def test_a_response_that_nobody_reads_ends_when_it_is_closed(registry, raw_server):
    """Its head is all there was."""
    with traced_client(httpx.Client()) as client:
        request = client.build_request("GET", raw_server.url("/bytes/1000000"))
        response = client.send(request, stream=True)
        assert registry.network_ops()[0].status == "running"
        response.close()
        op = ended(registry)
    assert (op.status, op.attributes["complete"]) == ("completed", False)


def test_a_response_that_is_let_go_ends_with_the_garbage(registry, raw_server):
    """Nobody has read or closed it, and its connection is still there."""
    with traced_client(httpx.Client()) as client:
        request = client.build_request("GET", raw_server.url("/bytes/1000000"))
        client.send(request, stream=True)
        gc.collect()
        op = ended(registry)
    assert (op.status, op.attributes["complete"]) == ("completed", False)


def test_an_async_response_that_is_let_go_ends_with_the_garbage(registry, raw_server):
    """As a blocking one does."""

    async def main():
        async with traced_client(httpx.AsyncClient()) as client:
            request = client.build_request("GET", raw_server.url("/bytes/1000000"))
            await client.send(request, stream=True)
            gc.collect()
            assert ended(registry).attributes["complete"] is False

    asyncio.run(main())


def test_reading_that_is_broken_off_ends_it(registry, raw_server):
    """Who leaves the loop over a body has let go of the rest."""
    with traced_client(httpx.Client()) as client:
        with client.stream("GET", raw_server.url("/bytes/1000000")) as response:
            for _ in response.iter_bytes(10):
                break
        op = ended(registry)
    assert (op.status, op.attributes["complete"]) == ("completed", False)


def test_a_task_that_is_cancelled_cancels_its_operation(registry, raw_server):
    """The program's cancellation is its own."""

    async def main():
        async with traced_client(httpx.AsyncClient()) as client:
            task = asyncio.ensure_future(client.get(raw_server.url("/hang-before-headers")))
            await asyncio.to_thread(raw_server.wait_begun, 1)
            await cancel(task)

    asyncio.run(main())
    raw_server.release()
    op, (seen,) = ended(registry), raw_server.wait_begun(1)
    assert (op.status, op.error_type) == ("cancelled", "CancelledError")
    assert op.bytes_sent == seen.request_head_bytes


def test_a_task_that_is_cancelled_mid_body_keeps_the_bytes(registry, raw_server):
    """Those that had come."""
    come = asyncio.Event()

    async def read(client):
        async with client.stream("GET", raw_server.url("/hang-mid-body/100")) as response:
            async for _ in response.aiter_bytes():
                come.set()

    async def main():
        async with traced_client(httpx.AsyncClient()) as client:
            task = asyncio.ensure_future(read(client))
            await come.wait()
            await cancel(task)

    asyncio.run(main())
    raw_server.release()
    op = ended(registry)
    assert (op.status, op.error_type) == ("cancelled", "CancelledError")
    assert op.attributes["http.response.body.size"] == 50


@pytest.mark.parametrize("httpx_run", ASYNC[1:])
def test_a_cancelled_scope_of_trio_cancels_the_operation(httpx_run, registry, raw_server):
    """What asks to stop is no failure."""
    import trio

    async def work(client):
        with trio.move_on_after(0.05):
            await client.get(raw_server.url("/hang-mid-body/100"))

    httpx_run.steps(work)
    raw_server.release()
    op = ended(registry)
    assert (op.status, op.error_type) == ("cancelled", "Cancelled")


def test_an_unfinished_request_may_be_closed_from_elsewhere(registry, raw_server):
    """A coroutine that is thrown away in another context raises nothing."""

    async def main():
        client = traced_client(httpx.AsyncClient())
        request = client.get(raw_server.url("/hang-before-headers"))
        waiting = request.__await__()
        with contextlib.suppress(StopIteration):
            next(waiting)
        waiting.close()
        await client.aclose()

    asyncio.run(main())
    raw_server.release()
    assert [op.status for op in registry.network_ops()] == ["cancelled"]


def test_a_fork_with_an_open_client_keeps_both_right(registry, raw_server):
    """The child lets go of what it has inherited; the parent's operation ends once."""

    def let_go():
        nonlocal response
        del response
        gc.collect()

    with traced_client(httpx.Client()) as client:
        with client.stream("GET", raw_server.url("/bytes/100")) as response:
            in_fork(let_go)
            response.read()
        op = ended(registry)
    assert op.status == "completed"
    assert op.attributes["http.response.body.size"] == 100


def test_an_operation_ends_once_whoever_comes_first(registry, raw_server):
    """Two threads that close the same response."""
    with traced_client(httpx.Client()) as client:
        request = client.build_request("GET", raw_server.url("/bytes/1000"))
        for _ in range(20):
            response = client.send(request, stream=True)
            threads = [threading.Thread(target=response.close) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    assert [op.status for op in registry.network_ops()] == ["completed"] * 20
    assert registry.health().in_flight == 0
