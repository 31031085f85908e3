"""The bodies of httpx: what was decoded, when it ends, and many at once."""

from __future__ import annotations

import asyncio
import pickle
import random

import httpx
import pytest

from tests.at_once import in_threads
from tests.network._exactness import EXCHANGES, random_exchange
from tests.network._httpx_runs import ASYNC
from tests.network._records import counts, ended, equal_to_the_kernel, kernel
from volnux.telemetry import traced_client


class TestBodies:
    """What was decoded, and when it ends."""

    def test_the_last_of_a_decoder_counts(self, httpx_run, registry, raw_server):
        """An operation ends when its body has been decoded, a moment after it has been read."""
        httpx_run.fetch_all(
            *(raw_server.url(f"/{kind}/50000") for kind in ("gzip", "deflate", "br"))
        )
        assert [op.attributes["decoded"] for op in registry.network_ops()] == [50_000] * 3

    def test_a_body_taken_raw_is_not_decoded(self, registry, raw_server):
        """It ends when it has been read, and says nothing of a size that nobody made."""
        with traced_client(httpx.Client()) as client:
            with client.stream("GET", raw_server.url("/gzip/5000")) as response:
                raw = b"".join(response.iter_raw())
            op = ended(registry)
        assert "decoded" not in op.attributes
        assert op.attributes["http.response.body.size"] == len(raw)

    def test_an_empty_encoded_body_ends(self, httpx_run, registry, raw_server):
        """No byte was decoded, and nothing waits for it."""
        httpx_run.fetch(raw_server.url("/gzip/5000"), "HEAD")
        assert ended(registry).attributes["decoded"] == 0

    def test_a_hook_may_forbid_decoding(self, registry, raw_server):
        """What it takes out of the headers holds, as without telemetry."""

        def raw_please(response):
            del response.headers["Content-Encoding"]

        hooks = {"response": [raw_please]}
        with traced_client(httpx.Client(event_hooks=hooks)) as client:
            content = client.get(raw_server.url("/gzip/5000")).content
        assert content[:2] == b"\x1f\x8b"
        assert ended(registry).attributes["decoded"] == len(content)

    def test_lines_are_bytes_too(self, httpx_run, registry, raw_server):
        """Whichever way a body is read."""

        def sync(client):
            with client.stream("GET", raw_server.url("/gzip/1000")) as response:
                return list(response.iter_lines())

        async def asynchronous(client):
            async with client.stream("GET", raw_server.url("/gzip/1000")) as response:
                return [line async for line in response.aiter_lines()]

        lines = httpx_run.either(sync, asynchronous)
        assert lines[0].startswith("a line of text")
        assert ended(registry).attributes["decoded"] == 1000

    def test_a_response_can_be_pickled(self, instrumented_httpx, registry, raw_server):
        """As ever, encoded or not, read or not."""
        with httpx.Client() as client:
            for target in ("/bytes/10", "/gzip/10"):
                response = client.get(raw_server.url(target))
                assert pickle.loads(pickle.dumps(response)).content == response.content
                with client.stream("GET", raw_server.url(target)) as response:
                    assert pickle.loads(pickle.dumps(response)).status_code == 200

    def test_a_stream_is_of_the_librarys_types(self, httpx_run, registry, raw_server):
        """Whoever asks with `isinstance` gets the answer of before."""

        def types(client):
            with client.stream("GET", raw_server.url("/bytes/1")) as response:
                return response.stream._stream

        async def async_types(client):
            async with client.stream("GET", raw_server.url("/bytes/1")) as response:
                return response.stream._stream

        stream = httpx_run.either(types, async_types)
        default = httpx._transports.default
        kind = default.ResponseStream if httpx_run.name == "sync" else default.AsyncResponseStream
        assert isinstance(stream, kind)
        assert type(stream).__name__ == kind.__name__

    def test_an_upgraded_connection_counts_until_it_is_closed(
        self, httpx_run, registry, raw_server
    ):
        """What goes over the stream that httpx gives out is part of the exchange."""
        headers = {"Connection": "Upgrade", "Upgrade": "echo"}

        def sync(client):
            with client.stream("GET", raw_server.url("/upgrade"), headers=headers) as response:
                stream = response.extensions["network_stream"]
                stream.write(b"hello")
                return stream.read(5)

        async def asynchronous(client):
            async with client.stream("GET", raw_server.url("/upgrade"), headers=headers) as it:
                stream = it.extensions["network_stream"]
                await stream.write(b"hello")
                return await stream.read(5)

        assert httpx_run.either(sync, asynchronous) == b"hello"
        op = ended(registry)
        assert op.attributes["http.response.status_code"] == 101
        assert op.attributes["complete"] is True
        equal_to_the_kernel([op], raw_server)

    def test_interim_responses_count(self, httpx_run, registry, raw_server):
        """100 and 103 are part of the exchange, and not taken for the response."""
        expect = {"Expect": "100-continue"}
        httpx_run.fetch(raw_server.url("/continue"), "POST", content=b"abc", headers=expect)
        httpx_run.fetch(raw_server.url("/early-hints/10"))
        ops = registry.network_ops()
        assert [op.attributes["http.response.status_code"] for op in ops] == [200, 200]
        assert [op.attributes["http.response.body.size"] for op in ops] == [3, 10]
        equal_to_the_kernel(ops, raw_server)


class TestManyAtOnce:
    """Every byte is in one operation."""

    @pytest.mark.parametrize("httpx_run", ASYNC)
    def test_random_exchanges_equal_the_kernels_count(self, httpx_run, registry, raw_server):
        """Two hundred, on connections that are kept or not."""
        chance = random.Random(f"volnux httpx {httpx_run.name}")

        async def work(client):
            for _ in range(EXCHANGES):
                url, method, body, headers = random_exchange(raw_server, chance)
                if body is not None and not isinstance(body, bytes):
                    body = one_by_one(body)
                await client.request(method, url, content=body, headers=headers)

        httpx_run.steps(work)
        equal_to_the_kernel(registry.network_ops(), raw_server)

    def test_tasks_of_one_client_have_their_own_exchanges(self, registry, raw_server):
        """Fifty at a time, over connections that they take from each other."""

        async def main():
            async with traced_client(
                httpx.AsyncClient(limits=httpx.Limits(max_connections=10))
            ) as client:
                urls = [raw_server.url(f"/gzip/{number}") for number in range(150)]
                await asyncio.gather(*map(client.get, urls))

        asyncio.run(main())
        self.each_is_one(registry, raw_server, 150)

    def test_threads_of_one_client_have_their_own_exchanges(self, registry, raw_server):
        """Eight threads, likewise; with fewer connections than threads httpx itself stumbles."""
        with traced_client(httpx.Client()) as client:

            def work(thread):
                for number in range(20):
                    client.post(raw_server.url("/echo"), content=bytes(thread * 100 + number))

            in_threads(work, range(8))
        self.each_is_one(registry, raw_server, 160)

    def each_is_one(self, registry, server, count):
        assert sorted(counts(registry.network_ops())) == sorted(kernel(server, count))
        assert registry.health().in_flight == 0


async def one_by_one(body):
    for piece in body:
        yield piece
