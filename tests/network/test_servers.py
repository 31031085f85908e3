"""The raw server answers each route as it says, to the byte."""

from __future__ import annotations

import gzip
import http.client
import json
import sys
import zlib

import brotli
import pytest

from tests.network._client import ask, connect, read_all, read_head, read_some, request, unchunk
from tests.network._routes import content, packed, text

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

UNPACK = {
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
    "br": brotli.decompress,
    "zstd": zstd.decompress,
}


class TestBodies:
    @pytest.mark.parametrize("size", [0, 1, 255, 257, 100_000, 3_000_000])
    def test_bytes(self, raw_server, size):
        """So many bytes come with their length."""
        reply = ask(raw_server, f"/bytes/{size}")

        assert reply.headers["Content-Length"] == str(size)
        assert reply.body == content(size)

    def test_chunked(self, raw_server):
        """A body comes in chunks of the size asked for, the last one with the rest."""
        reply = ask(raw_server, "/chunked/25?chunk=10")
        chunks, trailers = unchunk(reply.body)

        assert "Content-Length" not in reply.headers
        assert [len(chunk) for chunk in chunks] == [10, 10, 5]
        assert b"".join(chunks) == content(25)
        assert trailers == b"\r\n"

    def test_chunked_trailers(self, raw_server):
        """Trailers come after the last chunk."""
        reply = ask(raw_server, "/chunked-trailers")
        chunks, trailers = unchunk(reply.body)

        assert b"".join(chunks) == content(100)
        assert trailers == f"X-Checksum: {zlib.crc32(content(100)):08x}\r\n\r\n".encode()

    @pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
    def test_compressed(self, raw_server, encoding):
        """A compressed body is as long as declared, and unpacks to the length asked for."""
        reply = ask(raw_server, f"/{encoding}/5000")

        assert reply.headers["Content-Encoding"] == encoding
        assert reply.headers["Content-Length"] == str(len(reply.body))
        assert len(reply.body) < 1000
        assert UNPACK[encoding](reply.body) == text(5000)

    def test_gzip_chunked(self, raw_server):
        """A compressed body can come in chunks."""
        reply = ask(raw_server, "/gzip-chunked/5000?chunk=50")
        chunks, _ = unchunk(reply.body)

        assert [len(chunk) for chunk in chunks[:-1]] == [50] * (len(chunks) - 1)
        assert b"".join(chunks) == packed("gzip", 5000)

    def test_until_close(self, raw_server):
        """A body without a length ends with the connection."""
        reply = ask(raw_server, "/until-close/70000")

        assert {"Content-Length", "Transfer-Encoding"}.isdisjoint(reply.headers)
        assert reply.body == content(70_000)

    @pytest.mark.parametrize(
        "target",
        ["/bytes/10", "/chunked/10", "/gzip/10", "/gzip-chunked/10", "/stream/2", "/status/500"],
    )
    def test_head(self, raw_server, target):
        """HEAD answers with the head that GET has, and nothing else."""
        assert ask(raw_server, target, method="HEAD").body == b""
        assert ask(raw_server, target, method="HEAD").head == ask(raw_server, target).head

    def test_stream(self, raw_server):
        """A stream is one chunk a line."""
        chunks, _ = unchunk(ask(raw_server, "/stream/2").body)

        assert chunks == [b"line 0000000000\n", b"line 0000000001\n"]

    def test_delayed_stream(self, raw_server):
        """A delay between lines changes nothing in them."""
        plain, slow = (ask(raw_server, f"/stream/3{query}") for query in ("", "?delay=0.001"))

        assert plain.body == slow.body

    def test_gated_stream(self, raw_server):
        """A gated stream sends one line a step."""
        with connect(raw_server) as sock:
            sock.sendall(request("GET", "/stream/2?gated=1", "Connection: close"))
            read_head(sock)
            raw_server.step()
            first = read_some(sock, 21)
            raw_server.step()
            rest = read_all(sock)

        assert first == b"10\r\nline 0000000000\n\r\n"[:21]
        assert rest.endswith(b"line 0000000001\n\r\n0\r\n\r\n")

    def test_sse(self, raw_server):
        """Server-sent events are one chunk each."""
        reply = ask(raw_server, "/sse")
        chunks, _ = unchunk(reply.body)

        assert reply.headers["Content-Type"] == "text/event-stream"
        assert chunks[0] == b"id: 0\ndata: event 0\n\n"
        assert len(chunks) == 3


class TestStatuses:
    @pytest.mark.parametrize("status", [200, 201, 400, 404, 418, 500, 503])
    def test_with_body(self, raw_server, status):
        """Most statuses have a small body."""
        reply = ask(raw_server, f"/status/{status}")

        assert (reply.status, reply.body) == (status, f"status {status}\n".encode())

    @pytest.mark.parametrize("status", [204, 304])
    def test_without_body(self, raw_server, status):
        """Two never have one, nor a length."""
        reply = ask(raw_server, f"/status/{status}")

        assert (reply.status, reply.body) == (status, b"")
        assert "Content-Length" not in reply.headers

    def test_unknown_route(self, raw_server):
        """What is not served is not found."""
        assert ask(raw_server, "/nowhere").status == 404

    def test_redirect(self, raw_server):
        """Each hop leads to the next, the last one to ten bytes."""
        hops = [ask(raw_server, f"/redirect/{n}") for n in (3, 2, 1)]

        assert [hop.status for hop in hops] == [302, 302, 302]
        assert [h.headers["Location"] for h in hops] == ["/redirect/2", "/redirect/1", "/bytes/10"]
        assert ask(raw_server, "/redirect/0").body == content(10)

    def test_redirect_to(self, raw_server):
        """A redirect goes wherever it is told, with the status it is told."""
        reply = ask(raw_server, "/redirect-to?url=http%3A//127.0.0.1%3A1/a%3Fb&code=307")

        assert (reply.status, reply.headers["Location"]) == (307, "http://127.0.0.1:1/a?b")

    def test_retry(self, raw_server):
        """It fails so many times for a key, then never again."""
        first = [ask(raw_server, "/retry/2?key=a").status for _ in range(4)]

        assert first == [503, 503, 200, 200]
        assert ask(raw_server, "/retry/2?key=b").status == 503
        assert raw_server.total_attempts("/retry/2") == 5
        assert raw_server.total_attempts("/retry/2?key=a") == 4

    def test_retry_after_a_reset(self, raw_server):
        """It can also fail by resetting the connection."""
        with pytest.raises(ConnectionResetError):
            ask(raw_server, "/retry/1?how=reset")

        assert ask(raw_server, "/retry/1?how=reset").status == 200


class TestRequests:
    @pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "PROPFIND"])
    def test_echo(self, raw_server, method):
        """The body of any method comes back."""
        assert ask(raw_server, "/echo", method=method, body=b"a body").body == b"a body"

    def test_echo_of_chunks(self, raw_server):
        """A body in chunks, with extensions and trailers, comes back whole."""
        chunks = b"5;name=value\r\nhello\r\n6\r\n world\r\n0\r\nX-Trailer: 1\r\n\r\n"
        reply = ask(raw_server, "/echo", "Transfer-Encoding: chunked", method="POST", body=chunks)
        [exchange] = raw_server.wait_idle()

        assert reply.body == b"hello world"
        assert exchange.request_body_bytes == 11
        assert exchange.request_framed_bytes == len(chunks)

    def test_sink(self, raw_server):
        """A body can be taken without coming back."""
        assert ask(raw_server, "/sink", method="POST", body=b"x" * 100_000).body == b"100000\n"

    def test_headers(self, raw_server):
        """The request headers come back as JSON."""
        reply = ask(raw_server, "/headers", "X-One: 1", "X-Many: a", "X-Many: b")

        assert json.loads(reply.body) == {
            "Host": "test",
            "Connection": "close",
            "X-One": "1",
            "X-Many": "a, b",
        }

    def test_cookies(self, raw_server):
        """Cookies are set, and seen when they come back."""
        reply = ask(raw_server, "/cookies/set?flavour=plain")

        assert reply.headers["Set-Cookie"] == "flavour=plain; Path=/"
        assert ask(raw_server, "/cookies", "Cookie: flavour=plain").body == b"flavour=plain"

    def test_attempts(self, raw_server):
        """Each exchange knows which attempt at its target it is."""
        for target in ("/bytes/1", "/bytes/2", "/bytes/1"):
            ask(raw_server, target)

        assert [e.attempt for e in raw_server.wait_idle()] == [1, 1, 2]


class TestInterimResponses:
    def test_continue(self, raw_server):
        """The body is asked for before it is read."""
        with connect(raw_server) as sock:
            sock.sendall(request("POST", "/continue", "Expect: 100-continue", "Content-Length: 4"))
            interim = read_head(sock)
            sock.sendall(b"body")
            head = read_head(sock)
            body = read_some(sock, 4)
        [exchange] = raw_server.wait_idle()

        assert interim == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert (exchange.response_interim_bytes, exchange.response_head_bytes) == (25, len(head))
        assert body == b"body"

    def test_continue_unasked(self, raw_server):
        """A client that does not wait is not told to go on."""
        assert ask(raw_server, "/continue", method="POST", body=b"body").body == b"body"

    def test_continue_refused(self, raw_server):
        """A body can be refused before it is sent."""
        headers = ("Expect: 100-continue", "Content-Length: 4")

        assert ask(raw_server, "/continue?refuse=1", *headers, method="POST").status == 417

    def test_early_hints(self, raw_server):
        """Hints come before the response."""
        with connect(raw_server) as sock:
            sock.sendall(request("GET", "/early-hints"))
            interim, head = read_head(sock), read_head(sock)
            body = read_some(sock, 10)

        assert interim.startswith(b"HTTP/1.1 103 Early Hints\r\nLink: ")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert body == content(10)

    def test_upgrade(self, raw_server):
        """After switching protocols raw bytes come back until the client ends."""
        with connect(raw_server) as sock:
            sock.sendall(request("GET", "/upgrade", "Connection: Upgrade", "Upgrade: echo"))
            head = read_head(sock)
            sock.sendall(b"\x00\x01 raw")
            echo = read_some(sock, 6)
        [exchange] = raw_server.wait_exchanges(1)

        assert head == (
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
        )
        assert echo == b"\x00\x01 raw"
        assert (exchange.request_body_bytes, exchange.response_body_bytes) == (6, 6)


class TestConnections:
    def test_keep_alive(self, raw_server):
        """One connection serves one exchange after another."""
        client = http.client.HTTPConnection(raw_server.host, raw_server.port, timeout=10)
        for target in ("/bytes/10", "/chunked/10", "/status/204", "/gzip/10"):
            client.request("GET", target)
            client.getresponse().read()
        client.close()

        assert [e.connection_number for e in raw_server.wait_exchanges(4)] == [1] * 4
        assert [c.number for c in raw_server.wait_closed()] == [1]

    def test_pipelining(self, raw_server):
        """A client that does not wait for its answers gets them in order."""
        with connect(raw_server) as sock:
            sock.sendall(request("GET", "/bytes/3") + request("GET", "/until-close/4"))
            answers = read_all(sock)

        assert answers.count(b"HTTP/1.1 200 OK") == 2
        assert answers.endswith(b"\r\n\r\n" + content(4))

    def test_many_at_once(self, raw_server):
        """Connections do not wait for each other."""
        sockets = [connect(raw_server) for _ in range(20)]
        for sock in sockets:
            sock.sendall(request("GET", "/hang-before-headers/1", "Connection: close"))
        raw_server.release()
        replies = [read_all(sock) for sock in sockets]
        for sock in sockets:
            sock.close()

        assert all(reply.endswith(b"\r\n\r\n\x00") for reply in replies)
        assert len(raw_server.wait_closed(20)) == 20
