"""Echo, sink and source say what they carried, over TCP, TLS, Unix sockets and UDP."""

from __future__ import annotations

import socket
import ssl

import pytest

from tests.network._client import connect, read_all, read_some
from tests.network._routes import content
from tests.network._tcp_info import needs_tcp_info


class TestEcho:
    def test_tcp(self, echo_server):
        """Everything comes back, and both sides end in order."""
        with connect(echo_server) as sock:
            sock.sendall(content(100_000))
            back = read_some(sock, 100_000)
            sock.shutdown(socket.SHUT_WR)
            end = sock.recv(1)
        [connection] = echo_server.wait_closed()

        assert (back, end) == (content(100_000), b"")
        assert (connection.received, connection.sent) == (100_000, 100_000)

    @needs_tcp_info
    def test_kernel(self, echo_server):
        """The kernel has counted the same."""
        with connect(echo_server) as sock:
            sock.sendall(b"x" * 5000)
            read_some(sock, 5000)
        [connection] = echo_server.wait_closed()

        assert (connection.wire_received, connection.wire_sent) == (5000, 5000)

    def test_tls(self, tls_echo_server):
        """Everything comes back through TLS, which adds to it."""
        with connect(tls_echo_server) as sock:
            assert isinstance(sock, ssl.SSLSocket)
            sock.sendall(content(100_000))
            back = read_some(sock, 100_000)
        [connection] = tls_echo_server.wait_closed()

        assert back == content(100_000)
        assert (connection.received, connection.sent) == (100_000, 100_000)
        assert connection.raw_sent > 100_000

    def test_clients_together(self, echo_server):
        """Each connection has an account of its own."""
        sockets = [connect(echo_server) for _ in range(5)]
        for size, sock in enumerate(sockets):
            sock.sendall(bytes(size))
            read_some(sock, size)
        for sock in sockets:
            sock.close()

        assert sorted(c.received for c in echo_server.wait_closed(5)) == [0, 1, 2, 3, 4]

    @pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix sockets here")
    def test_unix(self, unix_server):
        """Everything comes back through a Unix socket, without a kernel's count."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(10)
            sock.connect(unix_server.address)
            sock.sendall(content(5000))
            back = read_some(sock, 5000)
        [connection] = unix_server.wait_closed()

        assert back == content(5000)
        assert (connection.received, connection.sent) == (5000, 5000)
        assert (connection.wire_received, connection.wire_sent) == (None, None)

    def test_udp(self, udp_server):
        """Every datagram comes back, an empty one too."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(10)
            back = []
            for size in (0, 1, 1400, 60_000):
                sock.sendto(content(size), udp_server.address)
                back.append(sock.recv(65_536))

        assert back == [content(size) for size in (0, 1, 1400, 60_000)]
        assert udp_server.wait_datagrams(4) == [0, 1, 1400, 60_000]


class TestSink:
    def test_takes_everything(self, sink_server):
        """It says nothing and counts all."""
        with connect(sink_server) as sock:
            sock.sendall(bytes(3_000_000))
            sock.shutdown(socket.SHUT_WR)
            end = read_all(sock)
        [connection] = sink_server.wait_closed()

        assert end == b""
        assert (connection.received, connection.sent) == (3_000_000, 0)


class TestSource:
    def test_sends_what_is_asked(self, source_server):
        """It answers each line with so many bytes, and ends when told."""
        with connect(source_server) as sock:
            sock.sendall(b"10\n")
            first = read_some(sock, 10)
            sock.sendall(b"3000000 close\n")
            second = read_all(sock)
        [connection] = source_server.wait_closed()

        assert (first, second) == (content(10), content(3_000_000))
        assert (connection.received, connection.sent) == (17, 3_000_010)

    def test_resets_when_told(self, source_server):
        """A reset comes after the bytes."""
        with connect(source_server) as sock:
            sock.sendall(b"1000 reset\n")
            before = read_some(sock, 1000)
            with pytest.raises(ConnectionResetError):
                sock.recv(1)

        assert before == content(1000)
