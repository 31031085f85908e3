"""The server that clients are measured against: 1 KiB on keep-alive, in a process of its own.

``python -m benchmarks._http_server`` prints its port and serves until its standard input closes.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING, cast

from benchmarks import _environments

if TYPE_CHECKING:
    from types import TracebackType

SIZE = 1024
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n"
    % SIZE
) + b"x" * SIZE


class _Answering(asyncio.Protocol):
    """Answers each request, which has no body, with the same bytes."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._head += data
        while b"\r\n\r\n" in self._head:
            _, _, self._head = self._head.partition(b"\r\n\r\n")
            if self._transport is not None:
                self._transport.write(ANSWER)


class Server:
    """The server's process, while a block lasts."""

    def __enter__(self) -> str:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks._http_server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_environments.child_environment(),
            text=True,
        )
        port = self._process.stdout.readline() if self._process.stdout else ""
        return f"http://127.0.0.1:{int(port)}/"

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.communicate()


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Answering, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(_serve())
