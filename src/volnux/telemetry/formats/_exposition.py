"""Running totals as the metrics that Prometheus reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from volnux.telemetry.formats._prometheus import Durations, Totals


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

    Args:
        core: `prometheus_client.core`.
        bounds: upper bounds of the buckets.
        totals: what was counted.
        health: that of a monitor, or None.
    """
    found = families(core)
    names = [*map(str, bounds), "+Inf"]
    for family in ("event_durations", "operation_durations"):
        for labels, durations in getattr(totals, family).items():
            buckets = _buckets(core, names, durations)
            found[family].add_metric(labels, buckets, durations.total)
    for family in ("events", "operations"):
        _add(found[family], getattr(totals, family))
    _add(found["retries"], {(name,): count for name, count in totals.retries.items()})
    for direction, counts in (("sent", totals.sent), ("received", totals.received)):
        _add(found["bytes"], {(name, direction): count for name, count in counts.items()})
    if health is not None:
        found["in_flight"].add_metric([], health.in_flight)
        dropped = {name: counts["dropped"] for name, counts in health.publishers.items()}
        for family, nested in (("dropped", dropped), ("errors", health.errors)):
            for first, reasons in nested.items():
                _add(found[family], {(first, reason): n for reason, n in reasons.items()})
    return list(found.values())


def _add(family: Any, counts: Mapping[tuple[str, ...], int]) -> None:
    for labels, count in counts.items():
        family.add_metric(labels, count)


def _buckets(core: Any, names: list[str], durations: Durations) -> list[Any]:
    buckets: list[Any] = []
    count = 0
    for name, some, example in zip(names, durations.counts, durations.examples, strict=True):
        count += some
        if example is None:
            buckets.append((name, count))
        else:
            seconds, task, ended = example
            buckets.append((name, count, core.Exemplar({"task_id": task}, seconds, ended)))
    return buckets
