"""OpenTelemetry tracing: SDK, batch processor, an exporter that drops everything at once."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from benchmarks.contenders import _work

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from opentelemetry.sdk.trace import ReadableSpan, Tracer


class Discard(SpanExporter):
    """The cheapest back end there can be."""

    def export(
        self, spans: Sequence[ReadableSpan]
    ) -> SpanExportResult:  # the name is OpenTelemetry's
        """Accept the batch."""
        return SpanExportResult.SUCCESS


def _traced(tracer: Tracer) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return lambda function: tracer.start_as_current_span(function.__name__)(function)


def cases() -> Mapping[str, _work.Run]:
    """Every call sampled, a queue long enough to drop nothing, flushed inside the timed section."""
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Discard(), max_queue_size=1 << 15))
    tracer = provider.get_tracer("benchmark")
    flush, traced, work = provider.force_flush, tracer.start_as_current_span, _work.work

    def with_block(n: int) -> None:
        for _ in repeat(None, n):
            with traced("work"):
                work(1)
        flush()

    def attributes(n: int) -> None:
        for _ in repeat(None, n):
            with traced("work") as span:
                span.set_attribute("user", "ada")
                span.set_attribute("rows", 3)
                work(1)
        flush()

    return {
        "call": _work.calls(traced("work")(work), flush),
        "error": _work.errors(traced("failing")(_work.failing), flush),
        "nested": _work.nested(_traced(tracer), flush),
        "coroutine": _work.awaits(traced("coroutine")(_work.coroutine), flush),
        "with": with_block,
        "attributes": attributes,
    }
