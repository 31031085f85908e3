"""An aiohttp that is not as it was expected: recording gives way, and says so; the program sees nothing."""

from __future__ import annotations

import asyncio
import functools
import gc
import subprocess
import sys
from unittest import mock

import aiohttp
import pytest
from aiohttp import BaseConnector, ClientRequest, ClientResponse
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import WebSocketWriter
from yarl import URL

from tests.network._aiohttp_client import fetch, session
from volnux.telemetry import capture, instrument, traced_client, uninstrument
from volnux.telemetry.clients import _aiohttp


@pytest.fixture
def registry():
    """Where everything goes, and what went wrong is counted."""
    with capture() as registry:
        yield registry


def test_a_route_that_raises_hurts_nobody(raw_server):
    """It is counted, and the operation has the plain name."""

    async def main():
        client = traced_client(aiohttp.ClientSession(), route=lambda path: 1 / 0)
        async with client:
            await fetch(client, raw_server.url("/bytes/5"))

    with capture() as registry:
        asyncio.run(main())
        (op,) = registry.network_ops()
        assert op.operation == "GET"
        assert registry.health().errors["client"] == {"route": 1}


class Stubborn:
    """A transport whose protocol cannot be changed."""

    def __init__(self, transport):
        self._transport = transport

    def __getattr__(self, name):
        return getattr(self._transport, name)

    def set_protocol(self, protocol):
        raise NotImplementedError


class Handler(ResponseHandler):
    def connection_made(self, transport):
        super().connection_made(Stubborn(transport))


def use(client, kind):
    """Have a session's connections be of a kind."""
    client.connector._factory = functools.partial(kind, loop=client.connector._loop)


@pytest.mark.parametrize("target", ["/bytes/100", "/gzip/100", "/status/204", "/bytes/0"])
def test_a_connection_that_cannot_be_counted_is_taken_at_its_word(registry, raw_server, target):
    """The operations end as ever, and say that nobody has counted."""

    async def main():
        async with session() as client:
            use(client, Handler)
            await fetch(client, raw_server.url(target))
            await fetch(client, raw_server.url(target))

    asyncio.run(main())
    first, second = registry.network_ops()
    assert registry.health().errors["client"] == {"connection": 2}
    seen = raw_server.wait_exchanges(2)[0]
    length = None if "204" in target else seen.response_body_bytes
    for op in (first, second):
        assert op.status == "completed"
        assert op.attributes["source"] == "declared"
        assert op.attributes["http.response.status_code"] == seen.status
        assert op.attributes.get("declared") == length
        assert "complete" not in op.attributes


class Closed:
    """Takes no attribute of ours."""

    def __setattr__(self, name, value):
        if "volnux" in name:
            raise AttributeError(name)
        super().__setattr__(name, value)


class ClosedHandler(Closed, ResponseHandler):
    pass


class ClosedRequest(Closed, aiohttp.ClientRequest):
    pass


def test_a_protocol_that_takes_nothing_of_ours_is_not_counted(registry, raw_server):
    """Nor does aiohttp notice."""

    async def main():
        async with session() as client:
            use(client, ClosedHandler)
            assert len(await fetch(client, raw_server.url("/bytes/10"))) == 10

    asyncio.run(main())
    (op,) = registry.network_ops()
    assert (op.status, op.attributes["source"]) == ("completed", "declared")
    assert registry.health().errors["client"] == {"connection": 1}


def test_a_request_that_takes_nothing_of_ours_is_not_recorded(registry, raw_server):
    """It is made all the same."""

    async def main():
        async with session(request_class=ClosedRequest) as client:
            assert len(await fetch(client, raw_server.url("/bytes/10"))) == 10

    asyncio.run(main())
    assert registry.health().errors["client"]["exchange"] > 0


def test_a_request_whose_headers_are_its_own_goes_without_ours(registry, raw_server):
    """What goes wrong with them is counted."""

    class Headless(aiohttp.ClientRequest):
        @property
        def _volnux_traceparent(self):
            raise ZeroDivisionError

    async def main():
        client = aiohttp.ClientSession(request_class=Headless)
        async with traced_client(client, propagate_trace=True):
            assert b"traceparent" not in await fetch(client, raw_server.url("/headers"))

    asyncio.run(main())
    assert registry.health().errors["client"] == {"traceparent": 1}


def test_a_response_that_is_unlike_others_ends_with_its_headers(registry, raw_server):
    """There is nothing by which to tell when it has been read."""

    class Unlike(aiohttp.ClientResponse):
        asked = 0

        @property
        def connection(self):
            self.asked += 1
            if self.asked == 1:
                raise ZeroDivisionError
            return super().connection

    async def main():
        async with session(response_class=Unlike) as client:
            response = await client.get(raw_server.url("/hang-mid-body/10"))
            (op,) = registry.network_ops()
            assert op.status == "completed"
            raw_server.release()
            assert len(await response.read()) == 10

    asyncio.run(main())
    assert registry.health().errors["client"] == {"response": 1}


def test_a_request_that_says_yes_to_everything_is_cancelled_as_it_is(registry):
    """A connector that a test gives a mock: what it raises is what the library raised."""

    async def main():
        async with aiohttp.BaseConnector(limit=1) as connector:
            connector._available_connections = mock.Mock(side_effect=asyncio.CancelledError)
            with pytest.raises(asyncio.CancelledError):
                await connector.connect(mock.Mock(), [], aiohttp.ClientTimeout())

    instrument("aiohttp")
    try:
        asyncio.run(main())
    finally:
        uninstrument("aiohttp")


def test_a_protocol_that_says_yes_to_everything_keeps_its_transport():
    """A writer that a test makes of mocks writes to what it was given."""
    instrument("aiohttp")
    try:
        protocol, transport = mock.Mock(), mock.Mock()
        writer = WebSocketWriter(protocol, transport)
        assert writer.transport is transport
    finally:
        uninstrument("aiohttp")


@pytest.mark.parametrize(
    ("owner", "name", "takes"),
    [(BaseConnector, "connect", 3), (ClientRequest, "send", 1), (ClientResponse, "start", 1)],
)
def test_what_is_wrapped_goes_on_to_pass_for_a_coroutine_function(owner, name, takes):
    """So that what a test puts in its place can be awaited."""
    instrument("aiohttp")
    try:
        with mock.patch.object(owner, name, autospec=True) as replaced:
            replaced.return_value = "answer"

            async def main():
                return await getattr(owner, name)(*[mock.Mock()] * (takes + 1))

            assert asyncio.run(main()) == "answer"
    finally:
        uninstrument("aiohttp")


def test_a_session_that_says_yes_to_everything_is_not_traced(registry):
    """Settings are what we have put there."""
    instrument("aiohttp")
    try:
        request = mock.Mock(method="GET", url=URL("http://example.org/"))
        assert _aiohttp._begin(request) is not None  # of the whole library
    finally:
        uninstrument("aiohttp")
    assert _aiohttp._begin(request) is None
    assert registry.health().errors == {}


def test_a_request_that_is_never_sent_leaves_nothing_in_flight(registry):
    """Whoever sends in a way of his own has it ended when it is let go."""
    instrument("aiohttp")
    try:
        hop = _aiohttp._begin(mock.Mock(method="GET", url=URL("http://example.org/")))
        assert registry.health().in_flight == 1
        del hop
        gc.collect()
        assert registry.health().in_flight == 0
    finally:
        uninstrument("aiohttp")


#: Leaves an exchange in a module that outlives ours, when the interpreter takes them apart.
AT_EXIT = """
import os
from unittest import mock
import aiohttp
from yarl import URL
from volnux.telemetry import instrument, monitor_events
from volnux.telemetry.clients import _aiohttp
monitor_events()
instrument("aiohttp")
os.kept = _aiohttp._begin(mock.Mock(method="GET", url=URL("http://example.org/")))
"""


def test_what_is_under_way_at_exit_is_not_heard_of():
    """Python itself would complain of what its end raises."""
    command = [sys.executable, "-c", AT_EXIT]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
