"""The socket of an `http.client` connection: what it was, but that it counts, whatever it is asked for."""

from __future__ import annotations

import contextlib
import io
import socket
from http.client import HTTPConnection

import pytest

from tests.network._sockets import SECONDS, tcp_pair
from tests.network._tls import serving
from volnux.telemetry import traced_client

SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\r\n"
PIECE = b"some bytes"


class Peer:
    """The server of a connection that was upgraded: it says back what it is sent, and counts."""

    def __init__(self):
        self.came = self.went = 0

    def switch(self, end):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += end.recv(65_536)
        self.came += len(head)
        self.say(end, SWITCHED)

    def say(self, end, data):
        end.sendall(data)
        self.went += len(data)

    def echo(self, end):
        self.switch(end)
        while data := end.recv(65_536):
            self.came += len(data)
            self.say(end, data)


@contextlib.contextmanager
def upgraded(near):
    """The socket of a traced connection that has become something else than HTTP."""
    connection = traced_client(HTTPConnection("example.org"))
    connection.sock = near
    connection.request("GET", "/")
    response = connection.getresponse()
    assert response.status == 101
    yield connection.sock
    connection.close()
    response.close()


def counts(registry):
    (op,) = registry.network_ops()
    return op.status, op.bytes_sent, op.bytes_received


def by_file(sock, data):
    with sock.makefile("wb") as file:
        file.write(data)


def by_copy(sock, data):
    with sock.dup() as copy:
        copy.sendall(data)


def by_sendfile(sock, data, tmp_path):
    path = tmp_path / "sent"
    path.write_bytes(data)
    with path.open("rb") as file:
        assert sock.sendfile(file) == len(data)


OUT = {
    "send": lambda sock, data: sock.send(data),
    "sendall of bytes": lambda sock, data: sock.sendall(data),
    "sendall of a bytearray": lambda sock, data: sock.sendall(bytearray(data)),
    "sendall of nothing": lambda sock, data: (sock.sendall(b""), sock.sendall(data)),
    "sendfile of no file": lambda sock, data: sock.sendfile(io.BytesIO(data)),
    "makefile": by_file,
}
OUT_PLAIN = {
    "sendmsg": lambda sock, data: sock.sendmsg([data[:4], data[4:]]),
    "sendall with flags": lambda sock, data: sock.sendall(data, socket.MSG_NOSIGNAL),
    "dup": by_copy,
}
OUT_TLS = {"write": lambda sock, data: sock.write(data)}


def into(sock, *args):
    buffer = bytearray(100)
    return bytes(buffer[: sock.recv_into(buffer, *args)])


def read_into(sock):
    buffer = bytearray(100)
    return bytes(buffer[: sock.read(100, buffer)])


def message_into(sock):
    buffer = bytearray(100)
    return bytes(buffer[: sock.recvmsg_into([buffer])[0]])


def peeked(sock):
    assert sock.recv(100, socket.MSG_PEEK) == PIECE  # which takes nothing
    return sock.recv(100)


def from_file(sock):
    with sock.makefile("rb", 0) as file:
        return file.read(100)


IN = {
    "recv": lambda sock: sock.recv(100),
    "recv_into": into,
    "recv_into with a size": lambda sock: into(sock, 50),
    "makefile": from_file,
}
IN_PLAIN = {
    "recv after a look": peeked,
    "recvfrom": lambda sock: sock.recvfrom(100)[0],
    "recvmsg": lambda sock: sock.recvmsg(100)[0],
    "recvmsg_into": message_into,
}
IN_TLS = {"read": lambda sock: sock.read(100), "read into": read_into}


@pytest.mark.parametrize("receive", [*IN.values(), *IN_PLAIN.values()], ids=[*IN, *IN_PLAIN])
def test_every_way_to_receive_is_counted_once(registry, receive):
    """The bytes are those that the other side has sent."""
    with tcp_pair() as (near, far):
        peer = Peer()
        with peer_of(far, peer.echo), upgraded(near) as sock:
            sock.sendall(PIECE)
            assert receive(sock) == PIECE
    assert counts(registry) == ("completed", peer.came, peer.went)


@pytest.mark.parametrize("send", [*OUT.values(), *OUT_PLAIN.values()], ids=[*OUT, *OUT_PLAIN])
def test_every_way_to_send_is_counted_once(registry, send):
    """The bytes are those that have come to the other side."""
    with tcp_pair() as (near, far):
        peer = Peer()
        with peer_of(far, peer.echo), upgraded(near) as sock:
            send(sock, PIECE)
            assert sock.recv(100) == PIECE
    assert counts(registry) == ("completed", peer.came, peer.went)


def test_a_file_that_the_system_sends_is_counted_once(registry, tmp_path):
    """`sendfile` goes past `send`, where it can."""
    with tcp_pair() as (near, far):
        peer = Peer()
        with peer_of(far, peer.echo), upgraded(near) as sock:
            by_sendfile(sock, PIECE, tmp_path)
            assert sock.recv(100) == PIECE
    assert counts(registry) == ("completed", peer.came, peer.went)


@pytest.mark.parametrize(
    ("send", "receive"),
    [(send, IN["recv"]) for send in (*OUT.values(), *OUT_TLS.values())]
    + [(OUT["send"], receive) for receive in (*IN.values(), *IN_TLS.values())],
    ids=[*OUT, *OUT_TLS, *IN, *IN_TLS],
)
def test_every_way_over_tls_is_counted_once(registry, authority, client_context, send, receive):
    """The plain bytes, though each way takes others of the socket's methods."""
    with tcp_pair() as (near, far):
        peer = Peer()
        thread = serving(authority, far, peer.echo)
        secure = client_context.wrap_socket(near, server_hostname="localhost")
        with secure, upgraded(secure) as sock:
            send(sock, PIECE)
            assert receive(sock) == PIECE
        thread.join()
    assert counts(registry) == ("completed", peer.came, peer.went)


def test_what_follows_tls_on_a_connection_is_counted_too(registry, authority, client_context):
    """Both sides have ended it, and go on in plain."""

    def talk(end):
        peer.switch(end)
        plain = end.unwrap()
        peer.came += len(plain.recv(65_536))
        peer.say(plain, PIECE)
        plain.close()

    with tcp_pair() as (near, far):
        peer = Peer()
        thread = serving(authority, far, talk)
        secure = client_context.wrap_socket(near, server_hostname="localhost")
        with secure, upgraded(secure) as sock:
            assert sock.unwrap() is sock
            sock.sendall(PIECE)
            assert into(sock) == PIECE
            assert sock.recv(100) == b""
        thread.join()
    assert counts(registry) == ("completed", peer.came, peer.went)


@pytest.mark.parametrize("send", ["send", "sendall", "write"])
def test_what_goes_wrong_in_tls_is_known_by_its_exchange(registry, authority, client_context, send):
    """Whichever method met it: the operation ends with it if nothing makes it good."""
    with tcp_pair() as (near, far):
        peer = Peer()
        thread = serving(authority, far, peer.echo)
        secure = client_context.wrap_socket(near, server_hostname="localhost")
        with upgraded(secure) as sock:
            socket.socket.shutdown(sock, socket.SHUT_WR)  # below TLS
            with pytest.raises(OSError, match=r"EOF|[Bb]roken pipe"):
                getattr(sock, send)(PIECE)
        thread.join()
    (op,) = registry.network_ops()
    assert op.status == "failed"


def test_a_socket_that_is_detached_ends_its_exchange(registry):
    """Whoever has the descriptor goes on without being counted."""
    with tcp_pair() as (near, far):
        peer = Peer()
        with peer_of(far, peer.echo), upgraded(near) as sock:
            assert registry.health().in_flight == 1
            with socket.socket(fileno=sock.detach()) as other:
                other.settimeout(SECONDS)
                assert registry.health().in_flight == 0
                other.sendall(PIECE)
                assert other.recv(100) == PIECE
    assert counts(registry) == ("completed", peer.came - len(PIECE), peer.went - len(PIECE))


class Own(socket.socket):
    """A program's own kind of socket."""

    tag = "own"


@pytest.mark.parametrize("kind", [socket.socket, Own])
def test_it_stays_the_same_object_of_the_same_name(registry, raw_server, kind):
    """What a program did with its socket before, and does afterwards, it does with the one that counts."""
    connection = traced_client(HTTPConnection(raw_server.host, raw_server.port))
    with contextlib.closing(connection), kind() as sock:
        sock.connect((raw_server.host, raw_server.port))
        named, connection.sock = repr(sock), sock
        connection.request("GET", "/bytes/1")
        assert len(connection.getresponse().read()) == 1
        assert connection.sock is sock
        assert isinstance(sock, kind)
        assert (repr(sock), type(sock).__name__) == (named, kind.__name__)
    (op,) = registry.network_ops()
    assert op.attributes["source"] == "counted"


def test_a_socket_of_a_class_that_cannot_be_inherited_from_is_counted_around(registry, raw_server):
    """Its connection gets a proxy instead."""

    class Final(socket.socket):
        def __init_subclass__(cls):
            raise TypeError("no")

    connection = traced_client(HTTPConnection(raw_server.host, raw_server.port))
    with contextlib.closing(connection), Final() as sock:
        sock.connect((raw_server.host, raw_server.port))
        connection.sock = sock
        connection.request("GET", "/bytes/5")
        assert len(connection.getresponse().read()) == 5
        assert type(sock) is Final
    (op,), (seen,) = registry.network_ops(), raw_server.wait_exchanges(1)
    assert op.bytes_sent == seen.request_head_bytes
    assert op.bytes_received == seen.response_head_bytes + 5


def test_a_copy_whose_exchange_is_over_counts_nothing(registry, raw_server):
    """It works like any other socket."""
    connection = traced_client(HTTPConnection(raw_server.host, raw_server.port))
    with contextlib.closing(connection):
        connection.request("GET", "/bytes/5")
        connection.getresponse().read()
        with connection.sock.dup() as copy:
            copy.sendall(b"GET /bytes/5 HTTP/1.1\r\nHost: example.org\r\n\r\n")
            with copy.makefile("rb") as file:
                assert file.readline() == b"HTTP/1.1 200 OK\r\n"
    assert len(registry.network_ops()) == 1


@contextlib.contextmanager
def peer_of(far, talk):
    """A thread that is the server at the far end, until the near one has closed."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(talk, far)
        yield
        done.result()
