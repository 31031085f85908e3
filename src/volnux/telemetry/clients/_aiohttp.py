"""aiohttp: sessions.

What is wrapped is called once for each exchange: the connector's `connect`, where it begins, the request's
`send`, where it meets its connection, and the response's `start`, where its headers have come. A redirect,
a retry of aiohttp's own and what a middleware sends are exchanges like any other.
"""

from __future__ import annotations

import asyncio
import sys
from functools import wraps
from time import perf_counter
from weakref import ref

import aiohttp
from aiohttp import client_proto, client_reqrep, connector, helpers, http_writer, streams
from aiohttp.http import WebSocketWriter

from volnux.telemetry._switch import SWITCH
from volnux.telemetry.clients import _aiohttp_body as body
from volnux.telemetry.clients import _aiohttp_line as line
from volnux.telemetry.clients._aiohttp_body import UNDER_WAY, Hop
from volnux.telemetry.clients._gate import Settings, mishap
from volnux.telemetry.clients._patching import Tap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from volnux.telemetry.clients._patching import Patches

#: What we keep in a session: its settings; in a request before it is sent, and in a connection before the
#: headers have come: their exchange; in a protocol that is new: when it was connected, and ready.
SETTINGS, HOP, NEW = "_volnux_settings", "_volnux_hop", "_volnux_new"
TRACEPARENT = "traceparent"
#: The settings while all sessions of the process are traced.
_everywhere: list[Settings] = []
#: Sessions that are traced by themselves.
_sessions: dict[int, Callable[[], Any]] = {}


def _begin(request: Any) -> Hop | None:
    """Begin the exchange of a request; None if it is not recorded, or if that goes wrong."""
    session = getattr(request, "_session", None)
    if session is None or not SWITCH.on:  # a request to a proxy has none
        return None
    settings = getattr(session, SETTINGS, None)
    if type(settings) is not Settings:  # a test's session may have everything
        if not _everywhere:
            return None
        settings = _everywhere[0]
    try:
        url = request.url
        target = "" if settings.route is None else url.raw_path
        hop = Hop(request.method, url.raw_host or "", url.port, target, settings)
        request._volnux_hop = hop
    except Exception as error:  # noqa: BLE001  # the request goes unrecorded
        mishap("exchange", error)
        return None
    UNDER_WAY.add(id(hop))
    if settings.propagate_trace:
        _take_along(request, hop)
    return hop


def _take_along(request: Any, hop: Hop) -> None:
    """Have the request carry our `traceparent`, unless it has one of the program's."""
    from volnux.telemetry.clients._trace import trace_headers

    try:
        # A middleware may send a request again that carries the one before.
        if request.headers.get(TRACEPARENT) != getattr(request, "_volnux_traceparent", None):
            return
        for name, value in trace_headers(hop):
            request.headers[name] = value
        request._volnux_traceparent = request.headers.get(TRACEPARENT)
    except Exception as error:  # noqa: BLE001  # the request goes without it
        hop.note_error(TRACEPARENT, error)


def _meet(hop: Hop, connection: Any, protocol: Any, new: tuple[float, float] | None) -> None:
    """Have what crosses a connection count for an exchange."""
    connection._volnux_hop = hop
    found = getattr(protocol, line.LINE, None) or line.put_before(protocol, hop)
    found.exchange = hop
    hop.line = found
    hop._reused = new is None
    if found.is_tls:
        hop.connected(found.sock, reused=new is None, is_tls=True)
    if new is not None and hop.connecting:
        hop.note("connect_seconds", new[0] - hop.connecting)
        if found.is_tls:
            hop.note("tls_seconds", new[1] - new[0])


# --- the taps ---------------------------------------------------------------------------------------


def _connecting(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    async def connect(self: Any, req: Any, traces: Any, timeout: Any) -> Any:
        hop = _begin(req)
        try:
            return await original(self, req, traces, timeout)
        except BaseException as error:
            if hop is not None:
                hop.end(_seen_from_outside(req, error))
            raise

    return connect


def _seen_from_outside(request: Any, error: BaseException) -> BaseException:
    """Return what the program sees of an error: a cancellation by aiohttp's own timer is a timeout."""
    timer = getattr(request, "_timer", None)
    if timer is not None and isinstance(error, asyncio.CancelledError):
        try:
            timer.assert_timeout()
        except asyncio.TimeoutError as timeout:
            return timeout
        except Exception:  # noqa: BLE001  # a test's timer
            return error
    return error


def _sending(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def send(self: Any, conn: Any) -> Any:
        protocol = conn.protocol
        new = getattr(protocol, NEW, None)
        if new is not None:  # in any case: what anybody has used is not new any more
            protocol._volnux_new = None
        hop = self._volnux_hop
        if hop is None or hop._ended:
            hop = _begin(self)
        if hop is not None:
            try:
                _meet(hop, conn, protocol, new)
            except Exception as error:  # noqa: BLE001  # the exchange goes uncounted
                hop.note_error("connection", error)
        return original(self, conn)

    return send


def _starting(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    async def start(self: Any, connection: Any) -> Any:
        hop: Hop | None = getattr(connection, HOP, None)
        try:
            result = await original(self, connection)
        except BaseException as error:
            if hop is not None:
                hop.end(error)
            raise
        if hop is None:
            return result
        connection._volnux_hop = None
        try:
            hop.answered(self)
        except Exception as error:  # noqa: BLE001  # its end is all that is left to be recorded
            hop.note_error("response", error)
            hop.end()
        return result

    return start


def _closing(original: Callable[..., None]) -> Callable[..., None]:
    @wraps(original)
    def close(self: Any, *args: Any, **kwargs: Any) -> None:
        hop = getattr(self, HOP, None)
        if hop is not None:  # there was no response: what made aiohttp close it is being handled
            hop.end(sys.exc_info()[1])
        original(self, *args, **kwargs)

    return close


def _making(original: Callable[..., None]) -> Callable[..., None]:
    @wraps(original)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        original(self, *args, **kwargs)
        # Made when there is a connection, and told of it when it is ready: TLS is in between.
        _stamp(self, (perf_counter(), 0.0))

    return __init__


def _made(original: Callable[..., None]) -> Callable[..., None]:
    @wraps(original)
    def connection_made(self: Any, *args: Any, **kwargs: Any) -> None:
        _stamp(self, ((getattr(self, NEW, None) or (0.0,))[0], perf_counter()))
        original(self, *args, **kwargs)

    return connection_made


def _stamp(protocol: Any, new: tuple[float, float]) -> None:
    try:
        protocol._volnux_new = new
    except AttributeError:  # of a kind that takes none: its connections count as used
        pass


def _resolving(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def _create_direct_connection(self: Any, req: Any, *args: Any, **kwargs: Any) -> Any:
        hop = getattr(req, HOP, None)
        if hop is not None:
            hop.resolving = perf_counter()
        return original(self, req, *args, **kwargs)

    return _create_direct_connection


def _resolved(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def _wrap_create_connection(self: Any, *args: Any, **kwargs: Any) -> Any:
        req: Any = kwargs.get("req")
        hop = getattr(req, HOP, None)
        if hop is not None:
            first, hop.connecting = not hop.connecting, perf_counter()
            if first and hop.resolving and not helpers.is_ip_address(req.host):
                hop.note("dns_seconds", hop.connecting - hop.resolving)
        return original(self, *args, **kwargs)

    return _wrap_create_connection


def _install(patches: Patches) -> None:
    # What most have not is found so at once.
    patches.add(aiohttp.ClientSession, SETTINGS, None)
    patches.add(client_proto.ResponseHandler, NEW, None)
    patches.add(client_reqrep.ClientRequest, HOP, None)
    patches.add(connector.Connection, HOP, None)
    patches.wrap(connector.BaseConnector, "connect", _connecting)
    patches.wrap(connector.TCPConnector, "_create_direct_connection", _resolving)
    patches.wrap(connector.TCPConnector, "_wrap_create_connection", _resolved)
    patches.wrap(connector.Connection, "close", _closing)
    patches.wrap(client_proto.ResponseHandler, "__init__", _making)
    patches.wrap(client_proto.ResponseHandler, "connection_made", _made)
    patches.wrap(client_reqrep.ClientRequest, "send", _sending)
    patches.wrap(client_reqrep.ClientResponse, "start", _starting)
    patches.wrap(http_writer.StreamWriter, "_write", line.writing)
    patches.wrap(http_writer.StreamWriter, "_writelines", line.writing_lines)
    patches.wrap(WebSocketWriter, "__init__", line.opening_websocket)
    patches.wrap(streams.StreamReader, "_read_nowait_chunk", body.taking)
    patches.wrap(streams.StreamReader, "_wait", body.waiting)
    patches.wrap(streams.StreamReader, "set_exception", body.breaking)


def _uninstall() -> None:
    for each in list(line.LINES):
        each.detach()


TAP = Tap(_install, _uninstall)


# --- what every instrument has ----------------------------------------------------------------------


def _drop(user: object) -> None:
    """Let go of the taps; they stand until what is under way has ended."""
    TAP.use(_last)
    body.ON_QUIET[:] = [_last]
    TAP.drop(user)
    if not UNDER_WAY:
        _last()


def _last() -> None:
    body.ON_QUIET.clear()
    TAP.drop(_last)


def instrument(settings: Settings) -> None:
    """Record the exchanges of all sessions of the process."""
    _everywhere[:] = [settings]
    TAP.use("all")


def uninstrument() -> None:
    """Take it back."""
    _everywhere.clear()
    _drop("all")


def is_client(client: object) -> bool:
    """Return whether it is a session."""
    return isinstance(client, aiohttp.ClientSession)


def trace(client: Any, settings: Settings) -> None:
    """Record the exchanges of one session."""
    key = id(client)
    vars(client)[SETTINGS] = settings
    _sessions[key] = ref(client, lambda _: _forget(key))
    TAP.use(key)


def untrace(client: Any) -> None:
    """Take it back."""
    if vars(client).pop(SETTINGS, None) is not None:
        _forget(id(client))


def _forget(key: int) -> None:
    _sessions.pop(key, None)
    _drop(key)
