"""Protocols and connections for tests of what runs on an event loop."""

from __future__ import annotations

import asyncio
import socket

from tests.network._sockets import HUNDRED


class Asking(asyncio.Protocol):
    """Keeps what comes, and says when so much has come, and when it is over."""

    def __init__(self):
        self.calls = []
        self.data = b""
        self.transport = None
        self.made = asyncio.get_running_loop().create_future()
        self.lost = asyncio.get_running_loop().create_future()
        self._changed = asyncio.Event()

    def connection_made(self, transport):
        self.transport = transport
        self.made.set_result(None)

    def data_received(self, data):
        self.data += data
        self._changed.set()

    def eof_received(self):
        self.calls.append("eof")

    def connection_lost(self, error):
        self.lost.set_result(error)

    async def until(self, size):
        """Wait for so many bytes, and take them."""
        while len(self.data) < size:
            self._changed.clear()
            await self._changed.wait()
        taken, self.data = self.data[:size], self.data[size:]
        return taken


class Filling(asyncio.BufferedProtocol):
    """Has a buffer of its own filled."""

    def __init__(self):
        self.buffer, self.done = bytearray(1000), 0
        self.lost = asyncio.get_running_loop().create_future()
        self._changed = asyncio.Event()

    def get_buffer(self, sizehint):
        return memoryview(self.buffer)[self.done :]

    def buffer_updated(self, count):
        self.done += count
        self._changed.set()

    def connection_lost(self, error):
        self.lost.set_result(error)

    async def until(self, size):
        """Wait for so many bytes in all."""
        while self.done < size:
            self._changed.clear()
            await self._changed.wait()
        return bytes(self.buffer[:size])


class Datagrams(asyncio.DatagramProtocol):
    """Keeps datagrams."""

    def __init__(self):
        self.heard = asyncio.Queue()
        self.errors = asyncio.Queue()
        self.lost = asyncio.get_running_loop().create_future()

    def datagram_received(self, data, address):
        self.heard.put_nowait((data, address))

    def error_received(self, error):
        self.errors.put_nowait(error)

    def connection_lost(self, error):
        self.lost.set_result(error)


class Making:
    """Makes protocols for a server, and says when one is there."""

    def __init__(self, kind=Asking):
        self._kind = kind
        self._made = asyncio.Queue()

    def __call__(self):
        protocol = self._kind()
        self._made.put_nowait(protocol)
        return protocol

    async def next(self):
        """The next one that is connected."""
        protocol = await self._made.get()
        await protocol.made
        return protocol


def connect(factory, server, **options):
    """Connect a protocol to a server."""
    return asyncio.get_running_loop().create_connection(factory, *server.address, **options)


async def listening():
    """A socket that listens, and the future end of the first connection to it."""
    sock = socket.create_server(("127.0.0.1", 0))
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    return sock, loop.create_task(loop.sock_accept(sock))


async def turns(count=10):
    """Let the loop do what it has to do."""
    for _ in range(count):
        await asyncio.sleep(0)


async def ask(reader, writer, data=HUNDRED):
    """Send something to an echo and take it back."""
    writer.write(data)
    await writer.drain()
    assert await reader.readexactly(len(data)) == data


async def closed(writer):
    """Close a stream writer to the end."""
    writer.close()
    await writer.wait_closed()
