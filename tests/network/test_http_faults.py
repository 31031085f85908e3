"""Bad days over HTTP/1.1: the client's own exception, and one end of the operation with the bytes so far."""

from __future__ import annotations

import http.client
import ssl
import traceback

import pytest
import requests
import urllib3

from tests.network._drivers import ON_HTTP_CLIENT as DRIVERS
from tests.network._drivers import HttpClient, Requests, Urllib3
from tests.network._raw_server import RawServer
from tests.network._records import ended
from tests.workers import in_fork
from volnux.telemetry import capture, traced_client


def failing(kind, url, *, ca=None, timeout=5.0):
    """Fetch in vain; return what was raised."""
    with kind(ca, timeout=timeout) as driver:
        with pytest.raises(Exception) as caught:
            driver.fetch(url)
        return caught.value


def shape(error):
    """What a program can tell of an exception: its type, what it was made of, and where it came from."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame.name for frame in frames if "/volnux/" not in frame.filename]
    made_of = type(error.__cause__ or error.__context__)
    return type(error), made_of, [name for name in theirs if name != "fetch"]


FAULTS = {
    "/reset-mid-body/100000": "ConnectionResetError",
    "/half-chunk": "IncompleteRead",
    "/short/1000": "IncompleteRead",
    "/close-before-response": "RemoteDisconnected",
    "/reset": "ConnectionResetError",
}


@pytest.mark.parametrize("kind", DRIVERS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("target", FAULTS)
def test_a_fault_of_the_server_is_the_operations(kind, registry, raw_server, target):
    """It fails with what lies at the root, the same for every client."""
    failing(kind, raw_server.url(target))
    op = ended(registry)
    assert (op.status, op.error_type) == ("failed", FAULTS[target])


BAD = [*FAULTS, "/bad-chunk-size", "/garbage", "/close-mid-headers", "/bad-gzip"]


@pytest.mark.parametrize(
    ("kind", "target"),
    [(kind, each) for kind in DRIVERS for each in BAD if kind.decodes or each != "/bad-gzip"],
)
def test_the_exception_is_the_librarys_own(kind, raw_server, target):
    """The same type, from the same places, made of the same error, as without telemetry."""
    with capture(strict=True):
        ours = failing(kind, raw_server.url(target))
    bare = failing(kind, raw_server.url(target))
    assert shape(ours) == shape(bare)


@pytest.mark.parametrize("kind", DRIVERS, ids=lambda kind: kind.name)
def test_half_a_body_counts_as_far_as_it_came(kind, registry, raw_server):
    """The bytes up to the end of the connection are kept, and that some are missing is said."""
    failing(kind, raw_server.url("/short/1000"))
    op = ended(registry)
    (seen,) = raw_server.wait_exchanges(1)
    assert (op.bytes_sent, op.bytes_received) == (seen.wire_received, seen.wire_sent)
    assert op.attributes["http.response.body.size"] == 500
    assert op.attributes["declared"] == 1000
    assert op.attributes["complete"] is False
    assert op.error == "the connection ended after 500 bytes of the body, of 1000"


@pytest.mark.parametrize("kind", DRIVERS, ids=lambda kind: kind.name)
def test_a_body_in_broken_chunks_is_not_complete(kind, registry, raw_server):
    """What follows a size that is none belongs to nothing."""
    failing(kind, raw_server.url("/bad-chunk-size"))
    assert ended(registry).attributes["complete"] is False


@pytest.mark.parametrize("kind", DRIVERS, ids=lambda kind: kind.name)
def test_what_comes_behind_the_end_is_a_finding(kind, registry, raw_server):
    """A body longer than declared is complete; the rest is counted apart."""
    with kind() as driver:
        driver.fetch(raw_server.url("/long/1000"))
    op = ended(registry)
    assert op.attributes["http.response.body.size"] == 1000
    assert op.attributes["complete"] is True
    assert op.attributes["excess"] == 10


@pytest.mark.parametrize("kind", [Urllib3, Requests], ids=lambda kind: kind.name)
def test_a_body_that_cannot_be_decoded_fails(kind, registry, raw_server):
    """With the error of decoding, and all of the bytes."""
    failing(kind, raw_server.url("/bad-gzip"))
    op = ended(registry)
    assert (op.status, op.error_type) == ("failed", "DecodeError")
    assert op.attributes["complete"] is True


@pytest.mark.parametrize("kind", DRIVERS, ids=lambda kind: kind.name)
def test_garbage_in_place_of_a_response_fails(kind, registry, raw_server):
    """What is no HTTP is said to be so."""
    failing(kind, raw_server.url("/garbage"))
    op = ended(registry)
    assert (op.status, op.error_type) == ("failed", "BadStatusLine")


@pytest.mark.parametrize("kind", DRIVERS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("target", ["/hang-before-headers", "/hang-mid-body"])
def test_a_timeout_fails_the_operation(kind, registry, raw_server, target):
    """In every phase, under the system's name for it."""
    failing(kind, raw_server.url(target), timeout=0.05)
    op = ended(registry)
    assert (op.status, op.error_type) == ("failed", "TimeoutError")
    raw_server.release()


@pytest.mark.parametrize("kind", DRIVERS, ids=lambda kind: kind.name)
def test_a_refused_connection_fails_the_operation(kind, registry, nobody):
    """It has its host and port, and no bytes."""
    host, port = nobody
    failing(kind, f"http://{host}:{port}/")
    op = ended(registry)
    assert (op.host, op.port) == nobody
    assert (op.status, op.error_type) == ("failed", "ConnectionRefusedError")
    assert (op.bytes_sent, op.bytes_received) == (0, 0)


@pytest.mark.parametrize("kind", DRIVERS, ids=lambda kind: kind.name)
def test_a_name_that_is_none_fails_the_operation(kind, registry):
    """DNS failures have the name that was looked for."""
    failing(kind, "http://nowhere.invalid/")
    op = ended(registry)
    assert (op.host, op.status, op.error_type) == ("nowhere.invalid", "failed", "gaierror")


@pytest.mark.parametrize("kind", DRIVERS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("certificate", ["wrong-name", "expired", "untrusted"])
def test_a_certificate_that_does_not_hold_fails_the_operation(
    kind, registry, authority, certificate
):
    """Before any byte of the request has gone."""
    with RawServer(tls=authority, certificate=certificate) as server:
        failing(kind, server.url("/bytes/1"), ca=str(authority.pem))
    op = ended(registry)
    assert (op.status, op.error_type) == ("failed", "SSLCertVerificationError")
    assert op.bytes_sent == 0


@pytest.mark.parametrize("kind", DRIVERS, ids=lambda kind: kind.name)
def test_something_else_where_tls_was_meant_fails(kind, registry, echo_server, ca_pem):
    """A handshake with what speaks no TLS is an error of TLS."""
    host, port = echo_server.address
    failing(kind, f"https://{host}:{port}/", ca=str(ca_pem))
    op = ended(registry)
    assert op.status == "failed"
    assert issubclass(getattr(ssl, op.error_type), ssl.SSLError)


def test_a_connection_closed_mid_stream_ends_its_operation(registry, raw_server):
    """Closing the client does, even while a response is held."""
    with Requests() as driver:
        response = driver.start(raw_server.url("/bytes/1000000"))
        next(response.iter_content(10))
        response.close()
        driver.client.close()
        assert ended(registry).attributes["complete"] is False


def test_a_body_that_raises_fails_its_operation(registry, raw_server):
    """The program's own error while the request is being sent is what it failed with."""

    def body():
        yield b"abc"
        raise ZeroDivisionError

    with Urllib3() as driver, pytest.raises(ZeroDivisionError):
        driver.start(raw_server.url("/echo"), "POST", body())
    op = ended(registry)
    assert (op.status, op.error_type) == ("failed", "ZeroDivisionError")
    assert op.bytes_sent > 0


def test_each_attempt_of_urllib3_is_an_operation(registry, raw_server):
    """Its own retries are told apart, as the server tells them apart."""
    manager = traced_client(urllib3.PoolManager(retries=urllib3.Retry(3, status_forcelist=[503])))
    manager.request("GET", raw_server.url("/retry/2?key=a"))
    manager.clear()
    statuses = [op.attributes["http.response.status_code"] for op in registry.network_ops()]
    assert statuses == [503, 503, 200]
    assert raw_server.total_attempts("/retry/2") == 3


def test_a_fork_with_an_open_client_keeps_both_right(registry, raw_server):
    """The child goes on with its own records; the parent's operation ends once."""
    with Requests() as driver:
        response = driver.start(raw_server.url("/bytes/100"))
        in_fork(response.close)
        driver.read(response)
        op = ended(registry)
        assert op.status == "completed"
        assert op.attributes["http.response.body.size"] == 100


def test_http_client_reads_what_upgraded_connections_say(registry, raw_server):
    """After a 101 the rest of the connection counts for the operation, until it is closed."""
    with HttpClient() as driver:
        url = raw_server.url("/upgrade")
        response = driver.start(url, headers={"Connection": "Upgrade", "Upgrade": "echo"})
        assert response.status == 101
        (connection,) = driver._connections.values()
        connection.sock.sendall(b"hello")
        assert connection.sock.recv(5) == b"hello"
        response.close()
        connection.close()
    op = ended(registry)
    (seen,) = raw_server.wait_exchanges(1)
    assert (op.bytes_sent, op.bytes_received) == (seen.wire_received, seen.wire_sent)


def test_an_expected_continue_is_part_of_the_exchange(registry, raw_server):
    """The interim response counts, and is not taken for the response."""
    with HttpClient() as driver:
        driver.fetch(raw_server.url("/continue"), "POST", b"abc", {"Expect": "100-continue"})
    op = ended(registry)
    (seen,) = raw_server.wait_exchanges(1)
    assert op.attributes["http.response.status_code"] == seen.status
    assert (op.bytes_sent, op.bytes_received) == (seen.wire_received, seen.wire_sent)


def test_errors_are_the_same_class_that_programs_catch(registry, raw_server):
    """`except requests.ConnectionError` goes on to work."""
    assert isinstance(failing(Requests, raw_server.url("/reset")), requests.ConnectionError)
    assert isinstance(
        failing(HttpClient, raw_server.url("/close-before-response")),
        http.client.RemoteDisconnected,
    )
