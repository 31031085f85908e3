"""A client on a plain socket that keeps every byte, to try the servers with."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import ssl

    from tests.network._raw_server import RawServer

SECONDS = 10


class Reply(NamedTuple):
    """One response; `sent` and `received` are all bytes of the connection."""

    status: int
    headers: dict[str, str]
    #: As it came, chunks and all.
    body: bytes
    head: bytes
    sent: int
    received: int


def request(method: str, target: str, *headers: str, body: bytes = b"") -> bytes:
    """The bytes of a request."""
    lines = [f"{method} {target} HTTP/1.1", "Host: test", *headers]
    if body and "Transfer-Encoding: chunked" not in headers:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def connect(server: RawServer, *, context: ssl.SSLContext | None = None) -> socket.socket:
    """A connected socket with a timeout, over TLS if the server has a certificate."""
    plain = socket.create_connection((server.host, server.port), SECONDS)
    if server.tls is None:
        return plain
    try:
        return (context or server.ca.client_context()).wrap_socket(
            plain, server_hostname=server.host
        )
    except BaseException:
        plain.close()
        raise


def read_all(sock: socket.socket) -> bytes:
    """Whatever comes until the server ends its side."""
    return b"".join(iter(lambda: sock.recv(65_536), b""))


def read_some(sock: socket.socket, size: int) -> bytes:
    """Exactly so many bytes."""
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        assert more, f"the server ended after {data!r}"
        data += more
    return data


def read_head(sock: socket.socket) -> bytes:
    """A response head and nothing more, however slowly it takes one byte at a time."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        data += read_some(sock, 1)
    return data


def ask(
    server: RawServer, target: str, *headers: str, method: str = "GET", body: bytes = b""
) -> Reply:
    """Ask for one thing on a connection of its own, to its end."""
    asked = request(method, target, "Connection: close", *headers, body=body)
    with connect(server) as sock:
        sock.sendall(asked)
        answer = read_all(sock)
    return parse(answer, len(asked))


def parse(answer: bytes, sent: int) -> Reply:
    """Take a response apart."""
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return Reply(int(first.split()[1]), headers, body, head + b"\r\n\r\n", sent, len(answer))


def unchunk(body: bytes) -> tuple[list[bytes], bytes]:
    """The chunks of a body, and its trailers."""
    chunks: list[bytes] = []
    while True:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            return chunks, body
        chunks.append(body[:length])
        assert body[length : length + 2] == b"\r\n"
        body = body[length + 2 :]
