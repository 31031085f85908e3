"""ddtrace without an agent: a trace filter keeps the spans and lets nothing out."""

from __future__ import annotations

import os
from typing import Any

os.environ |= {
    "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
    "DD_REMOTE_CONFIGURATION_ENABLED": "false",
    "DD_TRACE_STARTUP_LOGS": "false",
}
from ddtrace.trace import TraceFilter, tracer

from benchmarks.rivals import Base, Seen


class Keep(TraceFilter):
    """Keeps finished traces."""

    def __init__(self) -> None:
        self.spans: list[Any] = []

    def process_trace(self, trace: list[Any]) -> None:
        """Take the spans and send none."""
        self.spans += trace


class Subject(Base):
    """Finished spans of the global tracer."""

    def __init__(self) -> None:
        self.kept = Keep()
        tracer.configure(trace_processors=[self.kept])

    def trace(self, thing: Any, name: str = "step") -> Any:
        """Decorate with `tracer.wrap`."""
        return tracer.wrap(name)(thing)

    def block(self, name: str) -> Any:
        """Open a span."""
        return tracer.trace(name)

    def finished(self) -> list[Seen]:
        """Return the kept spans and forget them."""
        spans, self.kept.spans = self.kept.spans, []
        return [
            Seen(
                span.name,
                span.duration or 0.0,
                "ERROR" if span.error else "ok",
                span.span_id,
                span.parent_id,
                bool(span.error),
            )
            for span in spans
        ]

    def current(self) -> Any:
        """Return the identifier of the current span."""
        span = tracer.current_span()
        return None if span is None else span.span_id
