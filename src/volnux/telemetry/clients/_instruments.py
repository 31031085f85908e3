"""Which library a client belongs to, and what is recorded of it."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from volnux.telemetry.clients._gate import Settings, mishap
from volnux.telemetry.clients._patching import LOCK
from volnux.telemetry.errors import MissingDependencyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any, TypeVar

    from volnux.telemetry.clients._gate import Route

    Client = TypeVar("Client")

#: The libraries, and our module for each. A later one stands on those before it.
LIBRARIES = {
    "http.client": "_http_client",
    "urllib3": "_urllib3",
    "requests": "_requests",
    "httpx": "_httpx",
    "aiohttp": "_aiohttp",
}
ALL = "all"
#: The libraries that are recorded as a whole, with their settings; those among them that are waiting
#: to be imported by the program, too.
_instrumented: dict[str, Settings] = {}
_waiting: set[str] = set()


def traced_client(
    client: Client, *, route: Route | None = None, propagate_trace: bool = False
) -> Client:
    """Have one client record its exchanges, each a network operation under the current event.

    The very object is returned, and goes on doing what it did. Each exchange with a server is one
    operation, from the request to the moment its body has been read, closed or let go: so a redirect
    and a retry are several. `bytes_sent` and `bytes_received` are what crossed the socket, headers and
    bodies, of TLS the plain bytes inside of it.

    Args:
        client: a `requests.Session`, `urllib3.PoolManager` or pool, `httpx.Client` or `AsyncClient`,
            `aiohttp.ClientSession`, or `http.client.HTTPConnection`. Of anything else with a `request`
            or `send` method a transparent proxy is returned, which records its calls, but no bytes.
        route: gives the template of a path, such as "/users/{id}" for "/users/7", or None. It becomes
            part of the operation's name, which is the method alone otherwise. Called for each exchange.
        propagate_trace: send a W3C `traceparent` header, so that what the server records, if it reads
            it, belongs to the same tree.

    Raises:
        TypeError: it is no client, or the route cannot be called.

    Example:
        >>> session = traced_client(requests.Session())
        >>> session.get("https://example.org/")
        >>> get_network_stats()
    """
    settings = _settings(route, propagate_trace=propagate_trace)
    library = _library_of(client)
    if library is not None:
        library.trace(client, settings)
        return client
    from volnux.telemetry.clients import _any

    if isinstance(client, type) or not _any.can_trace(client):
        names = ", ".join(LIBRARIES)
        raise TypeError(
            f"traced_client() needs a client of {names}, or an object with a request or send method,"
            f" not {client!r}"
        )
    found: Client = _any.traced(untrace(client), settings)
    return found


def untrace(client: Client) -> Client:
    """Take `traced_client` or `traced_socket` back; return the object as it was.

    Of what is not traced, nothing changes.
    """
    library = _library_of(client)
    if library is not None:
        library.untrace(client)
        return client
    from volnux.telemetry.clients import _any
    from volnux.telemetry.clients._traced_socket import TracedSocket

    found: Any = client
    if isinstance(found, TracedSocket):
        found = found._self_untraced()
    elif isinstance(found, _any.TracedClient):
        found = found.__wrapped__
    bare: Client = found
    return bare


def instrument(*libraries: str, route: Route | None = None, propagate_trace: bool = False) -> None:
    """Have all clients of whole libraries record their exchanges, those that exist already included.

    Done again for the same library, it changes the settings only. `uninstrument` takes it back.

    Args:
        libraries: "requests", "urllib3", "httpx", "aiohttp", "http.client", or "all". With "all",
            libraries that are not installed are passed over, and those that the program imports later
            are seen to then.
        route: see `traced_client`.
        propagate_trace: see `traced_client`.

    Raises:
        ValueError: a name is none of these, or there is none.
        MissingDependencyError: a library that was named is not installed.
        TypeError: the route cannot be called.
    """
    names = _names(libraries, "instrument")
    settings = _settings(route, propagate_trace=propagate_trace)
    with LOCK:
        for name in names:
            if name in libraries:
                _check_installed(name)
        for name in names:
            _instrumented[name] = settings
            if name in libraries:
                _module(name).instrument(settings)
            else:
                _when_imported(name)


def uninstrument(*libraries: str) -> None:
    """Take `instrument` back, to the last attribute; for all libraries if none is named.

    Exchanges that are under way are recorded to their end.

    Raises:
        ValueError: a name is none of the libraries.
    """
    names = _names(libraries or (ALL,), "uninstrument")
    with LOCK:
        for name in names:
            if _instrumented.pop(name, None) is not None and _is_loaded(name):
                _module(name).uninstrument()


def _names(given: tuple[str, ...], function: str) -> list[str]:
    known = [*LIBRARIES, ALL]
    wrong = [name for name in given if name not in known]
    if wrong or not given:
        what = repr(wrong[0]) if wrong else "nothing"
        raise ValueError(
            f"{function}() takes {', '.join(map(repr, known))}, not {what}{_hint(wrong)}"
        )
    return list(LIBRARIES) if ALL in given else [name for name in LIBRARIES if name in given]


def _hint(wrong: list[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(str(wrong[0]), [*LIBRARIES, ALL], 1) if wrong else []
    return f"; did you mean {near[0]!r}?" if near else ""


def _settings(route: Route | None, *, propagate_trace: bool) -> Settings:
    if route is not None and not callable(route):
        raise TypeError(f"route= takes a function from a path to its template, not {route!r}")
    return Settings(route=route, propagate_trace=propagate_trace)


def _check_installed(name: str) -> None:
    if find_spec(name.partition(".")[0]) is None:
        raise MissingDependencyError(name)


def _module(name: str) -> ModuleType:
    return import_module(f"volnux.telemetry.clients.{LIBRARIES[name]}")


def _is_loaded(name: str) -> bool:
    import sys

    return f"volnux.telemetry.clients.{LIBRARIES[name]}" in sys.modules


def _when_imported(name: str) -> None:
    """See to a library when the program imports it, or now if it has."""
    from wrapt import register_post_import_hook

    if name in _waiting:
        if _is_loaded(name):
            _module(name).instrument(_instrumented[name])
        return
    _waiting.add(name)

    def imported(_: ModuleType) -> None:
        settings = _instrumented.get(name)
        if settings is None:
            return
        try:
            _module(name).instrument(settings)
        except Exception as error:  # noqa: BLE001  # it is the program's import that it would break
            mishap(f"instrument {name}", error)

    register_post_import_hook(imported, name)


def _library_of(client: object) -> ModuleType | None:
    """Return our module for the library that a client's class comes from, or None."""
    tops = {kind.__module__.partition(".")[0] for kind in type(client).__mro__}
    for name in reversed(LIBRARIES):
        if name.partition(".")[0] in tops:
            module = _module(name)
            if module.is_client(client):
                return module
    return None
