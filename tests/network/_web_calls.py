"""Applications by WSGI and ASGI, and calls of them as a server makes them."""

from __future__ import annotations

import asyncio
from wsgiref.util import setup_testing_defaults

from tests.network._web import HEADERS

PAIRS = [(key.encode(), value.encode()) for key, value in HEADERS.items()]
START = {"type": "http.response.start", "status": 200, "headers": []}
BODY = {"type": "http.response.body", "body": b"x"}
PART = {**BODY, "more_body": True}


def scope_of(kind="http", **more):
    return {"type": kind, "method": "GET", "path": "/", "headers": PAIRS, **more}


def saying(*messages, then=lambda: None):
    """An application that sends these messages, or raises what among them is an exception."""

    async def app(scope, receive, send):
        for message in messages:
            if isinstance(message, BaseException):
                raise message
            await (receive() if message is RECEIVE else send(message))
        return then()

    return app


RECEIVE = object()


def drive(app, scope=None, incoming=(), send=None):
    """Call an application as a server does; return what it said."""
    said, waiting = [], list(incoming)

    async def receive():
        return waiting.pop(0)

    async def take(message):
        said.append(message)

    asyncio.run(app(scope or scope_of(), receive, send or take))
    return said


def hello(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


class Response:
    """A response whose end somebody has to see, chunk by chunk."""

    def __init__(self, *chunks, close=lambda: None):
        self.chunks = chunks
        self.close = close

    def __iter__(self):
        for chunk in self.chunks:
            if isinstance(chunk, BaseException):
                raise chunk
            yield chunk() if callable(chunk) else chunk


def answering(response, status="200 OK"):
    """An application with that response."""

    def app(environ, start_response):
        start_response(status, [("Content-Type", "text/plain")])
        return response

    return app


def environ_of(path="/", **more):
    environ = {"PATH_INFO": path, **more}
    setup_testing_defaults(environ)
    return environ


def call(app, environ=None, read=True):
    """What an application answers a server: status line, and chunks or the response itself."""
    statuses = []
    response = app(
        environ or environ_of(), lambda status, headers, exc_info=None: statuses.append(status)
    )
    if not read:
        return response
    try:
        return statuses, list(response)
    finally:
        if hasattr(response, "close"):
            response.close()
