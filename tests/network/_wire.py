"""One end of a connection on bare sockets, counted: what the test servers are made of.

Bare means the C type under `socket.socket`, and TLS over memory: whatever a test patches or wraps
in the process, the server is not part of it.
"""

from __future__ import annotations

import selectors
import socket
import ssl
import struct
import threading
from typing import TYPE_CHECKING

from tests.network._account import PATIENCE
from tests.network._tcp_info import CLOSED, tcp_info, wait_until_sent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _typeshed import HasFileno

    from tests.network._account import Connection

BLOCK = 65_536


class Gone(ConnectionError):
    """The client has ended its side while the server had more to do."""


class Closing(ConnectionError):
    """The server is being closed."""


class Malformed(ConnectionError):
    """What came is not HTTP."""


class Gate:
    """What a hanging answer waits at: a test opens it for good, or lets steps through."""

    def __init__(self) -> None:
        self._near, self._far = _pair()
        self._lock = threading.Lock()
        self.is_open = False

    def open(self) -> None:
        """Let everybody through from now on."""
        with self._lock:
            self.is_open = True
            self._far.send(b"o")

    def step(self, count: int = 1) -> None:
        """Let so many steps through."""
        self._far.send(b"s" * count)

    def fileno(self) -> int:
        """Readable whenever somebody may pass."""
        return self._near.fileno()

    def take(self) -> bool:
        """Pass if possible now; a step is used up."""
        with self._lock:
            if self.is_open:
                return True
            try:
                return self._near.recv(1) == b"s"
            except BlockingIOError:
                return False

    def close(self) -> None:
        """Give back the descriptors."""
        self._near.close()
        self._far.close()


def _pair() -> tuple[socket.SocketType, socket.SocketType]:
    near, far = socket.socketpair()
    bare = socket.SocketType(fileno=near.detach()), socket.SocketType(fileno=far.detach())
    bare[0].setblocking(False)
    bare[1].setblocking(True)
    return bare


def readable(*sources: HasFileno, seconds: float | None = None) -> list[HasFileno]:
    """Wait until something has come to one of these; return those."""
    with selectors.DefaultSelector() as selector:
        for source in sources:
            selector.register(source, selectors.EVENT_READ)
        return [key.fileobj for key, _ in selector.select(seconds)]  # type: ignore[misc]


class Wire:
    """A connected socket, plain or TLS, whose every byte is counted in `account`."""

    def __init__(self, sock: socket.SocketType, account: Connection, stop: Gate) -> None:
        self.socket, self.account, self._stop = sock, account, stop
        #: Received and not yet asked for.
        self.buffer = b""
        self._tls: ssl.SSLObject | None = None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        sock.settimeout(PATIENCE)

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Shake hands as a server."""
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._flush()
                if not self._fill():
                    raise Gone("no handshake") from None
            except ssl.SSLError:
                self._flush()
                raise
        self._flush()
        self.account.tls_version = self._tls.version()
        self.account.alpn = self._tls.selected_alpn_protocol()

    def receive(self) -> bytes:
        """Return what is there, or b"" at the end; never more than is in one block."""
        if self.buffer:
            data, self.buffer = self.buffer, b""
            return data
        return self._receive()

    def exactly(self, count: int) -> Iterator[bytes]:
        """Yield so many bytes, in pieces."""
        while count:
            data = self.receive()
            if not data:
                raise Gone("in the middle of a request")
            piece, self.buffer = data[:count], data[count:]
            count -= len(piece)
            yield piece

    def until(self, mark: bytes) -> bytes:
        """Return all up to a mark, and the mark; b"" when nothing more comes at all."""
        data = self.receive()
        while data and mark not in data:
            more = self._receive()
            if not more:
                raise Gone("in the middle of a request")
            data += more
        head, found, self.buffer = data.partition(mark)
        return head + found

    def send(self, data: bytes) -> None:
        """Send all of it."""
        view = memoryview(data)
        if self._tls is None:
            while view:
                sent = self._send(view[:BLOCK])
                self.account.sent += sent
                view = view[sent:]
        else:
            while view:
                self._tls.write(view[:BLOCK])
                self._flush()
                self.account.sent += len(view[:BLOCK])
                view = view[BLOCK:]

    def wait(self, gate: Gate, seconds: float | None = None) -> None:
        """Wait for a gate or for so long, whichever is first.

        Raises:
            Gone: The client ended its side meanwhile.
            Closing: The server was closed meanwhile.
        """
        while not gate.take():
            limit = PATIENCE if seconds is None else seconds
            ready = readable(self.socket, gate, self._stop, seconds=limit)
            if not ready:
                if seconds is None:
                    raise TimeoutError("nobody opened the gate")
                return
            if self._stop.is_open:
                raise Closing
            if self.socket in ready:
                self._look_after_client()

    def _look_after_client(self) -> None:
        try:
            data = self._receive()
        except ConnectionError:
            data = b""
        if not data:
            raise Gone("while the server waited")
        self.buffer += data

    def drain(self) -> None:
        """Wait until all that was sent is on the wire, so that the kernel has counted it."""
        wait_until_sent(self.socket, PATIENCE)

    def kernel(self) -> tuple[int, int] | tuple[None, None]:
        """What the kernel has received up to what was asked for here, and what it has sent.

        Under TLS with a peer that does not wait for its answers, what was decrypted ahead counts.
        """
        received, sent = self._kernel()
        if received is None or sent is None:
            return None, None
        ahead = len(self.buffer) if self._tls is None else self._incoming.pending
        return received - ahead, sent

    def end(self, *, reset: bool = False) -> None:
        """Take the kernel's last word, then close in order or with a reset; once."""
        if self.socket.fileno() < 0:
            return
        try:
            if self._tls is not None and not reset:
                self._say_goodbye()
            self.drain()
            self.account.wire_received, self.account.wire_sent = self._kernel()
            if reset:
                linger = struct.pack("hh" if _WINDOWS else "ii", 1, 0)
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            else:
                self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # The client was faster.
        finally:
            self.socket.close()

    def interrupt(self) -> None:
        """Wake whoever is in a call on this socket, from another thread."""
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def _kernel(self) -> tuple[int, int] | tuple[None, None]:
        info = tcp_info(self.socket.fileno(), accepted=True)
        if info is None:
            return None, None
        received = info.bytes_received - info.bytes_unread
        if info.state == CLOSED and received == self.account.raw_received + 1:
            received -= 1  # After a reset nothing else tells whether a FIN came before it.
        return received, info.bytes_sent

    def _say_goodbye(self) -> None:
        assert self._tls is not None
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            pass  # The client's own goodbye has not come yet: it need not.
        self._flush()

    def _receive(self) -> bytes:
        data = self._recv() if self._tls is None else self._decrypt()
        self.account.received += len(data)
        return data

    def _decrypt(self) -> bytes:
        assert self._tls is not None
        while True:
            try:
                return self._tls.read(BLOCK)
            except ssl.SSLWantReadError:
                self._flush()
                if not self._fill():
                    return b""
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""

    def _fill(self) -> bool:
        data = self._recv()
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()
        return bool(data)

    def _flush(self) -> None:
        view = memoryview(self._outgoing.read())
        while view:
            view = view[self._send(view) :]

    def _recv(self) -> bytes:
        data = self.socket.recv(BLOCK)
        self.account.raw_received += len(data)
        return data

    def _send(self, data: memoryview) -> int:
        sent = self.socket.send(data)
        self.account.raw_sent += sent
        return sent


_WINDOWS = not hasattr(socket, "AF_UNIX")
