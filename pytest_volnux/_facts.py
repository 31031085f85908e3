"""What can be said of the records of a test: its failures, its retries, its bytes and hosts."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from volnux._tree import Forest, duration_of, name_of, place_of
from volnux.telemetry import EventMetrics, Status
from volnux.telemetry._switch import is_disabled
from volnux.telemetry._watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from volnux._tree import Record
    from volnux.telemetry import NetworkMetrics, Registry


#: Seconds that times of day may be off: they are floats.
_ROUNDING: Final = 2e-6


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
        #: By `task_id`, the file and the line of the program that began it, if somebody may ask.
        self.places: dict[str, tuple[str, int]] = {}
        for one in registries:
            self.places.update(one.places() if isinstance(one, Watch) else {})
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

    def failed_for_good(
        self, allowed: Sequence[str] = (), names: Sequence[str] = ()
    ) -> list[Record]:
        """Return the failures but for those in attempts that were retried, where that went well in the end.

        Args:
            allowed: globs of events that may fail, and what fails in them.
            names: globs of the events to look at, and what is in them; all without any.
        """
        return [
            it
            for it in self.failures(allowed)
            if not any(map(_got_over(it), self.path(it)))
            and not (names and not any(matches(name_of(up), names) for up in self.path(it)))
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
        return [op for op in self.ops if not is_with(op, hosts)]

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
            off = ", for VOLNUX_TELEMETRY switches telemetry off" if is_disabled() else ""
            return f"no event was recorded{off}"
        often = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        rest = f" and {len(often) - 8} more names" if len(often) > 8 else ""
        return "seen: " + ", ".join(f"{name} x{count}" for name, count in often[:8]) + rest


def has_recovered(event: EventMetrics) -> bool:
    """Return whether an event was retried and completed, no call in it having been retried in vain."""
    if not event.retry_count or event.status != Status.COMPLETED or not event.attempts:
        return False
    following = [*event.attempts[1:], None]
    return not any(
        attempt.outcome == Status.FAILED and (after is None or after.number <= attempt.number)
        for attempt, after in zip(event.attempts, following, strict=True)
    )


def _got_over(failure: Record) -> Callable[[Record], bool]:
    """Return what says of an event whether it got over a failure in it, by trying again."""

    def got_over(around: Record) -> bool:
        if not isinstance(around, EventMetrics) or not has_recovered(around):
            return False
        if around.end_time is None or failure.end_time is None:
            return False
        return failure.end_time <= around.end_time - around.attempts[-1].duration + _ROUNDING

    return got_over


def bytes_of(ops: Iterable[NetworkMetrics]) -> int:
    """Return the bytes of operations, both ways."""
    return sum(op.bytes_sent + op.bytes_received for op in ops)


def matches(name: str, globs: Iterable[str]) -> bool:
    """Return whether one of the globs names it."""
    return any(name == glob or fnmatchcase(name, glob) for glob in globs)


def is_with(op: NetworkMetrics, hosts: Sequence[str]) -> bool:
    """Return whether one of the globs names an operation's host, as `host` or `host:port`."""
    return matches(op.host, hosts) or matches(place_of(op.host, op.port), hosts)
