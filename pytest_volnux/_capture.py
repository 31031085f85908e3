"""Which test has what is recorded: its attempts and phases, shared fixtures, what comes too late."""

from __future__ import annotations

import threading
from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from pytest_volnux._children import Children
from volnux.telemetry._watch import Turns, Watch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from volnux.telemetry import Clock

#: Single records that are kept of one test, of each kind.
CAPACITY: Final = 10_000
OUTSIDE: Final = "outside of tests"
#: Registries kept for the next test: making one takes longer than a small test's records do.
SPARE: Final = 3
#: Tests that are known by name when a process comes home late.
LAST: Final = 1_000


class Attempt:
    """One run of one test.

    Attributes:
        nodeid: the test's.
        phases: "setup", "call", "teardown" -> what was recorded in each; those that recorded nothing are
            missing.
    """

    def __init__(self, nodeid: str) -> None:
        self.nodeid = nodeid
        self.phases: dict[str, list[Watch]] = defaultdict(list)
        self.threads = set(threading.enumerate())

    def watches(self) -> list[Watch]:
        """Return all that was recorded in it so far."""
        return [watch for watches in self.phases.values() for watch in watches]


class Capture:
    """Gives the turn to whoever runs: an attempt's phase, a shared fixture, or nobody's."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.outside = Watch(self.turns, capacity=CAPACITY)
        self.attempt: Attempt | None = None
        #: (scope, name) of a fixture that several tests share -> what it recorded.
        self.fixtures: dict[tuple[str, str], list[Watch]] = defaultdict(list)
        #: Attempts that are over, and whose threads are not.
        self.orphaned: list[tuple[str, Watch]] = []
        self._children = Children(self.turns)
        #: How many attempts there were, and of which tests the last ones were, by their number.
        self._number = 0
        self._last: dict[int, str] = {}
        self._clock: Clock | None = None
        self._spare: list[Watch] = []
        #: The next phase's, between two phases of a test: a server in a thread may be late by a bit.
        self._next: Watch | None = None

    def begin(self) -> None:
        """Have the process record from now on."""
        self.turns.give(self.outside)

    def end(self) -> None:
        """Have it record no more."""
        self.turns.give(None)

    def close(self) -> None:
        """Leave nothing behind."""
        self.end()
        self._children.forget()

    def start(self, nodeid: str) -> Attempt:
        """Begin an attempt of a test."""
        self.attempt = Attempt(nodeid)
        self._next = None
        self.turns.places = None
        self._number += 1
        self._last[self._number] = nodeid
        self._last.pop(self._number - LAST, None)
        self._children.expect(self._number)
        return self.attempt

    def phase(self, when: str) -> None:
        """Begin a phase of the attempt."""
        if self.attempt is not None:
            watch, self._next = self._next or self._fresh(), None
            self.attempt.phases[when].append(watch)
            self.turns.give(watch)

    def bring_home(self) -> None:
        """Take in what the processes that were started have recorded, if they have ended."""
        self._children.bring(self._whose)

    def _whose(self, number: int) -> Watch:
        """Return where the records of a process belong that an attempt of this number has started."""
        now = self.turns.now
        if self.attempt is not None and number == self._number and now is not None:
            return now
        if number not in self._last:
            return self.outside
        late = Watch(self.turns, capacity=CAPACITY)
        self.orphaned.append((self._last[number], late))
        return late

    def phase_over(self, when: str) -> None:
        """Let the turn of the next phase begin, or nobody's after the last."""
        if self.attempt is not None and when != "teardown":
            self._next = self._fresh()
        self.turns.give(self._next or self.outside)
        if self.attempt is not None:
            watches = self.attempt.phases.pop(when)
            filled = [watch for watch in watches if watch.has_entries()]
            if filled:
                self.attempt.phases[when] = filled
                self.turns.close(*filled)
            for watch in watches:
                if watch not in filled:
                    self._spare_one(watch)

    def finish(self) -> Attempt | None:
        """End the attempt; what its threads go on to record is reported as coming late."""
        attempt = self.attempt
        self._clock = None
        if attempt is None:
            return None
        left = [thread for thread in threading.enumerate() if thread not in attempt.threads]
        left = [thread for thread in left if not _is_worker(thread)]
        if left:
            late = Watch(self.turns, capacity=CAPACITY)
            self.turns.leave_behind(left, late)
            self.orphaned.append((attempt.nodeid, late))
        return attempt

    def set_clock(self, clock: Clock | None) -> None:
        """Time what comes in this attempt by a clock, or by the system's again."""
        self._clock = clock
        attempt, now = self.attempt, self.turns.now
        for watches in () if attempt is None else attempt.phases.values():
            if now in watches:
                watches.append(Watch(self.turns, clock, CAPACITY))
                self.turns.give(watches[-1])
                return

    @contextmanager
    def fixture(self, scope: str, name: str) -> Iterator[None]:
        """Give the turn to a fixture that several tests share, and back."""
        watch = Watch(self.turns, capacity=CAPACITY)
        before = self.turns.give(watch)
        try:
            yield
        finally:
            self.turns.give(before)
            if watch.has_entries():
                self.fixtures[scope, name].append(watch)
            self.turns.close(watch)
            if self.attempt is not None:  # its threads serve every test
                self.attempt.threads.update(threading.enumerate())

    def _fresh(self) -> Watch:
        if self._spare and self._clock is None:
            return self._spare.pop()
        return Watch(self.turns, self._clock, CAPACITY)

    def reuse(self, attempt: Attempt, but: Iterable[Watch]) -> None:
        """Take back the registries of an attempt that is over, and has been added up."""
        kept = {id(watch) for watch in but}
        for watch in attempt.watches():
            if id(watch) not in kept and not watch.is_in_flight():
                watch.start_again()
                self._spare_one(watch)
        attempt.phases.clear()

    def _spare_one(self, watch: Watch) -> None:
        if len(self._spare) < SPARE and not watch.has_own_clock:
            self._spare.append(watch)


def _is_worker(thread: threading.Thread) -> bool:
    """Return whether a thread is an executor's: it works for whoever gives it work."""
    return (
        getattr(getattr(thread, "_target", None), "__module__", "") == "concurrent.futures.thread"
    )
