"""HTTP/2 by httpx: whose the bytes of a connection are that several exchanges share."""

from __future__ import annotations

import asyncio
import threading

import httpx
import pytest

from tests.at_once import in_threads
from tests.network._httpx_runs import HTTP2
from tests.network._records import ended
from volnux.telemetry import instrument, traced_client, uninstrument
from volnux.telemetry.clients._kernel import wire_bytes


def totals(registry):
    ops = registry.network_ops()
    return sum(op.bytes_sent for op in ops), sum(op.bytes_received for op in ops)


def kernel(response):
    """What the kernel says of the connection of a response."""
    return wire_bytes(response.extensions["network_stream"].get_extra_info("socket"))


CASES = [
    ("/bytes/1000", "GET", None),
    ("/bytes/0", "GET", None),
    ("/bytes/1000000", "GET", None),
    ("/bytes/1000", "HEAD", None),
    ("/chunked/5000?chunk=700", "GET", None),
    ("/gzip/5000", "GET", None),
    ("/status/204", "GET", None),
    ("/status/304", "GET", None),
    ("/status/404", "GET", None),
    ("/echo", "POST", b"x" * 300_000),
    ("/headers", "DELETE", None),
]


@pytest.mark.parametrize(("target", "method", "body"), CASES)
def test_bytes_are_those_of_the_kernel(httpx_run, registry, h2c_server, target, method, body):
    """One exchange at a time has all bytes of its connection, its preface and settings included."""

    def sync(client):
        return kernel(client.request(method, h2c_server.url(target), content=body))

    async def asynchronous(client):
        return kernel(await client.request(method, h2c_server.url(target), content=body))

    counted = httpx_run.either(sync, asynchronous, **HTTP2)
    assert counted is None or totals(registry) == counted
    op, (seen,) = ended(registry), h2c_server.wait_exchanges(1)
    assert op.attributes["http.request.body.size"] == seen.request_body_bytes
    assert op.attributes["http.response.body.size"] == seen.response_body_bytes
    assert op.attributes["http.response.status_code"] == seen.status
    assert op.attributes["complete"] is True
    assert op.attributes["source"] == "counted"


def test_one_exchange_after_the_other_has_its_own(httpx_run, registry, h2c_server):
    """The first has the beginning of the connection, the others find it; together they are all of it."""
    urls = [h2c_server.url(f"/gzip/{number * 1000}") for number in range(5)]

    def sync(client):
        return kernel([client.get(url) for url in urls][-1])

    async def asynchronous(client):
        return kernel([await client.get(url) for url in urls][-1])

    counted = httpx_run.either(sync, asynchronous, **HTTP2)
    assert counted is None or totals(registry) == counted
    ops = registry.network_ops()
    assert [op.attributes["connection_reused"] for op in ops] == [False] + [True] * 4
    assert [op.attributes["decoded"] for op in ops] == [n * 1000 for n in range(5)]
    assert not any("shared_connection" in op.attributes for op in ops)


def test_exchanges_that_share_a_connection_have_their_own_frames(registry, h2c_server):
    """Twenty at once: each has its own body, and no byte counts twice."""

    async def main():
        async with traced_client(httpx.AsyncClient(**HTTP2)) as client:
            await client.get(h2c_server.url("/bytes/1"))
            sizes = [number * 5000 for number in range(20)]
            asked = [client.get(h2c_server.url(f"/chunked/{size}")) for size in sizes]
            return kernel((await asyncio.gather(*asked))[0])

    counted = asyncio.run(main())
    ops = registry.network_ops()[1:]
    assert sorted(op.attributes["http.response.body.size"] for op in ops) == [
        number * 5000 for number in range(20)
    ]
    assert all(op.attributes["complete"] for op in ops)
    assert any(op.attributes.get("shared_connection") for op in ops)
    assert not any("wire_bytes_sent" in op.attributes for op in ops)
    if counted is not None:
        sent, received = totals(registry)
        # What is the connection's own is nobody's while they share it.
        assert sent <= counted[0] < sent + 500
        assert received <= counted[1] < received + 500


def test_threads_share_a_connection(registry, h2c_server):
    """Whichever of them reads from it.

    They ask one after another: httpx itself does not keep the order of streams when threads ask at
    once, and the server ends the connection (pydantic/httpx2#1153 says the same of its successor).
    """
    sizes = [number * 30_000 for number in range(8)]
    asking, asked = threading.Lock(), threading.Barrier(len(sizes))
    with traced_client(httpx.Client(**HTTP2)) as client:
        client.get(h2c_server.url("/bytes/1"))

        def work(size):
            with asking:
                exchange = client.stream("GET", h2c_server.url(f"/chunked/{size}"))
                response = exchange.__enter__()
            asked.wait(30)
            try:
                assert len(response.read()) == size
            finally:
                exchange.__exit__(None, None, None)

        in_threads(work, sizes)
    ops = registry.network_ops()[1:]
    assert sorted(op.attributes["http.response.body.size"] for op in ops) == sizes


def test_what_is_not_recorded_shares_in_silence(registry, h2c_server):
    """The frames of a stream that nobody records are nobody's."""

    async def main():
        client = httpx.AsyncClient(**HTTP2)
        async with client:
            await client.get(h2c_server.url("/bytes/1"))
            unrecorded = asyncio.ensure_future(client.get(h2c_server.url("/hang-mid-body/1000")))
            await asyncio.to_thread(h2c_server.wait_begun, 2)
            traced_client(client)
            recorded = asyncio.ensure_future(client.get(h2c_server.url("/chunked/5000")))
            await recorded
            h2c_server.release()
            assert len((await unrecorded).content) == 1000

    asyncio.run(main())
    op = ended(registry)
    assert op.attributes["http.response.body.size"] == 5000
    assert op.attributes["shared_connection"] is True
    assert op.attributes["connection_reused"] is True
    assert 5000 < op.bytes_received < 5200


def test_a_connection_opened_before_counts(httpx_run, registry, h2c_server):
    """From the frame on at which it is recorded."""

    def sync(client):
        client.get(h2c_server.url("/bytes/1000"))
        before = kernel(client.get(h2c_server.url("/bytes/1000")))
        instrument("httpx")
        try:
            return before, kernel(client.get(h2c_server.url("/bytes/3000")))
        finally:
            uninstrument("httpx")

    async def asynchronous(client):
        await client.get(h2c_server.url("/bytes/1000"))
        before = kernel(await client.get(h2c_server.url("/bytes/1000")))
        instrument("httpx")
        try:
            return before, kernel(await client.get(h2c_server.url("/bytes/3000")))
        finally:
            uninstrument("httpx")

    before, after = httpx_run.either(sync, asynchronous, traced=False, **HTTP2)
    op = ended(registry)
    assert op.attributes["http.response.body.size"] == 3000
    assert op.attributes["connection_reused"] is True
    if before is not None:
        assert op.bytes_sent == after[0] - before[0]
        assert op.bytes_received == after[1] - before[1]


def test_a_connection_recorded_in_between_does_not_mix_up(registry, h2c_server):
    """What goes over it unrecorded is left out, and what follows is in step."""
    with httpx.Client(**HTTP2) as client:
        for number in range(6):
            if number % 2:
                instrument("httpx")
            client.post(h2c_server.url("/echo"), content=bytes(number * 1000))
            uninstrument("httpx")
    ops = registry.network_ops()
    assert [op.attributes["http.response.body.size"] for op in ops] == [1000, 3000, 5000]


def test_tls_tells_plain_bytes_from_the_wire(httpx_run, registry, h2_server, client_context):
    """Negotiated by ALPN; the kernel's numbers stand beside those of the frames."""
    urls = [h2_server.url("/bytes/1000"), h2_server.url("/gzip/1000")]
    responses = httpx_run.fetch_all(*urls, http2=True, verify=client_context)
    assert [response.http_version for response in responses] == ["HTTP/2"] * 2
    for op in registry.network_ops():
        assert op.attributes["wire_bytes_sent"] > op.bytes_sent
        assert op.attributes["wire_bytes_received"] > op.bytes_received
    assert registry.network_ops()[0].attributes["tls_seconds"] > 0


def test_a_server_that_speaks_http1_is_counted_as_such(
    httpx_run, registry, tls_server, client_context
):
    """Whatever the client would have liked."""
    (response,) = httpx_run.fetch_all(
        tls_server.url("/bytes/10"), http2=True, verify=client_context
    )
    assert response.http_version == "HTTP/1.1"
    op, (seen,) = ended(registry), tls_server.wait_exchanges(1)
    assert op.bytes_sent == seen.request_head_bytes


def test_a_streamed_upload_counts_frame_by_frame(registry, h2c_server):
    """Also where the other side's window makes it wait."""
    with traced_client(httpx.Client(**HTTP2)) as client:
        body = iter([b"a" * 100_000, b"b" * 50_000])
        response = client.post(h2c_server.url("/echo"), content=body)
        counted = kernel(response)
    assert ended(registry).attributes["http.request.body.size"] == 150_000
    assert counted is None or totals(registry) == counted


def test_an_operation_does_not_end_at_the_headers(registry, h2c_server):
    """Its latency is that of the body too."""
    with (
        traced_client(httpx.Client(**HTTP2)) as client,
        client.stream("GET", h2c_server.url("/bytes/10")) as response,
    ):
        assert registry.network_ops()[0].status == "running"
        response.read()
        assert ended(registry).status == "completed"


def test_a_trace_goes_along(registry, h2c_server):
    """As a header of the stream."""
    with traced_client(httpx.Client(**HTTP2), propagate_trace=True) as client:
        client.get(h2c_server.url("/bytes/10"))
    (seen,) = h2c_server.wait_exchanges(1)
    assert (seen.header("traceparent") or "").split("-")[2] == ended(registry).task_id
