"""Running totals of one event name or one exchange, and what is shown of them."""

from __future__ import annotations

from volnux.telemetry._distribution import Distribution
from volnux.telemetry._frozen import Frozen
from volnux.telemetry._records import Status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from volnux.telemetry._raw import Extra

QUANTILES = (0.5, 0.9, 0.95, 0.99)
NS = 1e9
#: The counters of `Totals`, as they are exported.
COUNTERS = (
    "failed",
    "cancelled",
    "retries",
    "attempts",
    "retried",
    "recovered",
    "exhausted",
    "bytes_sent",
    "bytes_received",
)


class Totals:
    """Everything counted about one event name or exchange. Guarded by its registry's lock."""

    __slots__ = (*COUNTERS, "durations")

    def __init__(self) -> None:
        self.durations = Distribution()
        self.failed = 0
        self.cancelled = 0
        self.retries = 0
        self.attempts = 0
        self.retried = 0
        self.recovered = 0
        self.exhausted = 0
        self.bytes_sent = 0
        self.bytes_received = 0

    def count_outcome(self, status: str) -> None:
        """Count how it ended; completed is what remains."""
        if status == Status.FAILED:
            self.failed += 1
        elif status == Status.CANCELLED:
            self.cancelled += 1

    def count_bytes(self, sent: int, received: int) -> None:
        """Count what was exchanged."""
        self.bytes_sent += sent
        self.bytes_received += received

    def count_retries(
        self, retries: int, status: str, calls: int = 1, *, gave_up: bool = False
    ) -> None:
        """Count the attempts of one event that retried, and what came of them.

        Args:
            retries: attempts after the first, of all retried calls in it.
            status: how the event ended.
            calls: how many calls had a first attempt.
            gave_up: whether one of them was retried in vain, even if the event got over it.
        """
        if not retries:
            return
        self.retries += retries
        self.attempts += retries + calls
        self.retried += 1
        if status == Status.FAILED or (gave_up and status == Status.COMPLETED):
            self.exhausted += 1
        elif status == Status.COMPLETED:
            self.recovered += 1

    def count_event(self, extra: Extra) -> None:
        """Count what a finished event says beyond its duration."""
        self.count_outcome(extra.status)
        # Retries told by hand are one call more: that of the event itself.
        calls = extra.calls + 1 if extra.retries or not extra.calls else extra.calls
        self.count_retries(extra.retry_count, extra.status, calls, gave_up=extra.gave_up)

    def merge(self, other: Totals) -> None:
        """Add everything that others have counted."""
        self.durations.absorb(other.durations)
        for name in COUNTERS:
            counted = getattr(other, name)
            if counted:
                setattr(self, name, getattr(self, name) + counted)

    def export(self) -> dict[str, Any]:
        """Return the state as JSON-ready data; `restore` is the way back."""
        return {**self.durations.export(), **{name: getattr(self, name) for name in COUNTERS}}

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> Totals:
        """Return the totals whose `export` gave this state."""
        restored = cls()
        restored.durations = Distribution.restore(state)
        # An older volnux did not count attempts: there, an event was one call.
        state = {"attempts": state["retries"] + state["retried"], **state}
        for name in COUNTERS:
            setattr(restored, name, int(state[name]))
        return restored

    def seconds(self) -> dict[str, float | int]:
        """Return what both kinds of statistics show."""
        durations = self.durations
        p50, p90, p95, p99 = durations.quantiles(QUANTILES)
        return {
            "count": durations.count,
            "failed": self.failed,
            "cancelled": self.cancelled,
            "min": durations.min / NS,
            "max": durations.max / NS,
            "mean": durations.total / max(1, durations.count) / NS,
            "total": durations.total / NS,
            "p50": p50 / NS,
            "p90": p90 / NS,
            "p95": p95 / NS,
            "p99": p99 / NS,
        }

    def event_stats(self) -> EventStats:
        """Return the totals of an event name as users see them."""
        return EventStats(retries=self.retries, **self.seconds())

    def network_stats(self) -> NetworkStats:
        """Return the totals of an exchange as users see them."""
        return NetworkStats(
            bytes_sent=self.bytes_sent, bytes_received=self.bytes_received, **self.seconds()
        )


class _Stats(Frozen):
    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the statistics as JSON-ready data."""
        return self._as_dict()


class EventStats(_Stats):
    """Exact totals of all finished events of one name, for the life of the registry.

    Attributes:
        count: finished events, whatever came of them.
        failed, cancelled: how many of them were.
        retries: attempts after the first of each retried call, summed.
        min, max, mean, total: seconds.
        p50, p90, p95, p99: seconds, each within 2.5 % of the true quantile (nearest rank).
    """

    __slots__ = ()
    _fields = (
        "count",
        "failed",
        "cancelled",
        "retries",
        "min",
        "max",
        "mean",
        "total",
        "p50",
        "p90",
        "p95",
        "p99",
    )
    count: int
    failed: int
    cancelled: int
    retries: int
    min: float
    max: float
    mean: float
    total: float
    p50: float
    p90: float
    p95: float
    p99: float


class NetworkStats(_Stats):
    """Exact totals of all finished operations with one host, port and operation.

    Attributes:
        count: finished operations, whatever came of them.
        failed, cancelled: how many of them were.
        bytes_sent, bytes_received: sums, including those of failed operations.
        min, max, mean, total: latency in seconds.
        p50, p90, p95, p99: seconds, each within 2.5 % of the true quantile (nearest rank).
    """

    __slots__ = ()
    _fields = (
        "count",
        "failed",
        "cancelled",
        "bytes_sent",
        "bytes_received",
        "min",
        "max",
        "mean",
        "total",
        "p50",
        "p90",
        "p95",
        "p99",
    )
    count: int
    failed: int
    cancelled: int
    bytes_sent: int
    bytes_received: int
    min: float
    max: float
    mean: float
    total: float
    p50: float
    p90: float
    p95: float
    p99: float


class RetryStats(_Stats):
    """What retrying came to, over all finished events.

    Attributes:
        total_retries: attempts after the first of each retried call, summed.
        total_attempts: all attempts of the events that retried, the first ones included; events
            that succeeded at once are not among them.
        retried_events: events with at least one retry.
        recovered: those of them that completed, no call in them having been retried in vain.
        exhausted: those of them that failed all the same, and those that completed although a call
            in them gave up. The rest were cancelled.
        by_event: event name -> the same five numbers, for names that retried.
    """

    __slots__ = ()
    _fields = (
        "total_retries",
        "total_attempts",
        "retried_events",
        "recovered",
        "exhausted",
        "by_event",
    )
    total_retries: int
    total_attempts: int
    retried_events: int
    recovered: int
    exhausted: int
    by_event: dict[str, dict[str, int]]

    def __hash__(self) -> int:
        return hash((self.total_retries, self.retried_events))


def retry_stats(events: Mapping[str, Totals]) -> RetryStats:
    """Return the retry statistics of many event names."""
    by_event = {
        name: {
            "total_retries": totals.retries,
            "total_attempts": totals.attempts,
            "retried_events": totals.retried,
            "recovered": totals.recovered,
            "exhausted": totals.exhausted,
        }
        for name, totals in events.items()
        if totals.retried
    }
    sums = {
        key: sum(numbers[key] for numbers in by_event.values())
        for key in RetryStats._fields
        if key != "by_event"
    }
    return RetryStats(**sums, by_event=by_event)


class Health(_Stats):
    """Whether the records are whole: what was recorded, lost, and swallowed.

    `started == finished + in_flight` always holds.

    Attributes:
        started, finished, in_flight: events and network operations together.
        evicted: finished ones whose single record was let go, to stay within the capacity.
        errors: stage -> reason -> how often something inside volnux was swallowed or cut.
        publishers: name -> `accepted`, `delivered`, `dropped` (reason -> count), `pending`,
            `spooled`; filled in by `Monitor.health()`.
        remote: calls sent to other processes by `propagate`: `sent`, `reported`, `missing`
            (still out, or lost with their process).
    """

    __slots__ = ()
    _fields = (
        "started",
        "finished",
        "in_flight",
        "evicted",
        "errors",
        "publishers",
        "remote",
    )
    _defaults = {"publishers": {}, "remote": {"sent": 0, "reported": 0, "missing": 0}}
    started: int
    finished: int
    in_flight: int
    evicted: int
    errors: dict[str, dict[str, int]]
    publishers: dict[str, dict[str, Any]]
    remote: dict[str, int]
