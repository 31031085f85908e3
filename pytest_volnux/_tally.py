"""What happened in the whole run, in bounded memory: totals, and the few records that matter."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from volnux._tree import Forest, duration_of, name_of
from volnux.telemetry import EventMetrics, Registry, Status

if TYPE_CHECKING:
    from volnux._tree import Record
    from volnux.telemetry._watch import Watch

#: Failures that are listed one by one; all of them are counted.
FAILURES: Final = 1_000


class Notable(NamedTuple):
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


class Worst(NamedTuple):
    """What matters of the records of one place.

    Attributes:
        failed: how many errors arose.
        failures: the first of them.
        slow: how many events were slow.
        slowest: the slowest events, if they are among the slowest of the run so far.
    """

    failed: int = 0
    failures: list[Notable] = []  # never changed
    slow: int = 0
    slowest: list[Notable] = []  # never changed


@dataclass
class Group:
    """What was recorded in one kind of place: the tests, a fixture, the threads that a test left.

    Attributes:
        registry: totals, without any single record.
    """

    registry: Registry = field(default_factory=lambda: Registry(capacity=0))


class Tally:
    """Adds up the parts of a run. A part is what one phase of a test, or one fixture, recorded.

    Parts are of a kind, "test", "fixture", "orphans" or "outside", and somewhere: in a test, by its
    nodeid, or in a fixture, by its name and scope.

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

    def take(self, kind: str, where: str, watch: Watch) -> None:
        """Add a part that was recorded in this process."""
        watch.pour_into(self._group(kind, where).registry)
        self._add(self._worst(where, watch))

    def part(self, kind: str, where: str, watch: Watch) -> dict[str, Any]:
        """Return a part as JSON-ready data, for `add` in another process."""
        worst = self._worst(where, watch)
        self._add(worst)  # so that less and less is among the slowest
        return {
            "kind": kind,
            "where": where,
            "registry": watch.export(records=False),
            "worst": worst,
        }

    def add(self, part: dict[str, Any]) -> None:
        """Add a part that another process recorded."""
        self._group(part["kind"], part["where"]).registry.merge(part["registry"])
        failed, failures, slow, slowest = part["worst"]
        failures, slowest = ([Notable(*one) for one in found] for found in (failures, slowest))
        self._add(Worst(failed, failures, slow, slowest))

    def _group(self, kind: str, where: str) -> Group:
        if kind == "test":
            self.nodeids.add(where)
            return self.tests
        if kind == "outside":
            return self.outside
        groups = self.fixtures if kind == "fixture" else self.orphans
        if where not in groups:
            groups[where] = Group()
        return groups[where]

    def _worst(self, where: str, watch: Watch) -> Worst:
        least = self.slowest[-1].seconds if len(self.slowest) >= self._top > 0 else 0.0
        found = watch.notable(min(self._slow, least))
        if not found:
            return Worst()
        failed = [record for record in found if record.status == Status.FAILED]
        if failed:
            forest = Forest(failed)
            failed = [record for record in failed if forest.is_origin(record)]
        long = [it for it in found if isinstance(it, EventMetrics) and it.duration > least]
        long.sort(key=duration_of, reverse=True)
        return Worst(
            len(failed),
            [_notable(where, record) for record in failed[:FAILURES]],
            sum(isinstance(it, EventMetrics) and it.duration > self._slow for it in found),
            [_notable(where, record) for record in long[: self._top]],
        )

    def _add(self, worst: Worst) -> None:
        self.failed += worst.failed
        self.slow += worst.slow
        if worst.failures:
            self.failures += worst.failures
            if len(self.failures) > 2 * FAILURES:
                self._order_failures()
        if worst.slowest:
            self.slowest += worst.slowest
            self.slowest.sort(key=lambda it: (-it.seconds, it.where, it.name))
            del self.slowest[self._top :]

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


def _notable(where: str, record: Record) -> Notable:
    return Notable(where, name_of(record), duration_of(record), record.error_type, record.error)
