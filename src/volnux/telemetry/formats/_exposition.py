"""Running totals as the metrics that Prometheus reads."""

from __future__ import annotations

from time import perf_counter, sleep
from typing import TYPE_CHECKING

from volnux.telemetry.formats._prometheus import drops

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    from volnux.telemetry.formats._prometheus import Durations, Totals

#: Samples after which other threads have their turn: a quarter of a millisecond's, or less.
TURN = 32
#: Seconds that a scrape spends on that at most: a program that has something to do all the time takes
#: each of its turns for 5 ms.
PATIENCE = 1.0


def families(core: Any) -> dict[str, Any]:
    """Return the metrics, without samples.

    Args:
        core: `prometheus_client.core`.
    """

    def durations(name: str, text: str, *labels: str) -> Any:
        return core.HistogramMetricFamily(name, text, labels=labels, unit="seconds")

    def counter(name: str, text: str, *labels: str, unit: str = "") -> Any:
        return core.CounterMetricFamily(name, text, labels=labels, unit=unit)

    return {
        "event_durations": durations(
            "volnux_event_duration_seconds", "How long events took.", "event", "status"
        ),
        "events": counter("volnux_events", "Events that have ended.", "event", "status"),
        "retries": counter("volnux_event_retries", "Attempts after the first.", "event"),
        "exhausted": counter(
            "volnux_event_retries_exhausted", "Events that were retried in vain.", "event"
        ),
        "operation_durations": durations(
            "volnux_network_operation_duration_seconds",
            "How long network operations took.",
            *("operation", "outcome"),
        ),
        "operations": counter(
            "volnux_network_operations",
            "Network operations that have ended.",
            *("operation", "outcome"),
        ),
        "bytes": counter(
            "volnux_network_bytes",
            "Bytes that went to hosts and came from them.",
            *("operation", "direction"),
            unit="bytes",
        ),
        "in_flight": core.GaugeMetricFamily(
            "volnux_events_in_flight", "What has begun and not ended.", labels=[]
        ),
        "dropped": counter(
            "volnux_telemetry_dropped",
            "Records that a publisher was not given, or would not take.",
            *("publisher", "reason"),
        ),
        "errors": counter(
            "volnux_telemetry_errors",
            "What went wrong inside volnux, or was cut.",
            *("stage", "reason"),
        ),
    }


def filled(core: Any, bounds: Sequence[float], totals: Totals, health: Any) -> list[Any]:
    """Return the metrics with everything that was counted.

    Their samples are made while they are gone through, so that they need no room, and other threads have
    their turn meanwhile: whoever writes thousands of samples would hold Python's lock for 5 ms at a time.

    Args:
        core: `prometheus_client.core`.
        bounds: upper bounds of the buckets.
        totals: what was counted.
        health: that of a monitor, or None.
    """
    found = families(core)
    names = [*map(str, bounds), "+Inf"]
    turns = _Turns()

    def fill(family: str, samples: Callable[[], Iterator[Any]]) -> None:
        found[family].samples = _Samples(samples, turns)

    def histograms(family: str, labels: tuple[str, str]) -> None:
        name, series = found[family].name, getattr(totals, family)
        fill(family, lambda: _histograms(core, name, labels, names, series))

    def counters(family: str, labels: tuple[str, ...], counts: Mapping[Any, int]) -> None:
        name = f"{found[family].name}_total"
        fill(family, lambda: _counters(core.Sample, name, labels, counts))

    histograms("event_durations", ("event", "status"))
    histograms("operation_durations", ("operation", "outcome"))
    counters("events", ("event", "status"), totals.events)
    counters("operations", ("operation", "outcome"), totals.operations)
    for family, counted in (("retries", totals.retries), ("exhausted", totals.exhausted)):
        counters(family, ("event",), {(name,): count for name, count in counted.items()})
    ways = {"sent": totals.sent, "received": totals.received}
    counters("bytes", ("operation", "direction"), _by_pair(ways, inner_first=True))
    if health is not None:
        found["in_flight"].add_metric([], health.in_flight)
        counters("dropped", ("publisher", "reason"), _by_pair(drops(health)))
        counters("errors", ("stage", "reason"), _by_pair(health.errors))
    return list(found.values())


class _Turns:
    """The time that one scrape leaves to others."""

    def __init__(self) -> None:
        self._left = PATIENCE

    def give(self) -> None:
        """Let another thread go on, if one waits and there is time left."""
        if self._left > 0:
            begun = perf_counter()
            sleep(1e-6)  # a sleep of nothing is over before another thread has noticed
            self._left -= perf_counter() - begun


class _Samples:
    """Samples that are made when they are gone through."""

    def __init__(self, make: Callable[[], Iterator[Any]], turns: _Turns) -> None:
        self._make = make
        self._turns = turns

    def __iter__(self) -> Iterator[Any]:
        for number, sample in enumerate(self._make(), 1):
            yield sample
            if not number % TURN:
                self._turns.give()


def _counters(
    sample: Any, name: str, labels: tuple[str, ...], counts: Mapping[Any, int]
) -> Iterator[Any]:
    for values, count in counts.items():
        yield sample(name, dict(zip(labels, values, strict=True)), count)


def _histograms(
    core: Any,
    name: str,
    labels: tuple[str, str],
    names: list[str],
    series: Mapping[tuple[str, str], Durations],
) -> Iterator[Any]:
    sample, exemplar = core.Sample, core.Exemplar
    for values, durations in series.items():
        named = dict(zip(labels, values, strict=True))
        count = 0
        for bound, some, example in zip(names, durations.counts, durations.examples, strict=True):
            count += some
            shown = None
            if example is not None:
                seconds, task, ended, trace = example
                named_by = (
                    {"task_id": task} if trace is None else {"trace_id": trace, "task_id": task}
                )
                shown = exemplar(named_by, seconds, ended)
            yield sample(f"{name}_bucket", {**named, "le": bound}, count, None, shown)
        yield sample(f"{name}_count", named, count)
        yield sample(f"{name}_sum", named, durations.total)


def _by_pair(
    nested: Mapping[str, Mapping[str, int]], *, inner_first: bool = False
) -> dict[Any, int]:
    return {
        (inner, outer) if inner_first else (outer, inner): count
        for outer, counts in nested.items()
        for inner, count in counts.items()
    }
