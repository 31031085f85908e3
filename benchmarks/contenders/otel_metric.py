"""OpenTelemetry metrics: a histogram recorded by a hand-written decorator; no tree, no single records."""

from __future__ import annotations

import functools
from time import perf_counter
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from benchmarks.contenders import _work

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def cases() -> Mapping[str, _work.Run]:
    """One duration histogram with one attribute; collected in memory inside the timed section."""
    reader = InMemoryMetricReader()
    meter = MeterProvider(metric_readers=[reader]).get_meter("benchmark")
    record = meter.create_histogram("work.duration", unit="s").record

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        attributes = {"function": function.__qualname__}

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            start = perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                record(perf_counter() - start, attributes)

        return wrapper

    return {
        "call": _work.calls(timed(_work.work), reader.collect),
        "error": _work.errors(timed(_work.failing), reader.collect),
        "nested": _work.nested(timed, reader.collect),
    }
