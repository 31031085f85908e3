"""What can be said of the records of a test: its failures, its retries, its bytes and hosts."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from volnux._tree import Forest, duration_of, name_of, place_of
from volnux.telemetry import EventMetrics, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from volnux._tree import Record
    from volnux.telemetry import NetworkMetrics, Registry


class Facts:
    """The records of some registries, oldest first.

    Attributes:
        events, ops: the records.
        missing: how many records were let go, to stay within the capacity.
    """

    def __init__(self, registries: Iterable[Registry]) -> None:
        registries = tuple(registries)
        self.events: list[EventMetrics] = [it for one in registries for it in one.events()]
        self.ops: list[NetworkMetrics] = [it for one in registries for it in one.network_ops()]
        self.missing = sum(one.health().evicted for one in registries)
        records: list[Record] = [*self.events, *self.ops]
        self._by_id = {it.task_id: it for it in records}
        self.forest = Forest(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    def records(self) -> list[Record]:
        """Return all of them."""
        return list(self._by_id.values())

    def named(self, names: Sequence[str]) -> list[EventMetrics]:
        """Return the events that one of the globs names; all of them without any."""
        return [event for event in self.events if not names or matches(event.event_name, names)]

    def failures(self, allowed: Sequence[str] = ()) -> list[Record]:
        """Return where errors arose, but for those that came by an event which may fail."""
        return [
            record
            for record in self.records()
            if self.forest.is_origin(record)
            and not (allowed and any(matches(name_of(it), allowed) for it in self.path(record)))
        ]

    def path(self, record: Record) -> Iterator[Record]:
        """Yield a record and what it ran under, from the inside out."""
        seen: set[str] = set()
        here: Record | None = record
        while here is not None and here.task_id not in seen:
            seen.add(here.task_id)
            yield here
            here = self._by_id.get(here.parent_id or "")

    def inside(self, names: Sequence[str]) -> list[NetworkMetrics]:
        """Return the operations that ran in one of the events so named."""
        return [
            op
            for op in self.ops
            if any(
                isinstance(it, EventMetrics) and matches(it.event_name, names)
                for it in self.path(op)
            )
        ]

    def strangers(self, hosts: Sequence[str]) -> list[NetworkMetrics]:
        """Return the operations with hosts that none of the globs names, as `host` or `host:port`."""
        return [
            op
            for op in self.ops
            if not (matches(op.host, hosts) or matches(place_of(op.host, op.port), hosts))
        ]

    def slow(self, seconds: float, names: Sequence[str] = ()) -> list[EventMetrics]:
        """Return the events that took longer, slowest first."""
        found = [event for event in self.named(names) if event.duration > seconds]
        return sorted(found, key=duration_of, reverse=True)

    def seen(self) -> str:
        """Return which events there were: `seen: parse x3, load x1`, the most frequent first."""
        counts: dict[str, int] = {}
        for event in self.events:
            counts[event.event_name] = counts.get(event.event_name, 0) + 1
        if not counts:
            return "no event was recorded"
        often = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        rest = f" and {len(often) - 8} more names" if len(often) > 8 else ""
        return "seen: " + ", ".join(f"{name} x{count}" for name, count in often[:8]) + rest


def bytes_of(ops: Iterable[NetworkMetrics]) -> int:
    """Return the bytes of operations, both ways."""
    return sum(op.bytes_sent + op.bytes_received for op in ops)


def matches(name: str, globs: Iterable[str]) -> bool:
    """Return whether one of the globs names it."""
    return any(name == glob or fnmatchcase(name, glob) for glob in globs)


def has_failed(record: Record) -> bool:
    """Return whether a record is of a failure."""
    return record.status == Status.FAILED
