"""What goes wrong in the instrument of httpx, or is not as it knows it: counted, and never the program's."""

from __future__ import annotations

import gc

import httpcore
import httpx
import pytest

from tests.network._httpx_runs import ASYNC, HTTP2
from tests.network._records import ended
from volnux.telemetry import capture, traced_client
from volnux.telemetry.clients import _http2, _httpcore, _httpcore_streams, _httpx, _httpx_body


@pytest.fixture
def registry():
    """Where everything goes; not strictly, as a program has it."""
    with capture() as registry:
        yield registry


@pytest.fixture(autouse=True)
def _no_taps():
    """Traced clients that other tests have let go are gone: what is patched here is put over next."""
    gc.collect()


def broken(*args, **named):
    raise LookupError("another version")


def test_streams_that_cannot_be_adopted_leave_the_numbers_to_the_server(
    httpx_run, registry, raw_server, monkeypatch
):
    """The request goes on."""
    monkeypatch.setattr(_httpcore, "adopt", broken)
    assert len(httpx_run.fetch(raw_server.url("/bytes/1000")).content) == 1000
    op = ended(registry)
    assert (op.attributes["source"], op.attributes["declared"]) == ("declared", 1000)
    assert "http.response.body.size" not in op.attributes
    assert registry.health().errors["client"]["httpcore"] == 2


def test_so_do_those_of_http2(httpx_run, registry, h2c_server, monkeypatch):
    """At the beginning of a connection, and for each stream."""
    monkeypatch.setattr(_httpcore, "adopt", broken)
    response = httpx_run.fetch(h2c_server.url("/bytes/1000"), **HTTP2)
    assert len(response.content) == 1000
    assert ended(registry).attributes["source"] == "declared"
    assert registry.health().errors["client"]["httpcore"] == 3


def test_tls_streams_too(httpx_run, registry, tls_server, client_context, monkeypatch):
    """The handshake is over then, and the connection good."""
    monkeypatch.setattr(_httpcore_streams, "adopt", broken)
    assert httpx_run.fetch(tls_server.url("/bytes/10"), verify=client_context).status_code == 200
    assert ended(registry).status == "completed"
    assert registry.health().errors["client"]["httpcore"] == 1


def test_frames_that_cannot_be_followed_stop_nothing(httpx_run, registry, h2c_server, monkeypatch):
    """The body comes; it is counted that it could not be."""
    monkeypatch.setattr(_http2.Frames, "_begin", broken)
    response = httpx_run.fetch(h2c_server.url("/bytes/1000"), **HTTP2)
    assert len(response.content) == 1000
    assert ended(registry).status == "completed"
    assert registry.health().errors["client"]["http2"] > 0


def test_an_exchange_that_cannot_begin_is_none(httpx_run, registry, raw_server, monkeypatch):
    """The request goes unrecorded."""
    monkeypatch.setattr(_httpx, "Exchange", broken)
    assert httpx_run.fetch(raw_server.url("/bytes/10")).status_code == 200
    assert registry.network_ops() == []
    assert registry.health().errors["client"]["httpx"] == 1


def test_a_response_that_is_not_as_we_know_it_ends_at_once(
    httpx_run, registry, raw_server, monkeypatch
):
    """And reaches the program as it is."""
    monkeypatch.setattr(_httpx_body, "_decode_with", broken)
    assert len(httpx_run.fetch(raw_server.url("/gzip/5000")).content) == 5000
    assert ended(registry).status == "completed"
    assert registry.health().errors["client"]["httpx"] == 1


def test_another_way_to_iterate_is_respected(httpx_run, registry, raw_server, monkeypatch):
    """A class of streams that httpx does not have today keeps its own method."""
    default = httpx._transports.default

    class ResponseStream(default.ResponseStream):
        def __iter__(self):
            for part in self._httpcore_stream:
                yield bytes(part)

    class AsyncResponseStream(default.AsyncResponseStream):
        async def __aiter__(self):
            async for part in self._httpcore_stream:
                yield bytes(part)

    monkeypatch.setattr(default, "ResponseStream", ResponseStream)
    monkeypatch.setattr(default, "AsyncResponseStream", AsyncResponseStream)
    httpx_run.fetch(raw_server.url("/chunked/5000"))
    (seen,) = raw_server.wait_exchanges(1)
    assert ended(registry).bytes_received == seen.wire_sent


def test_a_stream_that_writes_in_its_own_way_counts(registry, raw_server):
    """Whole pieces, as it does not say more."""

    class Stream(httpcore.NetworkStream):
        def __init__(self, stream):
            self.stream = stream

        def read(self, max_bytes, timeout=None):
            return self.stream.read(max_bytes, timeout)

        def write(self, buffer, timeout=None):
            self.stream.write(buffer, timeout)

        def close(self):
            self.stream.close()

        def get_extra_info(self, info):
            return self.stream.get_extra_info(info)

    class Backend(httpcore.SyncBackend):
        def connect_tcp(self, *args, **named):
            return Stream(super().connect_tcp(*args, **named))

    with traced_client(httpx.Client()) as client:
        client._transport._pool._network_backend = Backend()
        client.post(raw_server.url("/echo"), content=bytes(100_000))
    op, (seen,) = ended(registry), raw_server.wait_exchanges(1)
    assert (op.bytes_sent, op.bytes_received) == (seen.wire_received, seen.wire_sent)


class Unclosable(httpx.SyncByteStream):
    """A stream of a program's own transport that cannot be closed."""

    def __init__(self, stream):
        self.stream = stream

    def __iter__(self):
        yield from self.stream

    def close(self):
        self.stream.close()
        raise ZeroDivisionError


class AsyncUnclosable(httpx.AsyncByteStream):
    """The same for others."""

    def __init__(self, stream):
        self.stream = stream

    async def __aiter__(self):
        async for part in self.stream:
            yield part

    async def aclose(self):
        await self.stream.aclose()
        raise ZeroDivisionError


def test_an_error_of_closing_is_the_programs(registry, raw_server, monkeypatch):
    """And the operation's, where the body was not read before."""
    original = httpx.HTTPTransport.handle_request

    def handle_request(self, request):
        response = original(self, request)
        response.stream = Unclosable(response.stream)
        return response

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", handle_request)
    with (
        traced_client(httpx.Client()) as client,
        pytest.raises(ZeroDivisionError),
        client.stream("GET", raw_server.url("/bytes/10")),
    ):
        pass
    assert ended(registry).error_type == "ZeroDivisionError"


@pytest.mark.parametrize("httpx_run", ASYNC)
def test_an_error_of_closing_is_the_async_programs(httpx_run, registry, raw_server, monkeypatch):
    """As for blocking ones."""
    original = httpx.AsyncHTTPTransport.handle_async_request

    async def handle_async_request(self, request):
        response = await original(self, request)
        response.stream = AsyncUnclosable(response.stream)
        return response

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", handle_async_request)

    async def work(client):
        with pytest.raises(ZeroDivisionError):
            async with client.stream("GET", raw_server.url("/bytes/10")):
                pass
        with pytest.raises(ZeroDivisionError):
            await client.get(raw_server.url("/gzip/10"))

    httpx_run.steps(work)
    ops = registry.network_ops()
    assert [op.error_type for op in ops] == ["ZeroDivisionError", "ZeroDivisionError"]
