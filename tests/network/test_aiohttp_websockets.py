"""aiohttp's connections that become something else: websockets, and other upgrades."""

from __future__ import annotations

import asyncio
import os

import aiohttp
import pytest
from aiohttp import web

from tests.network._tcp_info import needs_tcp_info, tcp_info
from volnux.telemetry import traced_client


async def talk(size, **options):
    """Say something by a websocket; return what the server's kernel has counted."""
    info = None

    async def echo(request):
        nonlocal info
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_bytes(message.data)
        info = tcp_info(request.transport.get_extra_info("socket"), accepted=True)
        return socket

    app = web.Application()
    app.router.add_get("/", echo)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    client = traced_client(aiohttp.ClientSession())
    async with client, client.ws_connect(f"http://127.0.0.1:{port}/", **options) as socket:
        for _ in range(3):
            await socket.send_bytes(os.urandom(size))
            assert len(await socket.receive_bytes()) == size
    await runner.cleanup()
    return info


@needs_tcp_info
@pytest.mark.parametrize("size", [10, 100_000])
@pytest.mark.parametrize("compress", [0, 15])
def test_a_websocket_counts_until_it_is_closed(registry, size, compress):
    """Its frames are part of the exchange that made it, both ways."""
    info = asyncio.run(talk(size, compress=compress))
    (op,) = registry.network_ops()
    assert (op.status, op.attributes["http.response.status_code"]) == ("completed", 101)
    assert op.attributes["complete"] is True
    assert (op.bytes_sent, op.bytes_received) == (info.bytes_received, info.bytes_sent)


def test_a_websocket_that_is_cut_off_ends_with_its_connection(registry):
    """Nobody has said goodbye."""

    async def cut(request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        request.transport.close()
        return socket

    async def main():
        app = web.Application()
        app.router.add_get("/", cut)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        client = traced_client(aiohttp.ClientSession())
        async with client, client.ws_connect(url) as socket:
            await socket.receive()
            (op,) = registry.network_ops()
            assert op.status == "completed"
        await runner.cleanup()

    asyncio.run(main())


def test_an_upgraded_connection_counts_what_it_says(registry, raw_server):
    """Until the program lets go of it."""

    async def main():
        headers = {"Connection": "Upgrade", "Upgrade": "echo"}
        async with traced_client(aiohttp.ClientSession()) as client:
            response = await client.get(raw_server.url("/upgrade"), headers=headers)
            assert response.status == 101
            (op,) = registry.network_ops()
            assert op.status == "running"
            response.close()

    asyncio.run(main())
    (op,) = registry.network_ops()
    assert (op.status, op.attributes["http.response.status_code"]) == ("completed", 101)
