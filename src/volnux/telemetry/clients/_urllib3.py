"""urllib3: pools and pool managers.

Its connections are those of `http.client`; here is how they come into being, and that a body is decoded
after it has been read: the exchange ends then.
"""

from __future__ import annotations

from functools import wraps

import urllib3
import urllib3.connection
import urllib3.connectionpool

from volnux.telemetry.clients import _http_client
from volnux.telemetry.clients._gate import enter, leave
from volnux.telemetry.clients._http_client import REQUEST, connecting, exchange_of, making
from volnux.telemetry.clients._patching import Tap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from volnux.telemetry.clients._exchange import Exchange
    from volnux.telemetry.clients._gate import Settings
    from volnux.telemetry.clients._patching import Patches

#: What we keep in a response whose body is to be decoded.
EXCHANGE = "_volnux_exchange"
_connection: Any = urllib3.connection.HTTPConnection


def _opening(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def urlopen(self: Any, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        request = REQUEST.set((method, url))
        try:
            return original(self, method, url, *args, **kwargs)
        finally:
            REQUEST.reset(request)

    return urlopen


def _getting(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def getresponse(self: Any) -> Any:
        try:
            response = original(self)
        except BaseException as error:
            exchange = exchange_of(self)
            if exchange is not None:
                exchange.end(error)
            raise
        exchange = self._volnux_exchange
        if exchange is not None and exchange.is_decoded_later and not exchange._ended:
            try:
                _follow(response, exchange)
            except Exception as error:  # noqa: BLE001  # what it says of decoding is lost
                exchange.note_error("decoding", error)
                exchange.end()
        return response

    return getresponse


def _follow(response: Any, exchange: Exchange) -> None:
    """Have an exchange end when the body of its response has been decoded."""
    if exchange.is_read:
        # It has been, while the response was made.
        exchange.add_decoded(len(response.data or b""))
        exchange.end()
    elif response.headers.get("content-encoding"):
        response.__class__ = _decoding_class(type(response))
        setattr(response, EXCHANGE, exchange)
    else:
        exchange.is_decoded_later = False


def _decoding_class(kind: type) -> type:
    """Return a class of responses like this one, which tell their exchange what they decode."""
    found = _known.get(kind)
    if found is None:
        body: dict[str, Any] = {
            name: vars(_Decoding)[name] for name in _METHODS if hasattr(kind, name)
        }
        body |= {"__slots__": (), "_volnux_kind": kind}
        body |= {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
        found = _known[kind] = type(kind.__name__, (kind,), body)
    return found


class _Decoding:
    """What a response with an encoded body does besides."""

    def _decode(self: Any, data: Any, decode_content: Any, *args: Any, **kwargs: Any) -> Any:
        exchange: Exchange = getattr(self, EXCHANGE)
        try:
            decoded = self._volnux_kind._decode(self, data, decode_content, *args, **kwargs)
        except BaseException as error:
            exchange.end(error)
            raise
        if decode_content:
            exchange.add_decoded(len(decoded))
        if exchange.is_read and not _has_more(self):
            exchange.end()
        return decoded

    def _update_chunk_length(self: Any) -> Any:
        # It reads the chunks itself, and closes the file after the last has been decoded.
        getattr(self, EXCHANGE).is_decoded_later = False
        return self._volnux_kind._update_chunk_length(self)

    def close(self: Any) -> None:
        try:
            self._volnux_kind.close(self)
        finally:
            getattr(self, EXCHANGE).end()  # nothing will be decoded any more

    def drain_conn(self: Any) -> None:
        try:
            self._volnux_kind.drain_conn(self)
        finally:
            getattr(self, EXCHANGE).end()


_METHODS = ("_decode", "_update_chunk_length", "close", "drain_conn")
_known: dict[type, type] = {}


def _has_more(response: Any) -> bool:
    """Return whether a decoder keeps some of what it was given, to be decoded when it is asked for."""
    decoder = getattr(response, "_decoder", None)
    return bool(getattr(decoder, "has_unconsumed_tail", False))


def _install(patches: Patches) -> None:
    _http_client.TAP.use(_install)
    connection = urllib3.connection
    for kind in (connection.HTTPConnection, connection.HTTPSConnection):
        patches.wrap(kind, "connect", connecting)  # in their own way, not in that of `http.client`
    patches.add(connection.HTTPConnection, "_volnux_decodes", True)  # noqa: FBT003  # its value
    patches.wrap(connection.HTTPConnection, "_new_conn", making)
    patches.wrap(connection.HTTPConnection, "getresponse", _getting)
    # Over TLS a pool connects before it says what for.
    patches.wrap(urllib3.connectionpool.HTTPSConnectionPool, "urlopen", _opening)


def _uninstall() -> None:
    _http_client.TAP.drop(_install)


#: The taps of urllib3; requests uses them as well.
TAP = Tap(_install, _uninstall)


def gated(client: Any, name: str, settings: Settings) -> None:
    """Have a method of one object open the gate: whatever it sends is recorded."""
    kind = type(client)

    @wraps(getattr(kind, name))
    def method(*args: Any, **kwargs: Any) -> Any:
        token = enter(settings)
        try:
            return getattr(kind, name)(client, *args, **kwargs)
        finally:
            leave(token)

    vars(client)[name] = method


def instrument(settings: Settings) -> None:
    """Record the exchanges of all pools of the process."""
    TAP.use("all")
    _connection._volnux_settings = settings


def uninstrument() -> None:
    """Take it back."""
    if "_volnux_settings" in vars(_connection):
        del _connection._volnux_settings
    TAP.drop("all")


def is_client(client: object) -> bool:
    """Return whether it is a pool or a pool manager."""
    return isinstance(client, (urllib3.PoolManager, urllib3.HTTPConnectionPool))


def trace(client: Any, settings: Settings) -> None:
    """Record the exchanges of one pool or manager."""
    gated(client, "urlopen", settings)
    TAP.use_for(client)


def untrace(client: Any) -> None:
    """Take it back."""
    vars(client).pop("urlopen", None)
    TAP.drop_for(client)
