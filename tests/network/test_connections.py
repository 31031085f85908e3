"""`http.client` and urllib3 where connections are no plain sockets, or end in other ways than most."""

from __future__ import annotations

import contextlib
import gc
import io
import ssl
import weakref
from http.client import HTTPConnection

import pytest
import urllib3
from urllib3.util.ssltransport import SSLTransport

from tests.network._httpx_proxies import serving, tunnel
from volnux.telemetry import traced_client
from volnux.telemetry._render import PLAIN_WEIGHT, weight_of


@contextlib.contextmanager
def https_proxy(authority):
    """A proxy that is spoken to in TLS; yields its URL."""
    context = authority.server_context("good")

    def answer(client):
        with context.wrap_socket(client, server_side=True) as secure, contextlib.suppress(OSError):
            tunnel(secure)

    with serving(answer) as port:
        yield f"https://127.0.0.1:{port}"


def through(proxy, authority, **options):
    context = authority.client_context()
    return urllib3.ProxyManager(
        proxy, ssl_context=context, proxy_ssl_context=context, retries=False, **options
    )


def test_tls_in_tls_is_counted_inside_of_both(registry, authority, tls_server):
    """Through an HTTPS proxy: the plain bytes are those of the server, on a kept connection too."""
    with https_proxy(authority) as proxy, through(proxy, authority) as manager:
        traced_client(manager)
        for size in (100, 5000):
            assert len(manager.request("GET", tls_server.url(f"/bytes/{size}")).data) == size
        (connection,) = manager.connection_from_url(tls_server.url()).pool.queue[-1:]
        assert isinstance(connection.sock, SSLTransport)
    ops, seen = registry.network_ops(), tls_server.wait_exchanges(2)
    assert [(op.host, op.port) for op in ops] == [("127.0.0.1", tls_server.port)] * 2
    assert [op.attributes["connection_reused"] for op in ops] == [False, True]
    assert [(op.bytes_sent, op.bytes_received) for op in ops] == [
        (it.request_head_bytes, it.response_head_bytes + it.response_framed_bytes) for it in seen
    ]


class Canned:
    """What a test may put in place of a socket: it has no more than `http.client` asks for."""

    def __init__(self, answer):
        self.answer = answer
        self.was_sent = b""

    def sendall(self, data):
        self.was_sent += data

    def makefile(self, mode):
        return io.BytesIO(self.answer)

    def close(self):
        pass


def test_what_stands_in_for_a_socket_is_asked_for_no_more(registry):
    """It gets what a bare connection gives it, and the bytes are counted around it."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
    connection = traced_client(HTTPConnection("example.org"))
    connection.sock = canned = Canned(answer)
    connection.request("GET", "/")
    assert connection.getresponse().read() == b"hello"
    connection.close()
    (op,) = registry.network_ops()
    assert (op.bytes_sent, op.bytes_received) == (len(canned.was_sent), len(answer))
    assert op.attributes["complete"] is True


def test_what_stands_in_for_a_socket_may_be_read_by_hand(registry):
    """What it gives counts, as it does when it is read for a response; its end is an end."""

    class Readable(Canned):
        def recv(self, size):
            data, self.answer = self.answer[:size], self.answer[size:]
            return data

    connection = traced_client(HTTPConnection("example.org"))
    connection.sock = Readable(b"HTTP/1.1 200 OK\r\n\r\nto the end")
    connection.request("GET", "/")
    assert connection.sock.recv(4) == b"HTTP"
    while connection.sock.recv(10):
        pass
    connection.close()
    (op,) = registry.network_ops()
    assert op.bytes_received == 29


def test_a_response_without_a_length_ends_with_its_connection(registry):
    """Whatever stands in for the socket: the peer has closed it."""
    answer = b"HTTP/1.0 200 OK\r\n\r\nto the end"
    connection = traced_client(HTTPConnection("example.org"))
    connection.sock = Canned(answer)
    connection.request("GET", "/")
    response = connection.getresponse()
    connection.close()
    assert response.read() == b"to the end"
    response.close()
    (op,) = registry.network_ops()
    assert (op.bytes_received, op.attributes["complete"]) == (len(answer), True)


def test_a_connection_that_is_dropped_before_an_answer_ends_its_operation(registry, raw_server):
    """Nobody closes it, and nothing stays in flight."""
    connection = traced_client(HTTPConnection(raw_server.host, raw_server.port))
    connection.request("GET", "/hang-before-headers")
    assert registry.health().in_flight == 1
    sock = connection.sock  # kept, or it would complain
    del connection
    gc.collect()
    sock.close()
    assert registry.health().in_flight == 0


def test_an_error_that_is_recorded_keeps_nothing_alive(registry, raw_server):
    """What its traceback reaches goes with the exception, though the connection stays."""

    class Witness:
        """Something that a calling frame holds."""

    def fail():
        witness = Witness()
        with pytest.raises(ConnectionResetError):
            connection.getresponse()
        return weakref.ref(witness)

    connection = traced_client(HTTPConnection(raw_server.host, raw_server.port))
    connection.request("GET", "/reset")
    kept = fail()
    gc.collect()
    assert kept() is None
    connection.close()


@pytest.mark.parametrize("framing", ["CHUNKED", "Chunked", "chunked"])
def test_a_short_response_is_understood_in_any_case(registry, framing):
    """It is read late, when somebody looks, and by the same rules."""
    body = b"5\r\nhello\r\n0\r\n\r\n"
    head = f"HTTP/1.1 200 OK\r\nTRANSFER-ENCODING: {framing}\r\n\r\n".encode()
    connection = traced_client(HTTPConnection("example.org"))
    connection.sock = Canned(head + body)
    connection.request("GET", "/")
    assert connection.getresponse().read() == b"hello"
    connection.close()
    (op,) = registry.network_ops()
    assert op.attributes["http.response.body.size"] == 5
    assert op.attributes["complete"] is True


def test_a_context_of_the_programs_own_is_used(registry, authority, tls_server):
    """As it is, and once for each connection."""
    asked = []

    class Context(ssl.SSLContext):
        def wrap_socket(self, *args, **kwargs):
            asked.append(kwargs["server_hostname"])
            return super().wrap_socket(*args, **kwargs)

    context = Context(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(authority.pem)
    with traced_client(urllib3.PoolManager(ssl_context=context)) as manager:
        manager.request("GET", tls_server.url("/bytes/1"))
        manager.request("GET", tls_server.url("/bytes/1"))
    assert asked == ["127.0.0.1"]
    assert len(registry.network_ops()) == 2


def test_an_exchange_weighs_what_it_keeps_of_its_response(registry):
    """In the queue before a publisher, whether anybody has looked at it or not."""
    weights = []
    for padding in (0, 1500):
        head = f"HTTP/1.1 200 OK\r\nX-Padding: {'x' * padding}\r\nContent-Length: 0\r\n\r\n"
        connection = traced_client(HTTPConnection("example.org"))
        connection.sock = Canned(head.encode())
        connection.request("GET", "/")
        connection.getresponse().read()
        connection.close()
        weights.append(weight_of(registry.entries(network=True)[0][-1]))
    assert weights[1] - weights[0] == 1500
    assert registry.network_ops()[-1].attributes["http.request.method"] == "GET"
    assert weight_of(registry.entries(network=True)[0][-1]) > PLAIN_WEIGHT
