"""logfire, local only."""

from __future__ import annotations

import inspect
from typing import Any

import logfire
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from benchmarks.rivals.otel import Subject as OpenTelemetry


class Subject(OpenTelemetry):
    """Finished spans of the configured logfire."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        logfire.configure(
            send_to_logfire=False,
            console=False,
            inspect_arguments=False,
            additional_span_processors=[SimpleSpanProcessor(self.exporter)],
        )

    def trace(self, thing: Any, name: str = "step") -> Any:
        """Decorate with `instrument`; generators with the switch that it asks for."""
        stream = inspect.isgeneratorfunction(thing) or inspect.isasyncgenfunction(thing)
        return logfire.instrument(name, span_name=name, allow_generator=stream)(thing)

    def block(self, name: str) -> Any:
        """Open a span."""
        return logfire.span(name)
