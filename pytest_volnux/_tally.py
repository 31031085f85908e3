"""What happened in the whole run, in bounded memory: totals, and the few records that matter."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from volnux._tree import Forest, duration_of, name_of
from volnux.telemetry import EventMetrics, Registry, Status, get_slow_events

if TYPE_CHECKING:
    from collections.abc import Iterable

    from volnux._tree import Record

#: Failures that are listed one by one; all of them are counted.
FAILURES: Final = 1_000


@dataclass(frozen=True)
class Notable:
    """A record that a report names.

    Attributes:
        where: the test, the fixture, or what else it was recorded in.
        name: the event's name, or `operation host:port`.
        seconds: how long it took.
        error_type, error: what went wrong, or None.
    """

    where: str
    name: str
    seconds: float
    error_type: str | None = None
    error: str | None = None


@dataclass
class Group:
    """What was recorded in one kind of place: the tests, a fixture, the threads that a test left.

    Attributes:
        registry: totals, without any single record.
        phases: how often something was recorded there.
    """

    registry: Registry = field(default_factory=lambda: Registry(capacity=0))
    phases: int = 0


class Tally:
    """Adds up the parts of a run. A part is what one phase of a test, or one fixture, recorded.

    Args:
        slow: what takes longer is slow, in seconds.
        top: how many of the slowest are kept.
    """

    def __init__(self, slow: float, top: int) -> None:
        self._slow, self._top = slow, top
        self.tests = Group()
        self.fixtures: dict[str, Group] = {}
        self.orphans: dict[str, Group] = {}
        self.outside = Group()
        #: Tests that recorded something.
        self.nodeids: set[str] = set()
        self.slowest: list[Notable] = []
        self.slow = 0
        self.failures: list[Notable] = []
        self.failed = 0

    def part(self, kind: str, where: str, registries: Iterable[Registry]) -> dict[str, Any] | None:
        """Return what was recorded in one place as JSON-ready data for `add`; None for nothing.

        Args:
            kind: "test", "fixture", "orphans" or "outside".
            where: the name of the place: a test's nodeid, a fixture's scope and name.
        """
        states = [one.export(records=False) for one in registries]
        states = [state for state in states if state["finished"] or state["in_flight"]]
        if not states:
            return None
        failed = [it for one in registries for it in _failures(one)]
        bound = min(self._slow, self._least())
        long = [it for one in registries for it in get_slow_events(bound, one)]
        return {
            "kind": kind,
            "where": where,
            "states": states,
            "failed": len(failed),
            "failures": [_said(it) for it in failed[:FAILURES]],
            "slow": sum(it.duration > self._slow for it in long),
            "slowest": [_said(it) for it in sorted(long, key=duration_of)[::-1][: self._top]],
        }

    def _least(self) -> float:
        """Return the seconds that an event has to exceed to be among the slowest."""
        return self.slowest[-1].seconds if len(self.slowest) >= self._top > 0 else 0.0

    def add(self, part: dict[str, Any]) -> None:
        """Add a part, of this process or of another."""
        kind, where = part["kind"], part["where"]
        if kind == "test":
            group = self.tests
            self.nodeids.add(where)
        elif kind == "outside":
            group = self.outside
        else:
            groups = self.fixtures if kind == "fixture" else self.orphans
            group = groups.setdefault(where, Group())
        group.phases += 1
        for state in part["states"]:
            group.registry.merge(state)
        self.failed += part["failed"]
        self.slow += part["slow"]
        self.failures += [Notable(where, *said) for said in part["failures"]]
        if part["slowest"]:
            self.slowest += [Notable(where, *said) for said in part["slowest"]]
            self.slowest.sort(key=lambda it: (-it.seconds, it.where, it.name))
            del self.slowest[self._top :]
        if len(self.failures) > 2 * FAILURES:
            self._order_failures()

    def _order_failures(self) -> None:
        # The same ones, whichever process was first.
        self.failures.sort(key=lambda it: (it.where, it.name, it.seconds))
        del self.failures[FAILURES:]

    def finish(self) -> None:
        """Bring what is listed into the order that reports have, whoever ran the tests."""
        self._order_failures()
        self.fixtures = dict(sorted(self.fixtures.items()))
        self.orphans = dict(sorted(self.orphans.items()))

    def whole(self) -> Registry:
        """Return all of it together."""
        whole = Registry(capacity=0)
        groups = (self.tests, self.outside, *self.fixtures.values(), *self.orphans.values())
        for group in groups:
            whole.merge(group.registry.export())
        return whole


def _failures(registry: Registry) -> list[Record]:
    events = registry.events(status=Status.FAILED)
    ops = registry.network_ops(status=Status.FAILED)
    if not events and not ops:
        return []
    forest = Forest([*events, *ops])
    records: list[Record] = [*events, *ops]
    return [it for it in records if forest.is_origin(it)]


def _said(record: Record) -> tuple[str, float, str | None, str | None]:
    error = record.error if not isinstance(record, EventMetrics) or record.error else None
    return name_of(record), duration_of(record), record.error_type, error
