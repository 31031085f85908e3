"""The raw server breaks each rule as it says, and no other."""

from __future__ import annotations

import gzip
import http.client
import ssl
import threading
import zlib

import pytest

from tests.network._authority import Authority
from tests.network._client import (
    ask,
    connect,
    read_all,
    read_head,
    read_some,
    request,
)
from tests.network._raw_server import RawServer
from tests.network._routes import content


def begin(server, target):
    """Ask for something, and leave the answer to the test."""
    sock = connect(server)
    sock.sendall(request("GET", target))
    return sock


class TestCutShort:
    def test_reset_mid_body(self, raw_server):
        """Half of the body comes, to the byte, then a reset."""
        with begin(raw_server, "/reset-mid-body/100001") as sock:
            read_head(sock)
            half = read_some(sock, 50_000)
            with pytest.raises(ConnectionResetError):
                sock.recv(1)

        assert half == content(50_000)

    def test_reset(self, raw_server):
        """A connection is reset before any answer."""
        with begin(raw_server, "/reset") as sock, pytest.raises(ConnectionResetError):
            sock.recv(1)

    def test_short(self, raw_server):
        """Half of what was declared comes, then an end in order."""
        reply = ask(raw_server, "/short/11")

        assert (reply.headers["Content-Length"], reply.body) == ("11", content(5))

    def test_half_chunk(self, raw_server):
        """The second chunk ends in its middle."""
        reply = ask(raw_server, "/half-chunk")

        assert reply.body == b"64\r\n" + content(100) + b"\r\n64\r\n" + content(50)

    def test_close_before_response(self, raw_server):
        """Nothing comes but an end in order."""
        with begin(raw_server, "/close-before-response") as sock:
            assert read_all(sock) == b""

    def test_close_mid_headers(self, raw_server):
        """The head ends in its middle."""
        with begin(raw_server, "/close-mid-headers") as sock:
            assert read_all(sock) == b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Ty"

    def test_close_unread(self, raw_server):
        """The client is cut off while it still sends."""
        with connect(raw_server) as sock:
            sock.sendall(request("POST", "/close-unread", "Content-Length: 100000000"))
            with pytest.raises(ConnectionError):
                while True:
                    sock.sendall(bytes(1_000_000))


class TestNonsense:
    def test_long(self, raw_server):
        """Ten bytes more come than were declared."""
        reply = ask(raw_server, "/long/20")

        assert (reply.headers["Content-Length"], reply.body) == ("20", content(30))

    def test_bad_chunk_size(self, raw_server):
        """The second chunk has no size."""
        reply = ask(raw_server, "/bad-chunk-size")

        assert reply.body == b"64\r\n" + content(100) + b"\r\nzz\r\n"

    def test_bad_gzip(self, raw_server):
        """What says it is compressed is not."""
        reply = ask(raw_server, "/bad-gzip")

        assert reply.headers["Content-Encoding"] == "gzip"
        with pytest.raises(gzip.BadGzipFile):
            gzip.decompress(reply.body)

    def test_cut_gzip(self, raw_server):
        """A compressed body is as long as declared, and half of what was compressed."""
        reply = ask(raw_server, "/cut-gzip/1000")

        assert reply.headers["Content-Length"] == str(len(reply.body))
        unpacking = zlib.decompressobj(wbits=31)
        unpacking.decompress(reply.body)
        assert not unpacking.eof

    def test_garbage(self, raw_server):
        """What comes is not HTTP."""
        client = http.client.HTTPConnection(raw_server.host, raw_server.port, timeout=10)
        client.request("GET", "/garbage")
        with pytest.raises(http.client.BadStatusLine):
            client.getresponse()
        client.close()


class TestHanging:
    def test_before_headers(self, raw_server):
        """Nothing comes until the server is released, then everything."""
        with begin(raw_server, "/hang-before-headers/3") as sock:
            sock.settimeout(0.01)
            with pytest.raises(TimeoutError):
                sock.recv(1)
            sock.settimeout(10)
            raw_server.release()
            read_head(sock)

            assert read_some(sock, 3) == content(3)

    def test_mid_headers(self, raw_server):
        """A head stops in its middle until the server is released."""
        with begin(raw_server, "/hang-mid-headers") as sock:
            first = read_some(sock, 46)
            raw_server.release()
            rest = read_head(sock)

        assert first + rest == (
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\n"
        )

    def test_mid_body(self, raw_server):
        """A body stops in its middle until the server is released."""
        with begin(raw_server, "/hang-mid-body/10") as sock:
            read_head(sock)
            first = read_some(sock, 5)
            raw_server.release()
            rest = read_some(sock, 5)

        assert first + rest == content(10)

    def test_drip(self, raw_server):
        """One byte comes with each step."""
        with begin(raw_server, "/drip/3") as sock:
            read_head(sock)
            drops = []
            for _ in range(3):
                raw_server.step()
                drops.append(sock.recv(100))

        assert drops == [b"\x00", b"\x01", b"\x02"]

    def test_client_that_gives_up(self, raw_server):
        """A client that leaves is noticed without a release."""
        with begin(raw_server, "/hang-mid-body/10") as sock:
            read_head(sock)
            read_some(sock, 5)
        [exchange] = raw_server.wait_exchanges(1)

        assert (exchange.complete, exchange.error) == (False, "Gone")
        assert exchange.response_body_bytes == 5

    def test_closing_while_it_hangs(self):
        """A server that is closed lets go of whoever hangs, and leaves no thread."""
        with RawServer() as server:
            sock = begin(server, "/hang-before-headers")
            server.wait_begun(1)
            server.close()
        with sock:
            assert sock.recv(1) == b""
        assert server.exchanges[0].error == "Closing"
        assert not [t for t in threading.enumerate() if t.name.startswith("test-server")]


class TestTls:
    def test_good(self, tls_server):
        """A client that trusts the authority gets the same bytes as without TLS."""
        assert ask(tls_server, "/bytes/100000").body == content(100_000)

    def test_end_in_order(self, tls_server):
        """The end of a body that ends with its connection is said within TLS."""
        with connect(tls_server) as sock:
            sock.suppress_ragged_eofs = False
            sock.sendall(request("GET", "/until-close/10"))

            assert read_all(sock).endswith(content(10))

    def test_fault(self, tls_server):
        """A reset comes through TLS after the same half of the body."""
        with begin(tls_server, "/reset-mid-body/100000") as sock:
            sock.suppress_ragged_eofs = False
            read_head(sock)
            half = read_some(sock, 50_000)
            # Python before 3.11.9 and 3.12.3 loses the kernel's ECONNRESET and says EOF.
            with pytest.raises((ConnectionResetError, ssl.SSLEOFError)):
                sock.recv(1)

        assert half == content(50_000)

    def test_hanging_client_that_gives_up(self, tls_server):
        """A client that leaves is noticed under TLS too."""
        with begin(tls_server, "/hang-before-headers"):
            tls_server.wait_begun(1)
        [exchange] = tls_server.wait_exchanges(1)

        assert exchange.error == "Gone"

    @pytest.mark.parametrize(
        ("certificate", "reason"),
        [
            ("wrong-name", "IP address mismatch"),
            ("expired", "certificate has expired"),
            ("untrusted", "unable to get local issuer certificate"),
        ],
    )
    def test_bad_certificate(self, authority, certificate, reason):
        """A client refuses each bad certificate for its own reason."""
        with RawServer(tls=authority, certificate=certificate) as server:
            with pytest.raises(ssl.SSLCertVerificationError, match=reason):
                connect(server)
            [connection] = server.wait_closed()

        assert connection.error in {"SSLError", "Gone"}

    def test_authority_on_file(self, ca_pem, tls_server):
        """The authority's file is enough to trust the server."""
        with connect(tls_server, context=ssl.create_default_context(cafile=ca_pem)) as sock:
            assert sock.version() == "TLSv1.3"

    def test_stranger(self, tls_server, tmp_path):
        """A client of another authority does not."""
        with pytest.raises(ssl.SSLCertVerificationError):
            connect(tls_server, context=Authority(tmp_path).client_context())
