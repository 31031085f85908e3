"""What goes along with a request of httpx: names, headers, and the program's own code on the way."""

from __future__ import annotations

import httpx
import pytest

from tests.network._records import ended, equal_to_the_kernel
from volnux.telemetry import capture, traced_client, traced_event


class TestWhatGoesAlong:
    """Names, headers, and the program's own code on the way."""

    def test_the_template_of_a_path_is_part_of_the_name(self, registry, raw_server):
        """Path, query and user never are."""
        url = raw_server.url("/bytes/7?token=hunter2").replace("://", "://me:hunter2@")
        with traced_client(httpx.Client(), route=lambda path: "/bytes/{n}") as client:
            client.get(url)
        op = ended(registry)
        assert op.operation == "GET /bytes/{n}"
        assert op.attributes["url.template"] == "/bytes/{n}"
        assert "hunter2" not in repr(op.to_dict())

    def test_a_route_that_raises_hurts_nobody(self, raw_server):
        """The method alone is the name then, and it is counted."""
        with capture() as registry, traced_client(httpx.Client(), route=lambda path: 1 / 0) as it:
            assert it.get(raw_server.url("/bytes/7")).status_code == 200
            assert ended(registry).operation == "GET"
        assert registry.health().errors["client"]["route"] == 1

    def test_names_of_hosts_are_as_people_write_them(self, registry, nobody):
        """Without brackets, and with the letters of their language."""
        with traced_client(httpx.Client()) as client:
            for host in ("[::1]", "bücher.invalid"):
                with pytest.raises(httpx.ConnectError):
                    client.get(f"http://{host}:{nobody[1]}/")
        assert [op.host for op in registry.network_ops()] == ["::1", "bücher.invalid"]

    def test_each_hop_takes_its_own_trace_along(self, httpx_run, registry, raw_server):
        """The header names the operation that sent it; the program's own request has none."""
        options = {"follow_redirects": True}
        client = traced_client(httpx_run.client(traced=False, **options), propagate_trace=True)

        def sync(client):
            with client:
                return client.get(raw_server.url("/redirect/2"))

        async def asynchronous(client):
            async with client:
                return await client.get(raw_server.url("/redirect/2"))

        with traced_event("job"):
            if httpx_run.name == "sync":
                response = sync(client)
            else:
                response = httpx_run.loop(lambda: asynchronous(client))
        ops, seen = registry.network_ops(), raw_server.wait_exchanges(3)
        assert [each.header("traceparent").split("-")[2] for each in seen] == [
            op.task_id for op in ops
        ]
        assert "traceparent" not in response.request.headers
        equal_to_the_kernel(ops, raw_server)

    def test_a_trace_that_the_program_sends_is_left_alone(self, registry, raw_server):
        """One header of that name is enough."""
        mine = f"00-{'a' * 32}-{'b' * 16}-01"
        with traced_client(httpx.Client(), propagate_trace=True) as client:
            client.get(raw_server.url("/bytes/1"), headers={"TraceParent": mine})
        (seen,) = raw_server.wait_exchanges(1)
        values = [value for name, value in seen.headers if name.lower() == "traceparent"]
        assert values == [mine]

    def test_the_trace_extension_is_the_programs_own(self, httpx_run, registry, raw_server):
        """A callback of the program's gets every event it got before."""

        def events(traced):
            found = []

            def tell(name, info):
                found.append(name)

            async def tell_async(name, info):
                found.append(name)

            def sync(client):
                client.get(raw_server.url("/gzip/10"), extensions={"trace": tell})

            async def asynchronous(client):
                await client.get(raw_server.url("/gzip/10"), extensions={"trace": tell_async})

            httpx_run.either(sync, asynchronous, traced=traced)
            return found

        assert events(traced=True) == events(traced=False) != []

    def test_the_extensions_of_a_request_are_the_programs_own(self, registry, raw_server):
        """They are the same afterwards, whatever came of it."""
        with traced_client(httpx.Client()) as client:
            request = client.build_request("GET", raw_server.url("/bytes/1"))
            extensions, content = request.extensions, dict(request.extensions)
            client.send(request)
            with pytest.raises(httpx.RemoteProtocolError):
                client.send(client.build_request("GET", raw_server.url("/garbage")))
        assert request.extensions is extensions
        assert extensions == content

    def test_a_request_may_be_sent_again(self, registry, raw_server):
        """Each time is an operation."""
        with traced_client(httpx.Client()) as client:
            request = client.build_request("GET", raw_server.url("/bytes/1"))
            assert client.send(request).request is request
            assert client.send(request).request is request
        equal_to_the_kernel(registry.network_ops(), raw_server)

    def test_a_body_that_asks_another_client_is_not_its_exchange(self, registry, raw_server):
        """What a program does while it is asked for a body counts for nobody."""
        with traced_client(httpx.Client()) as client, httpx.Client() as other:

            def body():
                yield b"abc"
                yield other.get(raw_server.url("/bytes/1000")).content

            client.post(raw_server.url("/echo"), content=body())
        op = ended(registry)
        assert op.attributes["http.request.body.size"] == 1003
        echoed = next(each for each in raw_server.wait_exchanges(2) if each.target == "/echo")
        assert (op.bytes_sent, op.bytes_received) == (echoed.wire_received, echoed.wire_sent)

    def test_authentication_is_an_operation_for_each_request(self, registry, raw_server):
        """Those that a flow makes by itself included."""

        class Twice(httpx.Auth):
            def auth_flow(self, request):
                yield request
                request.headers["Authorization"] = "hunter2"
                yield request

        with traced_client(httpx.Client(auth=Twice())) as client:
            client.get(raw_server.url("/bytes/1"))
        ops = registry.network_ops()
        equal_to_the_kernel(ops, raw_server)
        assert len(ops) == 2
        assert "hunter2" not in repr(ops)
