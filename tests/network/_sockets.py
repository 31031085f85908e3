"""Both ends of a connection, bare, and what happens to it."""

from __future__ import annotations

import contextlib
import select
import socket
import struct

SECONDS = 10
HUNDRED = bytes(range(100))
#: More than fits into the buffers on the way.
BIG = 20_000_000


@contextlib.contextmanager
def tcp_pair():
    """The end that connected and the one that was accepted."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        near = socket.create_connection(listening.getsockname(), SECONDS)
        far, _ = listening.accept()
    with near, far:
        far.settimeout(SECONDS)
        yield near, far


def reset(sock):
    """End a connection rudely."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def wait_for(sock, event):
    """Wait until poll says so: something arrived."""
    poll = select.poll()
    poll.register(sock, event)
    assert poll.poll(SECONDS * 1000)


def fill(sock, size=100_000):
    """Send until no more fits; return how much that was."""
    before = sock.gettimeout()
    sock.setblocking(False)
    written = 0
    try:
        while True:
            written += sock.send(bytes(size))
    except BlockingIOError:
        pass
    sock.settimeout(before)
    return written
