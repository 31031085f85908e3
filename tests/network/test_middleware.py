"""The middlewares under real servers, and what they have in common."""

from __future__ import annotations

import io
import socket
import threading
from wsgiref.validate import validator

import pytest
import wsproto
from wsproto import events as ws

from tests.network._web import PARENT, asgi_server, get, outcome, trace_here, wsgi_server
from tests.network._web_calls import hello
from volnux.telemetry import (
    ASGIMiddleware,
    WSGIMiddleware,
    inject,
    network_op,
    traced_event,
)

#: What the conventions say of `GET /a%20b?token=x`.
REQUEST = {
    "http.request.method": "GET",
    "http.response.status_code": 200,
    "url.path": "/a b",
    "url.scheme": "http",
}


async def async_hello(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


class TestWSGI:
    def test_a_request_is_an_event_under_its_remote_parent(self, registry):
        """Named for its method, with what the conventions say of it."""
        with wsgi_server(validator(WSGIMiddleware(validator(hello)))) as port:
            assert get(port, "/a%20b?token=x") == (200, b"hello")

        [event] = registry.events()
        assert (event.event_name, event.parent_id, event.status) == ("GET", PARENT, "completed")
        assert event.attributes == REQUEST

    def test_a_request_without_headers_is_the_outermost(self, registry):
        """All that it sends on is of one trace."""
        traces = set()

        def app(environ, start_response):
            with traced_event("inside"):
                traces.add(trace_here())
            traces.add(trace_here())
            return hello(environ, start_response)

        with wsgi_server(WSGIMiddleware(app, "api")) as port:
            get(port, headers={})

        assert registry.events("api")[0].parent_id is None
        assert len(traces) == 1

    def test_a_client_and_its_server_are_one_tree(self, registry):
        """The server's event hangs under the operation of the client."""
        headers: dict[str, str] = {}
        with wsgi_server(WSGIMiddleware(hello)) as port, network_op("127.0.0.1", port) as op:
            inject(headers, op)
            get(port, headers=headers)

        assert registry.events("GET")[0].parent_id == op.task_id

    def test_a_file_is_left_to_the_server(self, registry):
        """It comes whole, and its end is seen."""

        def app(environ, start_response):
            hello(environ, start_response)
            return environ["wsgi.file_wrapper"](io.BytesIO(b"x" * 10_000))

        with wsgi_server(WSGIMiddleware(app)) as port:
            assert get(port) == (200, b"x" * 10_000)

        assert registry.events("GET")[0].status == "completed"

    def test_the_client_leaves_in_the_middle(self, registry):
        """Which is no failure, and is said."""
        left = threading.Event()

        def wait():
            left.wait(10)
            return b"x" * 10_000_000

        def app(environ, start_response):
            hello(environ, start_response)
            yield b"first"
            while True:
                yield wait()

        with wsgi_server(WSGIMiddleware(app)) as port:
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(b"GET / HTTP/1.0\r\n\r\n")
                client.recv(1)
            left.set()

        [event] = registry.events("GET")
        assert (event.status, event.attributes["complete"]) == ("completed", False)


class TestASGI:
    def test_a_request_is_an_event_under_its_remote_parent(self, registry):
        """Named for its method, with what the conventions say of it."""
        with asgi_server(ASGIMiddleware(async_hello)) as port:
            assert get(port, "/a%20b?token=x") == (200, b"hello")

        [event] = registry.events()
        assert (event.event_name, event.parent_id, event.status) == ("GET", PARENT, "completed")
        assert event.attributes == REQUEST

    def test_a_client_and_its_server_are_one_tree(self, registry):
        """The server's event hangs under the operation of the client."""
        headers: dict[str, str] = {}
        with asgi_server(ASGIMiddleware(async_hello)) as port, network_op("127.0.0.1", port) as op:
            inject(headers, op)
            get(port, headers=headers)

        assert registry.events("GET")[0].parent_id == op.task_id

    def test_the_requests_of_a_connection_are_events_side_by_side(self, registry):
        """None is inside of another, and each goes on under its own parent."""
        parents = [f"{number:016x}" for number in range(1, 6)]
        with asgi_server(ASGIMiddleware(async_hello)) as port:
            for parent in parents:
                get(port, headers={"traceparent": f"00-{'1' * 32}-{parent}-01"})

        assert [event.parent_id for event in registry.events("GET")] == parents

    def test_a_failure_reaches_the_server(self, registry):
        """Which answers for the application, as it did before."""

        async def app(scope, receive, send):
            if scope["type"] == "lifespan":
                return
            raise ValueError("no")

        with asgi_server(ASGIMiddleware(app)) as port:
            assert get(port)[0] == 500

        assert outcome(registry.events()[0]) == ("failed", "ValueError", "no")

    def test_the_client_leaves_in_the_middle(self, registry):
        """The application is told, and returns: no failure, and said."""
        left = threading.Event()

        async def app(scope, receive, send):
            if scope["type"] == "lifespan":
                return
            await receive()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"first", "more_body": True})
            left.set()
            while (await receive())["type"] != "http.disconnect":
                pass

        with (
            asgi_server(ASGIMiddleware(app)) as port,
            socket.create_connection(("127.0.0.1", port)) as client,
        ):
            client.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            left.wait(10)

        [event] = registry.events("GET")
        assert (event.status, event.attributes["complete"]) == ("completed", False)

    def test_a_websocket_is_one_event(self, registry):
        """From the handshake to the end, under the parent that the handshake names."""

        async def app(scope, receive, send):
            if scope["type"] == "lifespan":
                return
            await receive()
            await send({"type": "websocket.accept"})
            with traced_event("echo"):
                message = await receive()
                await send({"type": "websocket.send", "text": message["text"]})
            await send({"type": "websocket.close", "code": 4001})

        header = [(b"traceparent", f"00-{'1' * 32}-{PARENT}-01".encode())]
        with asgi_server(ASGIMiddleware(app)) as port:
            client = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
            handshake = ws.Request(host="h", target="/chat", extra_headers=header)
            with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
                connection.sendall(client.send(handshake))
                found = []
                while not (found and isinstance(found[-1], ws.CloseConnection)):
                    client.receive_data(connection.recv(4096))
                    for event in client.events():
                        found.append(event)
                        if isinstance(event, ws.AcceptConnection):
                            connection.sendall(client.send(ws.TextMessage(data="hi")))
                connection.sendall(client.send(found[-1].response()))

        assert [type(event).__name__ for event in found] == [
            "AcceptConnection",
            "TextMessage",
            "CloseConnection",
        ]
        [event], [echo] = registry.events("websocket"), registry.events("echo")
        assert (event.parent_id, echo.parent_id) == (PARENT, event.task_id)
        assert event.attributes == {
            "http.request.method": "GET",
            "http.response.status_code": 101,
            "url.path": "/chat",
            "url.scheme": "ws",
            "websocket.close_code": 4001,
        }


@pytest.mark.parametrize("kind", [WSGIMiddleware, ASGIMiddleware])
class TestSetUp:
    def test_an_application_that_cannot_be_called_is_refused(self, kind):
        """At once, and not at the first request."""
        with pytest.raises(TypeError, match=rf"{kind.__name__}\(\) needs an application"):
            kind("app")

    @pytest.mark.parametrize("name", ["", " ", 7])
    def test_a_name_that_is_none_is_refused(self, kind, name):
        """With what to write instead."""
        with pytest.raises(ValueError, match='name must be text such as "api"'):
            kind(hello, name)
