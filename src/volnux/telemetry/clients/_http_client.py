"""`http.client`: its connections, and those of whatever is built on it (urllib3, requests, boto3, …).

An exchange begins with `putrequest`, or with `connect` where that comes first, and ends when the file is
closed that the response is read from, which `http.client` does at the end of the body.
"""

from __future__ import annotations

import ssl
from contextvars import ContextVar
from functools import wraps
from http.client import HTTPConnection, HTTPSConnection
from time import perf_counter

from volnux.telemetry._switch import SWITCH
from volnux.telemetry.clients._exchange import Exchange
from volnux.telemetry.clients._gate import ACTIVE, mishap
from volnux.telemetry.clients._http_socket import HttpSocket, OtherSocket, carrier
from volnux.telemetry.clients._patching import Tap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from volnux.telemetry.clients._gate import Settings
    from volnux.telemetry.clients._patching import Patches

#: What we keep in a connection: its settings, its exchange, and while it connects the seconds so far.
SETTINGS, EXCHANGE, CONNECTING = "_volnux_settings", "_volnux_exchange", "_volnux_connecting"
#: Method and target of the request that a pool is making, where it connects before it says so.
REQUEST: ContextVar[tuple[str, str] | None] = ContextVar("volnux_request", default=None)
#: The settings while all connections of the process are traced.
_everywhere: list[Settings] = []


def settings_of(connection: Any) -> Settings | None:
    """Return how a connection's next exchange is recorded; None if it is not."""
    settings = ACTIVE.get()
    if settings is not None or not SWITCH.on:
        return settings
    own: Settings | None = vars(connection).get(SETTINGS)
    if own is None and _everywhere:
        return _everywhere[0]
    return own


def exchange_of(connection: Any) -> Exchange | None:
    """Return the exchange that a connection has under way, or None."""
    exchange: Exchange | None = connection.__dict__.get(EXCHANGE)
    return None if exchange is None or exchange._ended else exchange


def begin(connection: Any, method: str, target: str, settings: Settings) -> Exchange | None:
    """Begin an exchange on a connection, in place of the one before it; None if that goes wrong."""
    state = connection.__dict__
    try:
        before = state.get(EXCHANGE)
        if before is not None and not before._ended:
            before.end()
        if state.get("_tunnel_host") or "://" in target[:8]:
            host, port = _server_of(connection, target)
        else:
            host, port = connection.host, connection.port
        exchange = Exchange(method, host, port, target, settings)
        if settings.propagate_trace:
            exchange.goes_along = True
        state[EXCHANGE] = exchange
        if connection.sock is not None:
            _carry(connection, exchange, reused=True)
    except Exception as error:  # noqa: BLE001  # the request goes unrecorded
        state.pop(EXCHANGE, None)
        mishap("exchange", error)
        return None
    return exchange


def _server_of(connection: Any, target: str) -> tuple[str, int | None]:
    """Return whom the request is for: through a proxy that is not whom the connection goes to."""
    tunnel = getattr(connection, "_tunnel_host", None)
    if tunnel:
        return tunnel, getattr(connection, "_tunnel_port", None)
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(target)
        if parts.hostname:
            return parts.hostname, parts.port or connection.port
    except ValueError:
        pass  # what is no URL is for the connection itself
    return connection.host, connection.port


def _carry(connection: Any, exchange: Exchange, *, reused: bool) -> None:
    """Have what crosses a connection's socket count for an exchange."""
    sock = connection.sock
    if issubclass(type(sock), (HttpSocket, OtherSocket)):
        reused = reused and sock._self_used
        sock._self_account = exchange
    else:
        connection.sock = sock = carrier(sock, exchange)
    sock._self_used = True
    exchange._reused = reused
    if sock._self_is_tls:
        exchange.connected(sock.__wrapped__, reused=reused, is_tls=True)


# --- the taps ---------------------------------------------------------------------------------------


def connecting(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap what connects: the exchange may begin there, and has its socket from there on."""

    @wraps(original)
    def connect(self: Any, *args: Any, **kwargs: Any) -> None:
        settings = settings_of(self)
        if settings is None:
            original(self, *args, **kwargs)
            return
        if CONNECTING in vars(self):  # of a class above: what it takes is the time without TLS
            _timed(self, original, args, kwargs)
            return
        exchange = exchange_of(self)
        request = REQUEST.get()
        # urllib3's HTTP/2, an experiment, connects like the others but sends in ways of its own.
        if exchange is None and request is not None and not hasattr(self, "_h2_conn"):
            exchange = begin(self, *request, settings)
        setattr(self, CONNECTING, None)
        start = perf_counter()
        try:
            original(self, *args, **kwargs)
        except BaseException as error:
            if exchange is not None:
                exchange.end(error)
            raise
        finally:
            seconds = perf_counter() - start
            plain = vars(self).pop(CONNECTING, None)
        _connected(self, exchange, seconds, plain)

    return connect


def _timed(connection: Any, original: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    start = perf_counter()
    try:
        return original(connection, *args, **kwargs)
    finally:
        setattr(connection, CONNECTING, perf_counter() - start)


def making(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap what makes a connection's plain socket, to tell its time from that of TLS."""

    @wraps(original)
    def make(self: Any, *args: Any, **kwargs: Any) -> Any:
        if CONNECTING not in vars(self):
            return original(self, *args, **kwargs)
        return _timed(self, original, args, kwargs)

    return make


def _connected(
    connection: Any, exchange: Exchange | None, seconds: float, plain: float | None
) -> None:
    if exchange is None or connection.sock is None:
        return
    try:
        _carry(connection, exchange, reused=False)
    except Exception as error:  # noqa: BLE001  # the connection goes uncounted
        exchange.note_error("socket", error)
    if isinstance(connection.sock, ssl.SSLSocket) and plain is not None:
        exchange.note("tls_seconds", seconds - plain)
        seconds = plain
    exchange.note("connect_seconds", seconds)


def _putting(original: Callable[..., Any]) -> Callable[..., Any]:
    get_active = ACTIVE.get

    @wraps(original)
    def putrequest(self: Any, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        settings = get_active()
        if settings is None:
            settings = settings_of(self)
            if settings is None:
                self.__dict__.pop(EXCHANGE, None)
                return original(self, method, url, *args, **kwargs)
        exchange: Exchange | None = self.__dict__.get(EXCHANGE)
        if exchange is None or exchange._ended or exchange.is_sending:
            exchange = begin(self, method, url, settings)
            if exchange is None:
                return original(self, method, url, *args, **kwargs)
        exchange.is_sending = True
        try:
            return original(self, method, url, *args, **kwargs)
        except BaseException as error:
            exchange.end(error)
            raise

    return putrequest


def _ending_headers(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def endheaders(self: Any, *args: Any, **kwargs: Any) -> Any:
        exchange: Exchange | None = self.__dict__.get(EXCHANGE)
        if exchange is not None and exchange.goes_along:
            _take_along(self, exchange)
        return original(self, *args, **kwargs)

    return endheaders


def _take_along(connection: Any, exchange: Exchange) -> None:
    """Have the request carry our trace, unless it carries one."""
    from volnux.telemetry.clients._trace import trace_headers

    try:
        lines = getattr(connection, "_buffer", ())
        if not any(line[:12].lower() == b"traceparent:" for line in lines):
            for name, value in trace_headers(exchange):
                connection.putheader(name, value)
    except Exception as error:  # noqa: BLE001  # the request goes without it
        exchange.note_error("traceparent", error)


def _getting(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def getresponse(self: Any, *args: Any, **kwargs: Any) -> Any:
        exchange: Exchange | None = self.__dict__.get(EXCHANGE)
        if exchange is None or exchange._ended:
            return original(self, *args, **kwargs)
        # What is closed on the way to an error must not be taken for the end of a body.
        exchange.is_held = True
        try:
            response = original(self, *args, **kwargs)
        except BaseException as error:
            exchange.end(error)
            raise
        exchange.is_held = False
        exchange.status = response.status
        if response.length == 0 and response.status != 101:
            exchange.end()  # there is nothing to be read
        return response

    return getresponse


def _install(patches: Patches) -> None:
    patches.wrap(HTTPConnection, "connect", connecting)
    patches.wrap(HTTPSConnection, "connect", connecting)
    patches.wrap(HTTPConnection, "putrequest", _putting)
    patches.wrap(HTTPConnection, "endheaders", _ending_headers)
    patches.wrap(HTTPConnection, "getresponse", _getting)


TAP = Tap(_install)


# --- what every instrument has ----------------------------------------------------------------------


def instrument(settings: Settings) -> None:
    """Record the exchanges of all connections of the process."""
    _everywhere[:] = [settings]
    TAP.use("all")


def uninstrument() -> None:
    """Take it back."""
    _everywhere.clear()
    TAP.drop("all")


def is_client(client: object) -> bool:
    """Return whether it is a connection."""
    return isinstance(client, HTTPConnection)


def trace(client: Any, settings: Settings) -> None:
    """Record the exchanges of one connection."""
    setattr(client, SETTINGS, settings)
    TAP.use_for(client)


def untrace(client: Any) -> None:
    """Take it back."""
    vars(client).pop(SETTINGS, None)
    TAP.drop_for(client)
