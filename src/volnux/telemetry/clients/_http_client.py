"""`http.client`: its connections, and those of whatever is built on it (urllib3, requests, boto3, …).

An exchange begins with `putrequest`, or with `connect` where that comes first, and ends when the file is
closed that the response is read from, which `http.client` does at the end of the body.
"""

from __future__ import annotations

from contextvars import ContextVar
from functools import wraps
from http.client import HTTPConnection, HTTPSConnection
from time import perf_counter
from weakref import proxy, ref

from volnux.telemetry._switch import SWITCH
from volnux.telemetry.clients._carrier import CARRIERS
from volnux.telemetry.clients._exchange import Exchange
from volnux.telemetry.clients._gate import ACTIVE, mishap
from volnux.telemetry.clients._http_socket import made_to_count
from volnux.telemetry.clients._patching import Tap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from volnux.telemetry.clients._gate import Settings
    from volnux.telemetry.clients._patching import Patches

#: Method and target of the request that a pool is making, where it connects before it says so.
REQUEST: ContextVar[tuple[str, str] | None] = ContextVar("volnux_request", default=None)
#: What we keep in a connection, and in the classes where it has none. By attributes: to look into what
#: an object's `__dict__` is would make all attributes slow that the library itself asks for.
OURS: dict[str, Any] = {
    #: Its settings, or those of all connections of a class.
    "_volnux_settings": None,
    #: Its exchange, the last one if none is under way.
    "_volnux_exchange": None,
    #: While it connects, None or the seconds that the plain socket took; False at any other time.
    "_volnux_connecting": False,
    #: Whether bodies are decoded after they have been read from the response.
    "_volnux_decodes": False,
}


def settings_of(connection: Any) -> Settings | None:
    """Return how a connection's next exchange is recorded; None if it is not."""
    settings = ACTIVE.get()
    if settings is None and SWITCH.on:
        settings = connection._volnux_settings
    return settings


def exchange_of(connection: Any) -> Exchange | None:
    """Return the exchange that a connection has under way, or None."""
    exchange: Exchange | None = connection._volnux_exchange
    return None if exchange is None or exchange._ended else exchange


def begin(connection: Any, method: str, target: str, settings: Settings) -> Exchange | None:
    """Begin an exchange on a connection, in place of the one before it; None if that goes wrong."""
    try:
        before = connection._volnux_exchange
        if before is not None and not before._ended:
            before.end()
        if connection._tunnel_host or target[:1] != "/":
            host, port = _server_of(connection, target)
        else:
            host, port = connection.host, connection.port
        exchange = Exchange(method, host, port, target, settings)
        connection._volnux_exchange = exchange
        sock = connection.sock
        if sock is not None:
            carrier = CARRIERS.get(id(sock))
            if carrier is None or carrier.is_tls or not carrier.is_used:
                _carry(connection, exchange, reused=True)
            else:  # as almost always; what `_carry` does, at once
                carrier.exchange = ref(exchange)
                exchange._reused = True
    except Exception as error:  # noqa: BLE001  # the request goes unrecorded
        connection._volnux_exchange = None
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
    carrier = CARRIERS.get(id(sock))
    if carrier is None:
        connection.sock = sock = made_to_count(sock)
        carrier = CARRIERS[id(sock)]
    else:
        reused = reused and carrier.is_used
    carrier.is_used = True
    carrier.exchange = ref(exchange)
    exchange._reused = reused
    if carrier.is_tls:
        exchange.connected(proxy(sock), reused=reused, is_tls=True)


# --- the taps ---------------------------------------------------------------------------------------


def connecting(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap what connects: the exchange may begin there, and has its socket from there on."""

    @wraps(original)
    def connect(self: Any, *args: Any, **kwargs: Any) -> None:
        settings = settings_of(self)
        if settings is None:
            original(self, *args, **kwargs)
            return
        if (
            self._volnux_connecting is not False
        ):  # of a class above: what it takes is the time without TLS
            _timed(self, original, args, kwargs)
            return
        exchange = exchange_of(self)
        request = REQUEST.get()
        # urllib3's HTTP/2, an experiment, connects like the others but sends in ways of its own.
        if exchange is None and request is not None and not hasattr(self, "_h2_conn"):
            exchange = begin(self, *request, settings)
        self._volnux_connecting = None
        start = perf_counter()
        try:
            original(self, *args, **kwargs)
        except BaseException as error:
            if exchange is not None:
                exchange.end(error)
            raise
        finally:
            seconds = perf_counter() - start
            plain, self._volnux_connecting = self._volnux_connecting, False
        _connected(self, exchange, seconds, plain)

    return connect


def _timed(connection: Any, original: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    start = perf_counter()
    try:
        return original(connection, *args, **kwargs)
    finally:
        connection._volnux_connecting = perf_counter() - start


def making(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap what makes a connection's plain socket, to tell its time from that of TLS."""

    @wraps(original)
    def make(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self._volnux_connecting is False:
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
    if CARRIERS[id(connection.sock)].is_tls and plain is not None:
        exchange.note("tls_seconds", seconds - plain)
        seconds = plain
    exchange.note("connect_seconds", seconds)


def _putting(original: Callable[..., Any]) -> Callable[..., Any]:
    get_active = ACTIVE.get

    @wraps(original)
    def putrequest(
        self: Any,
        method: str,
        url: str,
        skip_host: bool = False,  # noqa: FBT001, FBT002  # as it is
        skip_accept_encoding: bool = False,  # noqa: FBT001, FBT002
    ) -> None:
        settings = get_active()
        if settings is None:
            settings = self._volnux_settings
            if settings is None or not SWITCH.on:
                self._volnux_exchange = None
                original(self, method, url, skip_host, skip_accept_encoding)
                return
        exchange: Exchange | None = self._volnux_exchange
        if exchange is None or exchange._ended or exchange.is_sending:
            exchange = begin(self, method, url, settings)
            if exchange is None:
                original(self, method, url, skip_host, skip_accept_encoding)
                return
        exchange.is_sending = True
        if settings.propagate_trace:
            _take_along_later(self, exchange)
        try:
            original(self, method, url, skip_host, skip_accept_encoding)
        except BaseException as error:
            exchange.end(error)
            raise

    return putrequest


def _take_along_later(connection: Any, exchange: Exchange) -> None:
    """Have the request carry our trace when its other headers are there."""
    original = connection.endheaders

    def endheaders(*args: Any, **kwargs: Any) -> Any:
        vars(connection).pop("endheaders", None)
        if exchange is connection._volnux_exchange:
            _take_along(connection, exchange)
        return original(*args, **kwargs)

    connection.endheaders = endheaders


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
    def getresponse(self: Any) -> Any:
        exchange: Exchange | None = self._volnux_exchange
        if exchange is None or exchange._ended:
            return original(self)
        # What is closed on the way to an error must not be taken for the end of a body.
        exchange.is_held = True
        try:
            response = original(self)
        except BaseException as error:
            exchange.end(error)
            raise
        exchange.is_held = False
        exchange.status = response.status
        if response.length == 0 and response.status != 101:
            exchange.end()  # there is nothing to be read
        elif self._volnux_decodes:
            head = exchange.head_in_lower_case()
            exchange.is_decoded_later = not head or head.find(b"content-encoding") >= 0
        return response

    return getresponse


def _install(patches: Patches) -> None:
    for name, value in OURS.items():
        patches.add(HTTPConnection, name, value)
    patches.wrap(HTTPConnection, "connect", connecting)
    patches.wrap(HTTPSConnection, "connect", connecting)
    patches.wrap(HTTPConnection, "putrequest", _putting)
    patches.wrap(HTTPConnection, "getresponse", _getting)


TAP = Tap(_install)


# --- what every instrument has ----------------------------------------------------------------------


def instrument(settings: Settings) -> None:
    """Record the exchanges of all connections of the process."""
    TAP.use("all")
    HTTPConnection._volnux_settings = settings  # type: ignore[attr-defined]  # see `OURS`


def uninstrument() -> None:
    """Take it back."""
    if hasattr(HTTPConnection, "_volnux_settings"):
        HTTPConnection._volnux_settings = None
    TAP.drop("all")


def is_client(client: object) -> bool:
    """Return whether it is a connection."""
    return isinstance(client, HTTPConnection)


def trace(client: Any, settings: Settings) -> None:
    """Record the exchanges of one connection."""
    client._volnux_settings = settings
    TAP.use_for(client)


def untrace(client: Any) -> None:
    """Take it back."""
    vars(client).pop("_volnux_settings", None)
    TAP.drop_for(client)
