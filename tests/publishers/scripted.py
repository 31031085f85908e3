"""An HTTP server that answers as a test has written down, for the faults that a real one will not make to order."""

from __future__ import annotations

import gzip
import json
import threading
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass
class Request:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def lines(self) -> list[Any]:
        """The lines of a bulk request."""
        return [json.loads(line) for line in self.body.splitlines()]

    @property
    def documents(self) -> list[dict[str, Any]]:
        """The documents of a bulk request."""
        return self.lines[1::2]


@dataclass
class Answer:
    """What to answer: a status, a body (JSON, unless it is bytes) and headers."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    def send(self, handler: BaseHTTPRequestHandler) -> None:
        """Send it."""
        body = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        handler.send_response(self.status)
        headers = {"Content-Type": "application/json", "X-Elastic-Product": "Elasticsearch"}
        for name, value in {**headers, **self.headers}.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)


class Cut:
    """Part of an answer, and then the end of the connection."""

    def __init__(self, part: bytes = b"") -> None:
        self.part = part

    def send(self, handler: BaseHTTPRequestHandler) -> None:
        """Send it, and close."""
        handler.wfile.write(self.part)
        handler.close_connection = True


class Trickle:
    """An answer that never ends: a header every few hundredths of a second, until the client has gone."""

    def send(self, handler: BaseHTTPRequestHandler) -> None:
        """Send headers for half a minute at most."""
        pause = threading.Event()
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        for number in range(600):
            try:
                handler.wfile.write(b"X-%d: a\r\n" % (number % 50))
            except OSError:
                break
            pause.wait(0.05)
        handler.close_connection = True


class Scripted:
    """The server: what it has got, and what it is to answer.

    Attributes:
        requests: those that came, in order.
        script: the next answers, or functions of the request that make one.
        usual: what makes the answer when the script is at its end.
    """

    def __init__(self, usual: Callable[[Request], Any]) -> None:
        self.requests: list[Request] = []
        self.script: deque[Any] = deque()
        self.usual = usual
        scripted = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # the head of an answer is sent before its body

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                if headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                request = Request(self.path, headers, body)
                scripted.requests.append(request)
                answer = scripted.script.popleft() if scripted.script else scripted.usual
                (answer(request) if callable(answer) else answer).send(self)

            do_PUT = do_GET = do_DELETE = do_POST  # noqa: N815  # as the base class has it

            def log_message(self, *args: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.place = f"127.0.0.1:{self.server.server_port}"

    def running(self) -> Iterator[Scripted]:
        """Serve while a fixture lasts."""
        thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        thread.start()
        yield self
        self.server.shutdown()
        self.server.server_close()
        thread.join()


def all_created(request: Request, status: int = 201) -> Answer:
    """Every document of a bulk request is taken."""
    return items(*[status] * len(request.documents))


def items(*statuses: int) -> Answer:
    """The answer to a bulk request, a status for each document."""
    found = [{"create": {"status": status}} for status in statuses]
    return Answer(body={"errors": max(statuses, default=0) > 299, "items": found})
