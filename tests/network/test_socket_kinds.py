"""Every kind of socket, and what else uses them: its operation, from its beginning to its end."""

from __future__ import annotations

import asyncio
import selectors
import socket
import threading

import pytest

from tests.network._records import crossed, only
from tests.network._sockets import HUNDRED, SECONDS
from tests.network._tcp_info import LINUX
from volnux.telemetry import capture, traced_event, traced_socket


def test_a_datagram_socket(udp_server, registry):
    """Datagrams count, to whomever they go; the first one says to whom."""
    with traced_socket(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        sock.settimeout(SECONDS)
        sock.sendto(HUNDRED, udp_server.address)
        data, address = sock.recvfrom(1000)
        sock.sendmsg([HUNDRED], [], 0, udp_server.address)
        assert sock.recvfrom_into(bytearray(1000)) == (100, udp_server.address)
    op = only(registry)

    assert (data, address) == (HUNDRED, udp_server.address)
    assert (op.host, op.port, op.operation) == (*udp_server.address, "udp")
    assert (op.bytes_sent, op.bytes_received) == (200, 200)


def test_a_connected_datagram_socket(udp_server, registry):
    """With `connect` it is as with TCP; an empty datagram is no end."""
    with traced_socket(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), "ask") as sock:
        sock.settimeout(SECONDS)
        sock.connect(udp_server.address)
        sock.send(b"")
        assert sock.recv(10) == b""
        sock.sendall(HUNDRED)
        assert sock.recv(1000) == HUNDRED

    assert (crossed(registry), only(registry).operation) == ((100, 100), "ask")


@pytest.mark.skipif(not LINUX, reason="Linux tells of what it cuts off")
def test_a_datagram_that_is_cut_off(registry):
    """It counts in full, as the system says that it came."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with far, traced_socket(near) as sock:
        far.send(HUNDRED)
        far.send(HUNDRED)
        assert sock.recvmsg_into([bytearray(10)], 0, socket.MSG_TRUNC)[0] == 100
        assert sock.recv_into(bytearray(10), 10, socket.MSG_TRUNC) == 100

    assert crossed(registry) == (0, 200)


def test_who_is_spoken_to_first(registry):
    """A socket that listens for datagrams names the first that has sent one."""
    with (
        traced_socket(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
    ):
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(SECONDS)
        other.bind(("127.0.0.1", 0))
        other.sendto(HUNDRED, sock.getsockname())
        sock.recvmsg(1000)
        name = other.getsockname()

    assert (only(registry).host, only(registry).port) == name
    assert crossed(registry) == (0, 100)


def test_a_unix_socket(unix_server, registry):
    """A Unix socket's host is its name, without the folders."""
    with traced_socket(socket.socket(socket.AF_UNIX)) as sock:
        sock.settimeout(SECONDS)
        sock.connect(unix_server.address)
        sock.sendall(HUNDRED)
        assert sock.recv(1000) == HUNDRED
    op = only(registry)

    assert (op.host, op.port, op.operation) == ("s", None, "unix")
    assert crossed(registry) == (100, 100)


def test_a_socket_pair(registry):
    """What has no name at the other end is on this host."""
    near, far = socket.socketpair()
    with far, traced_socket(near) as sock:
        far.send(b"x")
        sock.recv(1)

    assert (only(registry).host, crossed(registry)) == ("localhost", (0, 1))


def test_whom_it_goes_to_and_under_what(pair, registry, clock):
    """The operation has the peer's name, runs under the current event, and lasts until the close."""
    with traced_event("step") as event:
        sock = traced_socket(pair[0])
    peer = sock.getpeername()
    clock.advance(1.5)
    sock.close()
    op = only(registry)

    assert (op.host, op.port, op.operation, op.parent_id) == (*peer, "tcp", event.task_id)
    assert (op.latency, op.status, op.attributes) == (1.5, "completed", {"source": "counted"})


def test_the_first_byte(pair, registry, clock):
    """The time to the first byte is that of the first that came."""
    with traced_socket(pair[0]) as sock:
        clock.advance(1)
        pair[1].sendall(b"x")
        sock.recv(1)
        clock.advance(1)
        pair[1].sendall(b"x")
        sock.recv(1)

    assert only(registry).time_to_first_byte == 1


def test_connected_later(echo_server, registry):
    """An operation begins with `connect`."""
    sock = traced_socket(socket.socket())
    assert registry.health().started == 0
    with sock:
        sock.settimeout(SECONDS)
        sock.connect(echo_server.address)
        sock.sendall(HUNDRED)
        assert sock.recv(1000) == HUNDRED
    [seen] = echo_server.wait_closed()

    assert crossed(registry) == (seen.received, seen.sent) == (100, 100)


def test_what_a_listening_socket_accepts(registry):
    """Each connection is an operation; the listening socket is none."""
    with (
        traced_socket(socket.create_server(("127.0.0.1", 0)), "serve") as listening,
        socket.create_connection(listening.getsockname(), SECONDS) as near,
    ):
        sock, address = listening.accept()
        with sock:
            near.sendall(HUNDRED)
            sock.settimeout(SECONDS)
            assert sock.recv(1000) == HUNDRED
    op = only(registry)

    assert (op.host, op.port, op.operation, op.bytes_received) == (*address, "serve", 100)


@pytest.fixture(name="many_files")
def _many_files():
    """Room for as many sockets as a busy program has."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2500:
        pytest.skip(f"no more than {hard} files may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2500), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_thousand_sockets_in_one_selector(many_files, registry):
    """A selector takes traced sockets, and gives back the very same."""
    pairs = [socket.socketpair() for _ in range(1000)]
    traced = [traced_socket(near) for near, _ in pairs]
    ready = {}
    with selectors.DefaultSelector() as selector:
        for number, sock in enumerate(traced):
            selector.register(sock, selectors.EVENT_READ, number)
        for number, (_, far) in enumerate(pairs):
            far.sendall(bytes(number + 1))
        while len(ready) < len(pairs):
            ready |= {key.data: key.fileobj for key, _ in selector.select(SECONDS)}
    sizes = [len(sock.recv(10_000)) for sock in traced]
    for (_, far), sock in zip(pairs, traced, strict=True):
        far.close()
        sock.close()

    assert all(ready[number] is sock for number, sock in enumerate(traced))
    assert sizes == [op.bytes_received for op in registry.network_ops()] == [*range(1, 1001)]


def test_threads_of_one_socket(pair, registry):
    """One thread sends while another receives."""
    near, far = pair
    sock = traced_socket(near)
    far_sends = threading.Thread(target=far.sendall, args=(bytes(3_000_000),))
    near_sends = threading.Thread(target=sock.sendall, args=(bytes(2_000_000),))
    far_takes = threading.Thread(target=lambda: [*iter(lambda: far.recv(65_536), b"")])
    threads = [far_sends, near_sends, far_takes]
    for thread in threads:
        thread.start()
    received = 0
    while received < 3_000_000:
        received += len(sock.recv(65_536))
    near_sends.join()
    sock.close()
    for thread in threads:
        thread.join()

    assert crossed(registry) == (2_000_000, 3_000_000)


def test_the_functions_of_an_event_loop(echo_server, registry):
    """`loop.sock_sendall` and the like work on a traced socket."""

    async def main():
        loop = asyncio.get_running_loop()
        with traced_socket(socket.socket()) as sock:
            sock.setblocking(False)
            await loop.sock_connect(sock, echo_server.address)
            await loop.sock_sendall(sock, HUNDRED)
            return await loop.sock_recv(sock, 1000)

    assert asyncio.run(main()) == HUNDRED
    assert crossed(registry) == (100, 100)


def test_nothing_is_recorded_while_telemetry_is_off(pair):
    """The socket works, and counts for nobody; an exchange too."""
    near, far = pair
    with traced_socket(near) as sock, sock.exchange("ask"):
        sock.sendall(HUNDRED)
        assert far.recv(1000) == HUNDRED


def test_switched_on_in_between(pair):
    """A connection from before is not recorded, an exchange on it is."""
    near, far = pair
    with traced_socket(near) as sock, capture(strict=True) as registry, sock.exchange("ask"):
        sock.sendall(HUNDRED)
    assert far.recv(1000) == HUNDRED

    assert (only(registry).operation, crossed(registry)) == ("ask", (100, 0))


def test_a_socket_that_outlives_its_registry(pair):
    """It goes on counting, and nobody is hurt."""
    near, far = pair
    with capture(strict=True) as registry:
        sock = traced_socket(near)
    sock.sendall(HUNDRED)
    sock.close()
    assert far.recv(1000) == HUNDRED

    assert crossed(registry) == (100, 0)


@pytest.mark.parametrize("given", [None, "host:80", 5, socket.socket])
def test_what_is_no_socket(given):
    """A mistake at set-up is told at once, with what was given."""
    with pytest.raises(TypeError, match="needs a socket"):
        traced_socket(given)


def test_twice_is_once(pair, registry):
    """A traced socket is traced."""
    with traced_socket(pair[0]) as sock:
        assert traced_socket(sock) is sock
        sock.send(b"x")

    assert crossed(registry) == (1, 0)


def test_a_wrong_call_is_no_trouble(pair):
    """What the program gets wrong is its own affair, not the connection's."""
    with capture(strict=True) as registry, traced_socket(pair[0]) as sock:
        with pytest.raises(TypeError):
            sock.send("text")
        with pytest.raises(TypeError):
            sock.sendall("text")
        with pytest.raises(TypeError):
            sock.recv()

    assert (only(registry).status, registry.health().errors) == ("completed", {})
