"""What ``memory`` runs in processes of their own: ``python -m benchmarks._memory_probes PROBE ARGUMENTS``."""

from __future__ import annotations

import gc
import json
import sys
import tracemalloc
from contextlib import suppress
from itertools import repeat
from typing import TYPE_CHECKING

from benchmarks import _machine

if TYPE_CHECKING:
    from collections.abc import Callable

WARM_UP = 2_000
BATCH = 10_000


def kept(kind: str, count: str) -> dict[str, float]:
    """Bytes a registry of *count* records holds on to, before and after they are looked at."""
    from volnux.telemetry import capture

    step = _steps()[kind]
    with capture(isolated=True) as warm:
        _drive(step, WARM_UP, warm.fold)
    warm.clear()
    tracemalloc.start()
    before = _traced()
    with capture(isolated=True) as registry:
        _drive(step, int(count), registry.fold)
    held = _traced() - before
    records = registry.network_ops() if kind == "network" else registry.events()
    _check(len(records), int(count))
    for record in records:
        record.to_dict()
    del records
    return {"bytes": held, "bytes_after_query": _traced() - before}


def resident(few: str, many: str) -> dict[str, float]:
    """Resident bytes after few and after many events."""
    from volnux.telemetry import current_registry, monitor_events

    monitor_events()
    registry = current_registry()
    step = _steps()["event"]
    passed = 0
    answer = {}
    for goal, key in ((int(few), "after_few"), (int(many), "after_many")):
        while passed < goal:
            _drive(step, BATCH, registry.fold)
            passed += BATCH
        gc.collect()
        answer[key] = float(_machine.resident())
    return answer


def resident_kept(count: str) -> dict[str, float]:
    """Growth of the resident set when *count* events are kept, in full registries side by side."""
    from volnux.telemetry import capture

    step = _steps()["event"]
    with capture(isolated=True) as warm:
        _drive(step, WARM_UP, warm.fold)
    warm.clear()
    gc.collect()
    before = _machine.resident()
    full = []
    for _ in range(int(count) // BATCH):
        with capture(isolated=True) as registry:
            _drive(step, BATCH, registry.fold)
        full.append(registry)
    gc.collect()
    held = _machine.resident() - before
    for registry in full:
        _check(len(registry.events()), BATCH)
    return {"bytes": float(held)}


def peer_floor(count: str) -> dict[str, float]:
    """Bytes of the floor's tuples."""
    from benchmarks.contenders import _work, floor

    step = floor.traced(_work.work)
    _drive(lambda: step(1), 10_000, gc.collect)
    floor.KEPT.clear()
    tracemalloc.start()
    before = _traced()
    _drive(lambda: step(1), int(count), gc.collect)
    return {"bytes": _traced() - before}


def peer_otel_span(count: str) -> dict[str, float | str]:
    """Bytes of OpenTelemetry's finished spans in its in-memory exporter."""
    try:
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    except ImportError as error:
        return {"missing": str(error)}
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    step = provider.get_tracer("benchmark").start_as_current_span("work")(lambda: None)
    _drive(step, WARM_UP, exporter.clear)
    tracemalloc.start()
    before = _traced()
    _drive(step, int(count), gc.collect)
    return {"bytes": _traced() - before}


def _steps() -> dict[str, Callable[[], object]]:
    from volnux.telemetry import network_op, traced_event

    @traced_event("step")
    def event() -> None:
        pass

    @traced_event("step")
    def failing() -> None:
        raise ValueError("the value 17 is not on the list")

    def with_attributes() -> None:
        with traced_event("step") as step:
            step.set_attributes({"user": "ada", "rows": 3, "queue": "default"})

    def failed() -> None:
        with suppress(ValueError):
            failing()

    def network() -> None:
        with network_op("example.org", 443, "GET") as op:
            op.sent(100)
            op.received(2000)

    return {"event": event, "attributes": with_attributes, "failed": failed, "network": network}


def _check(found: int, expected: int) -> None:
    if found != expected:
        raise RuntimeError(f"{found} records kept, not {expected}")


def _drive(step: Callable[[], object], count: int, finish: Callable[[], object]) -> None:
    for _ in repeat(None, count):
        step()
    finish()


def _traced() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](*sys.argv[2:])))
