"""OpenTelemetry: the SDK with its in-memory exporter."""

from __future__ import annotations

from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from benchmarks.rivals import Base, Seen


class Subject(Base):
    """Finished spans of one provider."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = provider.get_tracer("conformance")

    def trace(self, thing: Any, name: str = "step") -> Any:
        """Decorate with `start_as_current_span`."""
        return self.tracer.start_as_current_span(name)(thing)

    def block(self, name: str) -> Any:
        """Open a span."""
        return self.tracer.start_as_current_span(name)

    def finished(self) -> list[Seen]:
        """Return the exported spans and forget them."""
        spans = self.exporter.get_finished_spans()
        self.exporter.clear()
        return [_seen(span) for span in spans if not _is_pending(span)]

    def current(self) -> Any:
        """Return the identifier of the current span."""
        return trace.get_current_span().get_span_context().span_id or None


def _is_pending(span: Any) -> bool:
    # logfire announces a span when it begins by a second, zero-length one.
    return bool((span.attributes or {}).get("logfire.span_type") == "pending_span")


def _seen(span: Any) -> Seen:
    return Seen(
        span.name,
        (span.end_time - span.start_time) / 1e9,
        span.status.status_code.name,
        span.context.span_id,
        span.parent.span_id if span.parent else None,
        any(event.name == "exception" for event in span.events),
    )
