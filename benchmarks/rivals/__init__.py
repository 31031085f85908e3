"""The libraries that the conformance probe runs: one module each, with a ``Subject``.

Every one is set up as its documentation says, keeps what it records in memory, and sends nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple


class Rival(NamedTuple):
    """One column of the table, and where it runs."""

    name: str
    title: str
    distributions: tuple[str, ...] = ()
    environment: str = ""


RIVALS = {
    rival.name: rival
    for rival in (
        Rival("volnux", "volnux `traced_event`"),
        Rival("otel", "OpenTelemetry `start_as_current_span`", ("opentelemetry-sdk",), "main"),
        Rival("logfire", "logfire `instrument`", ("logfire",), "main"),
        Rival("ddtrace", "ddtrace `wrap`", ("ddtrace",), "ddtrace"),
        Rival("sentry", "Sentry `trace`", ("sentry-sdk",), "sentry"),
        Rival("elastic", "Elastic `capture_span`", ("elastic-apm",), "elastic"),
        Rival("autometrics", "autometrics", ("autometrics",), "autometrics"),
        Rival("prometheus", "prometheus_client `time()`", ("prometheus-client",), "main"),
    )
}


class Seen(NamedTuple):
    """A finished record, in words that all of them share."""

    name: str
    seconds: float
    outcome: str = ""
    id: Any = None
    parent: Any = None
    error: bool = False
    active: float | None = None


class Base:
    """What a probe asks of a library."""

    has_current = True
    """Whether the library knows a current span at all; metrics do not."""

    def trace(self, thing: Any, name: str = "step") -> Any:
        """Decorate *thing*."""
        raise NotImplementedError

    def trace_async(self, thing: Any, name: str = "step") -> Any:
        """Decorate an async function, where a library has a decorator of its own for those."""
        return self.trace(thing, name)

    def block(self, name: str) -> contextlib.AbstractContextManager[Any]:
        """Open a span as a with-block."""
        raise NotImplementedError

    def finished(self) -> list[Seen]:
        """Return what has been recorded since the last time."""
        raise NotImplementedError

    def current(self) -> Any:
        """Return an identifier of the current span, or None."""
        return None

    @contextlib.contextmanager
    def session(self) -> Iterator[None]:
        """Set up what the library needs around traced code, such as a transaction."""
        yield
