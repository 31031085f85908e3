"""Which test has what is recorded: its attempts and phases, shared fixtures, what comes too late."""

from __future__ import annotations

import threading
from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from volnux.telemetry._watch import Turns, Watch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from volnux.telemetry import Clock

#: Single records that are kept of one test, of each kind.
CAPACITY: Final = 10_000
OUTSIDE: Final = "outside of tests"


class Attempt:
    """One run of one test.

    Attributes:
        nodeid: the test's.
        number: 1, and more where it is run again.
        phases: "setup", "call", "teardown" -> what was recorded in each; those that recorded nothing are
            missing.
    """

    def __init__(self, nodeid: str, number: int) -> None:
        self.nodeid = nodeid
        self.number = number
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
        self._clock: Clock | None = None
        self._spare: Watch | None = None

    def begin(self) -> None:
        """Have the process record from now on."""
        self.turns.give(self.outside)

    def end(self) -> None:
        """Have it record no more."""
        self.turns.give(None)

    def start(self, nodeid: str) -> Attempt:
        """Begin an attempt of a test."""
        before = self.attempt
        again = before is not None and before.nodeid == nodeid
        self.attempt = Attempt(nodeid, before.number + 1 if again and before else 1)
        return self.attempt

    def phase(self, when: str) -> None:
        """Begin a phase of the attempt."""
        if self.attempt is not None:
            watch = self._fresh()
            self.attempt.phases[when].append(watch)
            self.turns.give(watch)

    def phase_over(self) -> None:
        """Let nobody's turn begin, until the next phase does."""
        watch = self.turns.give(self.outside)
        if watch is None or watch is self.outside or self.attempt is None:
            return
        if _is_empty(watch):
            for watches in self.attempt.phases.values():
                if watch in watches:
                    watches.remove(watch)
            self._spare = watch
        else:
            self.turns.close(watch)

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
        self._spare = None
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
            if not _is_empty(watch):
                self.fixtures[scope, name].append(watch)
            self.turns.close(watch)
            if self.attempt is not None:  # its threads serve every test
                self.attempt.threads.update(threading.enumerate())

    def _fresh(self) -> Watch:
        spare, self._spare = self._spare, None
        if spare is None or self._clock is not None:
            return Watch(self.turns, self._clock, CAPACITY)
        return spare


def _is_empty(watch: Watch) -> bool:
    return not watch.has_entries()


def _is_worker(thread: threading.Thread) -> bool:
    """Return whether a thread is an executor's: it works for whoever gives it work."""
    return (
        getattr(getattr(thread, "_target", None), "__module__", "") == "concurrent.futures.thread"
    )
