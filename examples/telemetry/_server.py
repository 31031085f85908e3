"""The example's unreliable host: it serves a folder over HTTP and misbehaves on purpose.

Nothing here is instrumented. It stands for the service at the other end of the wire, and it counts
for itself, so that what the pipeline's telemetry says can be checked against the other side.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.server
import os
import random
import socket
import threading
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Fault = Literal["unavailable", "cut", "stall"]

UNAVAILABLE: Final = 0.10
CUT: Final = 0.05
STALL: Final = 0.004
STALL_SECONDS: Final = 1.2
CHUNK: Final = 16 * 1024


@dataclasses.dataclass
class Traffic:
    """What the server did, by its own count; bytes are those that passed its sockets."""

    requests: int = 0
    unavailable: int = 0
    cut: int = 0
    stalled: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock, repr=False)

    def add(self, **amounts: int) -> None:
        """Add to the counters named."""
        with self.lock:
            for name, amount in amounts.items():
                setattr(self, name, getattr(self, name) + amount)


@contextlib.contextmanager
def serve(root: Path, seed: int, traffic: Traffic) -> Iterator[int]:
    """Serve the files under `root` on a free local port for the length of the block; yield the port."""
    server = _Server(root, seed, traffic)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="example-server")
    thread.start()
    try:
        yield server.server_port
    finally:
        server.stopping.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(http.server.ThreadingHTTPServer):
    # Waited for at the end, so that the counters are final when `serve` returns.
    daemon_threads = False
    # The standard five make a burst of clients wait a second for the kernel to try again.
    request_queue_size = 128

    def __init__(self, root: Path, seed: int, traffic: Traffic) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root = root
        self.seed = seed
        self.traffic = traffic
        self.stopping = threading.Event()
        self._attempts: dict[str, int] = {}

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        accepted, address = super().get_request()
        return _CountedSocket(accepted, self.traffic), address

    def fault_for(self, path: str) -> Fault | None:
        """Return what goes wrong with this attempt: the same for the same seed, path and attempt."""
        with self.traffic.lock:
            attempt = self._attempts[path] = self._attempts.get(path, 0) + 1
        dice = random.Random(f"{self.seed} {path} {attempt}").random()
        if dice < UNAVAILABLE:
            return "unavailable"
        if dice < UNAVAILABLE + CUT:
            return "cut"
        return "stall" if dice < UNAVAILABLE + CUT + STALL else None


class _Handler(http.server.SimpleHTTPRequestHandler):
    server: _Server

    def __init__(self, request: socket.socket, address: tuple[str, int], server: _Server) -> None:
        super().__init__(request, address, server, directory=os.fspath(server.root))

    def do_GET(self) -> None:
        traffic = self.server.traffic
        fault = self.server.fault_for(self.path)
        traffic.add(requests=1)
        if fault == "unavailable":
            traffic.add(unavailable=1)
            self.send_error(503)
            return
        try:
            with open(self.translate_path(self.path), "rb") as file:
                body = file.read()
        except OSError:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/x-python")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self._send_body(body, fault)

    def _send_body(self, body: bytes, fault: Fault | None) -> None:
        middle = len(body) // 2
        if fault == "cut" and body:
            self.server.traffic.add(cut=1)
            body = body[:middle]
        if fault == "stall":
            self.server.traffic.add(stalled=1)
        for start in range(0, len(body), CHUNK):
            if fault == "stall" and start <= middle < start + CHUNK:
                self.server.stopping.wait(STALL_SECONDS)
            self.wfile.write(body[start : start + CHUNK])

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the counters speak."""


class _CountedSocket(socket.socket):
    """An accepted connection that adds up its bytes, whatever reads or writes it."""

    def __init__(self, accepted: socket.socket, traffic: Traffic) -> None:
        super().__init__(accepted.family, accepted.type, accepted.proto, accepted.detach())
        self._traffic = traffic

    def sendall(self, data: Any, flags: int = 0) -> None:
        super().sendall(data, flags)
        self._traffic.add(bytes_out=memoryview(data).nbytes)

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        count = super().recv_into(buffer, nbytes, flags)
        self._traffic.add(bytes_in=count)
        return count
