"""One request that a server answers, as an event: what the middlewares for WSGI and ASGI share.

Names and attributes are those of OpenTelemetry's semantic conventions for HTTP server spans.
"""

from __future__ import annotations

from volnux.telemetry._outcome import fail, note_in
from volnux.telemetry._raw import extra_of
from volnux.telemetry._records import Status
from volnux.telemetry._seam import begin, close, get_current
from volnux.telemetry._sites import event_site, redactor
from volnux.telemetry._switch import SWITCH
from volnux.telemetry._traces import Continued, trace_of, within
from volnux.telemetry.propagation import extract

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from volnux.telemetry._raw import Raw
    from volnux.telemetry._w3c import Headers

#: Status codes from which a request is a failure of its server.
FAILED_FROM = 500
#: The methods that may name an event: whoever asks must not be the one to choose names.
METHODS = frozenset(
    ("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE")
)


def checked(app: Any, name: str | None, kind: str) -> str | None:
    """Return the name that a middleware was given for its events.

    Raises:
        TypeError: the application cannot be called.
        ValueError: the name is empty.
    """
    if not callable(app):
        raise TypeError(f"{kind}Middleware() needs an application to call, not {app!r}")
    given: Any = name
    if given is not None and not (isinstance(given, str) and given.strip()):
        raise ValueError(f'name must be text such as "api", or None for the method, not {name!r}')
    return name


class Request:
    """A request in flight. It has exactly one end, whoever comes first to say so.

    Attributes:
        event: its entry, to be made current while the application runs and no longer.
        status: the status code of the response, once there is one.
        is_whole: False where the response was cut short.
    """

    __slots__ = (
        "_ended",
        "_find_route",
        "_parent",
        "_path",
        "_route",
        "event",
        "is_whole",
        "status",
    )

    def __init__(self, event: Raw, parent: Raw, route: Callable[[], object]) -> None:
        self.event = event
        self.status: int | None = None
        self.is_whole = True
        self._parent = parent
        self._find_route = route
        self._route: object = None
        self._path: Any = None
        self._ended: int | None = None

    def describe(self, method: object, path: str, scheme: object) -> None:
        """Say what is asked for. A path may hold anything: it names nothing, and is redacted."""
        clean = redactor().value
        self._path = clean("url.path", path)
        extra_of(self.event).attributes = {
            "http.request.method": _known(method) or "_OTHER",
            "url.path": self._path,
            "url.scheme": clean("url.scheme", scheme),
        }

    def answer(self, status: object, error: object = None) -> None:
        """Say which status the response has, and which exception it stands for."""
        self.status = status if type(status) is int else None
        self._look_for_route()  # Flask has forgotten it at the end
        if isinstance(error, BaseException) and self._is_failure():
            fail(self.event, self._parent, error)

    def set_attribute(self, key: str, value: int) -> None:
        """Say something of ours about it."""
        extra = extra_of(self.event)
        extra.attributes = {**(extra.attributes or {}), key: value}

    def complete(self) -> None:
        """Say that the response is complete, which ends it; a failed one when its reason is known."""
        if self._is_failure():
            self._ended = self.event[1].now()
        else:
            self.end()

    def end(self, error: BaseException | None = None, missing: str | None = None) -> None:
        """End it; nothing happens if it has ended.

        Args:
            error: what the application raised.
            missing: what it should have done, if it only returned.
        """
        event = self.event
        if event[5] is not None:
            return
        ended = event[1].now() if self._ended is None else self._ended
        try:
            self._conclude(error, missing)
            if error is not None:
                fail(event, self._parent, error)
        finally:  # also where a strict registry has raised
            if event[5] is None:
                event[5] = ended
                close(event)

    def _look_for_route(self) -> None:
        try:
            self._route = self._find_route()
        except Exception as mishap:  # noqa: BLE001  # a framework's own object
            note_in(self.event, "middleware", "route", mishap)

    def _is_failure(self) -> bool:
        return self.status is not None and self.status >= FAILED_FROM

    def _conclude(self, error: BaseException | None, missing: str | None) -> None:
        extra = extra_of(self.event)
        known = dict(extra.attributes or {})
        if self.status is not None:
            known.setdefault("http.response.status_code", self.status)
        if not self.is_whole:
            known.setdefault("complete", False)
        if self._route is None:
            self._look_for_route()
        if isinstance(self._route, str):
            known.setdefault("http.route", redactor().value("http.route", self._route))
            if known.get("url.path") == self._path:
                known.pop("url.path", None)
        extra.attributes = known
        if error is None and extra.status == Status.COMPLETED:
            if missing is not None:
                extra.status, extra.error_type, extra.error = Status.FAILED, "NoResponse", missing
            elif self._is_failure():
                extra.status, extra.error_type = Status.FAILED, str(self.status)
                extra.error = f"HTTP status {self.status}"


def _known(method: object) -> str | None:
    return method if isinstance(method, str) and method in METHODS else None


def begin_request(
    name: str | None, method: object, headers: Headers, route: Callable[[], object]
) -> Request | None:
    """Begin a request under the parent that its headers name; None where nothing is recorded.

    Args:
        name: of its event; by default its method, or "HTTP" for one that nobody knows.
        method: in upper case.
        headers: those of the request.
        route: tells the template of its path when it is being answered, if anybody knows.
    """
    started = None
    if SWITCH.on and get_current()[1] is not None:
        with extract(headers):
            started = begin(event_site(name or _known(method) or "HTTP"))
    if started is None:
        return None
    event, parent = started
    if type(event[1]) is not Continued:
        # A task that outlives the events around it still belongs to the request.
        event[1] = within(event[1], trace_of(event))
    return Request(event, parent, route)
