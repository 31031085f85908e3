"""Running totals as metrics of OTLP: the same ones that `_exposition` has for a scrape.

The names are those of OpenTelemetry, and a back end like Prometheus makes those of the scrape of them: dots become
underscores, the unit and `_total` are added. Where a name has its unit in it, that is not added again. The rules:
https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from volnux.telemetry.formats._otlp_wire import identifier, nanoseconds, trace_identifier
from volnux.telemetry.formats._prometheus import drops

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from volnux.telemetry.formats._prometheus import Durations, Totals

CUMULATIVE = 2  # AggregationTemporality


class Instrument(NamedTuple):
    """One metric, without its numbers."""

    name: str
    unit: str
    text: str
    labels: tuple[str, ...]
    is_monotonic: bool = True


_BY_EVENT, _BY_OPERATION = ("event", "status"), ("operation", "outcome")
INSTRUMENTS = {
    "event_durations": Instrument("volnux.event.duration", "s", "How long events took.", _BY_EVENT),
    "events": Instrument("volnux.events", "{event}", "Events that have ended.", _BY_EVENT),
    "retries": Instrument(
        "volnux.event.retries", "{retry}", "Attempts after the first.", ("event",)
    ),
    "exhausted": Instrument(
        "volnux.event.retries_exhausted",
        "{event}",
        "Events that were retried in vain.",
        ("event",),
    ),
    "operation_durations": Instrument(
        "volnux.network.operation.duration",
        "s",
        "How long network operations took.",
        _BY_OPERATION,
    ),
    "operations": Instrument(
        "volnux.network.operations",
        "{operation}",
        "Network operations that have ended.",
        _BY_OPERATION,
    ),
    "bytes": Instrument(
        "volnux.network.bytes",
        "By",
        "Bytes that went to hosts and came from them.",
        ("operation", "direction"),
    ),
    "in_flight": Instrument(
        "volnux.events.in_flight",
        "{event}",
        "What has begun and not ended.",
        (),
        is_monotonic=False,
    ),
    "dropped": Instrument(
        "volnux.telemetry.dropped",
        "{record}",
        "Records that a publisher was not given, or would not take.",
        ("publisher", "reason"),
    ),
    "errors": Instrument(
        "volnux.telemetry.errors",
        "{error}",
        "What went wrong inside volnux, or was cut.",
        ("stage", "reason"),
    ),
}
#: One point with the key of its instrument.
Point = tuple[str, "Any"]


class Metrics:
    """Makes the points of totals, and requests of points.

    Args:
        library: the modules `metrics_pb2`, `common_pb2` and `metrics_service_pb2` of opentelemetry-proto.
        bounds: upper bounds of the buckets.
        started: nanoseconds since the epoch at which all totals were 0.
    """

    def __init__(self, library: Sequence[Any], bounds: Sequence[float], started: int) -> None:
        self._metrics, self._common, self._service = library
        self._bounds = bounds
        self._started = started

    def points(self, totals: Totals, health: Any, now: int) -> list[Point]:
        """Return everything that was counted, a point for each series.

        Args:
            totals: what was counted.
            health: that of a monitor, or None.
            now: nanoseconds since the epoch at which it was so.
        """
        found: list[Point] = [
            (family, self._histogram(INSTRUMENTS[family].labels, values, durations, now))
            for family in ("event_durations", "operation_durations")
            for values, durations in getattr(totals, family).items()
        ]
        for family, values, count in _numbers(totals, health):
            point = self._metrics.NumberDataPoint(
                attributes=self._attributes(INSTRUMENTS[family].labels, values),
                start_time_unix_nano=self._started,
                time_unix_nano=now,
                as_int=count,
            )
            found.append((family, point))
        return found

    def request(self, resource: bytes, scope: bytes, points: Iterable[Point]) -> bytes:
        """Return an `ExportMetricsServiceRequest` of points, those of one instrument together.

        Args:
            resource, scope: as for spans.
            points: some of those that `points` returned.
        """
        request = self._service.ExportMetricsServiceRequest()
        inside = request.resource_metrics.add()
        inside.resource.MergeFromString(resource)
        scoped = inside.scope_metrics.add()
        scoped.scope.MergeFromString(scope)
        made: dict[str, Any] = {}
        for family, point in points:
            if family not in made:
                made[family] = self._instrument(scoped.metrics.add(), family)
            made[family].append(point)
        encoded: bytes = request.SerializeToString()
        return encoded

    def _instrument(self, metric: Any, family: str) -> Any:
        """Fill in what all points of an instrument have in common; return where they go."""
        known = INSTRUMENTS[family]
        metric.name, metric.unit, metric.description = known.name, known.unit, known.text
        if family.endswith("_durations"):
            data = metric.histogram
        else:
            data = metric.sum
            data.is_monotonic = known.is_monotonic
        data.aggregation_temporality = CUMULATIVE
        return data.data_points

    def _histogram(
        self, labels: Sequence[str], values: Sequence[str], durations: Durations, now: int
    ) -> Any:
        return self._metrics.HistogramDataPoint(
            attributes=self._attributes(labels, values),
            start_time_unix_nano=self._started,
            time_unix_nano=now,
            count=sum(durations.counts),
            sum=durations.total,
            bucket_counts=durations.counts,
            explicit_bounds=self._bounds,
            exemplars=[self._exemplar(*one) for one in durations.examples if one is not None],
        )

    def _exemplar(self, seconds: float, task: Any, ended: float, trace: Any) -> Any:
        if type(task) is int:  # from a brief, whose trace is bytes
            span = task.to_bytes(8, "big")
        else:
            span, trace = identifier(task, 8), trace_identifier(trace, task)
        return self._metrics.Exemplar(
            time_unix_nano=nanoseconds(ended),
            as_double=seconds,
            span_id=span,
            trace_id=trace,
        )

    def _attributes(self, labels: Sequence[str], values: Sequence[str]) -> list[Any]:
        value, pair = self._common.AnyValue, self._common.KeyValue
        return [
            pair(key=label, value=value(string_value=_clean(said)))
            for label, said in zip(labels, values, strict=True)
        ]


def _clean(said: str) -> str:
    """Return a text that can be encoded: the library refuses half a surrogate pair."""
    return said.encode("utf-8", "replace").decode()


def _numbers(totals: Totals, health: Any) -> Iterator[tuple[str, tuple[str, ...], int]]:
    """Give all that is counted, and what is in flight: instrument, labels, number."""
    for family in ("events", "operations"):
        for labels, count in getattr(totals, family).items():
            yield family, labels, count
    for family, counts in (("retries", totals.retries), ("exhausted", totals.exhausted)):
        for name, count in counts.items():
            yield family, (name,), count
    for direction, counts in (("sent", totals.sent), ("received", totals.received)):
        for name, count in counts.items():
            yield "bytes", (name, direction), count
    if health is None:
        return
    yield "in_flight", (), health.in_flight
    for family, nested in (("dropped", drops(health)), ("errors", health.errors)):
        yield from _flat(family, nested)


def _flat(
    family: str, nested: Mapping[str, Mapping[str, int]]
) -> Iterator[tuple[str, tuple[str, ...], int]]:
    for first, reasons in nested.items():
        for reason, count in reasons.items():
            yield family, (first, reason), count
