"""What the raw server says it carried is what a client saw, and what the kernel counted."""

from __future__ import annotations

import socket

import pytest

from tests.network._client import ask, connect, parse, read_all, read_head, read_some, request
from tests.network._routes import packed
from tests.network._tcp_info import needs_tcp_info

ROUTES = [
    "/bytes/0",
    "/bytes/10",
    "/bytes/3000000",
    "/chunked/10000?chunk=7",
    "/chunked-trailers",
    "/gzip/5000",
    "/deflate/5000",
    "/br/5000",
    "/zstd/5000",
    "/gzip-chunked/5000",
    "/status/204",
    "/status/304",
    "/status/500",
    "/redirect/2",
    "/redirect-to?url=/bytes/1",
    "/stream/5",
    "/sse",
    "/until-close/1000",
    "/headers",
    "/retry/1",
    "/cookies/set",
    "/cookies",
    "/nowhere",
    "/long/10",
    "/short/10",
    "/half-chunk",
    "/bad-chunk-size",
    "/bad-gzip",
    "/cut-gzip",
]


def of_response(exchange):
    return (
        exchange.response_interim_bytes
        + exchange.response_head_bytes
        + exchange.response_framed_bytes
    )


class TestExchange:
    @pytest.mark.parametrize("target", ROUTES)
    def test_of_a_route(self, raw_server, target):
        """Head and framed body are what the client received, and its request what it sent."""
        reply = ask(raw_server, target)
        [exchange] = raw_server.wait_idle()

        assert (exchange.method, exchange.target) == ("GET", target)
        assert (exchange.complete, exchange.finished, exchange.error) == (True, True, None)
        assert (exchange.request_head_bytes, exchange.request_framed_bytes) == (reply.sent, 0)
        assert exchange.status == reply.status
        assert exchange.response_head_bytes == len(reply.head)
        assert exchange.response_framed_bytes == len(reply.body)

    @needs_tcp_info
    @pytest.mark.parametrize("target", ROUTES)
    def test_of_the_kernel(self, raw_server, target):
        """The kernel has counted the same."""
        ask(raw_server, target)
        [exchange] = raw_server.wait_idle()

        assert exchange.wire_received == exchange.request_head_bytes
        assert exchange.wire_sent == of_response(exchange)

    @needs_tcp_info
    @pytest.mark.parametrize(
        "headers", [(), ("Transfer-Encoding: chunked",)], ids=["length", "chunked"]
    )
    def test_of_a_request_body(self, raw_server, headers):
        """A request body counts apart from its head and with its framing."""
        data = b"5\r\nhello\r\n0\r\n\r\n"
        reply = ask(raw_server, "/sink", *headers, method="POST", body=data)
        [exchange] = raw_server.wait_idle()

        assert exchange.request_head_bytes + len(data) == reply.sent
        assert exchange.request_framed_bytes == len(data)
        assert exchange.request_body_bytes == (5 if headers else len(data))
        assert exchange.wire_received == reply.sent

    def test_lengths_of_a_chunked_body(self, raw_server):
        """The framing of chunks is not in the body."""
        ask(raw_server, "/chunked/100?chunk=50")
        [exchange] = raw_server.wait_idle()

        assert exchange.response_body_bytes == 100
        assert exchange.response_framed_bytes == 2 * (4 + 50 + 2) + 5
        assert exchange.response_decoded_bytes == 100

    @pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
    def test_lengths_of_a_compressed_body(self, raw_server, encoding):
        """A compressed body has the length it went with and the length it unpacks to."""
        ask(raw_server, f"/{encoding}/5000")
        [exchange] = raw_server.wait_idle()

        assert exchange.response_body_bytes == len(packed(encoding, 5000))
        assert exchange.response_decoded_bytes == 5000

    def test_lengths_of_compressed_chunks(self, raw_server):
        """Three lengths, when a compressed body comes in chunks."""
        ask(raw_server, "/gzip-chunked/5000?chunk=1000")
        [exchange] = raw_server.wait_idle()
        size = len(packed("gzip", 5000))

        assert exchange.response_body_bytes == size
        assert exchange.response_framed_bytes == len(f"{size:x}") + 4 + size + 5
        assert exchange.response_decoded_bytes == 5000

    def test_of_interim_responses(self, raw_server):
        """What comes before the response counts apart."""
        with connect(raw_server) as sock:
            sock.sendall(request("GET", "/early-hints", "Connection: close"))
            interim = read_head(sock)
            reply = parse(read_all(sock), 0)
        [exchange] = raw_server.wait_idle()

        assert exchange.response_interim_bytes == len(interim)
        assert exchange.response_head_bytes == len(reply.head)
        assert exchange.response_framed_bytes == 10

    @needs_tcp_info
    def test_of_each_on_one_connection(self, raw_server):
        """The kernel's count is split among the exchanges of a connection."""
        targets = ["/bytes/1000", "/chunked/5000", "/early-hints", "/bytes/2000000"]
        with connect(raw_server) as sock:
            for target in targets[:-1]:
                sock.sendall(request("GET", target))
                raw_server.wait_exchanges(len(raw_server.exchanges))
            sock.sendall(request("GET", targets[-1], "Connection: close"))
            read_all(sock)
        exchanges = raw_server.wait_exchanges(len(targets))

        assert [e.wire_received for e in exchanges] == [e.request_head_bytes for e in exchanges]
        assert [e.wire_sent for e in exchanges] == [of_response(e) for e in exchanges]

    @needs_tcp_info
    def test_of_each_when_pipelined(self, raw_server):
        """A request that came early counts for its own exchange."""
        with connect(raw_server) as sock:
            requests = [
                request("POST", "/echo", body=b"x" * 1000),
                request("GET", "/bytes/10"),
                request("GET", "/bytes/20", "Connection: close"),
            ]
            sock.sendall(b"".join(requests))
            read_all(sock)

        assert [e.wire_received for e in raw_server.wait_exchanges(3)] == [
            len(each) for each in requests
        ]

    @needs_tcp_info
    def test_of_a_reset(self, raw_server):
        """What was sent before a reset is all counted."""
        with connect(raw_server) as sock:
            sock.sendall(request("GET", "/reset-mid-body/1000000"))
            head = read_head(sock)
            read_some(sock, 500_000)
        [exchange] = raw_server.wait_idle()
        [connection] = raw_server.wait_closed()

        assert exchange.response_body_bytes == 500_000
        assert exchange.wire_sent == len(head) + 500_000 == connection.wire_sent

    @needs_tcp_info
    def test_of_an_upgrade(self, raw_server):
        """Raw bytes after an upgrade count as bodies."""
        with connect(raw_server) as sock:
            sent = request("GET", "/upgrade") + b"raw"
            sock.sendall(sent)
            head = read_head(sock)
            read_some(sock, 3)
        [exchange] = raw_server.wait_exchanges(1)

        assert exchange.wire_received == len(sent) == exchange.request_head_bytes + 3
        assert exchange.wire_sent == len(head) + 3 == of_response(exchange)

    def test_of_a_client_that_leaves(self, raw_server):
        """An answer that the client did not wait for is not complete."""
        with connect(raw_server) as sock:
            sock.sendall(request("GET", "/bytes/40000000"))
            read_head(sock)
        [exchange] = raw_server.wait_exchanges(1)

        assert not exchange.complete
        assert exchange.error in {"BrokenPipeError", "ConnectionResetError"}
        assert exchange.response_body_bytes < 40_000_000

    def test_is_a_copy(self, raw_server):
        """What a test does to an answer changes nothing in the account."""
        ask(raw_server, "/bytes/1")
        raw_server.wait_idle()[0].wire_sent = -1

        assert raw_server.exchanges[0].wire_sent != -1

    def test_headers(self, raw_server):
        """Request headers are kept as they came, and found however they are spelled."""
        ask(raw_server, "/bytes/1", "X-One: 1", "X-ONE: 2")
        [exchange] = raw_server.wait_idle()

        assert exchange.headers == (
            ("Host", "test"),
            ("Connection", "close"),
            ("X-One", "1"),
            ("X-ONE", "2"),
        )
        assert (exchange.header("x-one"), exchange.header("x-two")) == ("2", None)


class TestBareness:
    def test_of_a_patched_process(self, raw_server, monkeypatch):
        """What a test patches on `socket.socket` reaches its own client and never the server."""
        calls = []

        def recv(sock, *args):
            calls.append(sock)
            return super(socket.socket, sock).recv(*args)

        monkeypatch.setattr(socket.socket, "recv", recv, raising=False)
        with connect(raw_server) as sock:
            sock.sendall(request("POST", "/echo", "Connection: close", body=b"a body"))
            read_all(sock)
            [exchange] = raw_server.wait_idle()

            assert exchange.request_body_bytes == 6
            assert set(calls) == {sock}


class TestConnection:
    def test_ends_with_its_client(self, raw_server):
        """A connection is finished once its client is gone, with the bytes of all exchanges."""
        with connect(raw_server) as sock:
            for _ in range(3):
                sock.sendall(request("GET", "/bytes/10"))
                head = read_head(sock)
                read_some(sock, 10)
        [connection] = raw_server.wait_closed()

        assert connection.error is None
        assert connection.received == 3 * len(request("GET", "/bytes/10"))
        assert connection.sent == 3 * (len(head) + 10)

    @needs_tcp_info
    def test_of_the_kernel(self, raw_server):
        """The kernel has counted the same, the client's FIN not included."""
        ask(raw_server, "/bytes/100000")
        [connection] = raw_server.wait_closed()

        assert connection.wire_received == connection.received
        assert connection.wire_sent == connection.sent

    @needs_tcp_info
    def test_of_tls(self, tls_server):
        """Under TLS the wire carries more than was said, and exactly what was handed to it."""
        reply = ask(tls_server, "/bytes/100000")
        [exchange] = tls_server.wait_idle()
        [connection] = tls_server.wait_closed()

        assert (connection.received, connection.sent) == (reply.sent, reply.received)
        assert connection.wire_received == connection.raw_received > connection.received
        assert connection.wire_sent == connection.raw_sent > connection.sent
        assert exchange.wire_received == reply.sent + 22
        assert (connection.tls_version, connection.alpn) == ("TLSv1.3", None)

    def test_of_a_request_that_is_not_http(self, raw_server):
        """What cannot be understood ends the connection and is no exchange."""
        with connect(raw_server) as sock:
            sock.sendall(b"hello\r\n\r\n")
            assert read_all(sock) == b""
        [connection] = raw_server.wait_closed()

        assert (connection.error, connection.received) == ("Malformed", 9)
        assert raw_server.exchanges == []

    def test_wait_is_bounded(self, raw_server):
        """Waiting for what does not come fails with the state of the server."""
        with pytest.raises(AssertionError, match=r"not there after 0\.01 s: \[\]"):
            raw_server.wait_exchanges(1, timeout=0.01)
