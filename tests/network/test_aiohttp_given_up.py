"""When the program has had enough of aiohttp: timeouts, cancellation, closing; and a fork."""

from __future__ import annotations

import asyncio
import gc

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver

from tests.at_once import cancel
from tests.network._aiohttp_client import failing
from tests.network._records import ended
from tests.workers import in_fork
from volnux.telemetry import capture, traced_client


class Slow(AbstractResolver):
    """Finds no address, and takes its time."""

    async def resolve(self, *args, **kwargs):
        await asyncio.Event().wait()

    async def close(self):
        pass


TIMEOUTS = ["total", "sock_read"]


@pytest.mark.parametrize("phase", TIMEOUTS)
@pytest.mark.parametrize("target", ["/hang-before-headers", "/hang-mid-headers", "/hang-mid-body"])
def test_a_timeout_fails_the_operation(registry, raw_server, target, phase):
    """Before the headers, in them and in the body: one name for each of aiohttp's."""
    timeout = aiohttp.ClientTimeout(**{phase: 0.05})
    error = failing(raw_server.url(target), timeout=timeout)
    assert isinstance(error, asyncio.TimeoutError)
    op = ended(registry)
    assert (op.status, op.error_type) == ("failed", "TimeoutError")
    raw_server.release()


@pytest.mark.parametrize("phase", ["total", "connect"])
def test_a_timeout_before_there_is_a_connection_fails_the_operation(registry, phase):
    """A cancellation by aiohttp's own timer is the timeout that the program sees."""

    async def main():
        timeout = aiohttp.ClientTimeout(**{phase: 0.05})
        connector = aiohttp.TCPConnector(resolver=Slow())
        client = traced_client(aiohttp.ClientSession(connector=connector, timeout=timeout))
        async with client:
            with pytest.raises(asyncio.TimeoutError):
                await client.get("http://slow.invalid/")

    asyncio.run(main())
    op = ended(registry)
    assert (op.status, op.error_type) == ("failed", "TimeoutError")


def test_a_slow_body_keeps_what_had_come(registry, raw_server):
    """Byte by byte, until the program has had enough."""

    async def main():
        client = traced_client(aiohttp.ClientSession())
        async with client, client.get(raw_server.url("/drip/10")) as response:
            raw_server.step(3)
            assert len(await response.content.readexactly(3)) == 3
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(response.content.read(), 0.01)

    asyncio.run(main())
    op = ended(registry)
    assert (op.status, op.error_type) == ("cancelled", "CancelledError")
    assert op.attributes["http.response.body.size"] == op.attributes["decoded"] == 3


def test_a_read_that_was_given_up_may_be_tried_again(registry, raw_server):
    """What succeeds in the end has not failed."""

    async def main():
        client = traced_client(aiohttp.ClientSession())
        async with client, client.get(raw_server.url("/drip/2")) as response:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(response.content.read(1), 0.01)
            raw_server.step(2)
            assert len(await response.content.read()) == 2

    asyncio.run(main())
    assert (ended(registry).status, ended(registry).attributes["decoded"]) == ("completed", 2)


async def cancelled(coroutine, wait):
    task = asyncio.ensure_future(coroutine)
    await wait()
    await cancel(task)


def test_a_task_that_is_cancelled_before_the_headers_cancels_its_operation(registry, raw_server):
    """The request has gone, and counts."""

    async def main():
        async with traced_client(aiohttp.ClientSession()) as client:
            url = raw_server.url("/hang-before-headers/10")
            await cancelled(client._request("GET", url), lambda: begun(raw_server))

    asyncio.run(main())
    op = ended(registry)
    assert (op.status, op.error_type) == ("cancelled", "CancelledError")
    (seen,) = raw_server.exchanges
    assert (op.bytes_sent, op.bytes_received) == (seen.request_head_bytes, 0)
    raw_server.release()


async def begun(server):
    await asyncio.to_thread(server.wait_begun, 1)


def test_a_task_that_is_cancelled_in_the_body_cancels_its_operation(registry, raw_server):
    """With what had come of it."""

    async def main():
        started = asyncio.Event()

        async def get():
            async with client.get(raw_server.url("/hang-mid-body/10")) as response:
                await response.content.readexactly(5)
                started.set()
                await response.read()

        async with traced_client(aiohttp.ClientSession()) as client:
            await cancelled(get(), started.wait)

    asyncio.run(main())
    op = ended(registry)
    assert (op.status, op.error_type) == ("cancelled", "CancelledError")
    assert op.attributes["http.response.body.size"] == op.attributes["decoded"] == 5
    raw_server.release()


def test_a_cancelled_task_that_closes_nothing_cancels_its_operation(registry, raw_server):
    """It ends with its connection, and says what became of the reading."""

    async def main():
        started = asyncio.Event()
        async with traced_client(aiohttp.ClientSession()) as client:

            async def get():
                response = await client.get(raw_server.url("/hang-mid-body/10"))
                await response.content.readexactly(5)
                started.set()
                await response.content.read()

            await cancelled(get(), started.wait)
            raw_server.release()
            while registry.health().in_flight:  # noqa: ASYNC110  # nobody is told
                await asyncio.sleep(0)

    asyncio.run(main())
    assert (ended(registry).status, ended(registry).error_type) == ("cancelled", "CancelledError")


def test_a_task_that_is_cancelled_while_it_connects_cancels_its_operation(registry):
    """That is no timeout."""

    async def main():
        connector = aiohttp.TCPConnector(resolver=Slow())
        async with traced_client(aiohttp.ClientSession(connector=connector)) as client:
            request = client._request("GET", "http://slow.invalid/")
            await cancelled(request, lambda: asyncio.sleep(0))

    asyncio.run(main())
    assert ended(registry).status == "cancelled"


def test_a_session_that_is_closed_mid_stream_ends_its_operations(registry, raw_server):
    """With what had come, while somebody still holds the response."""

    async def main():
        client = traced_client(aiohttp.ClientSession())
        response = await client.get(raw_server.url("/bytes/9000000"))
        await response.content.read(10)
        await client.close()
        assert ended(registry).attributes["complete"] is False
        response.close()

    asyncio.run(main())
    assert ended(registry).attributes["declared"] == 9_000_000


def test_a_loop_that_ends_takes_its_operations_along(raw_server):
    """Not ended is not ended twice: what nobody finishes is said to be in flight."""
    with capture(strict=True) as registry:

        async def main():
            client = traced_client(aiohttp.ClientSession())
            response = await client.get(raw_server.url("/bytes/100"))
            await response.content.wait_eof()
            await client.close()
            return response

        response = asyncio.run(main())
        assert registry.health().in_flight == 1
        del response
        gc.collect()
        assert ended(registry).status == "completed"


def test_a_fork_with_an_open_client_keeps_both_right(registry, raw_server):
    """The child lets go of its copy; the parent's operation ends once."""

    async def main():
        async with traced_client(aiohttp.ClientSession()) as client:
            response = await client.get(raw_server.url("/bytes/100"))
            await response.content.wait_eof()
            in_fork(response.release)
            await response.read()

    asyncio.run(main())
    op = ended(registry)
    assert op.status == "completed"
    assert op.attributes["http.response.body.size"] == op.attributes["decoded"] == 100
