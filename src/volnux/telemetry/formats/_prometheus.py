"""Records as running totals, the way that Prometheus counts."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple

from volnux.telemetry._records import NetworkMetrics, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from volnux.telemetry._records import EventMetrics

#: Upper bounds of durations in seconds, in steps of 1, 2.5 and 5 up to ten seconds and in those of a clock from
#: there on, since a step of a pipeline may take a fraction of a millisecond or an hour.
BOUNDS = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1),
    *(0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0),
)
#: The name of all those that come when there are too many.
OTHER = "__other__"
OUTCOMES = (Status.COMPLETED, Status.FAILED, Status.CANCELLED)
#: Why records are dropped: counted from 0 on, or `increase` would miss the first ones.
REASONS = (
    *("queue_full", "queue_bytes", "rejected", "poison", "closed", "shutdown"),
    *("spool_full", "spool_age", "spool_lost"),
)

_EVENT, _NETWORK = 0, 1


def checked_bounds(buckets: Sequence[float]) -> tuple[float, ...]:
    """Return upper bounds of buckets without the infinite one.

    Raises:
        ValueError: they are no such bounds.
    """
    bounds = tuple(float(bound) for bound in buckets if bound != float("inf"))
    if not bounds or list(bounds) != sorted(set(bounds)) or bounds[0] <= 0:
        raise ValueError(f"buckets must be seconds above 0, ascending, not {buckets!r}")
    return bounds


def brief_observation(brief: Sequence[Any]) -> tuple[Any, ...]:
    """Return what is counted of an event by what `brief_of` gives: as `observation`, its identifiers as they are."""
    name, number, _, trace, start, lasted = brief[:6]
    ended = (start + lasted // 1_000) / 1e6
    return _EVENT, name, Status.COMPLETED, lasted / 1e9, ended, number, 0, 0, trace


def observation(record: EventMetrics | NetworkMetrics) -> list[Any]:
    """Return what is counted of a record: kind, name, status, seconds, when, which, two numbers, and its trace."""
    ended = record.start_time if record.end_time is None else record.end_time
    if isinstance(record, NetworkMetrics):
        return [
            *(_NETWORK, record.operation, record.status, record.latency, ended, record.task_id),
            *(record.bytes_sent, record.bytes_received, record.trace_id),
        ]
    return [
        *(_EVENT, record.event_name, record.status, record.duration, ended, record.task_id),
        *(record.retry_count, int(_is_exhausted(record)), record.trace_id),
    ]


def _is_exhausted(event: EventMetrics) -> bool:
    """Whether an event was retried in vain, or a call in it was, as `RetryStats.exhausted` counts it."""
    if not event.retry_count or event.status != Status.COMPLETED:
        return bool(event.retry_count) and event.status == Status.FAILED
    # Attempts of several calls stand one call after the other, each from 1 on.
    attempts = event.attempts
    return any(
        one.outcome == Status.FAILED and (after is None or after.number == 1)
        for one, after in zip(attempts, (*attempts[1:], None), strict=False)
    )


def drops(health: Any) -> dict[str, dict[str, int]]:
    """Return how many records were dropped, by publisher and by reason, with every reason that there is."""
    return {
        name: {**dict.fromkeys(REASONS, 0), **counts["dropped"]}
        for name, counts in health.publishers.items()
    }


class Durations:
    """A histogram: counts by bucket, their sum, and one example of each bucket."""

    __slots__ = ("counts", "examples", "state", "total")

    def __init__(self, buckets: int, state: int = 0) -> None:
        #: Which of the states that were looked at it belongs to.
        self.state = state
        self.counts = [0] * buckets
        self.total = 0.0
        #: Value, `task_id`, time and `trace_id` of the last one in each bucket, as they were observed.
        self.examples: list[tuple[float, Any, float, Any] | None] = [None] * buckets

    def copy(self, state: int) -> Durations:
        """Return it as it is now, for a state to come."""
        copy = Durations(0, state)
        copy.counts, copy.total, copy.examples = self.counts[:], self.total, self.examples[:]
        return copy


class Totals(NamedTuple):
    """Everything that was counted, at one moment.

    Attributes:
        event_durations: by name and status.
        events: how many, by name and status; each name has every status.
        retries: by name.
        exhausted: events that were retried in vain, by name.
        operation_durations: by operation and outcome.
        operations: how many, by operation and outcome; each operation has every outcome.
        sent, received: bytes by operation.
    """

    event_durations: dict[tuple[str, str], Durations]
    events: dict[tuple[str, str], int]
    retries: dict[str, int]
    exhausted: dict[str, int]
    operation_durations: dict[tuple[str, str], Durations]
    operations: dict[tuple[str, str], int]
    sent: dict[str, int]
    received: dict[str, int]


class Accumulator:
    """Adds observations up. Not safe from several threads: who uses it has a lock.

    Who looks at the totals keeps it for some microseconds only: a histogram is copied when it changes next.

    Args:
        bounds: upper bounds of the buckets, ascending.
        max_names: how many names, and how many operations, are counted by themselves.
    """

    def __init__(self, bounds: Sequence[float], max_names: int) -> None:
        self._bounds = bounds
        self._max_names = max_names
        self._state = 0
        self._totals = Totals({}, {}, {}, {}, {}, {}, {}, {})

    def add(self, observations: Iterable[Sequence[Any]]) -> None:
        """Count what was observed."""
        totals = self._totals
        for kind, name, status, seconds, ended, task, first, second, trace in observations:
            if kind == _EVENT:
                known = self._known(totals.retries, totals.events, name)
                totals.events[known, status] = totals.events.get((known, status), 0) + 1
                totals.retries[known] += first
                totals.exhausted[known] = totals.exhausted.get(known, 0) + second
                series = totals.event_durations
            else:
                known = self._known(totals.sent, totals.operations, name)
                totals.operations[known, status] = totals.operations.get((known, status), 0) + 1
                totals.sent[known] += first
                totals.received[known] = totals.received.get(known, 0) + second
                series = totals.operation_durations
            durations = series.get((known, status))
            if durations is None:
                durations = Durations(len(self._bounds) + 1, self._state)
                series[known, status] = durations
            elif durations.state != self._state:  # somebody looks at it
                durations = series[known, status] = durations.copy(self._state)
            bucket = bisect_left(self._bounds, seconds)
            durations.counts[bucket] += 1
            durations.total += seconds
            durations.examples[bucket] = (seconds, task, ended, trace)

    def _known(self, names: dict[str, int], counts: dict[tuple[str, str], int], name: str) -> str:
        """Return the name to count under; a new one begins at 0 everywhere, or `increase` misses its first."""
        if name not in names:
            if len(names) >= self._max_names and name != OTHER:
                return self._known(names, counts, OTHER)
            names[name] = 0
            counts.update(((name, status), 0) for status in OUTCOMES)
        return name

    def totals(self) -> Totals:
        """Return everything as it is now. It stays so."""
        self._state += 1
        return Totals._make([counts.copy() for counts in self._totals])
