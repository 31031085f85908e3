"""Every kind of exchange over HTTP/1.1, by each client on `http.client`, against a server that counts."""

from __future__ import annotations

import gc

import pytest

from tests.at_once import in_threads
from tests.network._drivers import DRIVERS
from tests.network._exactness import PLAIN
from tests.network._records import counts, equal_to_the_kernel, kernel, only
from volnux.telemetry import traced_event


@pytest.fixture(params=DRIVERS, ids=lambda driver: driver.name)
def driver(request):
    """A traced client of each library."""
    with request.param() as driver:
        yield driver


CASES = [*PLAIN, ("/echo", "POST", b"y" * 300_000)]


@pytest.mark.parametrize(("target", "method", "body"), CASES)
def test_bytes_are_those_of_the_kernel(driver, registry, raw_server, target, method, body):
    """What an exchange has sent and received is what crossed the socket, to the byte."""
    driver.fetch(raw_server.url(target), method, body)
    equal_to_the_kernel([only(registry)], raw_server)


@pytest.mark.parametrize(("target", "method", "body"), CASES)
def test_body_sizes_are_those_of_the_server(driver, registry, raw_server, target, method, body):
    """Bodies are counted apart from heads and from the framing of chunks."""
    driver.fetch(raw_server.url(target), method, body)
    op = only(registry)
    (seen,) = raw_server.wait_exchanges(1)
    assert op.attributes["http.request.body.size"] == seen.request_body_bytes
    assert op.attributes["http.response.body.size"] == seen.response_body_bytes
    assert op.attributes["http.response.status_code"] == seen.status
    assert op.attributes["source"] == "counted"
    assert op.attributes["complete"] is True
    assert "declared" not in op.attributes


@pytest.mark.parametrize(
    "target", ["/gzip/5000", "/gzip-chunked/5000", "/deflate/5000", "/br/5000"]
)
def test_decoded_bytes_are_another_number(driver, registry, raw_server, target):
    """What the program got of a compressed body is told apart from what crossed the socket."""
    body = driver.fetch(raw_server.url(target))
    op = only(registry)
    if driver.decodes:
        assert op.attributes["decoded"] == len(body) == 5000
    else:
        assert "decoded" not in op.attributes


def test_an_uncompressed_body_is_decoded_as_it_is(driver, registry, raw_server):
    """Without an encoding both numbers are one."""
    driver.fetch(raw_server.url("/bytes/1234"))
    assert only(registry).attributes["decoded"] == 1234


@pytest.mark.parametrize(
    "target", ["/bytes/5000", "/gzip/5000", "/chunked/5000", "/gzip-chunked/5000"]
)
@pytest.mark.parametrize("size", [7, 1000, 100_000])
def test_a_body_may_be_read_in_pieces(driver, registry, raw_server, target, size):
    """It counts the same, and ends with the last piece."""
    response = driver.start(raw_server.url(target))
    assert only(registry).status == "running"
    for _ in driver.pieces(response, size):
        pass
    op = only(registry)
    assert op.status == "completed"
    assert op.attributes["complete"] is True
    equal_to_the_kernel([op], raw_server)
    response.close()


def test_an_operation_does_not_end_at_the_headers(driver, registry, raw_server):
    """Its latency is that of the body too, however small."""
    response = driver.start(raw_server.url("/bytes/10"))
    assert only(registry).status == "running"
    driver.read(response)
    assert only(registry).status == "completed"
    response.close()


def test_a_body_that_is_closed_early_is_incomplete(driver, registry, raw_server):
    """It ends where it was closed, with what had come until then."""
    response = driver.start(raw_server.url("/bytes/1000000"))
    next(iter(driver.pieces(response, 1000)))
    response.close()
    op = only(registry)
    assert op.status == "completed"
    assert op.attributes["complete"] is False
    assert 1000 <= op.attributes["http.response.body.size"] < 1_000_000
    assert op.attributes["declared"] == 1_000_000


@pytest.mark.filterwarnings("ignore:Unclosed:ResourceWarning")  # aiohttp says so, rightly
def test_a_body_that_is_let_go_ends_with_the_garbage(driver, registry, raw_server):
    """A response that nobody reads or closes ends its operation when it is collected."""
    response = driver.start(raw_server.url("/gzip/100"))
    assert only(registry).status == "running"
    del response
    driver.__exit__()
    if hasattr(driver, "_connections"):
        driver._connections.clear()
    gc.collect()
    assert only(registry).status == "completed"


def test_a_connection_that_is_kept_is_seen_to_be_reused(driver, registry, raw_server):
    """The first exchange makes it, the second finds it; each has its own bytes."""
    driver.fetch(raw_server.url("/bytes/10"))
    driver.fetch(raw_server.url("/gzip/2000"))
    driver.fetch(raw_server.url("/chunked/300"))
    ops = registry.network_ops()
    assert [op.attributes["connection_reused"] for op in ops] == [False, True, True]
    equal_to_the_kernel(ops, raw_server)


def test_a_new_connection_says_how_long_it_took(driver, timed_registry, raw_server):
    """Seconds to connect are part of the first exchange only."""
    driver.fetch(raw_server.url("/bytes/10"))
    driver.fetch(raw_server.url("/bytes/10"))
    first, second = timed_registry.network_ops()
    assert 0 < first.attributes["connect_seconds"] < first.latency
    assert "connect_seconds" not in second.attributes


@pytest.mark.parametrize("driver", DRIVERS[1:], indirect=True, ids=lambda driver: driver.name)
def test_each_hop_of_a_redirect_is_an_operation(driver, registry, raw_server):
    """All of them under the event that asked."""
    with traced_event("fetch") as event:
        driver.fetch(raw_server.url("/redirect/3"))
    ops = registry.network_ops()
    assert [op.attributes["http.response.status_code"] for op in ops] == [302, 302, 302, 200]
    assert {op.parent_id for op in ops} == {event.task_id}
    if driver.name != "aiohttp":  # which lets go of a redirect's body without reading it
        equal_to_the_kernel(ops, raw_server)


def test_a_streamed_upload_counts_without_its_chunks(driver, registry, raw_server):
    """The size of the body is that of its content; the bytes sent are all that crossed."""
    driver.fetch(raw_server.url("/echo"), "POST", iter([b"a" * 100, b"b" * 50]))
    op = only(registry)
    assert op.attributes["http.request.body.size"] == 150
    equal_to_the_kernel([op], raw_server)


def test_a_status_of_failure_is_a_failed_operation(driver, registry, raw_server):
    """As the semantic conventions have it for clients: from 400 on, with the status as its type."""
    driver.fetch(raw_server.url("/status/503"))
    op = only(registry)
    assert (op.status, op.error_type, op.error) == ("failed", "503", "HTTP status 503")


def test_the_operation_is_named_after_the_method(driver, registry, raw_server):
    """Neither path nor query is part of any record."""
    driver.fetch(raw_server.url("/bytes/10?token=hunter2"))
    op = only(registry)
    assert (op.operation, op.host, op.port) == ("GET", "127.0.0.1", raw_server.port)
    assert "hunter2" not in repr(op)


@pytest.mark.parametrize("kind", DRIVERS, ids=lambda driver: driver.name)
def test_tls_tells_plain_bytes_from_the_wire(kind, registry, tls_server, ca_pem):
    """Bytes are those inside of TLS; what the kernel counted stands beside them."""
    with kind(str(ca_pem)) as client:
        client.fetch(tls_server.url("/bytes/1000"))
        client.fetch(tls_server.url("/gzip/1000"))
    ops = registry.network_ops()
    seen = tls_server.wait_exchanges(2)
    assert [op.bytes_sent for op in ops] == [each.request_head_bytes for each in seen]
    assert [op.bytes_received for op in ops] == [
        each.response_head_bytes + each.response_framed_bytes for each in seen
    ]
    assert ops[0].attributes["tls_seconds"] > 0
    # The server counts an exchange from its head on, so the handshake is seen by the client alone.
    assert ops[0].attributes["wire_bytes_sent"] > seen[0].wire_received
    assert ops[1].attributes["wire_bytes_sent"] == seen[1].wire_received
    assert ops[1].attributes["wire_bytes_received"] == seen[1].wire_sent
    assert ops[1].attributes["wire_source"] == "tcp_info"


def test_many_threads_have_their_own_exchanges(driver, registry, raw_server):
    """Eight threads with a client each: every byte is in one operation."""

    def work(thread):
        with type(driver)() as own:
            for number in range(20):
                own.fetch(raw_server.url(f"/gzip/{number * 50}"))

    in_threads(work, range(8))
    assert sorted(counts(registry.network_ops())) == sorted(kernel(raw_server, 160))
