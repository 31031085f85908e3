"""Bad days of TLS over a traced socket."""

from __future__ import annotations

import socket
import ssl
import warnings

import pytest

from tests.network._records import crossed, only
from tests.network._sockets import HUNDRED, SECONDS, reset
from tests.network._tcp_info import LINUX, tcp_info
from tests.network._tcp_server import EchoServer
from tests.network._tls import connect, serving, take, wire
from volnux.telemetry import traced_socket


@pytest.mark.parametrize(
    ("certificate", "text"),
    [("wrong-name", "mismatch"), ("untrusted", "issuer"), ("expired", "expired")],
)
def test_a_certificate_that_will_not_do(certificate, text, authority, client_context, registry):
    """The handshake fails as it would, and the operation with it."""
    with (
        EchoServer(tls=authority, certificate=certificate) as server,
        pytest.raises(ssl.SSLCertVerificationError, match=text),
    ):
        connect(server, client_context)
    op = only(registry)

    assert (op.status, op.error_type) == ("failed", "SSLCertVerificationError")
    assert (op.bytes_sent, op.bytes_received) == (0, 0)


def test_no_tls_at_the_other_end(client_context, registry, pair):
    """Whoever answers otherwise is no TLS server."""
    near, far = pair
    far.sendall(b"220 hello, this is no TLS\r\n")
    with pytest.raises(ssl.SSLError), traced_socket(near) as sock:
        client_context.wrap_socket(sock, server_hostname="localhost")
    op = only(registry)

    assert (op.status, op.error_type) == ("failed", "SSLError")


def test_a_mistake_before_the_handshake(client_context, registry, pair):
    """A call that is wrong in itself leaves the plain socket as it was."""
    with traced_socket(pair[0]) as sock:
        with pytest.raises(ValueError, match="server_hostname"):
            client_context.wrap_socket(sock)
        sock.sendall(b"x")

    assert (crossed(registry), only(registry).status) == ((1, 0), "completed")


def test_a_handshake_asked_for(authority, client_context, registry, pair):
    """Wrapped first and shaken hands with later, it is the same; what fails then is recorded."""
    near, far = pair
    thread = serving(authority, far)
    sock = client_context.wrap_socket(
        traced_socket(near), server_hostname="elsewhere.example", do_handshake_on_connect=False
    )
    with sock, pytest.raises(ssl.SSLCertVerificationError):
        sock.do_handshake()
    thread.join()

    assert only(registry).error_type == "SSLCertVerificationError"


def test_wrapped_before_it_is_connected(tls_echo_server, client_context, registry):
    """A TLS socket may be made first and connected then."""
    plain = traced_socket(socket.socket())
    with client_context.wrap_socket(plain, server_hostname="localhost") as sock:
        sock.settimeout(SECONDS)
        sock.connect(tls_echo_server.address)
        sock.sendall(HUNDRED)
        assert take(sock, 100) == HUNDRED
    op = only(registry)

    assert (op.host, op.port) == tls_echo_server.address
    assert (op.bytes_sent, op.bytes_received) == (100, 100)


def test_without_blocking(tls_echo_server, client_context, registry):
    """That TLS wants to read or write first is no failure."""
    with connect(tls_echo_server, client_context) as sock:
        sock.setblocking(False)
        with pytest.raises(ssl.SSLWantReadError):
            sock.recv(1)
        sock.sendall(HUNDRED)
        sock.settimeout(SECONDS)
        assert take(sock, 100) == HUNDRED
        sock.setblocking(False)
        with pytest.raises(ssl.SSLWantReadError):
            sock.recv_into(bytearray(1))

    assert (crossed(registry), only(registry).status) == ((100, 100), "completed")


def test_a_reset(authority, client_context, registry, pair):
    """What had crossed before the reset stays, on both levels."""
    near, far = pair

    def talk(end):
        take(end, 100)
        end.sendall(HUNDRED)
        reset(end)

    thread = serving(authority, far, talk)
    # Some Pythons take a reset for an end that is cut off, and that for no error unless told.
    secure = client_context.wrap_socket(
        traced_socket(near), server_hostname="localhost", suppress_ragged_eofs=False
    )
    with secure as sock:
        sock.sendall(HUNDRED)
        with pytest.raises((ConnectionResetError, ssl.SSLEOFError)) as caught:
            while sock.recv(1000):
                pass
        thread.join()
        info = tcp_info(sock)
    op = only(registry)

    assert (op.bytes_sent, op.status, op.error_type) == (100, "failed", caught.type.__name__)
    if LINUX:
        assert wire(op) == (info.bytes_sent, info.bytes_received)


def test_an_end_that_is_cut_off(authority, client_context, registry, pair):
    """Without TLS's goodbye, whether that is an error is as it is bare: versions of OpenSSL differ."""
    outcomes = []
    for near, far in (socket.socketpair(), pair):
        thread = serving(authority, far, lambda end: end.sendall(HUNDRED))
        secure = client_context.wrap_socket(
            near if near is not pair[0] else traced_socket(near),
            server_hostname="localhost",
            suppress_ragged_eofs=False,
        )
        with secure:
            try:
                while secure.recv(1000):
                    pass
            except ssl.SSLEOFError as error:
                outcomes.append(type(error).__name__)
            else:
                outcomes.append(None)
        thread.join()

    bare, traced = outcomes
    assert traced == bare
    assert (crossed(registry), only(registry).error_type) == ((0, 100), bare)


def test_dropped_without_a_close(tls_echo_server, client_context, registry):
    """The operation ends, and what the wire carried is known."""
    sock = connect(tls_echo_server, client_context)
    sock.sendall(HUNDRED)
    take(sock, 100)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del sock
    op = only(registry)

    assert (op.bytes_sent, op.bytes_received, op.status) == (100, 100, "completed")
    assert (wire(op)[0] or 1000) > 300


def test_the_old_socket_has_no_part_any_more(tls_echo_server, client_context, registry):
    """It is closed by TLS, as a bare one; the connection does not end with it."""
    plain = traced_socket(socket.create_connection(tls_echo_server.address, SECONDS))
    sock = client_context.wrap_socket(plain, server_hostname="localhost")
    plain.close()
    del plain
    assert registry.health().in_flight == 1
    sock.sendall(HUNDRED)
    sock.close()

    assert crossed(registry) == (100, 0)


def test_a_bare_socket_stays_bare(tls_echo_server, client_context):
    """Who traces nothing gets the standard library's own TLS socket."""
    plain = socket.create_connection(tls_echo_server.address, SECONDS)
    with client_context.wrap_socket(plain, server_hostname="localhost") as sock:
        assert type(sock) is ssl.SSLSocket
