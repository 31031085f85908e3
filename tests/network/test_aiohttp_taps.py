"""What recording aiohttp changes, and that it can be taken back; websockets; other builds of aiohttp."""

from __future__ import annotations

import asyncio
import gc
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver

from tests.network._aiohttp_client import fetch
from tests.network._records import counts, kernel
from volnux.telemetry import (
    capture,
    instrument,
    traced_client,
    traced_event,
    uninstrument,
    untrace,
)

pytestmark = pytest.mark.usefixtures("nothing_left")
ROOT = Path(__file__).parent.parent.parent


def attributes():
    """Everything that aiohttp's modules and classes consist of."""
    modules = [module for name, module in sys.modules.items() if name.startswith("aiohttp")]
    kinds = {kind for module in modules for kind in vars(module).values() if inspect.isclass(kind)}
    return {each: dict(vars(each)) for each in (*modules, *kinds)}


def kept(client):
    """The protocols of a session's idle connections."""
    return [protocol for each in client.connector._conns.values() for protocol, _ in each]


def test_uninstrument_puts_back_every_attribute():
    """What was in the classes is in them again, the very objects."""
    before = attributes()
    instrument("aiohttp")
    instrument("aiohttp")
    assert attributes() != before
    uninstrument("aiohttp")
    assert attributes() == before


def test_sessions_of_before_and_after_count(registry, raw_server):
    """Also on a connection that has been open since; and none does after `uninstrument`."""

    async def main():
        async with aiohttp.ClientSession() as old:
            await fetch(old, raw_server.url("/bytes/5"))
            instrument("aiohttp")
            await fetch(old, raw_server.url("/bytes/7"))
            async with aiohttp.ClientSession() as new:
                await fetch(new, raw_server.url("/bytes/9"))
            uninstrument("aiohttp")
            await fetch(old, raw_server.url("/bytes/11"))
            (protocol,) = kept(old)
            assert protocol.transport.get_protocol() is protocol
            assert not [name for name in vars(protocol) if "volnux" in name]

    asyncio.run(main())
    ops = registry.network_ops()
    assert [op.attributes["connection_reused"] for op in ops] == [True, False]
    assert counts(ops) == kernel(raw_server, 4)[1:3]


def test_a_traced_session_is_the_same_object(registry, raw_server):
    """Neither its type nor its attributes change, and `untrace` leaves nothing behind."""

    async def main():
        async with aiohttp.ClientSession() as client:
            before, kind = {**vars(client)}, type(client)
            assert traced_client(client) is client
            assert traced_client(client) is client
            assert type(client) is kind
            await fetch(client, raw_server.url("/bytes/5"))
            assert untrace(client) is client
            assert untrace(client) is client
            assert vars(client) == before
            await fetch(client, raw_server.url("/bytes/5"))

    everything = attributes()
    asyncio.run(main())
    assert attributes() == everything
    assert len(registry.network_ops()) == 1


def test_sessions_are_told_apart(registry, raw_server):
    """Who traces one does not get what others do."""

    async def main():
        async with aiohttp.ClientSession() as other, aiohttp.ClientSession() as client:
            traced_client(client)
            await fetch(other, raw_server.url("/bytes/1"))
            assert registry.network_ops() == []
            await fetch(client, raw_server.url("/bytes/1"))

    asyncio.run(main())
    assert len(registry.network_ops()) == 1


def test_a_connection_that_was_used_untraced_is_not_new(registry, raw_server):
    """Whoever used it: two sessions may share a connector."""

    async def main():
        options = {"connector": aiohttp.TCPConnector(), "connector_owner": False}
        other = aiohttp.ClientSession(**options)
        client = traced_client(aiohttp.ClientSession(**options))
        async with options["connector"], other, client:
            await fetch(other, raw_server.url("/bytes/1"))
            await fetch(client, raw_server.url("/bytes/1"))

    asyncio.run(main())
    (op,) = registry.network_ops()
    assert op.attributes["connection_reused"] is True


def test_the_taps_of_a_session_that_is_gone_are_taken_away():
    """Nobody has to untrace what does not exist any more."""

    async def main():
        async with traced_client(aiohttp.ClientSession()):
            pass

    before = attributes()
    asyncio.run(main())
    gc.collect()
    assert attributes() == before


def test_an_exchange_under_way_ends_after_uninstrument(registry, raw_server):
    """It is recorded to its end, nothing else is, and then the last attribute is put back."""

    async def main():
        instrument("aiohttp")
        async with aiohttp.ClientSession() as client:
            response = await client.get(raw_server.url("/hang-mid-body/100"))
            uninstrument("aiohttp")
            assert attributes() != before
            await fetch(client, raw_server.url("/bytes/1"))
            raw_server.release()
            assert len(await response.read()) == 100
            assert attributes() == before

    before = attributes()
    asyncio.run(main())
    (op,) = registry.network_ops()
    assert (op.status, op.attributes["http.response.body.size"]) == ("completed", 100)


def test_instrumenting_again_in_time_changes_nothing(registry, raw_server):
    """The taps stand as long as somebody needs them."""

    async def main():
        instrument("aiohttp")
        async with aiohttp.ClientSession() as client:
            response = await client.get(raw_server.url("/bytes/100"))
            uninstrument("aiohttp")
            instrument("aiohttp")
            await response.read()
            await fetch(client, raw_server.url("/bytes/1"))

    asyncio.run(main())
    assert [op.status for op in registry.network_ops()] == ["completed"] * 2


def test_an_exchange_that_has_no_connection_yet_is_under_way(raw_server):
    """What has begun is recorded to its end, wherever it is."""

    class Patient(AbstractResolver):
        async def resolve(self, host, port=0, family=0):
            asked.set()
            await answer.wait()
            found = {"hostname": host, "host": raw_server.host, "port": port}
            return [{**found, "family": family, "proto": 0, "flags": 0}]

        async def close(self):
            pass

    async def main():
        nonlocal asked, answer
        asked, answer = asyncio.Event(), asyncio.Event()
        instrument("aiohttp")
        connector = aiohttp.TCPConnector(resolver=Patient())
        async with aiohttp.ClientSession(connector=connector) as client:
            url = f"http://patient.invalid:{raw_server.port}/bytes/10"
            task = asyncio.ensure_future(fetch(client, url))
            await asked.wait()
            uninstrument("aiohttp")
            answer.set()
            await task

    asked = answer = None
    with capture(strict=True) as registry:
        asyncio.run(main())
    (op,) = registry.network_ops()
    assert (op.status, op.attributes["http.response.body.size"]) == ("completed", 10)


def test_nothing_is_recorded_while_telemetry_is_off(raw_server):
    """A traced session works as ever."""

    async def main():
        async with traced_client(aiohttp.ClientSession()) as client:
            return await fetch(client, raw_server.url("/bytes/5"))

    assert len(asyncio.run(main())) == 5


def test_requests_carry_the_operation(registry, raw_server):
    """Each hop its own; what the program sends is left alone."""

    async def main():
        client = traced_client(aiohttp.ClientSession(), propagate_trace=True)
        async with client:
            found = json.loads(await fetch(client, raw_server.url("/redirect-to?url=/headers")))
            options = {"headers": {"traceparent": "mine"}}
            async with client.get(raw_server.url("/headers"), **options) as response:
                return found, await response.json()

    with traced_event("fetch"):
        ours, mine = asyncio.run(main())
    first, second, _ = registry.network_ops()
    assert second.task_id in ours["traceparent"]
    assert first.task_id not in ours["traceparent"]
    assert mine["traceparent"] == "mine"


@pytest.mark.parametrize("target", ["/echo", "/chunked/100000"])
def test_a_server_in_the_same_process_is_left_alone(registry, aiohttp_server, target):
    """It reads and writes by the same classes."""

    async def main():
        client, url = aiohttp.ClientSession(), aiohttp_server.url(target)
        async with client, client.post(url, data=b"x" * 100_000) as response:
            return await response.read()

    instrument("aiohttp")
    assert len(asyncio.run(main())) == 100_000
    (op,) = registry.network_ops()
    assert op.attributes["http.request.body.size"] == 100_000
    assert op.attributes["http.response.body.size"] == 100_000


def test_what_others_put_on_a_connection_stays(raw_server, tls_server, client_context):
    """Neither is it taken off, nor does it matter that a connection is closed."""

    class Other(asyncio.Protocol):
        pass

    async def main():
        instrument("aiohttp")
        connector = aiohttp.TCPConnector(ssl=client_context)
        async with aiohttp.ClientSession(connector=connector) as client:
            for server in (raw_server, tls_server):
                await fetch(client, server.url("/bytes/10"))
            plain, secret = kept(client)
            plain.transport.set_protocol(other := Other())
            secret.transport.close()
            uninstrument("aiohttp")
            assert plain.transport.get_protocol() is other
            plain.transport.set_protocol(plain)

    before = attributes()
    with capture(strict=True):
        asyncio.run(main())
    assert attributes() == before


def test_aiohttp_without_its_extensions_counts_the_same():
    """Its parser and its writer are then written in Python."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    test = "tests/network/test_aiohttp.py::test_two_hundred_exchanges_are_those_of_the_kernel"
    environment = {**os.environ, "AIOHTTP_NO_EXTENSIONS": "1"}
    done = subprocess.run(
        [*command, test], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert "1 passed" in done.stdout, done.stdout
