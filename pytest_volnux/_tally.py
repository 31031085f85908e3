"""What happened in the whole run, in bounded memory: totals, and the few records that matter."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from volnux.telemetry import EventMetrics, Registry, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_volnux._annotations import Spot, Spots
    from pytest_volnux._capture import Attempt
    from volnux._tree import Record
    from volnux.telemetry._watch import Watch

#: Failures that are listed one by one; all of them are counted.
FAILURES: Final = 1_000


class Notable(NamedTuple):
    """A record that a report names.

    Attributes:
        where: the test, the fixture, or what else it was recorded in.
        phase: of a test, "setup", "call" or "teardown"; "" of all else.
        name: the event's name, or `operation host:port`.
        seconds: how long it took.
        error_type, error: what went wrong, or None.
    """

    where: str
    phase: str
    name: str
    seconds: float
    error_type: str | None = None
    error: str | None = None


class Worst(NamedTuple):
    """What matters of the records of one place.

    Attributes:
        failed: how many errors arose that nothing excuses.
        failures: the first of them.
        excused: how many errors arose that may, or that a retry got over.
        slow: how many events were slow.
        slowest: the slowest events, if they are among the slowest of the run so far.
        spots: where in the program all that is that failed or was slow, in GitHub's actions.
    """

    failed: int = 0
    excused: int = 0
    failures: list[Notable] = []  # never changed
    slow: int = 0
    slowest: list[Notable] = []  # never changed
    spots: list[Spot] = []  # never changed


class Tally:
    """Adds up the parts of a run. A part is what one attempt of a test, or one fixture, recorded.

    Parts are of a kind, "test", "fixture", "orphans" or "outside", and somewhere: in a test, by its
    nodeid, or in a fixture, by its name and scope.

    Args:
        slow: what takes longer is slow, in seconds.
        top: how many of the slowest are kept.
        parts: takes what is added up here as JSON-ready data, for `add` in another process.

    Attributes:
        tests, outside: totals, without any single record.
        fixtures, orphans: likewise, by where.
        spots: where in the program it failed or was slow; None where nobody annotates it.
    """

    def __init__(self, slow: float, top: int, parts: list[dict[str, Any]] | None = None) -> None:
        self._slow, self._top = slow, top
        self._parts = parts
        self.tests = Registry(capacity=0)
        self.fixtures: dict[str, Registry] = {}
        self.orphans: dict[str, Registry] = {}
        self.outside = Registry(capacity=0)
        #: Tests that recorded something.
        self.nodeids: set[str] = set()
        self.slowest: list[Notable] = []
        self.slow = 0
        self.failures: list[Notable] = []
        self.failed = 0
        self.excused = 0
        self.spots: Spots | None = None
        if os.environ.get("GITHUB_ACTIONS") == "true":
            from pytest_volnux._annotations import Spots

            self.spots = Spots()

    def take(
        self,
        kind: str,
        where: str,
        watch: Watch,
        attempt: Attempt | None = None,
        *,
        anyway: bool = False,
    ) -> bool:
        """Add a part that was recorded in this process, if all in it has ended, or anyway.

        Args:
            kind, where: of the part.
            watch: what it was recorded into.
            attempt: of a test, what knows its phases, and what may fail in it.
            anyway: do not wait for what has not ended.

        Returns:
            Whether it was added. It is as it was before.
        """
        if not watch.has_entries():
            return True
        if not anyway and watch.is_in_flight():
            return False
        worst = self._worst(where, watch, attempt)
        if self._parts is not None:
            totals = watch.export(records=False)
            self._parts.append({"kind": kind, "where": where, "registry": totals, "worst": worst})
        watch.pour_into(self._group(kind, where))
        self._add(worst)
        return True

    def take_plain(self, kind: str, where: str, watch: Watch) -> None:
        """Add a part and empty it, if all in it has ended and no record is worth a look; see `take`."""
        if self._parts is None and watch.has_entries():
            watch.hand_over(self._group(kind, where), self._worth_a_look())

    def add(self, part: dict[str, Any]) -> None:
        """Add a part that another process recorded."""
        self._group(part["kind"], part["where"]).merge(part["registry"])
        worst = Worst(*part["worst"])
        failures, slowest = (
            [Notable(*one) for one in found] for found in (worst.failures, worst.slowest)
        )
        self._add(worst._replace(failures=failures, slowest=slowest, spots=_spots(worst.spots)))

    def _group(self, kind: str, where: str) -> Registry:
        if kind == "test":
            self.nodeids.add(where)
            return self.tests
        if kind == "outside":
            return self.outside
        groups = self.fixtures if kind == "fixture" else self.orphans
        if where not in groups:
            groups[where] = Registry(capacity=0)
        return groups[where]

    def _worth_a_look(self) -> float:
        """Return the seconds above which something is slow, or among the slowest so far."""
        return min(self._slow, self._least())

    def _least(self) -> float:
        return self.slowest[-1].seconds if len(self.slowest) >= self._top > 0 else 0.0

    def _worst(self, where: str, watch: Watch, attempt: Attempt | None) -> Worst:
        found = watch.notable(self._worth_a_look())
        if not found:
            return Worst()
        from volnux._tree import duration_of, name_of

        starts = {record.task_id: start for start, record in found}

        def notable(record: Record) -> Notable:
            phase = "" if attempt is None else attempt.phase_of(watch, starts[record.task_id])
            what = name_of(record), duration_of(record), record.error_type, record.error
            return Notable(where, phase, *what)

        failed: Sequence[Record] = ()
        count = 0
        slow = [it for _, it in found if isinstance(it, EventMetrics) and it.duration > self._slow]
        spots: list[Spot] = []
        has_failed = any(record.status == Status.FAILED for _, record in found)
        if has_failed or (slow and self.spots is not None):
            from pytest_volnux._facts import Facts

            facts = Facts([watch])
            count = len(facts.failures())
            failed = facts.failed_for_good(() if attempt is None else attempt.allowed())
            for kind, records in (("failed", failed), ("slow", slow)):
                if self.spots is not None:
                    spots += self.spots.of(kind, records, facts.path, notable)
        least = self._least()
        long = [it for _, it in found if isinstance(it, EventMetrics) and it.duration > least]
        long.sort(key=duration_of, reverse=True)
        return Worst(
            len(failed),
            count - len(failed),
            [notable(record) for record in failed[:FAILURES]],
            len(slow),
            [notable(record) for record in long[: self._top]],
            spots,
        )

    def _add(self, worst: Worst) -> None:
        self.failed += worst.failed
        self.excused += worst.excused
        self.slow += worst.slow
        if worst.failures:
            self.failures += worst.failures
            if len(self.failures) > 2 * FAILURES:
                self._order_failures()
        if worst.spots and self.spots is not None:
            self.spots.add(worst.spots)
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
            whole.merge(group.export())
        return whole


def _spots(found: list[Any]) -> list[Spot]:
    if not found:
        return []
    from pytest_volnux._annotations import Spot

    return [Spot(*one)._replace(worst=Notable(*one[-1])) for one in found]
