"""TLS over traced sockets: the plain bytes are the program's, the wire's have names of their own."""

from __future__ import annotations

import io
import select
import socket
import ssl
import threading

import pytest

from tests.network._records import crossed, only
from tests.network._sockets import HUNDRED, SECONDS, wait_for
from tests.network._tcp_info import LINUX, needs_tcp_info, tcp_info
from tests.network._tls import connect, echo, serving, take, wire
from volnux.telemetry import traced_socket


@pytest.mark.parametrize("size", [1, 100, 16_384, 16_385, 300_000])
def test_plain_bytes_are_what_the_program_exchanged(
    size, tls_echo_server, client_context, registry
):
    """TLS adds nothing to them, nor does the layer below count them again."""
    with connect(tls_echo_server, client_context) as sock:
        sock.sendall(bytes(size))
        take(sock, size)
    [seen] = tls_echo_server.wait_closed()

    assert crossed(registry) == (size, size) == (seen.received, seen.sent)


@needs_tcp_info
def test_wire_bytes_are_the_kernel_s(tls_echo_server, client_context, registry):
    """The handshake is in them, and both ends agree."""
    with connect(tls_echo_server, client_context) as sock:
        sock.sendall(HUNDRED)
        take(sock, 100)
        info = tcp_info(sock)
    [seen] = tls_echo_server.wait_closed()
    op = only(registry)

    assert wire(op) == (info.bytes_sent, info.bytes_received)
    assert op.attributes["wire_bytes_sent"] == seen.wire_received
    assert min(wire(op)) > 200
    assert op.attributes["wire_source"] == "tcp_info"


@needs_tcp_info
def test_wire_bytes_of_a_whole_connection(tls_echo_server, client_context, registry):
    """After an end in order, what the server has counted is ours, in both directions."""
    with connect(tls_echo_server, client_context) as sock:
        sock.sendall(HUNDRED)
        take(sock, 100)
        sock.shutdown(socket.SHUT_WR)
        wait_for(sock, select.POLLRDHUP)
    [seen] = tls_echo_server.wait_closed()

    assert wire(only(registry)) == (seen.wire_received, seen.wire_sent)


def test_a_plain_connection_has_no_wire_bytes(echo_server, registry):
    """They would be the same."""
    with traced_socket(socket.create_connection(echo_server.address, SECONDS)) as sock:
        sock.sendall(HUNDRED)

    assert only(registry).attributes == {"source": "counted"}


SENDING = {
    "send": lambda sock: sock.send(HUNDRED),
    "send, named": lambda sock: sock.send(data=HUNDRED, flags=0),
    "sendall": lambda sock: sock.sendall(HUNDRED),
    "sendall, named": lambda sock: sock.sendall(data=HUNDRED, flags=0),
    "sendall, bytearray": lambda sock: sock.sendall(bytearray(HUNDRED)),
    "write": lambda sock: sock.write(HUNDRED),
    "sendfile": lambda sock: sock.sendfile(io.BytesIO(HUNDRED)),
    "makefile": lambda sock: sock.makefile("wb", buffering=0).write(HUNDRED),
}


@pytest.mark.parametrize("way", SENDING)
def test_sent(way, tls_echo_server, client_context, registry):
    """Each way of sending counts once."""
    with connect(tls_echo_server, client_context) as sock:
        SENDING[way](sock)
        assert take(sock, 100) == HUNDRED

    assert crossed(registry) == (100, 100)


def by_read(sock):
    buffer = bytearray(100)
    count = sock.read(50, buffer)
    return bytes(buffer[:count])


def by_recv_into(sock, *arguments):
    buffer = bytearray(100)
    count = sock.recv_into(buffer, *arguments)
    return bytes(buffer[:count])


RECEIVING = {
    "recv": lambda sock: sock.recv(),
    "recv, size": lambda sock: sock.recv(60),
    "recv, named": lambda sock: sock.recv(buflen=60, flags=0),
    "recv_into": by_recv_into,
    "recv_into, nothing": lambda sock: by_recv_into(sock, None),
    "recv_into, size": lambda sock: by_recv_into(sock, 60),
    "read": lambda sock: sock.read(),
    "read, size": lambda sock: sock.read(60),
    "read, named": lambda sock: sock.read(len=60),
    "read, buffer": by_read,
    "makefile": lambda sock: sock.makefile("rb", buffering=0).read(70),
}


@pytest.mark.parametrize("way", RECEIVING)
def test_received(way, tls_echo_server, client_context, registry):
    """Each way of receiving counts once, what it got and no more."""
    with connect(tls_echo_server, client_context) as sock:
        sock.sendall(HUNDRED)
        got = RECEIVING[way](sock)

    assert got
    assert HUNDRED.startswith(got)
    assert crossed(registry) == (100, len(got))


REFUSED = {
    "sendmsg": lambda sock: sock.sendmsg([HUNDRED]),
    "recvmsg": lambda sock: sock.recvmsg(10),
    "recvmsg_into": lambda sock: sock.recvmsg_into([bytearray(10)]),
    "dup": lambda sock: sock.dup(),
    "sendto": lambda sock: sock.sendto(HUNDRED, ("localhost", 1)),
    "recvfrom": lambda sock: sock.recvfrom(10),
    "recv with flags": lambda sock: sock.recv(10, socket.MSG_PEEK),
    "sendall with flags": lambda sock: sock.sendall(HUNDRED, socket.MSG_OOB),
}


@pytest.mark.parametrize("way", REFUSED)
def test_what_tls_refuses(way, tls_echo_server, client_context, registry):
    """It refuses as it would; that is the program's mistake, and no failure of the connection."""
    sock = connect(tls_echo_server, client_context)
    with sock, pytest.raises((NotImplementedError, ValueError)):
        REFUSED[way](sock)

    assert (crossed(registry), only(registry).status) == ((0, 0), "completed")


def test_it_is_a_tls_socket(tls_echo_server, client_context):
    """In all else too: its peer's certificate, its cipher, what waits in it."""
    with connect(tls_echo_server, client_context) as sock:
        assert isinstance(sock, ssl.SSLSocket)
        assert (sock.context, sock.server_side) == (client_context, False)
        assert (sock.version(), bool(sock.getpeercert()), sock.pending()) == ("TLSv1.3", True, 0)


def test_a_tls_socket_from_before(tls_echo_server, client_context, registry):
    """What is traced only now counts from here on, on the wire too."""
    plain = socket.create_connection(tls_echo_server.address, SECONDS)
    bare = client_context.wrap_socket(plain, server_hostname="localhost")
    bare.sendall(HUNDRED)
    take(bare, 100)
    before = tcp_info(bare)
    with traced_socket(bare) as sock:
        sock.sendall(HUNDRED)
        take(sock, 100)
        after = tcp_info(sock)
    op = only(registry)

    assert (op.bytes_sent, op.bytes_received) == (100, 100)
    if LINUX:
        assert wire(op)[0] == after.bytes_sent - before.bytes_sent == 122


def test_the_server_s_side(authority, client_context, registry, pair):
    """A server's sockets are traced in the same way."""
    near, far = pair

    def talk():
        with client_context.wrap_socket(near, server_hostname="localhost") as client:
            client.sendall(HUNDRED)
            take(client, 50)

    thread = threading.Thread(target=talk)
    thread.start()
    context = authority.server_context()
    with context.wrap_socket(traced_socket(far, "serve"), server_side=True) as sock:
        assert take(sock, 100) == HUNDRED
        sock.sendall(HUNDRED[:50])
        assert sock.recv(1) == b""
    thread.join()

    assert (only(registry).operation, crossed(registry)) == ("serve", (50, 100))


@needs_tcp_info
def test_a_listening_socket_of_tls(authority, client_context, registry):
    """What it accepts is traced from the handshake on."""
    listening = authority.server_context().wrap_socket(
        socket.create_server(("127.0.0.1", 0)), server_side=True
    )
    infos = []

    def talk(address):
        plain = socket.create_connection(address, SECONDS)
        with client_context.wrap_socket(plain, server_hostname="localhost") as client:
            client.sendall(HUNDRED)
            assert client.recv(1) == b"."
            infos.append(tcp_info(client))

    with traced_socket(listening, "serve") as traced:
        thread = threading.Thread(target=talk, args=(traced.getsockname(),))
        thread.start()
        sock, _ = traced.accept()
        with sock:
            assert take(sock, 100) == HUNDRED
            sock.sendall(b".")
            thread.join()
    op = only(registry)

    assert (op.operation, op.bytes_sent, op.bytes_received) == ("serve", 1, 100)
    assert op.attributes["wire_bytes_received"] == infos[0].bytes_sent


def test_an_upgrade(authority, client_context, registry, pair):
    """Plain first, TLS then: one operation, whose plain bytes are the program's on both levels."""
    near, far = pair
    sock = traced_socket(near)
    sock.sendall(b"STARTTLS\r\n")
    assert far.recv(100) == b"STARTTLS\r\n"
    far.sendall(b"220 go\r\n")
    assert sock.recv(100) == b"220 go\r\n"
    thread = serving(authority, far, echo)
    with client_context.wrap_socket(sock, server_hostname="localhost") as secure:
        secure.sendall(HUNDRED)
        take(secure, 100)
        info = tcp_info(secure)
    thread.join()
    op = only(registry)

    assert (op.bytes_sent, op.bytes_received) == (110, 108)
    if LINUX:
        assert wire(op) == (info.bytes_sent, info.bytes_received)
    assert sock.fileno() == -1


def test_and_back(authority, client_context, registry, pair):
    """After `unwrap` the connection goes on in plain."""
    near, far = pair
    heard = []

    def talk(end):
        heard.append(take(end, 100))
        with end.unwrap() as plain:
            heard.append(plain.recv(100))
            plain.sendall(b"bye")

    thread = serving(authority, far, talk)
    sock = client_context.wrap_socket(traced_socket(near), server_hostname="localhost")
    sock.sendall(HUNDRED)
    with sock.unwrap() as plain:
        plain.sendall(b"plain")
        assert plain.recv(100) == b"bye"
    thread.join()

    assert heard == [HUNDRED, b"plain"]
    assert (crossed(registry), only(registry).status) == ((105, 3), "completed")


def test_exchanges(tls_echo_server, client_context, registry):
    """They are the plain bytes that cross in the block."""
    with connect(tls_echo_server, client_context) as sock, sock.exchange("LOGIN"):
        sock.sendall(HUNDRED)
        take(sock, 100)
    connection, login = registry.network_ops()

    assert (login.operation, login.bytes_sent, login.bytes_received) == ("LOGIN", 100, 100)
    assert (connection.bytes_sent, connection.attributes["exchanges"]) == (0, 1)
    assert "wire_bytes_sent" not in login.attributes
