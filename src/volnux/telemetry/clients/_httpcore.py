"""httpcore, which carries httpx: how a connection takes up an exchange."""

from __future__ import annotations

import sys
from functools import wraps
from time import perf_counter

import httpcore

from volnux.telemetry.clients._http2 import ACCOUNT, Multiplex
from volnux.telemetry.clients._httpcore_streams import OPENING, ORIGINAL, State, adopt, release
from volnux.telemetry.clients._patching import LOCK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from volnux.telemetry.clients._exchange import Exchange
    from volnux.telemetry.clients._patching import Patches


#: Where the extensions of a request, on its way from httpx, say which exchange it is, and that it is to
#: take the headers of its trace along.
KEY = "volnux"
PROPAGATE = "volnux.propagate"


def _sending(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap the moment at which a connection of HTTP/1 is a request's own."""

    @wraps(original)
    def _send_request_headers(self: Any, request: Any) -> Any:
        exchange = request.extensions.get(KEY)
        stream = getattr(self, "_network_stream", None)
        if exchange is None or (request.method == b"CONNECT" != exchange.method.encode()):
            if stream is not None and type(stream) in ORIGINAL:
                stream._volnux_account = None  # not recorded, or between us and a proxy
            return original(self, request)
        try:
            if stream is not None:
                if type(stream) not in ORIGINAL:
                    adopt(stream)
                stream._volnux_account = exchange
                exchange._reused = reused = self._request_count > 1
                if stream._volnux_tls:
                    exchange.connected(stream._volnux_socket, reused=reused, is_tls=True)
            if PROPAGATE in request.extensions:
                _take_along(request, exchange)
        except Exception as error:  # noqa: BLE001  # another version of httpcore: it goes on uncounted
            exchange.note_error("httpcore", error)
        return original(self, request)

    return _send_request_headers


def _take_along(request: Any, exchange: Exchange) -> None:
    """Have a request carry our `traceparent`, unless it has one. The user's own object does not change."""
    from volnux.telemetry.clients._trace import trace_headers

    if not any(name.lower() == b"traceparent" for name, _ in request.headers):
        for name, value in trace_headers(exchange):
            request.headers.append((name.encode("ascii"), value.encode("ascii")))


def _beginning(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap what is sent once at the beginning of a connection of HTTP/2."""

    @wraps(original)
    def _send_connection_init(self: Any, request: Any) -> Any:
        exchange = request.extensions.get(KEY)
        if exchange is not None:
            try:
                _multiplex(self).opened_for(exchange)
            except Exception as error:  # noqa: BLE001  # as above
                exchange.note_error("httpcore", error)
        return original(self, request)

    return _send_connection_init


def _sending_stream(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap the moment at which a request has a stream of HTTP/2."""

    @wraps(original)
    def _send_request_headers(self: Any, request: Any, stream_id: int) -> Any:
        exchange = request.extensions.get(KEY)
        if exchange is not None:
            try:
                account, stream = _multiplex(self), self._network_stream
                account.take_up(
                    stream_id, exchange, stream._volnux_socket, is_tls=stream._volnux_tls
                )
                if PROPAGATE in request.extensions:
                    _take_along(request, exchange)
            except Exception as error:  # noqa: BLE001  # as above
                exchange.note_error("httpcore", error)
        else:
            shared = getattr(getattr(self, "_h2_state", None), ACCOUNT, None)
            if shared is not None:
                shared.shared_with_others()
        return original(self, request, stream_id)

    return _send_request_headers


def _multiplex(connection: Any) -> Multiplex:
    """Return the account of a connection of HTTP/2."""
    stream = connection._network_stream
    if type(stream) not in ORIGINAL:
        adopt(stream)
    with LOCK:
        account = stream._volnux_account
        if not isinstance(account, Multiplex):
            account = stream._volnux_account = Multiplex(connection._h2_state, connection._events)
    return account


def _giving(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap what h2 is given of all that comes in."""

    @wraps(original)
    def receive_data(self: Any, data: bytes) -> Any:
        account = getattr(self, ACCOUNT, None)
        if account is not None:
            account.given(data)
        return original(self, data)

    return receive_data


def _opening(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap what may open a connection for a request."""

    @wraps(original)
    def opening(self: Any, request: Any) -> Any:
        exchange = request.extensions.get(KEY)
        if exchange is None:
            return original(self, request)
        token = OPENING.set(exchange)
        try:
            return original(self, request)
        finally:
            OPENING.reset(token)

    return opening


def _opening_async(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    async def opening(self: Any, request: Any) -> Any:
        exchange = request.extensions.get(KEY)
        if exchange is None:
            return await original(self, request)
        token = OPENING.set(exchange)
        try:
            return await original(self, request)
        finally:
            try:
                OPENING.reset(token)
            except ValueError:  # closed from elsewhere, as an unfinished coroutine may be
                pass

    return opening


def _connecting(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def connect(self: Any, *args: Any, **kwargs: Any) -> Any:
        start = perf_counter()
        stream = original(self, *args, **kwargs)
        _connected(stream, start)
        return stream

    return connect


def _connecting_async(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    async def connect(self: Any, *args: Any, **kwargs: Any) -> Any:
        start = perf_counter()
        stream = await original(self, *args, **kwargs)
        _connected(stream, start)
        return stream

    return connect


def _connected(stream: Any, start: float) -> None:
    exchange = OPENING.get()
    if exchange is None:
        return
    exchange.note("connect_seconds", perf_counter() - start)
    try:
        adopt(stream, exchange)
    except Exception as error:  # noqa: BLE001  # it is tried again when it is used
        exchange.note_error("httpcore", error)


def install(patches: Patches) -> None:
    """Put the taps of httpcore in place."""
    State.is_over = False
    for http1 in (httpcore.HTTP11Connection, httpcore.AsyncHTTP11Connection):
        patches.wrap(http1, "_send_request_headers", _sending)
    for http2 in (httpcore.HTTP2Connection, httpcore.AsyncHTTP2Connection):
        patches.wrap(http2, "_send_connection_init", _beginning)
        patches.wrap(http2, "_send_request_headers", _sending_stream)
    h2 = sys.modules.get("h2.connection")
    if h2 is not None:
        patches.wrap(h2.H2Connection, "receive_data", _giving)
    patches.wrap(httpcore.HTTPConnection, "_connect", _opening)
    patches.wrap(httpcore.AsyncHTTPConnection, "_connect", _opening_async)
    _install_socks(patches)
    for name in ("connect_tcp", "connect_unix_socket"):
        patches.wrap(httpcore.SyncBackend, name, _connecting)
        for backend in (httpcore.AnyIOBackend, httpcore.TrioBackend):
            patches.wrap(backend, name, _connecting_async)


def _install_socks(patches: Patches) -> None:
    # There, a connection is opened in the same method that sends.
    sync = sys.modules.get("httpcore._sync.socks_proxy")
    if sync is not None:
        patches.wrap(sync.Socks5Connection, "handle_request", _opening)
    asynchronous = sys.modules.get("httpcore._async.socks_proxy")
    if asynchronous is not None:
        connection = asynchronous.AsyncSocks5Connection
        patches.wrap(connection, "handle_async_request", _opening_async)


def uninstall() -> None:
    """Say that they are gone, and give back what was made for them."""
    State.is_over = True
    release()
