"""A server that counts what it is asked, and what the tests of all three libraries share."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


class Server:
    """Fails as often as it is told to before it answers; counts every attempt itself."""

    def __init__(self) -> None:
        self.count = 0
        self._left: dict[object, int] = {}
        self._lock = threading.Lock()

    def ask(self, key: object, failures: int) -> str:
        """Answer, or raise an OSError the first so many times that a key is asked for."""
        with self._lock:
            self.count += 1
            left = self._left.setdefault(key, failures)
            if left:
                self._left[key] = left - 1
                raise OSError(f"{key} is busy")
            del self._left[key]
            return f"answer to {key}"


@pytest.fixture(name="server")
def _server():
    return Server()


@pytest.fixture(name="attempts_of")
def _attempts_of():
    """Attempts as tuples: number, outcome, error type, error, work, backoff."""
    return lambda event: [tuple(one.to_dict().values()) for one in event.attempts]


@pytest.fixture(name="outcomes_of")
def _outcomes_of():
    """Attempts as texts: number and outcome."""
    return lambda event: [f"{one.number} {one.outcome}" for one in event.attempts]


@pytest.fixture(name="interrupted")
def _interrupted(clock):
    """A sleep that is broken off after half a second."""

    def sleep(seconds):
        clock.advance(0.5)
        raise KeyboardInterrupt

    return sleep


class Web:
    """An HTTP server on the loopback device, that counts the requests it reads.

    Attributes:
        count: requests read.
        plan: path -> what to answer, one after the other: a status, a status with headers, or None to
            hang up without a word. What is not planned is answered with 200.
        work: called before each answer.
    """

    def __init__(self) -> None:
        self.count = 0
        self.plan: dict[str, list[Any]] = {}
        self.work: Callable[[], object] = lambda: None
        self._ended = False
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._connections: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self._ended:
                connection.close()
                return
            self._connections.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection, connection.makefile("rb") as stream:
            while line := stream.readline():
                while stream.readline().strip():
                    pass
                answer = self._next(line.split()[1].decode())
                if answer is None:
                    return
                status, headers = answer if isinstance(answer, tuple) else (answer, {})
                lines = [f"HTTP/1.1 {status} Whatever", "Content-Length: 2"]
                lines += [f"{name}: {value}" for name, value in headers.items()]
                connection.sendall("\r\n".join([*lines, "", "ok"]).encode())

    def _next(self, path: str) -> Any:
        with self._lock:
            self.count += 1
            answers = self.plan.get(path)
            answer = answers.pop(0) if answers else 200
        self.work()
        return answer

    def close(self) -> None:
        """Hang up, and stop."""
        self._ended = True
        for connection in self._connections:
            with suppress(OSError):  # the client was first
                connection.shutdown(socket.SHUT_RDWR)
        socket.create_connection(self._listener.getsockname()).close()
        for thread in [self._accepting, *self._threads]:
            thread.join(10.0)
        self._listener.close()


@pytest.fixture(name="web")
def _web():
    web = Web()
    yield web
    web.close()
