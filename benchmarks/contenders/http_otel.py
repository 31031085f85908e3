"""HTTP clients with OpenTelemetry's instrumentation of each, whose spans are dropped at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import set_tracer_provider

from benchmarks.contenders import _http
from benchmarks.contenders.otel_span import Discard

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.contenders import _work

INSTRUMENTORS = {
    "urllib3": URLLib3Instrumentor(),
    "requests": RequestsInstrumentor(),
    "httpx": HTTPXClientInstrumentor(),
}


def cases() -> Mapping[str, _work.Run]:
    """Every library that has an instrumentation, instrumented while it is its turn."""
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Discard(), max_queue_size=1 << 15))
    set_tracer_provider(provider)
    # That of aiohttp reaches only sessions that are made afterwards, so it stays on.
    AioHttpClientInstrumentor().instrument()
    found = _http.cases(provider.force_flush)
    del found["http.client"]
    return _http.switched(found, _on, _off)


def _on(library: str) -> None:
    if library in INSTRUMENTORS:
        INSTRUMENTORS[library].instrument()


def _off(library: str) -> None:
    if library in INSTRUMENTORS:
        INSTRUMENTORS[library].uninstrument()
