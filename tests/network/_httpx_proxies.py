"""Two proxies on 127.0.0.1: one for CONNECT, one for SOCKS 5. They count nothing and check nothing."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def _pipe(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _join(client: socket.socket, server: socket.socket) -> None:
    other = threading.Thread(target=_pipe, args=(server, client))
    other.start()
    _pipe(client, server)
    other.join()


def tunnel(client: socket.socket) -> None:
    """Answer a CONNECT."""
    head = b""
    while b"\r\n\r\n" not in head:
        head += client.recv(65_536)
    host, _, port = head.split()[1].decode().rpartition(":")
    if host == "refused.example":
        client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
        return
    with socket.create_connection((host, int(port))) as server:
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        _join(client, server)


def socks(client: socket.socket) -> None:
    """Answer SOCKS 5 without authentication."""
    client.recv(65_536)
    client.sendall(b"\x05\x00")
    request = client.recv(65_536)
    named = request[3] == 3
    host = request[5 : 5 + request[4]].decode() if named else socket.inet_ntoa(request[4:8])
    (port,) = struct.unpack(">H", request[-2:])
    with socket.create_connection((host, port)) as server:
        client.sendall(b"\x05\x00\x00\x01" + bytes(6))
        _join(client, server)


@contextlib.contextmanager
def serving(
    answer: Callable[[socket.socket], None], listening: socket.socket | None = None
) -> Iterator[int]:
    """Serve each connection in a thread; yields the port."""
    if listening is None:
        listening = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def talk(client: socket.socket) -> None:
        with client:
            answer(client)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listening.accept()
                threads.append(threading.Thread(target=talk, args=(client,)))
                threads[-1].start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        name = listening.getsockname()
        yield name[1] if isinstance(name, tuple) else 0
    finally:
        with contextlib.suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        accepting.join()
        listening.close()
        for thread in threads:
            thread.join()
