"""How fast records become spans at a real collector, beside OpenTelemetry's own processor and exporter.

From the first step of the program until the collector has answered for the last, without compression. Both have a
queue that takes all of them. The collector counts the spans: whoever loses one has no figure.
"""

from __future__ import annotations

import time
from importlib.metadata import version
from typing import TYPE_CHECKING

from benchmarks import _collector
from volnux.telemetry import OTLPPublisher, Registry, monitor_events, traced_event

if TYPE_CHECKING:
    from collections.abc import Callable

#: Packages whose versions are told.
PACKAGES = ("opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http")


def measure(spans: int, rounds: int) -> tuple[float, float] | str:
    """Return our spans per second and OpenTelemetry's, the best of alternating rounds; a text for why not."""
    try:
        import opentelemetry.exporter.otlp.proto.http  # noqa: F401
    except ImportError:
        return "OTLP: opentelemetry-exporter-otlp-proto-http is not installed (the group `bench`)"
    if not _collector.program().exists():
        return "OTLP: no collector is installed (python -m tests.services up collector)"
    ours, theirs = [], []
    for _ in range(rounds):
        for figures, run in ((ours, _ours), (theirs, _theirs)):
            with _collector.Counting() as collector:
                seconds = run(collector.url, spans)
                _check(collector, spans, run.__name__)
                figures.append(spans / seconds)
    return max(ours), max(theirs)


def versions() -> dict[str, str]:
    """The versions of what is measured against."""
    return {name: version(name) for name in PACKAGES}


def _ours(url: str, spans: int) -> float:
    publisher = OTLPPublisher(
        url, compression="none", service_name="benchmark", signals=("traces",), timeout=60
    )
    room = {"queue_items": spans + 1, "queue_bytes": 1 << 40}
    registry = Registry(capacity=10)
    with monitor_events([publisher], registry=registry, **room) as monitor:  # type: ignore[arg-type]

        def run() -> None:
            for _ in range(spans):
                with traced_event("step"):
                    pass
            if not monitor.flush(timeout=600):
                raise RuntimeError("not everything was delivered")

        return _seconds(run)


def _theirs(url: str, spans: int) -> float:
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    exporter = OTLPSpanExporter(
        f"{url}/v1/traces", compression=Compression.NoCompression, timeout=60
    )
    provider = TracerProvider(resource=Resource.create({"service.name": "benchmark"}))
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=spans + 1))
    tracer = provider.get_tracer("benchmark")

    def run() -> None:
        for _ in range(spans):
            with tracer.start_as_current_span("step"):
                pass
        provider.force_flush(timeout_millis=600_000)

    seconds = _seconds(run)
    provider.shutdown()
    return seconds


def _check(collector: _collector.Counting, spans: int, who: str) -> None:
    deadline = time.monotonic() + 10
    while (counted := collector.spans()) < spans and time.monotonic() < deadline:
        time.sleep(0.1)
    if counted != spans:
        raise RuntimeError(f"{who}: {counted} spans are at the collector, of {spans}")


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
