"""What carries the exchanges of httpx: transports, proxies, and what is no network."""

from __future__ import annotations

import gc
import socket

import httpcore
import httpx
import pytest

from tests.network import _httpx_proxies as proxies
from tests.network._records import ended, equal_to_the_kernel
from volnux.telemetry import capture, traced_client, traced_event


class TestTransports:
    """What goes over no network of httpx's own is no operation."""

    @pytest.mark.parametrize("kind", ["mock", "wsgi"])
    def test_a_transport_without_a_network_records_nothing(self, registry, kind):
        """There was no exchange with a host and port."""

        def application(environ, start_response):
            start_response("200 OK", [])
            return [b"ok"]

        transport = {
            "mock": httpx.MockTransport(lambda request: httpx.Response(200)),
            "wsgi": httpx.WSGITransport(application),
        }[kind]
        with traced_client(httpx.Client(transport=transport)) as client:
            assert client.get("http://nowhere.invalid/").status_code == 200
        assert registry.network_ops() == []

    def test_a_transport_around_another_makes_one_for_each_attempt(self, registry, raw_server):
        """Retries of the program's own are told apart, under one event."""

        class Retrying(httpx.HTTPTransport):
            def handle_request(self, request):
                for _ in range(5):
                    response = super().handle_request(request)
                    if response.status_code != 503:
                        break
                    response.close()
                return response

        with traced_client(httpx.Client(transport=Retrying())) as client, traced_event("job"):
            client.get(raw_server.url("/retry/2?key=a"))
        ops = registry.network_ops()
        assert [op.attributes["http.response.status_code"] for op in ops] == [503, 503, 200]
        assert len({op.parent_id for op in ops}) == 1

    def test_streams_of_another_kind_end_it_too(self, registry, raw_server, monkeypatch):
        """A transport may give out a stream of its own."""

        class Stream(httpx.SyncByteStream):
            extra = "mine"

            def __init__(self, stream):
                self.inner = stream

            def __iter__(self):
                yield from self.inner

            def close(self):
                self.inner.close()

        original = httpx.HTTPTransport.handle_request

        def handle_request(self, request):
            response = original(self, request)
            response.stream = Stream(response.stream)
            return response

        monkeypatch.setattr(httpx.HTTPTransport, "handle_request", handle_request)
        with traced_client(httpx.Client()) as client:
            response = client.get(raw_server.url("/gzip/1000"))
            assert response.stream._stream.extra == "mine"
        assert ended(registry).attributes["decoded"] == 1000

    def test_a_transport_that_somebody_has_replaced_is_no_trouble(self, httpx_run, monkeypatch):
        """As test kits do: the answer is theirs, and there were no bytes."""

        def handle_request(self, request):
            return httpx.Response(200, content=b"theirs")

        async def handle_async_request(self, request):
            return httpx.Response(200, content=b"theirs")

        gc.collect()  # of traced clients that other tests have let go, whose taps would be replaced
        monkeypatch.setattr(httpx.HTTPTransport, "handle_request", handle_request)
        monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", handle_async_request)
        with capture(strict=True) as registry:
            assert httpx_run.fetch("http://nowhere.invalid/").content == b"theirs"
        op = ended(registry)
        assert (op.status, op.bytes_received) == ("completed", 0)
        assert op.attributes["source"] == "declared"

    def test_a_unix_socket_carries_an_exchange(self, registry, tmp_path_factory):
        """It counts, under the host that the URL names."""
        path = str(tmp_path_factory.mktemp("u") / "s")
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(path)
        listening.listen()

        def answer(client):
            client.recv(65_536)
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

        with proxies.serving(answer, listening):
            transport = httpx.HTTPTransport(uds=path)
            with traced_client(httpx.Client(transport=transport)) as client:
                client.get("http://app.internal/")
        op = ended(registry)
        assert (op.host, op.port, op.bytes_received) == ("app.internal", 80, 40)
        assert op.attributes["connect_seconds"] > 0

    def test_a_stream_that_cannot_count_is_taken_at_its_word(self, raw_server):
        """The request goes on; the record says that its numbers are the server's declaration."""

        class Slotted(tuple):
            """No object of another class can be made of it."""

            __slots__ = ()

            def __new__(cls, stream):
                return super().__new__(cls, (stream,))

            read = lambda self, *args, **named: self[0].read(*args, **named)  # noqa: E731
            write = lambda self, *args, **named: self[0].write(*args, **named)  # noqa: E731
            close = lambda self: self[0].close()  # noqa: E731
            start_tls = lambda self, **named: self[0].start_tls(**named)  # noqa: E731
            get_extra_info = lambda self, info: self[0].get_extra_info(info)  # noqa: E731

        class Backend(httpcore.SyncBackend):
            def connect_tcp(self, *args, **named):
                return Slotted(super().connect_tcp(*args, **named))

        with capture() as registry, traced_client(httpx.Client()) as client:
            client._transport._pool._network_backend = Backend()
            assert len(client.get(raw_server.url("/bytes/1000")).content) == 1000
            op = ended(registry)
        assert (op.bytes_sent, op.bytes_received) == (0, 0)
        assert op.attributes["source"] == "declared"
        assert op.attributes["declared"] == 1000
        assert op.attributes["http.response.status_code"] == 200
        assert registry.health().errors["client"]["httpcore"] >= 1


class TestProxies:
    """What is between us and a proxy is not part of the exchange."""

    def test_a_proxy_that_passes_on_is_not_the_host(self, httpx_run, registry, raw_server):
        """The operation is with the server that was asked for; all bytes of the request count."""
        httpx_run.fetch("http://origin.example/bytes/10", proxy=raw_server.url())
        op = ended(registry)
        assert (op.host, op.port) == ("origin.example", 80)
        equal_to_the_kernel([op], raw_server)

    def test_a_tunnel_counts_from_its_end_on(self, httpx_run, registry, tls_server, client_context):
        """Without CONNECT; connecting and both handshakes have their times."""
        with proxies.serving(proxies.tunnel) as port:
            urls = [tls_server.url("/bytes/100")] * 2
            httpx_run.fetch_all(*urls, proxy=f"http://127.0.0.1:{port}", verify=client_context)
        ops, seen = registry.network_ops(), tls_server.wait_exchanges(2)
        assert [op.bytes_sent for op in ops] == [each.request_head_bytes for each in seen]
        assert [op.host for op in ops] == ["127.0.0.1"] * 2
        assert [op.attributes["connection_reused"] for op in ops] == [False, True]
        assert ops[0].attributes["connect_seconds"] > 0
        assert ops[0].attributes["tls_seconds"] > 0

    def test_a_tunnel_that_is_refused_fails_the_operation(self, httpx_run, registry):
        """With the answer of the proxy; nothing went to the server."""
        with proxies.serving(proxies.tunnel) as port:
            httpx_run.failing("https://refused.example/", proxy=f"http://127.0.0.1:{port}")
        op = ended(registry)
        assert (op.host, op.status, op.error_type) == ("refused.example", "failed", "ProxyError")
        assert (op.bytes_sent, op.bytes_received) == (0, 0)

    def test_socks_counts_from_its_end_on(self, httpx_run, registry, raw_server):
        """Without what is said to the proxy."""
        pytest.importorskip("socksio")
        with proxies.serving(proxies.socks) as port:
            httpx_run.fetch(raw_server.url("/gzip/500"), proxy=f"socks5://127.0.0.1:{port}")
        op = ended(registry)
        assert op.attributes["connect_seconds"] > 0
        equal_to_the_kernel([op], raw_server)

    def test_socks_with_tls_has_both_times(self, httpx_run, registry, tls_server, client_context):
        """And the plain bytes inside."""
        pytest.importorskip("socksio")
        with proxies.serving(proxies.socks) as port:
            proxy = f"socks5://127.0.0.1:{port}"
            httpx_run.fetch(tls_server.url("/bytes/10"), proxy=proxy, verify=client_context)
        op, (seen,) = ended(registry), tls_server.wait_exchanges(1)
        assert op.bytes_sent == seen.request_head_bytes
        assert op.attributes["tls_seconds"] > 0
