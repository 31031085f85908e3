"""httpx: clients, sync and async.

An exchange begins where one hop goes to the transport that uses the network. What knows of it on the way
down is the request itself, by its extensions: a context variable would cost more than all the rest, and
reach what else a program does while it is asked for a body. It ends with the body of the response.
"""

from __future__ import annotations

from functools import wraps
from weakref import finalize, ref

import httpx

from volnux.telemetry._sites import KEPT
from volnux.telemetry._switch import SWITCH
from volnux.telemetry.clients import _httpcore, _httpx_body
from volnux.telemetry.clients._exchange import Exchange
from volnux.telemetry.clients._gate import mishap
from volnux.telemetry.clients._httpcore import KEY, PROPAGATE
from volnux.telemetry.clients._httpx_body import AROUND, ASYNC_AROUND, deliver, fail
from volnux.telemetry.clients._patching import Tap
from volnux.telemetry.errors import TelemetryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from volnux.telemetry.clients._gate import Settings
    from volnux.telemetry.clients._patching import Patches

#: The method of a client that sends one request to a transport: hooks and authentication, which may
#: use other clients, run outside of it.
ENTRY = "_send_single_request" if hasattr(httpx.Client, "_send_single_request") else "send"
_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
#: Where the extensions of a request say that a traced client sends it, and how it is recorded.
TRACED = "volnux.traced"
#: The settings while all clients of the process are recorded.
_everywhere: Settings | None = None


# --- one hop ----------------------------------------------------------------------------------------


def _begin(
    request: httpx.Request, settings: Settings
) -> tuple[Exchange, httpx.Request] | tuple[None, None]:
    """Return the exchange of a request, and a request like it that says so; None if none is recorded."""
    try:
        url: Any = request.url
        parsed = getattr(url, "_uri_reference", url)
        key = parsed.scheme, parsed.host, parsed.port
        host, port = _SERVERS.get(key) or _server_of(url, key)
        target = "" if settings.route is None else url.raw_path.decode("ascii")
        exchange = Exchange(request.method, host, port, target, settings)
    except TelemetryError:
        raise
    except Exception as error:  # noqa: BLE001  # no such request goes anywhere, and httpx says why
        mishap("httpx", error)
        return None, None
    if exchange._raw is None:
        return None, None
    extensions = {**request.extensions, KEY: exchange}
    if settings.propagate_trace:
        extensions[PROPAGATE] = True
    # One by one: who looks into the dict of an object makes all that follows slower.
    marked = object.__new__(httpx.Request)
    marked.method, marked.url, marked.headers = request.method, url, request.headers
    marked.stream, marked.extensions = request.stream, extensions
    return exchange, marked


#: Host and port of servers by what a URL says of them, which takes longer to be understood.
_SERVERS: dict[tuple[str, str, int | None], tuple[str, int | None]] = {}


def _server_of(url: httpx.URL, key: tuple[str, str, int | None]) -> tuple[str, int | None]:
    if len(_SERVERS) >= KEPT:
        _SERVERS.clear()
    server = _SERVERS[key] = url.host, url.port or _PORTS.get(url.scheme)
    return server


def _handling(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def handle_request(self: Any, request: httpx.Request) -> httpx.Response:
        settings = request.extensions.get(TRACED, _everywhere)
        if settings is None or not SWITCH.on:
            return original(self, request)  # type: ignore[no-any-return]  # what it wraps
        exchange, marked = _begin(request, settings)
        if exchange is None:
            return original(self, request)  # type: ignore[no-any-return]  # as above
        try:
            response: httpx.Response = original(self, marked)
        except BaseException as error:
            fail(exchange, error)
            raise
        deliver(response, exchange, AROUND)
        return response

    return handle_request


def _handling_async(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    async def handle_async_request(self: Any, request: httpx.Request) -> httpx.Response:
        settings = request.extensions.get(TRACED, _everywhere)
        if settings is None or not SWITCH.on:
            return await original(self, request)  # type: ignore[no-any-return]  # as above
        exchange, marked = _begin(request, settings)
        if exchange is None:
            return await original(self, request)  # type: ignore[no-any-return]  # as above
        try:
            response: httpx.Response = await original(self, marked)
        except BaseException as error:
            fail(exchange, error)
            raise
        deliver(response, exchange, ASYNC_AROUND)
        return response

    return handle_async_request


def _install(patches: Patches) -> None:
    patches.wrap(httpx.HTTPTransport, "handle_request", _handling)
    patches.wrap(httpx.AsyncHTTPTransport, "handle_async_request", _handling_async)
    _httpx_body.install(patches)
    _httpcore.install(patches)


#: The taps of httpx and httpcore.
TAP = Tap(_install, _httpcore.uninstall)


# --- what every instrument has ----------------------------------------------------------------------

#: Where a client that is traced by itself says so.
OWN = "_volnux"


class _Own:
    """That one client is traced by itself, and how."""

    def __init__(self, client: Any, settings: Settings) -> None:
        self.settings: Settings | None = settings
        #: What stood in the object before: somebody else's, or nothing.
        self.before = vars(client).get(ENTRY)
        below = self._below(client)
        is_async = isinstance(client, httpx.AsyncClient)
        self.entry = (_opening_async if is_async else _opening)(below, self)
        #: Who uses the taps: not this object, which may hold the client by what stood there before.
        self.user = object()
        self.let_go = finalize(client, TAP.drop, self.user)
        self.let_go.atexit = False

    def _below(self, client: Any) -> Callable[..., Any]:
        """Return what does the client's work, as its class has it at the time."""
        if self.before is not None:
            return self.before  # type: ignore[no-any-return]  # whatever it is
        # Weakly: a client that nobody holds is gone at once.
        kind, found = type(client), ref(client)

        @wraps(getattr(kind, ENTRY))
        def below(*args: Any, **kwargs: Any) -> Any:
            return getattr(kind, ENTRY)(found(), *args, **kwargs)

        return below


def _opening(below: Callable[..., Any], own: _Own) -> Any:
    """Wrap the entry point of a client: what it sends says that it is to be recorded."""

    @wraps(below)
    def entry(request: httpx.Request, *args: Any, **kwargs: Any) -> Any:
        before = request.extensions
        if own.settings is None or not SWITCH.on or TRACED in before:
            return below(request, *args, **kwargs)
        request.extensions = {**before, TRACED: own.settings}
        try:
            return below(request, *args, **kwargs)
        finally:
            request.extensions = before

    return entry


def _opening_async(below: Callable[..., Any], own: _Own) -> Any:
    @wraps(below)
    async def entry(request: httpx.Request, *args: Any, **kwargs: Any) -> Any:
        before = request.extensions
        if own.settings is None or not SWITCH.on or TRACED in before:
            return await below(request, *args, **kwargs)
        request.extensions = {**before, TRACED: own.settings}
        try:
            return await below(request, *args, **kwargs)
        finally:
            request.extensions = before

    return entry


def instrument(settings: Settings) -> None:
    """Record the exchanges of all clients of the process."""
    global _everywhere  # noqa: PLW0603  # the quickest of all to be looked at, for each exchange
    _everywhere = settings
    TAP.use("all")


def uninstrument() -> None:
    """Take it back."""
    global _everywhere  # noqa: PLW0603  # as above
    _everywhere = None
    TAP.drop("all")


def is_client(client: object) -> bool:
    """Return whether it is a client, sync or async."""
    return isinstance(client, (httpx.Client, httpx.AsyncClient))


def trace(client: Any, settings: Settings) -> None:
    """Record the exchanges of one client."""
    own = vars(client).get(OWN)
    if own is None:
        own = vars(client)[OWN] = _Own(client, settings)
        vars(client)[ENTRY] = own.entry
        TAP.use(own.user)
    own.settings = settings


def untrace(client: Any) -> None:
    """Take it back."""
    own = vars(client).pop(OWN, None)
    if own is None:
        return
    own.settings = None
    own.let_go.detach()
    if vars(client).get(ENTRY) is own.entry:
        del vars(client)[ENTRY]
        if own.before is not None:
            vars(client)[ENTRY] = own.before
    TAP.drop(own.user)
