"""Servers without a protocol: echo, sink and source over TCP, TLS and Unix sockets; UDP echo."""

from __future__ import annotations

import os
import socket
import threading
from typing import TYPE_CHECKING

from tests.network._account import PATIENCE
from tests.network._listener import Listener, Serving, tcp_socket
from tests.network._routes import content
from tests.network._tcp_info import TcpInfo, tcp_info
from tests.network._wire import Gate, readable

if TYPE_CHECKING:
    from tests.network._authority import Authority
    from tests.network._wire import Wire

__all__ = [
    "EchoServer",
    "SinkServer",
    "SourceServer",
    "TcpInfo",
    "UdpEchoServer",
    "UnixEchoServer",
    "tcp_info",
]


class _TcpServer(Listener):
    """A server on a free port of 127.0.0.1, with or without TLS."""

    def __init__(self, *, tls: Authority | None = None, certificate: str = "good") -> None:
        super().__init__(tcp_socket(), tls, certificate)
        self.host, self.port = self.address


def _echo(wire: Wire) -> None:
    while data := wire.receive():
        wire.send(data)


class EchoServer(_TcpServer):
    """Sends back whatever comes, until the client ends its side."""

    def _serve(self, wire: Wire) -> None:
        _echo(wire)


class SinkServer(_TcpServer):
    """Takes whatever comes and says nothing, until the client ends its side."""

    def _serve(self, wire: Wire) -> None:
        while wire.receive():
            pass


class SourceServer(_TcpServer):
    """Answers each line `N` with N bytes of `content(N)`; `N reset` and `N close` end with that."""

    def _serve(self, wire: Wire) -> None:
        while line := wire.until(b"\n"):
            size, *ending = line.split()
            wire.send(content(int(size)))
            if ending == [b"reset"]:
                wire.drain()
                wire.end(reset=True)
            if ending:
                return


class UnixEchoServer(Listener):
    """The echo server on a Unix socket at `address`; there is no kernel's count of it."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        bound = socket.SocketType(socket.AF_UNIX, socket.SOCK_STREAM)
        bound.bind(os.fspath(path))
        super().__init__(bound)

    def _serve(self, wire: Wire) -> None:
        _echo(wire)


class UdpEchoServer(Serving):
    """Sends every datagram back to where it comes from, and counts."""

    def __init__(self) -> None:
        self._socket = socket.SocketType(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self.address: tuple[str, int] = self._socket.getsockname()
        self.host, self.port = self.address
        self._stop = Gate()
        self._changed = threading.Condition()
        self._sizes: list[int] = []
        self._thread = threading.Thread(target=self._serve, name="test-server-udp")
        self._thread.start()

    def wait_datagrams(self, count: int, timeout: float = PATIENCE) -> list[int]:
        """Wait until so many datagrams have been echoed; return their sizes."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._sizes) >= count, timeout):
                raise AssertionError(f"after {timeout} s there are only {self._sizes}")
            return list(self._sizes)

    def close(self) -> None:
        """End the thread."""
        if self._stop.is_open:
            return
        self._stop.open()
        self._thread.join(PATIENCE)
        self._socket.close()
        self._stop.close()
        assert not self._thread.is_alive(), "the server did not end"

    def _serve(self) -> None:
        while True:
            readable(self._socket, self._stop)
            if self._stop.is_open:
                return
            try:
                data, sender = self._socket.recvfrom(65_536)
                self._socket.sendto(data, sender)
            except OSError:
                continue  # A sender that is gone reports itself here on Windows.
            with self._changed:
                self._sizes.append(len(data))
                self._changed.notify_all()
