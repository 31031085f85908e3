"""logfire, local only: nothing sent, nothing printed, one processor that drops everything at once."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING

import logfire
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from benchmarks.contenders import _work
from benchmarks.contenders.otel_span import Discard

if TYPE_CHECKING:
    from collections.abc import Mapping


def cases() -> Mapping[str, _work.Run]:
    """``instrument`` with its defaults, flushed inside the timed section."""
    logfire.configure(
        send_to_logfire=False,
        console=False,
        inspect_arguments=False,
        additional_span_processors=[BatchSpanProcessor(Discard(), max_queue_size=1 << 15)],
    )
    flush, work = logfire.force_flush, _work.work

    def with_block(n: int) -> None:
        for _ in repeat(None, n):
            with logfire.span("work"):
                work(1)
        flush()

    def attributes(n: int) -> None:
        for _ in repeat(None, n):
            with logfire.span("work") as span:
                span.set_attribute("user", "ada")
                span.set_attribute("rows", 3)
                work(1)
        flush()

    return {
        "call": _work.calls(logfire.instrument()(work), flush),
        "error": _work.errors(logfire.instrument()(_work.failing), flush),
        "nested": _work.nested(logfire.instrument(), flush),
        "coroutine": _work.awaits(logfire.instrument()(_work.coroutine), flush),
        "generator": _work.items(logfire.instrument(allow_generator=True)(_work.generator), flush),
        "async_generator": _work.async_items(
            logfire.instrument(allow_generator=True)(_work.async_generator), flush
        ),
        "with": with_block,
        "attributes": attributes,
    }
