"""httpx's bad days: its own exception, and one end of the operation with the bytes so far."""

from __future__ import annotations

import socket
import ssl
import traceback

import httpx
import pytest

from tests.network._httpx_runs import RUNS
from tests.network._raw_server import RawServer
from tests.network._records import ended
from volnux.telemetry import capture

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


@pytest.mark.parametrize("target", BAD)
def test_a_fault_of_the_server_is_the_operations(httpx_run, registry, raw_server, target):
    """It fails once, with what lies at the root, and with the name that the program sees beside."""
    httpx_run.failing(raw_server.url(target))
    op = ended(registry)
    assert (op.status, op.error_type) == ("failed", BAD[target][0])
    assert op.attributes["library_error"] == BAD[target][1]


@pytest.mark.parametrize("target", BAD)
def test_the_exception_is_the_librarys_own(httpx_run, raw_server, target):
    """The same type and text, made of the same errors, from the same places, as without telemetry."""
    with capture(strict=True):
        ours = httpx_run.failing(raw_server.url(target))
    bare = httpx_run.failing(raw_server.url(target), traced=False)
    assert shape(ours) == shape(bare)
    assert isinstance(ours, httpx.HTTPError)


def test_half_a_body_counts_as_far_as_it_came(httpx_run, registry, raw_server):
    """The bytes up to the end of the connection are kept, and that some are missing is said."""
    httpx_run.failing(raw_server.url("/short/1000"))
    op = ended(registry)
    (seen,) = raw_server.wait_exchanges(1)
    assert (op.bytes_sent, op.bytes_received) == (seen.wire_received, seen.wire_sent)
    assert op.attributes["http.response.body.size"] == 500
    assert op.attributes["declared"] == 1000
    assert op.attributes["complete"] is False
    assert op.error == "the connection ended after 500 bytes of the body, of 1000"


def test_half_a_chunk_counts_as_far_as_it_came(httpx_run, registry, raw_server):
    """Without the framing that came with it."""
    httpx_run.failing(raw_server.url("/half-chunk"))
    op = ended(registry)
    (seen,) = raw_server.wait_exchanges(1)
    assert op.bytes_received == seen.wire_sent
    assert op.attributes["http.response.body.size"] == 150


def test_what_comes_behind_the_end_is_a_finding(httpx_run, registry, raw_server):
    """A body longer than declared is complete; the rest is counted apart."""
    httpx_run.fetch(raw_server.url("/long/1000"))
    op = ended(registry)
    assert op.attributes["http.response.body.size"] == 1000
    assert op.attributes["complete"] is True
    assert op.attributes["excess"] == 10


def test_a_body_that_cannot_be_decoded_is_all_there(httpx_run, registry, raw_server):
    """Its bytes are, and count."""
    httpx_run.failing(raw_server.url("/bad-gzip"))
    op = ended(registry)
    (seen,) = raw_server.wait_exchanges(1)
    assert op.bytes_received == seen.wire_sent
    assert op.attributes["http.response.body.size"] == seen.response_body_bytes


def test_an_encoding_that_is_cut_off_fails_at_its_end(httpx_run, registry, raw_server):
    """What only the decoder's last step finds is found: httpx itself misses it but for zstd."""
    httpx_run.fetch(raw_server.url("/cut-gzip/5000"))
    op = ended(registry)
    assert op.status == "completed"
    assert op.attributes["decoded"] < 5000


@pytest.mark.parametrize("target", ["/hang-before-headers", "/hang-mid-headers", "/hang-mid-body"])
def test_a_read_timeout_fails_the_operation(httpx_run, registry, raw_server, target):
    """Under the system's name for it, with httpx's beside."""
    error = httpx_run.failing(raw_server.url(target), timeout=httpx.Timeout(10, read=0.05))
    assert type(error) is httpx.ReadTimeout
    op = ended(registry)
    assert (op.status, op.error_type) == ("failed", "TimeoutError")
    assert op.attributes["library_error"] == "ReadTimeout"
    raw_server.release()
    (seen,) = raw_server.wait_begun(1)
    assert op.bytes_sent == seen.request_head_bytes


def test_a_slow_body_counts_byte_by_byte(httpx_run, registry, raw_server):
    """A server that sends one byte and then nothing: the byte has come."""
    raw_server.step(1)
    httpx_run.failing(raw_server.url("/drip/10"), timeout=httpx.Timeout(10, read=1.0))
    op = ended(registry)
    assert op.attributes["http.response.body.size"] == 1
    assert op.attributes["library_error"] == "ReadTimeout"


def test_a_connect_timeout_fails_the_operation(httpx_run, registry):
    """A server that takes the connection and says nothing to TLS."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        timeout = httpx.Timeout(10, connect=0.05)
        error = httpx_run.failing(f"https://127.0.0.1:{port}/", timeout=timeout)
    assert type(error) is httpx.ConnectTimeout
    op = ended(registry)
    assert (op.error_type, op.attributes["library_error"]) == ("TimeoutError", "ConnectTimeout")
    assert (op.bytes_sent, op.bytes_received) == (0, 0)


def test_a_write_timeout_counts_what_the_system_took(httpx_run, registry):
    """Of a body too large for the buffers on the way, the part that went in is what will arrive."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        timeout = httpx.Timeout(10, write=0.2)
        url = f"http://127.0.0.1:{port}/"
        error = httpx_run.failing(url, "POST", content=bytes(100_000_000), timeout=timeout)
        assert type(error) is httpx.WriteTimeout
        connection, _ = listening.accept()
        with connection:
            arrived = 0
            while data := connection.recv(1 << 20):
                arrived += len(data)
    op = ended(registry)
    assert op.attributes["library_error"] == "WriteTimeout"
    if httpx_run.name == "trio":  # which does not say how far it came
        assert op.bytes_sent <= arrived
    else:
        assert op.bytes_sent == arrived > 1000


@pytest.mark.parametrize("httpx_run", RUNS[:2])
def test_a_pool_timeout_is_an_operation_without_a_connection(httpx_run, registry, raw_server):
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
        httpx_run.either(sync, asynchronous, limits=limits, timeout=timeout)
    held, refused = registry.network_ops()
    assert held.status == "completed"
    assert (refused.error_type, refused.attributes["library_error"]) == (
        "TimeoutError",
        "PoolTimeout",
    )
    assert (refused.bytes_sent, refused.bytes_received) == (0, 0)


def test_a_refused_connection_fails_the_operation(httpx_run, registry, nobody):
    """It has its host and port, and no bytes."""
    host, port = nobody
    httpx_run.failing(f"http://{host}:{port}/")
    op = ended(registry)
    assert (op.host, op.port) == nobody
    assert (op.status, op.error_type) == ("failed", "ConnectionRefusedError")
    assert (op.bytes_sent, op.bytes_received) == (0, 0)


def test_a_name_that_is_none_fails_the_operation(httpx_run, registry):
    """DNS failures have the name that was looked for."""
    httpx_run.failing("http://nowhere.invalid/")
    op = ended(registry)
    assert (op.host, op.status, op.error_type) == ("nowhere.invalid", "failed", "gaierror")


@pytest.mark.parametrize("certificate", ["wrong-name", "expired", "untrusted"])
def test_a_certificate_that_does_not_hold_fails_the_operation(
    httpx_run, registry, authority, certificate
):
    """Before any byte of the request has gone."""
    with RawServer(tls=authority, certificate=certificate) as server:
        httpx_run.failing(server.url("/bytes/1"), verify=authority.client_context())
    op = ended(registry)
    assert (op.status, op.error_type) == ("failed", "SSLCertVerificationError")
    assert op.bytes_sent == 0
    assert op.attributes["connect_seconds"] > 0


def test_something_else_where_tls_was_meant_fails(httpx_run, registry, echo_server, client_context):
    """A handshake with what speaks no TLS is an error of TLS."""
    host, port = echo_server.address
    httpx_run.failing(f"https://{host}:{port}/", verify=client_context)
    op = ended(registry)
    assert issubclass(getattr(ssl, op.error_type), ssl.SSLError)


def test_a_request_that_goes_nowhere_is_none(httpx_run, registry):
    """An address without a scheme that anybody speaks: httpx says so, and there was no host."""
    error = httpx_run.failing("ftp://127.0.0.1/")
    assert type(error) is httpx.UnsupportedProtocol
    op = ended(registry)
    assert (op.status, op.error_type) == ("failed", "UnsupportedProtocol")
