"""The HTTP/2 server and the aiohttp server answer alike, and end whoever is connected."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import socket
import threading
import time

import h2.config
import h2.connection
import h2.events
import pytest

from tests.network._client import SECONDS
from tests.network._routes import content, text

SERVERS = ["h2_server", "h2c_server", "aiohttp_server", "tls_aiohttp_server"]


class H1:
    """http.client, speaking HTTP/1.1."""

    def __init__(self, server):
        if server.tls is None:
            self.client = http.client.HTTPConnection(server.host, server.port, timeout=SECONDS)
        else:
            context = server.ca.client_context()
            self.client = http.client.HTTPSConnection(
                server.host, server.port, timeout=SECONDS, context=context
            )

    def ask(self, target, method="GET", body=None):
        self.client.request(method, target, body)
        response = self.client.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return response.status, headers, response.read()

    def close(self):
        self.client.close()


class H2:
    """The protocol library on a socket, speaking HTTP/2."""

    def __init__(self, server):
        self.socket = socket.create_connection((server.host, server.port), SECONDS)
        if server.tls is not None:
            context = server.ca.client_context(alpn=("h2",))
            self.socket = context.wrap_socket(self.socket, server_hostname=server.host)
            assert self.socket.selected_alpn_protocol() == "h2"
        self.state = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.state.initiate_connection()
        self.flush()

    def flush(self):
        self.socket.sendall(self.state.data_to_send())

    def begin(self, target, method="GET", body=None):
        stream = self.state.get_next_available_stream_id()
        names = (":method", ":path", ":scheme", ":authority")
        headers = list(zip(names, (method, target, "http", "test"), strict=True))
        self.state.send_headers(stream, headers, end_stream=body is None)
        if body is not None:
            self.state.send_data(stream, body, end_stream=True)
        self.flush()
        return stream

    def finish(self, stream):
        headers, body, ended = {}, b"", False
        while not ended:
            data = self.socket.recv(65_536)
            assert data, "the server ended"
            for event in self.state.receive_data(data):
                if getattr(event, "stream_id", None) != stream:
                    continue
                if isinstance(event, h2.events.ResponseReceived):
                    headers = dict(event.headers)
                elif isinstance(event, h2.events.DataReceived):
                    body += event.data
                    self.state.acknowledge_received_data(event.flow_controlled_length, stream)
                ended = ended or isinstance(event, h2.events.StreamEnded)
            self.flush()
        return int(headers.pop(":status")), headers, body

    def ask(self, target, method="GET", body=None):
        return self.finish(self.begin(target, method, body))

    def close(self):
        self.socket.close()


@pytest.fixture(params=SERVERS)
def server(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def client(server):
    kind = H2 if type(server).__name__ == "H2Server" else H1
    with contextlib.closing(kind(server)) as client:
        yield client


class TestRoutes:
    @pytest.mark.parametrize("size", [0, 10, 1_000_000])
    def test_bytes(self, client, size):
        """So many bytes come with their length."""
        status, headers, body = client.ask(f"/bytes/{size}")

        assert (status, headers["content-length"], body) == (200, str(size), content(size))

    def test_chunked(self, client):
        """A body comes without its length."""
        _, headers, body = client.ask("/chunked/5000?chunk=7")

        assert "content-length" not in headers
        assert body == content(5000)

    def test_stream(self, client):
        """A stream comes line by line, at the pace asked for."""
        begin = time.monotonic()
        _, _, body = client.ask("/stream/3?delay=0.01")

        assert body == b"line 0000000000\nline 0000000001\nline 0000000002\n"
        assert time.monotonic() - begin >= 0.02

    def test_echo(self, client):
        """A request body comes back."""
        assert client.ask("/echo", "POST", b"a body")[2] == b"a body"

    def test_headers(self, client):
        """The request headers come back as JSON."""
        headers = json.loads(client.ask("/headers")[2])

        assert {name.lower() for name in headers} >= {"host"}

    @pytest.mark.parametrize("status", [200, 404, 503])
    def test_status(self, client, status):
        """A status comes as asked for."""
        assert client.ask(f"/status/{status}")[::2] == (status, b"status\n")

    def test_no_content(self, client):
        """A status without a body has none."""
        assert client.ask("/status/204")[::2] == (204, b"")

    def test_gzip(self, client):
        """A compressed body unpacks to the length asked for."""
        _, headers, body = client.ask("/gzip/5000")

        assert headers["content-encoding"] == "gzip"
        assert gzip.decompress(body) == text(5000)

    def test_head(self, client):
        """HEAD answers with the head alone."""
        _, headers, body = client.ask("/bytes/10", "HEAD")

        assert (headers["content-length"], body) == ("10", b"")

    def test_unknown_route(self, client):
        """What is not served is not found."""
        assert client.ask("/nowhere")[0] == 404


class TestAccount:
    def test_lengths(self, server, client):
        """Both bodies are counted."""
        client.ask("/echo?a=1", "POST", b"a body")
        [exchange] = server.wait_exchanges(1)

        assert (exchange.method, exchange.target, exchange.status) == ("POST", "/echo?a=1", 200)
        assert (exchange.request_body_bytes, exchange.response_body_bytes) == (6, 6)
        assert (exchange.complete, exchange.error) == (True, None)

    def test_attempts(self, server, client):
        """Requests for a path are counted."""
        for target in ("/bytes/1", "/bytes/1?again", "/bytes/2"):
            client.ask(target)

        assert server.total_attempts("/bytes/1") == 2


class TestHanging:
    @pytest.mark.parametrize("target", ["/hang-before-headers/4", "/hang-mid-body/4"])
    def test_until_released(self, server, client, target):
        """What hangs goes on once the server is released."""
        answers = []
        thread = threading.Thread(target=lambda: answers.append(client.ask(target)))
        thread.start()
        server.wait_begun(1)
        server.release()
        thread.join(SECONDS)

        assert [body for _, _, body in answers] == [content(4)]

    def test_beside_others(self, h2_server):
        """On one HTTP/2 connection a stream that hangs does not keep others from their answers."""
        with contextlib.closing(H2(h2_server)) as client:
            hanging = client.begin("/hang-before-headers/4")
            assert client.ask("/bytes/10")[2] == content(10)
            h2_server.release()

            assert client.finish(hanging)[2] == content(4)


class TestClosing:
    def test_with_an_idle_client(self, server, client):
        """A client that stays connected does not keep a server from ending."""
        client.ask("/bytes/10")
        begin = time.monotonic()
        server.close()

        assert time.monotonic() - begin < 5
        assert not [t for t in threading.enumerate() if t.name.startswith("test-server")]

    def test_with_a_hanging_client(self, server, client):
        """Nor does one that waits for an answer: it is cut off."""
        failures = []

        def ask():
            try:
                client.ask("/hang-before-headers")
            except (OSError, AssertionError, http.client.HTTPException) as error:
                failures.append(error)

        thread = threading.Thread(target=ask)
        thread.start()
        server.wait_begun(1)
        server.close()
        thread.join(SECONDS)

        assert len(failures) == 1

    def test_twice(self, server):
        """A server that is closed already is closed."""
        server.close()
        server.close()
