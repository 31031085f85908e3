"""What a traced socket takes from the throughput of a connection: an echo, traced against bare.

``python -m benchmarks.network_sockets`` measures; with ``serve`` it is the other end, which prints its
port and echoes until its standard input closes.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from time import perf_counter
from typing import TYPE_CHECKING

from benchmarks import _environments
from benchmarks._machine import one_core
from benchmarks._result import Measured, Result, number
from volnux.telemetry import capture, traced_socket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    Turn = Callable[[socket.socket, bytes], None]

ROUNDS = 60
SECONDS = 0.04
"""How long a round of one kind lasts, about."""
SIZES = {65_536: ("64 KiB", 0.95), 1024: ("1 KiB", 0.8)}
"""Bytes of a chunk: what it is called, and what part of the bare throughput a traced socket must keep."""


def measure(*, rounds: int = ROUNDS, seconds: float = SECONDS) -> Result:
    """Send chunks to an echo in another process and take them back, over a bare and a traced socket."""
    rows = []
    with one_core(), Echo() as port, capture(isolated=True):
        for size, (name, target) in SIZES.items():
            for way, turn in WAYS.items():
                bare, traced = throughput(port, turn, size, rounds=rounds, seconds=seconds)
                note = f"{number(traced / 1e6)} MB/s against {number(bare / 1e6)}"
                what = f"{name} chunks, {way}"
                rows.append(Measured(what, traced / bare, "x", target, at_least=True, note=note))
    return Result(
        "sockets",
        "Sockets",
        "Throughput of an echo over loopback, the other end in a process of its own on the same core: a traced "
        f"socket against a bare one, telemetry on. Best of {rounds} interleaved rounds.",
        rows,
    )


def throughput(
    port: int, turn: Turn, size: int, *, rounds: int = ROUNDS, seconds: float = SECONDS
) -> tuple[float, float]:
    """Return the bytes a second of a bare socket and of a traced one; the best of interleaved rounds."""
    address = ("127.0.0.1", port)
    with (
        socket.create_connection(address) as bare,
        traced_socket(socket.create_connection(address)) as traced,
    ):
        for sock in (bare, traced):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        chunk = bytes(size)
        turns = max(1, int(seconds / _time(turn, bare, chunk, 200) * 200))
        _time(turn, traced, chunk, 200)
        best = [float("inf"), float("inf")]
        for round_ in range(rounds):
            # Turn and turn about: what is measured first is not always the same.
            for at in (0, 1) if round_ % 2 else (1, 0):
                best[at] = min(best[at], _time(turn, (bare, traced)[at], chunk, turns))
    return turns * size / best[0], turns * size / best[1]


def _time(turn: Turn, sock: socket.socket, chunk: bytes, turns: int) -> float:
    begun = perf_counter()
    for _ in range(turns):
        turn(sock, chunk)
    return perf_counter() - begun


def _by_recv(sock: socket.socket, chunk: bytes) -> None:
    sock.sendall(chunk)
    left = len(chunk)
    while left:
        left -= len(sock.recv(left))


_buffer = memoryview(bytearray(max(SIZES)))


def _by_recv_into(sock: socket.socket, chunk: bytes) -> None:
    sock.sendall(chunk)
    done, size = 0, len(chunk)
    while done < size:
        done += sock.recv_into(_buffer[done:size])


WAYS: dict[str, Turn] = {"sendall and recv": _by_recv, "sendall and recv_into": _by_recv_into}


class Echo:
    """The other end's process, while a block lasts; its port is what the block is given."""

    def __enter__(self) -> int:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.network_sockets", "serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_environments.child_environment(),
            text=True,
        )
        output = self._process.stdout
        return int(output.readline()) if output is not None else 0

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.communicate()


def _serve() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        print(listening.getsockname()[1], flush=True)
        for sock in _accepted(listening):
            threading.Thread(target=_echo, args=(sock,), daemon=True).start()


def _accepted(listening: socket.socket) -> Iterator[socket.socket]:
    # Whoever waits for us closes our standard input: then nobody connects any more.
    threading.Thread(target=_await_the_end, args=(listening,), daemon=True).start()
    while True:
        try:
            sock, _ = listening.accept()
        except OSError:
            return
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield sock


def _await_the_end(listening: socket.socket) -> None:
    sys.stdin.read()
    listening.shutdown(socket.SHUT_RDWR)


def _echo(sock: socket.socket) -> None:
    buffer = memoryview(bytearray(max(SIZES)))
    with sock:
        while count := sock.recv_into(buffer):
            sock.sendall(buffer[:count])


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        _serve()
    else:
        print(measure().text())
