"""Fetch the same resources with five HTTP clients, and compare what telemetry saw of each.

    pip install requests httpx aiohttp
    python examples/telemetry/http_clients.py

`http.client` comes with Python and urllib3 with requests. All talk to a server that this script starts;
a client that is not installed is passed over. What every client does is one line of telemetry: the
`instrument` in `main`.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import http.client
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from typing import TYPE_CHECKING

from volnux.telemetry import capture, instrument, traced_event, uninstrument

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from volnux.telemetry import NetworkMetrics

#: Compressed, in chunks, after a redirect, and not to be had.
TARGETS = ("/compressed", "/chunked", "/moved", "/missing")


# -- The server -------------------------------------------------------------------------------


class Handler(BaseHTTPRequestHandler):
    """Answers each target in its own way."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each answer waits for the client's acknowledgement

    def do_GET(self) -> None:
        """Answer a request."""
        if self.path == "/compressed":
            self.answer(200, gzip.compress(b"to be or not to be " * 1000), encoding="gzip")
        elif self.path == "/chunked":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for _ in range(10):
                self.wfile.write(b"64\r\n" + b"." * 100 + b"\r\n")
            self.wfile.write(b"0\r\n\r\n")
        elif self.path == "/moved":
            self.answer(302, b"", location="/compressed")
        else:
            self.answer(404, b"nothing here")

    def answer(self, status: int, body: bytes, *, encoding: str = "", location: str = "") -> None:
        """Send a response with a body of known length."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if encoding:
            self.send_header("Content-Encoding", encoding)
        if location:
            self.send_header("Location", location)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Keep quiet."""


@contextlib.contextmanager
def serve() -> Iterator[str]:
    """Run the server on a free port of this machine; yield its URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


# -- The clients, as anybody writes them ------------------------------------------------------


def by_http_client(url: str) -> None:
    """Use the standard library, which follows no redirects and decompresses nothing."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"))
    with contextlib.closing(connection):
        for target in TARGETS:
            connection.request("GET", target)
            connection.getresponse().read()


def by_urllib3(url: str) -> None:
    """Use a pool manager."""
    import urllib3

    with urllib3.PoolManager() as manager:
        for target in TARGETS:
            manager.request("GET", url + target)


def by_requests(url: str) -> None:
    """Use a session."""
    import requests

    with requests.Session() as session:
        for target in TARGETS:
            session.get(url + target)


def by_httpx(url: str) -> None:
    """Use a client."""
    import httpx

    with httpx.Client(follow_redirects=True) as client:
        for target in TARGETS:
            client.get(url + target)


def by_aiohttp(url: str) -> None:
    """Use a session, in an event loop of its own."""
    import aiohttp

    async def fetch() -> None:
        async with aiohttp.ClientSession() as session:
            for target in TARGETS:
                async with session.get(url + target) as response:
                    await response.read()

    asyncio.run(fetch())


CLIENTS: dict[str, Callable[[str], None]] = {
    "http.client": by_http_client,
    "urllib3": by_urllib3,
    "requests": by_requests,
    "httpx": by_httpx,
    "aiohttp": by_aiohttp,
}

# -- What telemetry saw -----------------------------------------------------------------------


def line(op: NetworkMetrics) -> str:
    """Return a row of the table."""
    of = op.attributes
    return (
        f"  {of['http.response.status_code']}  {op.bytes_sent:>6,}  {op.bytes_received:>8,}"
        f"  {of['http.response.body.size']:>6,}  {of.get('decoded', '-'):>7}"
        f"  {'reused' if of['connection_reused'] else 'new':<10}  {op.latency * 1000:>7.1f}"
    )


def main() -> int:
    """Run every client that is installed under an event of its own, and print its operations."""
    with serve() as url:
        for name, fetch in CLIENTS.items():
            if find_spec(name.partition(".")[0]) is None:
                print(f"{name} is not installed: pip install {name}", file=sys.stderr)
                continue
            instrument(name)
            with capture() as registry, traced_event(name):
                fetch(url)
            uninstrument(name)
            print(f"{name}\n  status  sent  received    body  decoded  connection       ms")
            for op in registry.network_ops():
                print(line(op))
    return 0


if __name__ == "__main__":
    sys.exit(main())
