"""Talk to an echo server over plain TCP, TLS and asyncio, and see every byte that crossed.

    python examples/telemetry/sockets.py

For TLS it asks the `openssl` command for a certificate of this machine; without it that part is passed
over. What is telemetry here: `traced_socket`, `traced_open_connection`, and `exchange` where a
connection is cut into several operations.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from volnux.telemetry import (
    capture,
    traced_event,
    traced_open_connection,
    traced_socket,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from volnux.telemetry import (
        NetworkMetrics,
        Registry,
    )

BLOCK = 16 * 1024

# -- The server -------------------------------------------------------------------------------


@contextlib.contextmanager
def echo_server(context: ssl.SSLContext | None = None) -> Iterator[tuple[str, int]]:
    """Send back what comes, on a free port of this machine; yield host and port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening, context), daemon=True)
        thread.start()
        yield listening.getsockname()
        # Closing alone does not wake who accepts.
        with contextlib.suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
    thread.join(timeout=5)


def serve(listening: socket.socket, context: ssl.SSLContext | None) -> None:
    """Serve one client after the other until the listening socket is closed."""
    while True:
        try:
            client, _ = listening.accept()
        except OSError:
            return
        with contextlib.suppress(OSError), client:
            stream = client if context is None else context.wrap_socket(client, server_side=True)
            with stream:
                while data := stream.recv(BLOCK):
                    stream.sendall(data)


# -- The clients ------------------------------------------------------------------------------


@traced_event("plain")
def plain(address: tuple[str, int]) -> None:
    """Have one connection be one operation, and two parts of it operations of their own."""
    with traced_socket(socket.create_connection(address)) as sock:
        with sock.exchange("GREET"):  # type: ignore[attr-defined]  # what a traced socket has besides
            ask(sock, b"hello")
        with sock.exchange("STORE"):  # type: ignore[attr-defined]  # likewise
            ask(sock, b"x" * 100_000)
        ask(sock, b"bye")


@traced_event("tls")
def tls(address: tuple[str, int], trusted: ssl.SSLContext) -> None:
    """Trace the socket, then have TLS around it: both are counted, and neither twice."""
    sock = traced_socket(socket.create_connection(address), operation="vault")
    with trusted.wrap_socket(sock, server_hostname="localhost") as secure:
        ask(secure, b"x" * 100_000)


def ask(sock: socket.socket, message: bytes) -> None:
    """Send a message, which has to fit into the system's buffers, and read it back."""
    sock.sendall(message)
    left = len(message)
    while left:
        left -= len(sock.recv(BLOCK))


@traced_event("streams")
async def streams(address: tuple[str, int]) -> None:
    """Open a stream as `asyncio.open_connection` does."""
    reader, writer = await traced_open_connection(*address, operation="stream")
    writer.write(b"x" * 50_000)
    await writer.drain()
    await reader.readexactly(50_000)
    writer.close()
    await writer.wait_closed()


# -- What telemetry saw -----------------------------------------------------------------------


def show(registry: Registry) -> None:
    """Print the operations of a registry."""
    for op in registry.network_ops():
        print(line(op))


def line(op: NetworkMetrics) -> str:
    """Return a row of the table."""
    of = op.attributes
    wire = "-"
    if "wire_bytes_sent" in of:
        wire = f"{of['wire_bytes_sent']:,} / {of['wire_bytes_received']:,}"
    return (
        f"  {op.operation:<8}{op.bytes_sent:>9,}{op.bytes_received:>10,}  {wire:>19}  {op.status}"
    )


@contextlib.contextmanager
def certificate() -> Iterator[tuple[ssl.SSLContext, ssl.SSLContext]]:
    """Make a certificate for localhost; yield the server's context, and the client's that trusts it."""
    with tempfile.TemporaryDirectory() as folder:
        key, cert = Path(folder, "key.pem"), Path(folder, "cert.pem")
        command = f"openssl req -x509 -newkey rsa:2048 -nodes -days 1 -keyout {key} -out {cert}"
        name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
        subprocess.run([*command.split(), *name], check=True, capture_output=True)
        serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        serving.load_cert_chain(cert, key)
        yield serving, ssl.create_default_context(cafile=cert)


def main() -> int:
    """Run each client, and print its operations."""
    print("  operation  sent  received  on the wire (TLS)    status")
    with echo_server() as address, capture() as registry:
        plain(address)
        asyncio.run(streams(address))
    show(registry)
    if shutil.which("openssl") is None:
        print("TLS is passed over: there is no openssl command", file=sys.stderr)
        return 0
    with (
        certificate() as (serving, trusted),
        echo_server(serving) as address,
        capture() as registry,
    ):
        tls(address, trusted)
    show(registry)
    return 0


if __name__ == "__main__":
    sys.exit(main())
