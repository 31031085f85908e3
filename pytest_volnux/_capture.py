"""Which test has what is recorded: its attempts and phases, shared fixtures, what comes too late."""

from __future__ import annotations

import threading
from _thread import _count  # of all threads but the main one
from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from volnux.telemetry._strays import Strays
from volnux.telemetry._watch import Turns, Watch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_volnux._children import Children
    from pytest_volnux._fixture import VolnuxFixture
    from volnux._tree import Record
    from volnux.telemetry import Clock

#: Single records that are kept of one test, of each kind.
CAPACITY: Final = 10_000
OUTSIDE: Final = "outside of tests"
#: Registries kept for the next test: making one takes longer than a small test's records do.
SPARE: Final = 3


class Attempt:
    """One run of one test.

    Attributes:
        nodeid: the test's.
        phase: "setup", "call" or "teardown".
        watches: what takes its records; the last is the one that does so now.
        fixture: what it is asked by, if it is.
        strays: by `task_id`, how and where an event has ended on another thread than it began on, if
            that is noted.
    """

    __slots__ = (
        "_allowed",
        "_phases",
        "fixture",
        "nodeid",
        "phase",
        "strays",
        "threads",
        "watches",
    )

    def __init__(self, nodeid: str, now: Watch, allowed: Sequence[str] = ()) -> None:
        self.nodeid = nodeid
        self.watches = [now]
        self.fixture: VolnuxFixture | None = None
        self.strays: dict[str, str] = {}
        self._allowed = allowed
        #: Those that there were when it began, or that are no test's; None if there was only one.
        self.threads = threading.enumerate() if _count() else None
        #: When each phase began, on the clock of the one whose turn it was.
        self._phases: list[tuple[Watch, int, str]] = [(now, 0, "setup")]
        self.phase = "setup"

    def note(self, phase: str) -> None:
        """Note that a phase begins, or that it has another registry."""
        self.phase = phase
        now = self.watches[-1]
        self._phases.append((now, now.scope.now(), phase))

    def allowed(self) -> tuple[str, ...]:
        """Return the globs of events that may fail in it."""
        return (*self._allowed, *(() if self.fixture is None else self.fixture.allowed))

    def running(self, phase: str) -> list[Record]:
        """Return what was begun in a phase and has not ended."""
        return [
            record
            for watch in self.watches
            for start, record in watch.in_flight()
            if self.phase_of(watch, start) == phase
        ]

    def phase_of(self, watch: Watch, start: int) -> str:
        """Return the phase in which something began, by its nanoseconds on the clock of its watch."""
        phases = [phase for of, began, phase in self._phases if of is watch and began <= start]
        return phases[-1] if phases else "setup"


class Capture:
    """Gives the turn to whoever runs: an attempt of a test, a shared fixture, or nobody's.

    Most tests record nothing: what takes their records goes on, and takes the next one's.

    Args:
        children: the processes that tests start.
    """

    def __init__(self, children: Children) -> None:
        self.turns = Turns()
        self.attempt: Attempt | None = None
        #: What was recorded outside of tests.
        self.outside: list[Watch] = []
        #: (scope, name) of a fixture that several tests share -> what it recorded.
        self.fixtures: dict[tuple[str, str], list[Watch]] = defaultdict(list)
        #: Attempts that are over, and whose threads are not.
        self.orphaned: list[tuple[str, Watch]] = []
        self._children = children
        children.record_by(self.turns)
        self._spare: list[Watch] = []
        self._now = Watch(self.turns, capacity=CAPACITY)

    def switch_on(self) -> None:
        """Have the process record from now on."""
        self.turns.give(self._now)

    def note_strays(self) -> None:
        """Note from now on which events end on another thread than they began on."""
        self.turns.strays = Strays()

    def switch_off(self) -> None:
        """Have it record no more."""
        self.turns.give(None)

    def close(self) -> None:
        """Leave nothing behind."""
        self.switch_off()
        self._children.forget()

    def start(self, nodeid: str, allowed: Sequence[str] = ()) -> None:
        """Begin an attempt of a test, and its first phase.

        Args:
            nodeid: the test's.
            allowed: globs of events that may fail in it.
        """
        if self._now.has_entries():
            self.leave_outside()
        self.attempt = Attempt(nodeid, self._now, allowed)
        if self.turns.strays is not None:
            self.attempt.strays = self.turns.strays.start_again()

    def leave_outside(self) -> None:
        """Note that what was recorded since the last attempt belongs to no test."""
        self.outside.append(self._now)
        self._go_on()

    def _go_on(self) -> None:
        """Have another one take what comes."""
        self._now = self._spare.pop() if self._spare else Watch(self.turns, None, CAPACITY)
        if self.turns.now is not None:
            self.turns.give(self._now)

    def bring_home(self) -> None:
        """Take in what the processes that were started have recorded, if they have ended."""
        self._children.bring(self._whose)

    def _whose(self, number: int) -> Watch:
        """Return where the records of a process belong that an attempt of this number has started."""
        now = self.turns.now
        if self.attempt is not None and number == self._children.number and now is not None:
            return now
        late, test = Watch(self.turns, capacity=CAPACITY), self._children.test(number)
        if test is None:
            self.outside.append(late)
        else:
            self.orphaned.append((test, late))
        return late

    def finish(self) -> Attempt | None:
        """End the attempt; what its threads go on to record is reported as coming late.

        Returns:
            What it was, with what it has recorded, if anything.
        """
        attempt, self.attempt = self.attempt, None
        if attempt is None:
            return None
        if attempt.fixture is not None:
            self.turns.places = None
        if attempt.fixture is not None or len(attempt.watches) > 1 or self._now.has_entries():
            self._go_on()
        else:
            attempt.watches.clear()
        if attempt.threads is not None or _count():
            known = attempt.threads or [threading.main_thread()]
            left = [one for one in threading.enumerate() if one not in known]
            left = [thread for thread in left if not _is_worker(thread)]
            if left:
                late = Watch(self.turns, capacity=CAPACITY)
                self.turns.leave_behind(left, late)
                self.orphaned.append((attempt.nodeid, late))
        return attempt

    def begin(self, phase: str) -> None:
        """Begin a phase of the attempt."""
        attempt = self.attempt
        if attempt is not None:
            clock = attempt.watches[-1].own_clock
            if clock is not None:  # it may stand still, and tell no phase from the last
                self.set_clock(clock, phase)
            else:
                attempt.note(phase)

    def set_clock(self, clock: Clock | None, phase: str | None = None) -> None:
        """Time what comes in this attempt by a clock, or by the system's again."""
        attempt = self.attempt
        if attempt is not None:
            watch = Watch(self.turns, clock, CAPACITY)
            attempt.watches.append(watch)
            attempt.note(phase or attempt.phase)
            self.turns.give(watch)

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
            if self.attempt is not None:  # its threads serve every test
                self.attempt.threads = threading.enumerate()

    def let_go(self, watch: Watch) -> None:
        """Take a registry back that will have no more turns, and in which all has been added up."""
        if len(self._spare) < SPARE and watch.own_clock is None:
            watch.start_again()
            self._spare.append(watch)
        else:
            self.turns.close(watch)


def _is_worker(thread: threading.Thread) -> bool:
    """Return whether a thread is an executor's: it works for whoever gives it work."""
    return (
        getattr(getattr(thread, "_target", None), "__module__", "") == "concurrent.futures.thread"
    )
