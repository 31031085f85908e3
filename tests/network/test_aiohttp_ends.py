"""When an exchange of aiohttp ends: with the last of its body, or when that is given up."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from tests.network._aiohttp_client import fetch, session
from tests.network._records import counts, kernel, only
from tests.network._routes import content

WAYS = {
    "read": lambda stream: stream.read(),
    "iter_chunked": lambda stream: drained(stream.iter_chunked(7)),
    "iter_chunks": lambda stream: drained(stream.iter_chunks()),
    "iter_any": lambda stream: drained(stream.iter_any()),
    "lines": lambda stream: drained(stream),
    "readexactly": lambda stream: stream.readexactly(16 * 300),
}


async def drained(stream):
    async for _ in stream:
        pass


@pytest.mark.parametrize("way", WAYS)
def test_an_operation_ends_with_the_last_piece_of_the_body(registry, raw_server, way):
    """However it is read, and while the response is still held."""

    async def main():
        async with session() as client:
            response = await client.get(raw_server.url("/stream/300"))
            assert only(registry).status == "running"
            await WAYS[way](response.content)
            if way == "readexactly":
                await response.content.read()
            assert only(registry).status == "completed"
            response.release()

    asyncio.run(main())
    assert only(registry).attributes["complete"] is True
    assert counts([only(registry)]) == kernel(raw_server, 1)


def test_an_operation_does_not_end_at_the_headers(registry, raw_server):
    """Its latency is that of the body too, however small."""

    async def main():
        async with session() as client:
            response = await client.get(raw_server.url("/bytes/10"))
            assert only(registry).status == "running"
            await response.read()
            assert only(registry).status == "completed"

    asyncio.run(main())


def test_a_response_without_a_body_ends_with_its_headers(registry, raw_server):
    """There is nothing to be read."""

    async def main():
        async with session() as client:
            response = await client.get(raw_server.url("/status/204"))
            assert only(registry).status == "completed"
            response.release()

    asyncio.run(main())


def test_the_next_exchange_may_use_the_connection_before_a_body_is_read(timed_registry, raw_server):
    """Its bytes are its own, and so are those of the body that waits."""

    async def main():
        async with session() as client:
            waiting = await client.get(raw_server.url("/bytes/100"))
            await waiting.content.wait_eof()
            await fetch(client, raw_server.url("/gzip/2000"))
            first, second = timed_registry.network_ops()
            assert (first.status, second.status) == ("running", "completed")
            assert await waiting.read() == content(100)

    asyncio.run(main())
    first, second = timed_registry.network_ops()
    assert (first.status, second.attributes["connection_reused"]) == ("completed", True)
    assert first.attributes["decoded"] == 100
    assert counts([first, second]) == kernel(raw_server, 2)


def test_a_body_that_is_closed_early_is_incomplete(registry, raw_server):
    """It ends where it was closed, with what had come until then."""

    async def main():
        async with session() as client:
            async with client.get(raw_server.url("/bytes/9000000")) as response:
                assert len(await response.content.read(1000)) == 1000
            assert only(registry).status == "completed"

    asyncio.run(main())
    op = only(registry)
    assert op.attributes["complete"] is False
    assert op.attributes["decoded"] == 1000
    assert 1000 <= op.attributes["http.response.body.size"] < 9_000_000
    assert op.attributes["declared"] == 9_000_000


@pytest.mark.parametrize("way", ["release", "close"])
def test_a_body_that_has_come_and_is_given_up_ends_then(registry, raw_server, way):
    """All of it crossed, and none of it was taken."""

    async def main():
        async with session() as client:
            response = await client.get(raw_server.url("/gzip/100"))
            await response.content.wait_eof()
            assert only(registry).status == "running"
            getattr(response, way)()
            assert only(registry).status == "completed"

    asyncio.run(main())
    op = only(registry)
    assert (op.attributes["complete"], op.attributes["decoded"]) == (True, 0)


def test_a_body_that_is_let_go_ends_with_the_garbage(registry, raw_server):
    """A response that nobody reads or closes ends its operation when it is collected."""

    async def main():
        async with session() as client:
            response = await client.get(raw_server.url("/bytes/100"))
            await response.content.wait_eof()
            assert only(registry).status == "running"
            gone = weakref.ref(response)
            del response
            gc.collect()
            assert gone() is None
            assert only(registry).status == "completed"

    asyncio.run(main())
    assert only(registry).attributes["complete"] is True


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_long_body_that_is_let_go_ends_with_its_connection(registry, raw_server):
    """A response that is not complete is kept by aiohttp until then."""

    async def main():
        async with session() as client:
            await client.get(raw_server.url("/bytes/9000000"))
        assert only(registry).status == "completed"

    asyncio.run(main())
    assert only(registry).attributes["complete"] is False
    gc.collect()  # aiohttp warns, as it does of any such response
