"""`ASGIMiddleware`: requests and connections to an ASGI application, by version 3 of ASGI."""

from __future__ import annotations

from volnux.telemetry._outcome import note_in
from volnux.telemetry._request import begin_request, checked
from volnux.telemetry._seam import reset_current, set_current

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any, TypeAlias

    from volnux.telemetry._request import Request

    Message: TypeAlias = Any
    Receive: TypeAlias = Callable[[], Awaitable[Message]]
    Send: TypeAlias = Callable[[Message], Awaitable[None]]
    App: TypeAlias = Callable[[Any, Any, Any], Awaitable[Any]]

#: Messages that hold the body of a response, or the rest of it.
_BODIES = frozenset(("http.response.body", "http.response.pathsend", "http.response.zerocopysend"))


class ASGIMiddleware:
    """Record each request to an ASGI application as an event, under the parent that its headers name.

    The event is current while the application runs. It ends with the last part of the response, when
    that has been sent; what the application does afterwards, in the background, is recorded under it
    all the same. It has failed if the application raises, answers with 5xx, or returns without a
    response. A WebSocket is one event for the connection, called "websocket". Everything else, such as
    `lifespan`, passes through.

    Attributes are `http.request.method`, `url.scheme`, `http.response.status_code`, `http.route` where
    `scope["route"]` says which it is, else `url.path`, redacted; `complete`, False, where the client
    did not wait for the whole response; and `websocket.close_code`.

    Messages and exceptions are the application's and the server's own. While telemetry is off, the
    application is called and nothing else. Safe from any thread and event loop.

    Args:
        app: the application.
        name: of the events; by default the method of each request.

    Raises:
        TypeError: the application cannot be called.
        ValueError: the name is empty.

    Example:
        >>> app.add_middleware(ASGIMiddleware)
    """

    def __init__(self, app: App, name: str | None = None) -> None:
        self._name = checked(app, name, "ASGI")
        self._app = app

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> Any:
        request = _begun(self._name, scope)
        if request is None:
            return await self._app(scope, receive, send)
        kind = _WebSocket if scope["type"] == "websocket" else _HTTP
        exchange = kind(request, receive, send)
        token = set_current(request.event)
        try:
            result = await self._app(scope, exchange.receive, exchange.send)
        except BaseException as error:
            _restore(token)
            request.end(error)
            raise
        _restore(token)
        exchange.returned()
        return result


def _restore(token: Any) -> None:
    try:
        reset_current(token)
    except ValueError:  # closed from another context, where nothing of ours is current
        pass


def _begun(name: str | None, scope: Any) -> Request | None:
    kind = scope.get("type")
    if kind not in {"http", "websocket"}:
        return None
    method = scope.get("method") if kind == "http" else "GET"
    default = None if kind == "http" else kind
    headers = scope.get("headers")
    if not isinstance(headers, (list, tuple)):  # which could be looked through only once
        headers = ()
    request = begin_request(name or default, method, headers, lambda: _route_in(scope))
    if request is not None:
        try:
            request.describe(method, str(scope.get("path", "")), scope.get("scheme", "http"))
        except Exception as error:  # noqa: BLE001  # whatever a server hands over
            note_in(request.event, "middleware", type(error).__name__, error)
    return request


def _route_in(scope: Any) -> object:
    """Return the template of the path, as FastAPI and others tell it."""
    route = scope.get("route")
    return getattr(route, "path_format", None) or getattr(route, "path", None)


class _Exchange:
    """What an application and its server say to each other, overheard."""

    __slots__ = ("_receive", "_send", "request")

    def __init__(self, request: Request, receive: Receive, send: Send) -> None:
        self.request = request
        self._receive = receive
        self._send = send

    async def receive(self) -> Message:
        """Hand over what the server says."""
        message = await self._receive()
        self._note(self.heard, message)
        return message

    async def send(self, message: Message) -> None:
        """Hand over what the application says."""
        self._note(self.said, message)
        await self._send(message)
        self._note(self.sent, message)

    def _note(self, note: Callable[[Message], None], message: Message) -> None:
        try:
            note(message)
        except Exception as error:  # noqa: BLE001  # whatever the message is, it goes its way
            note_in(self.request.event, "middleware", type(error).__name__, error)

    def heard(self, message: Message) -> None:
        """Note what the server has said."""

    def said(self, message: Message) -> None:
        """Note what the application is about to say."""

    def sent(self, message: Message) -> None:
        """Note that the server has taken it."""


class _HTTP(_Exchange):
    """A request and its response."""

    __slots__ = ("_is_complete", "_is_gone")

    def __init__(self, request: Request, receive: Receive, send: Send) -> None:
        super().__init__(request, receive, send)
        self._is_complete = False
        self._is_gone = False

    def heard(self, message: Message) -> None:
        if message["type"] == "http.disconnect":
            self._is_gone = True

    def said(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.request.answer(message.get("status"))

    def sent(self, message: Message) -> None:
        if message["type"] in _BODIES and not message.get("more_body"):
            self._is_complete = True
            self.request.complete()

    def returned(self) -> None:
        """End it: the application has returned."""
        request, missing = self.request, None
        if not self._is_complete:
            request.is_whole = False
            if not self._is_gone:
                missing = f"the application returned {_BEFORE[request.status is None]} its response"
        request.end(missing=missing)


_BEFORE = {True: "without", False: "before the end of"}


class _WebSocket(_Exchange):
    """A connection, from the handshake to the end."""

    __slots__ = ()

    def heard(self, message: Message) -> None:
        if message["type"] == "websocket.disconnect":
            self._close(message.get("code", 1005))

    def said(self, message: Message) -> None:
        kind, request = message["type"], self.request
        if kind == "websocket.accept":
            request.answer(101)
        elif kind == "websocket.http.response.start":
            request.answer(message.get("status"))
        elif kind == "websocket.close" and request.status is None:
            request.answer(403)
        elif kind == "websocket.close":
            self._close(message.get("code", 1000))

    def _close(self, code: object) -> None:
        if type(code) is int:
            self.request.set_attribute("websocket.close_code", code)

    def returned(self) -> None:
        """End it: the application has returned."""
        self.request.end()
