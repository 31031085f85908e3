"""httpx: what a traced client is, and the whole library at once."""

from __future__ import annotations

import gc
import threading
import weakref

import httpcore
import httpx
import pytest

from tests.network._httpx_runs import Asyncio, Run
from tests.network._records import ended, equal_to_the_kernel
from volnux.telemetry import instrument, traced_client, uninstrument, untrace
from volnux.telemetry.clients._httpcore_streams import ORIGINAL


class TestClients:
    """The object stays what it is."""

    @pytest.mark.parametrize("kind", [httpx.Client, httpx.AsyncClient])
    def test_a_traced_client_is_the_same_object(self, kind):
        """Its type, its attributes, and what it can be asked for."""
        client = kind()
        assert traced_client(client) is client
        assert type(client) is kind
        untrace(client)

    @pytest.mark.parametrize("kind", [httpx.Client, httpx.AsyncClient])
    def test_untrace_leaves_nothing_behind(self, kind):
        """Neither in the object, nor in httpx or httpcore."""
        client = kind()
        before, taps = dict(vars(client)), everything()
        traced_client(client)
        assert everything() != taps
        untrace(client)
        assert vars(client) == before
        assert everything() == taps

    def test_an_untraced_client_records_nothing(self, httpx_run, registry, raw_server):
        """From then on."""
        httpx_run.steps(lambda client: untrace(client).get(raw_server.url("/bytes/1")))
        raw_server.wait_exchanges(1)
        assert registry.network_ops() == []

    def test_a_thread_in_which_nothing_records_is_left_alone(self, registry, raw_server):
        """A client may be used there too."""
        with traced_client(httpx.Client()) as client:
            answers = []

            def work():
                answers.append(client.get(raw_server.url("/bytes/1")).status_code)

            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        assert answers == [200]
        assert registry.network_ops() == []

    def test_a_client_traced_twice_is_traced_once(self, registry, raw_server):
        """The last settings count."""
        with traced_client(traced_client(httpx.Client()), route=lambda path: "/{n}") as client:
            client.get(raw_server.url("/bytes/1"))
            assert ended(registry).operation == "GET /{n}"
            before = registry.network_ops()
            untrace(client)
            client.get(raw_server.url("/bytes/1"))
            assert registry.network_ops() == before

    def test_another_client_is_not_recorded(self, registry, raw_server):
        """That one is traced is that one's affair."""
        with traced_client(httpx.Client()), httpx.Client() as other:
            other.get(raw_server.url("/bytes/1"))
        assert registry.network_ops() == []

    def test_what_is_put_into_the_object_before_goes_on(self, registry, raw_server):
        """A method that a program has replaced is called as ever, and is there afterwards."""
        client, asked = httpx.Client(), []
        send = client._send_single_request

        def mine(request):
            asked.append(request.url.path)
            return send(request)

        client._send_single_request = mine
        with traced_client(client):
            client.get(raw_server.url("/bytes/1"))
        untrace(client)
        assert asked == ["/bytes/1"]
        assert ended(registry).status == "completed"
        assert vars(client)["_send_single_request"] is mine

    def test_what_is_put_over_it_afterwards_stays(self):
        """Untracing takes away only what is ours."""
        client = traced_client(httpx.Client())
        mine = client._send_single_request = lambda request: None
        untrace(client)
        assert vars(client)["_send_single_request"] is mine

    def test_a_traced_client_that_nobody_holds_is_gone(self):
        """Tracing ties no knot that only the garbage collector could undo, and holds no tap."""
        gc.collect()
        gc.disable()
        try:
            taps, client = everything(), traced_client(httpx.Client())
            gone = weakref.ref(client)
            del client
            assert gone() is None
            assert everything() == taps
        finally:
            gc.enable()

    def test_a_method_that_holds_its_client_does_not_keep_it(self):
        """What stood in the object before may be a method of its own."""
        client = httpx.Client()
        client._send_single_request = client._send_single_request
        gone = weakref.ref(traced_client(client))
        del client
        gc.collect()
        assert gone() is None

    def test_subclasses_are_clients(self, registry, raw_server):
        """And their own methods are called."""

        class Mine(httpx.Client):
            def send(self, request, **options):
                request.headers["X-Mine"] = "yes"
                return super().send(request, **options)

        with traced_client(Mine()) as client:
            assert client.get(raw_server.url("/headers")).json()["X-Mine"] == "yes"
        assert ended(registry).status == "completed"


def everything():
    """What stands in httpx and httpcore where something of ours could."""
    places = [
        httpx._transports.default,
        httpx.HTTPTransport,
        httpx.AsyncHTTPTransport,
        httpx.Client,
        httpx.AsyncClient,
        httpx.Response,
        httpcore.HTTPConnection,
        httpcore.AsyncHTTPConnection,
        httpcore.HTTP11Connection,
        httpcore.AsyncHTTP11Connection,
        httpcore.HTTP2Connection,
        httpcore.AsyncHTTP2Connection,
        httpcore.SyncBackend,
        httpcore.AnyIOBackend,
        httpcore.TrioBackend,
    ]
    return [dict(vars(place)) for place in places]


class TestTheWholeLibrary:
    """`instrument` and `uninstrument`."""

    def test_clients_of_before_and_after_are_recorded(self, registry, raw_server):
        """And open connections count, as those that were used before."""
        with httpx.Client() as before:
            before.get(raw_server.url("/bytes/1"))
            instrument("httpx")
            with httpx.Client() as after:
                before.get(raw_server.url("/bytes/2"))
                after.get(raw_server.url("/bytes/3"))
            uninstrument("httpx")
            before.get(raw_server.url("/bytes/4"))
        old, new = registry.network_ops()
        assert [op.attributes["connection_reused"] for op in (old, new)] == [True, False]
        seen = {each.target: each for each in raw_server.wait_exchanges(4)}
        assert old.bytes_received == seen["/bytes/2"].wire_sent
        assert new.bytes_received == seen["/bytes/3"].wire_sent

    def test_it_is_taken_back_to_the_last_attribute(self):
        """However often it was done."""
        before = everything()
        instrument("httpx")
        instrument("httpx")
        assert everything() != before
        uninstrument("httpx")
        assert everything() == before

    def test_streams_are_given_back(self, raw_server, registry):
        """The objects of httpcore that counted are of their own class again."""
        with httpx.Client() as client:
            instrument("httpx")
            client.get(raw_server.url("/bytes/1"))
            stream = client._transport._pool.connections[0]._connection._network_stream
            assert type(stream) in ORIGINAL
            assert isinstance(stream, httpcore.NetworkStream)
            uninstrument("httpx")
            assert type(stream) not in ORIGINAL
            assert list(vars(stream)) == ["_sock"]
            client.get(raw_server.url("/bytes/1"))

    def test_what_is_under_way_is_recorded_to_its_end(self, raw_server, registry):
        """Uninstrumenting in the middle of a body loses none of it."""
        with httpx.Client() as client:
            instrument("httpx")
            with client.stream("GET", raw_server.url("/bytes/1000000")) as response:
                uninstrument("httpx")
                response.read()
            op = ended(registry)
            equal_to_the_kernel([op], raw_server)
            stream = client._transport._pool.connections[0]._connection._network_stream
            assert type(stream) not in ORIGINAL

    def test_a_traced_client_keeps_its_own_settings(self, instrumented_httpx, registry, raw_server):
        """And makes one operation, not two."""
        with traced_client(httpx.Client(), route=lambda path: "/{own}") as client:
            client.get(raw_server.url("/bytes/1"))
        assert ended(registry).operation == "GET /{own}"

    def test_the_functions_of_httpx_are_recorded(self, instrumented_httpx, registry, raw_server):
        """`httpx.get` makes a client for itself."""
        httpx.get(raw_server.url("/bytes/1"), trust_env=False)
        equal_to_the_kernel([ended(registry)], raw_server)

    def test_nothing_is_done_while_nothing_records(self, instrumented_httpx, raw_server):
        """Connections stay what they are."""
        with httpx.Client() as client:
            client.get(raw_server.url("/bytes/1"))
            stream = client._transport._pool.connections[0]._connection._network_stream
            assert type(stream) not in ORIGINAL


@pytest.mark.parametrize("kind", [Run, Asyncio], ids=lambda kind: kind.name)
def test_telemetry_that_is_off_leaves_a_traced_client_alone(kind, raw_server):
    """What is asked for is answered, and nothing is kept."""
    assert kind().fetch(raw_server.url("/bytes/10")).status_code == 200
