"""aiohttp, driven in the same way by all of its tests."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from volnux.telemetry import traced_client


def session(**options):
    """A traced session."""
    return traced_client(aiohttp.ClientSession(**options))


async def fetch(client, url, method="GET", body=None, **options):
    async with client.request(method, url, data=body, **options) as response:
        return await response.read()


def fetch_all(server, *requests, **options):
    """Make some requests by one session."""

    async def main():
        async with session(**options) as client:
            return [
                await fetch(client, server.url(target), *others) for target, *others in requests
            ]

    return asyncio.run(main())


async def pieces(*parts):
    for part in parts:
        yield part
        await asyncio.sleep(0)


def failing(url, method="POST", make=traced_client, *, ssl=True, **options):
    """Fetch in vain; return what was raised. A POST, because aiohttp does not try that again."""

    async def main():
        connector = aiohttp.TCPConnector(ssl=ssl)
        async with make(aiohttp.ClientSession(connector=connector)) as client:
            with pytest.raises(BaseException) as caught:
                async with client.request(method, url, **options) as response:
                    await response.read()
            return caught.value

    return asyncio.run(main())
