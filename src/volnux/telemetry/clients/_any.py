"""Any client with a `request` or `send` method, behind a transparent proxy.

What crosses its sockets is not to be seen, so no byte is counted: what a response declares of itself is
kept as declared.
"""

from __future__ import annotations

from collections.abc import Mapping
from inspect import isawaitable
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from volnux.telemetry._network import NetworkOp, conclude
from volnux.telemetry._proxy import Proxy, proxy_class
from volnux.telemetry._switch import SWITCH
from volnux.telemetry.clients._gate import mishap
from volnux.telemetry.clients._roots import root_of
from volnux.telemetry.clients._told import failed_by

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from volnux.telemetry.clients._gate import Settings

#: What sends something, if a client has it.
METHODS = ("request", "send")
#: Names under which clients and requests keep where they go.
_TARGETS = ("url", "base_url", "endpoint_url", "host")


class TracedClient(Proxy):
    """A client whose `request` and `send` are recorded. It is what the wrapped one is otherwise."""

    def __init__(self, client: Any, settings: Settings) -> None:
        super().__init__(client)
        self._self_settings = settings

    def __enter__(self) -> Any:
        entered = self.__wrapped__.__enter__()
        return self if entered is self.__wrapped__ else entered

    def __exit__(self, *exc_info: object) -> Any:
        return self.__wrapped__.__exit__(*exc_info)

    async def __aenter__(self) -> Any:
        entered = await self.__wrapped__.__aenter__()
        return self if entered is self.__wrapped__ else entered

    async def __aexit__(self, *exc_info: object) -> Any:
        return await self.__wrapped__.__aexit__(*exc_info)

    def _self_like(self, wrapped: Any) -> Any:
        return traced(wrapped, self._self_settings)


def _recorded(name: str) -> Callable[..., Any]:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        wrapped = getattr(self.__wrapped__, name)
        if not SWITCH.on:
            return wrapped(*args, **kwargs)
        call = _Call(self, name, args, kwargs)
        try:
            result = wrapped(*args, **kwargs)
        except BaseException as error:
            call.end(error)
            raise
        if isawaitable(result):
            return _finish(call, result)
        call.end(None, result)
        return result

    method.__name__ = name
    return method


async def _finish(call: _Call, result: Awaitable[Any]) -> Any:
    try:
        found = await result
    except BaseException as error:
        call.end(error)
        raise
    call.end(None, found)
    return found


class _Call:
    """One call of a client, as a network operation from the call to its return."""

    __slots__ = ("_op",)

    def __init__(self, proxy: Any, name: str, args: Any, kwargs: Any) -> None:
        try:
            host, port, operation = _described(proxy, name, args, kwargs)
        except Exception as error:  # noqa: BLE001  # whatever the client is, it must not hurt
            mishap("description", error)
            host, port, operation = "", None, name
        self._op = NetworkOp(host, port, operation)
        self._op.__enter__()

    def end(self, error: BaseException | None, response: Any = None) -> None:
        found: dict[str, Any] = {"source": "declared"}
        failure = None
        try:
            status, declared = _said(response)
            if status is not None:
                found["http.response.status_code"] = status
                failure = failed_by(status)
            if declared is not None:
                found["declared"] = declared
        except Exception as mistake:  # noqa: BLE001  # as above
            mishap("response", mistake)
        conclude(self._op, found, None if error is None else root_of(error), failure)


def _described(proxy: Any, name: str, args: Any, kwargs: Any) -> tuple[str, int | None, str]:
    """Return host, port and operation of a call, as far as its arguments or the client tell."""
    given = [*args[:2], *(kwargs.get(key) for key in ("method", "url"))]
    request = args[0] if args else kwargs.get("request")
    words = [word for word in (*given, getattr(request, "method", None)) if isinstance(word, str)]
    method = next((word.upper() for word in words if word.isalpha() and len(word) < 12), name)
    targets = [*given, *(getattr(request, key, None) for key in _TARGETS)]
    targets += [getattr(proxy.__wrapped__, key, None) for key in _TARGETS]
    for target in map(str, filter(None, targets)):
        parts = urlsplit(target)
        if parts.scheme and parts.hostname:
            return parts.hostname, _port(parts), _with_route(proxy, method, parts.path)
    client = proxy.__wrapped__
    host = getattr(client, "host", None)
    port = getattr(client, "port", None)
    return host if isinstance(host, str) else "", port if isinstance(port, int) else None, method


def _port(parts: Any) -> int | None:
    try:
        port: int | None = parts.port
    except ValueError:
        return None
    return port or {"http": 80, "https": 443}.get(parts.scheme)


def _with_route(proxy: Any, method: str, path: str) -> str:
    route = proxy._self_settings.route
    template = route(path) if route is not None else None
    return method if template is None else f"{method} {template}"


def _said(response: Any) -> tuple[int | None, int | None]:
    """Return the status and the length that a response says it has."""
    status = next(
        (
            found
            for key in ("status_code", "status")
            if type(found := getattr(response, key, None)) is int
        ),
        None,
    )
    headers = getattr(response, "headers", None)
    length = headers.get("content-length") if isinstance(headers, Mapping) else None
    return status, int(length) if isinstance(length, str) and length.isdigit() else None


_METHODS = {name: _recorded(name) for name in METHODS}
_known: WeakKeyDictionary[type, Any] = WeakKeyDictionary()


def can_trace(client: object) -> bool:
    """Return whether it has a method that sends."""
    return any(callable(getattr(client, name, None)) for name in METHODS)


def traced(client: Any, settings: Settings) -> Any:
    """Return the client behind a proxy that records."""
    return proxy_class(TracedClient, type(client), _METHODS, _known)(client, settings)
