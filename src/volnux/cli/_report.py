"""The report as plain data: one model that every format shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from volnux._tree import Forest, duration_of, name_of, place_of
from volnux.telemetry import EventMetrics, Redactor, get_slow_events, get_slow_network_ops

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from volnux._tree import Node, Record
    from volnux.telemetry import EventStats, Health, NetworkStats, Registry, RetryStats


@dataclass(frozen=True)
class Source:
    """Where the records come from.

    Attributes:
        program: the program that ran, or None for a report on files.
        files: the files that were read.
        records: how many records there were, events and network operations together.
        processes: of how many processes.
        unreported: processes of a run that were started and never told what they recorded.
        start, end: from when to when, seconds since the epoch; None without records.
        wall: seconds of that in which something can have been recorded.
        failed: whether the program did not end well, as far as it ended by itself.
        errors, notes: what was wrong with the files, one line each.
    """

    program: str | None = None
    files: tuple[str, ...] = ()
    records: int = 0
    processes: int = 0
    unreported: int = 0
    start: float | None = None
    end: float | None = None
    wall: float = 0.0
    failed: bool = False
    errors: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class EventRow:
    """The totals of one event name; `share` is its total over the wall time, above 1 if several ran at once."""

    name: str
    stats: EventStats
    share: float


@dataclass(frozen=True)
class NetworkRow:
    """The totals of one operation with one host and port."""

    host: str
    port: int | None
    operation: str
    stats: NetworkStats


@dataclass(frozen=True)
class Failure:
    """Failures that are alike: the same step, the same type of error.

    Attributes:
        name: of the event, or `operation host:port`.
        error_type: the name of the exception's class.
        error: the text of the latest.
        count: how many there are among the kept records.
        tree: where the latest happened.
    """

    name: str
    error_type: str | None
    error: str | None
    count: int
    tree: Node


@dataclass(frozen=True)
class Report:
    """Everything that a report shows, the worst first.

    Attributes:
        source: where the records come from.
        slow_after: seconds that an event has to last to be slow.
        name: the pattern that names had to match, or None.
        events: totals by event, the largest total first.
        slow_count: how many kept records are slow.
        slow: the slowest of them in their trees.
        failure_count: how many kept records are where an error arose.
        failures: groups of them, the most frequent first.
        network: totals by exchange, the most failed first.
        retries: what retrying came to.
        health: whether the records are whole.
    """

    source: Source
    slow_after: float
    name: str | None
    events: tuple[EventRow, ...]
    slow_count: int
    slow: tuple[Node, ...]
    failure_count: int
    failures: tuple[Failure, ...]
    network: tuple[NetworkRow, ...]
    retries: RetryStats
    health: Health
    publishers: Mapping[str, Any] = field(default_factory=dict)


def build(
    registry: Registry,
    source: Source,
    *,
    slow: float = 1.0,
    name: str | None = None,
    top: int = 10,
    publishers: Mapping[str, Any] | None = None,
) -> Report:
    """Return the report on what a registry holds.

    Args:
        registry: totals and kept records.
        source: where they come from.
        slow: seconds that an event or operation has to last to be slow.
        name: a pattern with `*` and `?`; only events and operations that match are reported, the
            latter by operation, host, `host:port` or `operation host:port`.
        top: how many slow records and groups of failures to show.
        publishers: what a monitor's health says about publishers.
    """
    chosen = _Chosen(name)
    records: list[Record] = [*registry.events(), *registry.network_ops()]
    forest = Forest(records, Redactor() if source.program is None else None)
    slow_ones = _slow(registry, slow, chosen)
    failed = [one for one in records if forest.is_origin(one) and chosen.has(one)]
    return Report(
        source=source,
        slow_after=slow,
        name=name,
        events=_event_rows(registry, source.wall, chosen),
        slow_count=len(slow_ones),
        slow=tuple(forest.trees(slow_ones[:top])),
        failure_count=len(failed),
        failures=tuple(_failures(forest, failed)[:top]),
        network=_network_rows(registry, chosen),
        retries=_retries(registry.retry_stats(), chosen),
        health=registry.health(),
        publishers=publishers or {},
    )


class _Chosen:
    """Which names are reported."""

    def __init__(self, pattern: str | None) -> None:
        self._pattern = pattern

    def __call__(self, *names: str) -> bool:
        """Return whether one of the names that something goes by matches."""
        return self._pattern is None or any(fnmatchcase(name, self._pattern) for name in names)

    def has_exchange(self, host: str, port: int | None, operation: str) -> bool:
        place = place_of(host, port)
        return self(operation, host, place, f"{operation} {place}")

    def has(self, record: Record) -> bool:
        if isinstance(record, EventMetrics):
            return self(record.event_name)
        return self.has_exchange(record.host, record.port, record.operation)


def _event_rows(registry: Registry, wall: float, chosen: _Chosen) -> tuple[EventRow, ...]:
    rows = [
        EventRow(name, stats, stats.total / wall if wall else 0.0)
        for name, stats in registry.event_stats().items()
        if chosen(name)
    ]
    return tuple(sorted(rows, key=lambda row: (-row.stats.total, row.name)))


def _network_rows(registry: Registry, chosen: _Chosen) -> tuple[NetworkRow, ...]:
    rows = [
        NetworkRow(*key, stats)
        for key, stats in registry.network_stats().items()
        if chosen.has_exchange(*key)
    ]
    return tuple(
        sorted(rows, key=lambda row: (-row.stats.failed, -row.stats.total, row.host, row.operation))
    )


def _slow(registry: Registry, slow: float, chosen: _Chosen) -> list[Record]:
    found: list[Record] = [
        *get_slow_events(slow, registry=registry),
        *get_slow_network_ops(slow, registry=registry),
    ]
    return sorted(filter(chosen.has, found), key=duration_of, reverse=True)


def _failures(forest: Forest, failed: Iterable[Record]) -> list[Failure]:
    groups: dict[tuple[str, str | None], list[Record]] = {}
    for record in failed:
        groups.setdefault((name_of(record), record.error_type), []).append(record)
    found = []
    for (name, error_type), alike in groups.items():
        latest = max(alike, key=lambda record: record.start_time)
        [tree] = forest.trees([latest], by_time=True)
        found.append(Failure(name, error_type, forest.error_of(latest), len(alike), tree))
    return sorted(found, key=lambda failure: (-failure.count, failure.name))


def _retries(stats: RetryStats, chosen: _Chosen) -> RetryStats:
    by_event = {name: row for name, row in stats.by_event.items() if chosen(name)}
    sums = {
        key: sum(row[key] for row in by_event.values())
        for key in ("total_retries", "total_attempts", "retried_events", "recovered", "exhausted")
    }
    return type(stats)(**sums, by_event=by_event)
