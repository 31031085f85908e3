"""What a traced socket counts: every method that moves bytes, once."""

from __future__ import annotations

import io
import socket
from array import array

import pytest

from tests.network._records import crossed, only
from tests.network._sockets import HUNDRED
from volnux.telemetry import traced_socket


@pytest.fixture(name="file")
def _file(tmp_path):
    (tmp_path / "file").write_bytes(bytes(50) + HUNDRED + bytes(50))
    with (tmp_path / "file").open("rb") as opened:
        yield opened


def write(sock, mode, data, **options):
    with sock.makefile(mode, **options) as file:
        file.write(data)


SENDING = {
    "send": lambda sock: sock.send(HUNDRED),
    "send, flags": lambda sock: sock.send(HUNDRED, 0),
    "sendall": lambda sock: sock.sendall(HUNDRED),
    "sendall, flags": lambda sock: sock.sendall(HUNDRED, 0),
    "sendall, bytearray": lambda sock: sock.sendall(bytearray(HUNDRED)),
    "sendall, memoryview": lambda sock: sock.sendall(memoryview(bytes(1) + HUNDRED)[1:]),
    "sendall, numbers": lambda sock: sock.sendall(memoryview(array("i", range(25)))),
    "sendto": lambda sock: sock.sendto(HUNDRED, sock.getpeername()),
    "sendmsg": lambda sock: sock.sendmsg([HUNDRED[:40], bytearray(60)]),
    "sendmsg, generator": lambda sock: sock.sendmsg(HUNDRED[n : n + 10] for n in range(0, 100, 10)),
    "sendmsg, ancillary": lambda sock: sock.sendmsg([HUNDRED], [], 0),
    "makefile wb": lambda sock: write(sock, "wb", HUNDRED),
    "makefile wb, unbuffered": lambda sock: write(sock, "wb", HUNDRED, buffering=0),
    "makefile rwb": lambda sock: write(sock, "rwb", HUNDRED),
    "makefile w": lambda sock: write(sock, "w", "\u00e4" * 50, encoding="utf-8"),
}


@pytest.mark.parametrize("way", SENDING)
def test_sent(way, pair, registry):
    """What each way of sending hands to the system is counted once."""
    near, far = pair
    with traced_socket(near) as sock:
        SENDING[way](sock)
    received = b"".join(iter(lambda: far.recv(1000), b""))

    assert len(received) == 100
    assert crossed(registry) == (100, 0)


@pytest.mark.parametrize(
    ("arguments", "size"), [((), 200), ((50,), 150), ((50, 100), 100), ((150, 100), 50)]
)
def test_sendfile(arguments, size, pair, file, registry):
    """`sendfile` counts what it says it has sent."""
    with traced_socket(pair[0]) as sock:
        assert sock.sendfile(file, *arguments) == size

    assert crossed(registry) == (size, 0)


def test_sendfile_of_what_is_no_file(pair, registry):
    """What has no descriptor goes another way, and counts the same."""
    with traced_socket(pair[0]) as sock:
        assert sock.sendfile(io.BytesIO(HUNDRED), offset=10) == 90

    assert crossed(registry) == (90, 0)


def read(sock, mode, how, **options):
    with sock.makefile(mode, **options) as file:
        return how(file)


def into(fill, *parts):
    """What a method fills buffers with."""
    filled = fill()
    count = filled[0] if isinstance(filled, tuple) else filled
    return b"".join(bytes(part) for part in parts)[:count]


def by_recvmsg_into(sock):
    first, second = bytearray(30), memoryview(array("i", range(50)))
    return into(lambda: sock.recvmsg_into([first, second]), first, second)


def by_buffer(take, size=200):
    buffer = bytearray(size)
    return into(lambda: take(buffer), buffer)


RECEIVING = {
    "recv": lambda sock: sock.recv(200),
    "recv, flags": lambda sock: sock.recv(200, 0),
    "recv_into": lambda sock: by_buffer(sock.recv_into),
    "recv_into, size": lambda sock: by_buffer(lambda buffer: sock.recv_into(buffer, 100)),
    "recv_into, flags": lambda sock: by_buffer(lambda b: sock.recv_into(b, flags=0)),
    "recv_into, buffer": lambda sock: by_buffer(lambda b: sock.recv_into(buffer=b, nbytes=150)),
    "recvfrom": lambda sock: sock.recvfrom(200)[0],
    "recvfrom_into": lambda sock: by_buffer(sock.recvfrom_into),
    "recvfrom_into, flags": lambda sock: by_buffer(lambda b: sock.recvfrom_into(b, flags=0)),
    "recvmsg": lambda sock: sock.recvmsg(200)[0],
    "recvmsg, flags": lambda sock: sock.recvmsg(200, 0, 0)[0],
    "recvmsg_into": by_recvmsg_into,
    "makefile rb": lambda sock: read(sock, "rb", lambda file: file.read(100)),
    "makefile rb, unbuffered": lambda sock: read(sock, "rb", lambda f: f.read(100), buffering=0),
    "makefile rb, line": lambda sock: read(sock, "rb", lambda f: f.readline() + f.read(89)),
    "makefile rwb": lambda sock: read(sock, "rwb", lambda file: file.read(100)),
    "makefile r": lambda sock: read(sock, "r", lambda f: f.read(100), newline="").encode(),
}


@pytest.mark.parametrize("way", RECEIVING)
def test_received(way, pair, registry):
    """What each way of receiving hands to the program is counted once."""
    near, far = pair
    with traced_socket(near) as sock:
        far.sendall(HUNDRED)
        far.shutdown(socket.SHUT_WR)
        assert RECEIVING[way](sock) == HUNDRED

    assert crossed(registry) == (0, 100)


PEEK = socket.MSG_PEEK
PEEKING = {
    "recv": lambda sock: sock.recv(50, PEEK),
    "recv_into": lambda sock: sock.recv_into(bytearray(50), 50, PEEK),
    "recv_into, named": lambda sock: sock.recv_into(bytearray(50), flags=PEEK),
    "recvfrom": lambda sock: sock.recvfrom(50, PEEK),
    "recvfrom_into": lambda sock: sock.recvfrom_into(bytearray(50), 0, PEEK),
    "recvfrom_into, named": lambda sock: sock.recvfrom_into(bytearray(50), flags=PEEK),
    "recvmsg": lambda sock: sock.recvmsg(50, 0, PEEK),
    "recvmsg_into": lambda sock: sock.recvmsg_into([bytearray(50)], 0, PEEK),
}


@pytest.mark.parametrize("way", PEEKING)
def test_peeked(way, pair, registry):
    """What is only looked at is not received yet."""
    near, far = pair
    with traced_socket(near) as sock:
        far.sendall(HUNDRED)
        PEEKING[way](sock)
        PEEKING[way](sock)
        assert sock.recv(100) == HUNDRED

    assert crossed(registry) == (0, 100)


def test_a_second_end_counts_nothing(pair, registry):
    """At the end of what comes, nothing comes, however often one asks."""
    near, far = pair
    far.close()
    with traced_socket(near) as sock:
        assert [sock.recv(10), sock.recv_into(bytearray(10)), sock.recvmsg(10)[0]] == [b"", 0, b""]
        assert sock.recvmsg_into([bytearray(10)])[0] == 0
        assert sock.recvfrom_into(bytearray(10))[0] == 0

    assert (crossed(registry), only(registry).status) == ((0, 0), "completed")
