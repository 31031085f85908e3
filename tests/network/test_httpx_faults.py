"""httpx's bad days: its own exception, and one end of the operation with the bytes so far."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import ssl
import threading
import traceback

import httpx
import pytest

from tests.network._httpx_runs import ASYNC, RUNS
from tests.network._raw_server import RawServer
from volnux.telemetry import capture, traced_client

# httpx leaves its generators to trio where a body is not read to its end, and trio says so.
pytestmark = pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")

BAD = {
    "/reset-mid-body/100000": ("ConnectionResetError", "ReadError"),
    "/reset": ("ConnectionResetError", "ReadError"),
    "/half-chunk": ("IncompleteRead", "RemoteProtocolError"),
    "/short/1000": ("IncompleteRead", "RemoteProtocolError"),
    "/bad-chunk-size": ("RemoteProtocolError", "RemoteProtocolError"),
    "/bad-gzip": ("DecodingError", "DecodingError"),
    "/garbage": ("RemoteProtocolError", "RemoteProtocolError"),
    "/close-before-response": ("RemoteProtocolError", "RemoteProtocolError"),
    "/close-mid-headers": ("RemoteProtocolError", "RemoteProtocolError"),
}


@pytest.fixture
def registry():
    """Where everything goes, strictly."""
    with capture(strict=True) as registry:
        yield registry


@pytest.fixture(params=RUNS)
def run(request):
    """Each way to run httpx."""
    return request.param


def only(registry):
    (op,) = registry.network_ops()
    assert registry.health().in_flight == 0
    return op


def shape(error):
    """What a program can tell of an exception: its type, what it was made of, and where it came from."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame.name for frame in frames if "/volnux/" not in frame.filename]
    made_of, chain = error.__cause__, []
    while made_of is not None:
        chain.append(type(made_of))
        made_of = made_of.__cause__
    # The iteration over a stream that is ours in httpx's place.
    return type(error), str(error), chain, [name for name in theirs if name != "__iter__"]


def closed_port():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return unused.getsockname()[1]


@pytest.mark.parametrize("target", BAD)
def test_a_fault_of_the_server_is_the_operations(run, registry, raw_server, target):
    """It fails once, with what lies at the root, and with the name that the program sees beside."""
    run.failing(raw_server.url(target))
    op = only(registry)
    assert (op.status, op.error_type) == ("failed", BAD[target][0])
    assert op.attributes["library_error"] == BAD[target][1]


@pytest.mark.parametrize("target", BAD)
def test_the_exception_is_the_librarys_own(run, raw_server, target):
    """The same type and text, made of the same errors, from the same places, as without telemetry."""
    with capture(strict=True):
        ours = run.failing(raw_server.url(target))
    bare = run.failing(raw_server.url(target), traced=False)
    assert shape(ours) == shape(bare)
    assert isinstance(ours, httpx.HTTPError)


def test_half_a_body_counts_as_far_as_it_came(run, registry, raw_server):
    """The bytes up to the end of the connection are kept, and that some are missing is said."""
    run.failing(raw_server.url("/short/1000"))
    op = only(registry)
    (seen,) = raw_server.wait_exchanges(1)
    assert (op.bytes_sent, op.bytes_received) == (seen.wire_received, seen.wire_sent)
    assert op.attributes["http.response.body.size"] == 500
    assert op.attributes["declared"] == 1000
    assert op.attributes["complete"] is False
    assert op.error == "the connection ended after 500 bytes of the body, of 1000"


def test_half_a_chunk_counts_as_far_as_it_came(run, registry, raw_server):
    """Without the framing that came with it."""
    run.failing(raw_server.url("/half-chunk"))
    op = only(registry)
    (seen,) = raw_server.wait_exchanges(1)
    assert op.bytes_received == seen.wire_sent
    assert op.attributes["http.response.body.size"] == 150


def test_what_comes_behind_the_end_is_a_finding(run, registry, raw_server):
    """A body longer than declared is complete; the rest is counted apart."""
    run.fetch(raw_server.url("/long/1000"))
    op = only(registry)
    assert op.attributes["http.response.body.size"] == 1000
    assert op.attributes["complete"] is True
    assert op.attributes["excess"] == 10


def test_a_body_that_cannot_be_decoded_is_all_there(run, registry, raw_server):
    """Its bytes are, and count."""
    run.failing(raw_server.url("/bad-gzip"))
    op = only(registry)
    (seen,) = raw_server.wait_exchanges(1)
    assert op.bytes_received == seen.wire_sent
    assert op.attributes["http.response.body.size"] == seen.response_body_bytes


def test_an_encoding_that_is_cut_off_fails_at_its_end(run, registry, raw_server):
    """What only the decoder's last step finds is found: httpx itself misses it but for zstd."""
    run.fetch(raw_server.url("/cut-gzip/5000"))
    op = only(registry)
    assert op.status == "completed"
    assert op.attributes["decoded"] < 5000


@pytest.mark.parametrize("target", ["/hang-before-headers", "/hang-mid-headers", "/hang-mid-body"])
def test_a_read_timeout_fails_the_operation(run, registry, raw_server, target):
    """Under the system's name for it, with httpx's beside."""
    error = run.failing(raw_server.url(target), timeout=httpx.Timeout(10, read=0.05))
    assert type(error) is httpx.ReadTimeout
    op = only(registry)
    assert (op.status, op.error_type) == ("failed", "TimeoutError")
    assert op.attributes["library_error"] == "ReadTimeout"
    raw_server.release()
    (seen,) = raw_server.wait_begun(1)
    assert op.bytes_sent == seen.request_head_bytes


def test_a_slow_body_counts_byte_by_byte(run, registry, raw_server):
    """A server that sends one byte and then nothing: the byte has come."""
    raw_server.step(1)
    run.failing(raw_server.url("/drip/10"), timeout=httpx.Timeout(10, read=0.2))
    op = only(registry)
    assert op.attributes["http.response.body.size"] == 1
    assert op.attributes["library_error"] == "ReadTimeout"


def test_a_connect_timeout_fails_the_operation(run, registry):
    """A server that takes the connection and says nothing to TLS."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        timeout = httpx.Timeout(10, connect=0.05)
        error = run.failing(f"https://127.0.0.1:{port}/", timeout=timeout)
    assert type(error) is httpx.ConnectTimeout
    op = only(registry)
    assert (op.error_type, op.attributes["library_error"]) == ("TimeoutError", "ConnectTimeout")
    assert (op.bytes_sent, op.bytes_received) == (0, 0)


def test_a_write_timeout_counts_what_the_system_took(run, registry):
    """Of a body too large for the buffers on the way, the part that went in is what will arrive."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        timeout = httpx.Timeout(10, write=0.2)
        url = f"http://127.0.0.1:{port}/"
        error = run.failing(url, "POST", content=bytes(100_000_000), timeout=timeout)
        assert type(error) is httpx.WriteTimeout
        connection, _ = listening.accept()
        with connection:
            arrived = 0
            while data := connection.recv(1 << 20):
                arrived += len(data)
    op = only(registry)
    assert op.attributes["library_error"] == "WriteTimeout"
    if run.name == "trio":  # which does not say how far it came
        assert op.bytes_sent <= arrived
    else:
        assert op.bytes_sent == arrived > 1000


@pytest.mark.parametrize("run", RUNS[:2])
def test_a_pool_timeout_is_an_operation_without_a_connection(run, registry, raw_server):
    """All connections are taken: nothing was sent, and it is said why."""
    limits = httpx.Limits(max_connections=1)
    timeout = httpx.Timeout(10, pool=0.05)

    def sync(client):
        with client.stream("GET", raw_server.url("/bytes/1000000")):
            client.get(raw_server.url("/bytes/1"))

    async def asynchronous(client):
        async with client.stream("GET", raw_server.url("/bytes/1000000")):
            await client.get(raw_server.url("/bytes/1"))

    with pytest.raises(httpx.PoolTimeout):
        run.steps(sync if run.name == "sync" else asynchronous, limits=limits, timeout=timeout)
    held, refused = registry.network_ops()
    assert held.status == "completed"
    assert (refused.error_type, refused.attributes["library_error"]) == (
        "TimeoutError",
        "PoolTimeout",
    )
    assert (refused.bytes_sent, refused.bytes_received) == (0, 0)


def test_a_refused_connection_fails_the_operation(run, registry):
    """It has its host and port, and no bytes."""
    port = closed_port()
    run.failing(f"http://127.0.0.1:{port}/")
    op = only(registry)
    assert (op.host, op.port) == ("127.0.0.1", port)
    assert (op.status, op.error_type) == ("failed", "ConnectionRefusedError")
    assert (op.bytes_sent, op.bytes_received) == (0, 0)


def test_a_name_that_is_none_fails_the_operation(run, registry):
    """DNS failures have the name that was looked for."""
    run.failing("http://nowhere.invalid/")
    op = only(registry)
    assert (op.host, op.status, op.error_type) == ("nowhere.invalid", "failed", "gaierror")


@pytest.mark.parametrize("certificate", ["wrong-name", "expired", "untrusted"])
def test_a_certificate_that_does_not_hold_fails_the_operation(
    run, registry, authority, certificate
):
    """Before any byte of the request has gone."""
    with RawServer(tls=authority, certificate=certificate) as server:
        run.failing(server.url("/bytes/1"), verify=authority.client_context())
    op = only(registry)
    assert (op.status, op.error_type) == ("failed", "SSLCertVerificationError")
    assert op.bytes_sent == 0
    assert op.attributes["connect_seconds"] > 0


def test_something_else_where_tls_was_meant_fails(run, registry, echo_server, client_context):
    """A handshake with what speaks no TLS is an error of TLS."""
    host, port = echo_server.address
    run.failing(f"https://{host}:{port}/", verify=client_context)
    op = only(registry)
    assert issubclass(getattr(ssl, op.error_type), ssl.SSLError)


def test_a_request_that_goes_nowhere_is_none(run, registry):
    """An address without a scheme that anybody speaks: httpx says so, and there was no host."""
    error = run.failing("ftp://127.0.0.1/")
    assert type(error) is httpx.UnsupportedProtocol
    op = only(registry)
    assert (op.status, op.error_type) == ("failed", "UnsupportedProtocol")


def test_a_body_that_raises_fails_its_operation(registry, raw_server):
    """The program's own error while the request is being sent is what it failed with."""

    def body():
        yield b"abc"
        raise ZeroDivisionError

    with traced_client(httpx.Client()) as client, pytest.raises(ZeroDivisionError):
        client.post(raw_server.url("/echo"), content=body())
    op = only(registry)
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
    op = only(registry)
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
    op = only(registry)
    assert (op.status, op.error_type) == ("failed", "ReadError")


def test_a_response_that_nobody_reads_ends_when_it_is_closed(registry, raw_server):
    """Its head is all there was."""
    with traced_client(httpx.Client()) as client:
        request = client.build_request("GET", raw_server.url("/bytes/1000000"))
        response = client.send(request, stream=True)
        assert registry.network_ops()[0].status == "running"
        response.close()
        op = only(registry)
    assert (op.status, op.attributes["complete"]) == ("completed", False)


def test_a_response_that_is_let_go_ends_with_the_garbage(registry, raw_server):
    """Nobody has read or closed it, and its connection is still there."""
    with traced_client(httpx.Client()) as client:
        request = client.build_request("GET", raw_server.url("/bytes/1000000"))
        client.send(request, stream=True)
        gc.collect()
        op = only(registry)
    assert (op.status, op.attributes["complete"]) == ("completed", False)


def test_an_async_response_that_is_let_go_ends_with_the_garbage(registry, raw_server):
    """As a blocking one does."""

    async def main():
        async with traced_client(httpx.AsyncClient()) as client:
            request = client.build_request("GET", raw_server.url("/bytes/1000000"))
            await client.send(request, stream=True)
            gc.collect()
            assert only(registry).attributes["complete"] is False

    asyncio.run(main())


def test_reading_that_is_broken_off_ends_it(registry, raw_server):
    """Who leaves the loop over a body has let go of the rest."""
    with traced_client(httpx.Client()) as client:
        with client.stream("GET", raw_server.url("/bytes/1000000")) as response:
            for _ in response.iter_bytes(10):
                break
        op = only(registry)
    assert (op.status, op.attributes["complete"]) == ("completed", False)


@pytest.mark.parametrize("target", ["/hang-before-headers", "/hang-mid-body/100"])
def test_a_task_that_is_cancelled_cancels_its_operation(registry, raw_server, target):
    """With the bytes so far; the program's cancellation is its own."""

    async def main():
        async with traced_client(httpx.AsyncClient()) as client:
            task = asyncio.ensure_future(client.get(raw_server.url(target)))
            while not raw_server.exchanges:
                await asyncio.sleep(0)
            if "mid-body" in target:
                while raw_server.exchanges[0].response_body_bytes < 50:
                    await asyncio.sleep(0)
                sent = raw_server.exchanges[0].response_head_bytes + 50
                while registry.network_ops()[0].bytes_received < sent:
                    await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    raw_server.release()
    op = only(registry)
    assert (op.status, op.error_type) == ("cancelled", "CancelledError")
    if "mid-body" in target:
        assert op.attributes["http.response.body.size"] == 50


@pytest.mark.parametrize("run", ASYNC[1:])
def test_a_cancelled_scope_of_trio_cancels_the_operation(run, registry, raw_server):
    """What asks to stop is no failure."""
    import trio

    async def work(client):
        with trio.move_on_after(0.05):
            await client.get(raw_server.url("/hang-mid-body/100"))

    run.steps(work)
    raw_server.release()
    op = only(registry)
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
    with traced_client(httpx.Client()) as client:
        with client.stream("GET", raw_server.url("/bytes/100")) as response:
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    del response
                    gc.collect()
                    code = 0
                finally:
                    os._exit(code)
            assert os.waitpid(child, 0)[1] == 0
            response.read()
        op = only(registry)
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
