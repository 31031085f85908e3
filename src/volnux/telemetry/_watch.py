"""Registries that take turns: what a process records goes to the one whose turn it is."""

from __future__ import annotations

import sys
from _thread import get_ident

from volnux.telemetry._groups import Groups
from volnux.telemetry._ids import show_id
from volnux.telemetry._raw import END, EXTRA, START, THREAD, identify
from volnux.telemetry._records import Status
from volnux.telemetry._registry import Registry
from volnux.telemetry._render import record_of, running_record
from volnux.telemetry._scope import watch_process
from volnux.telemetry._strays import is_librarys
from volnux.telemetry._switch import SWITCH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from threading import Thread
    from types import FrameType
    from typing import Any

    from volnux.telemetry._clock import Clock
    from volnux.telemetry._raw import Raw, Scope
    from volnux.telemetry._strays import Strays


#: Entries whose place is remembered.
PLACES = 20_000


class Watch(Registry):
    """A registry that is filled while it has its turn, by the whole process.

    What begins afterwards under something that began in its turn, such as an event that a fixture
    keeps open, goes to the one whose turn it then is. What its turn has begun, ends in it.

    Args:
        turns: which of many has its turn.
        clock: what it reads time from; the system's by default.
        capacity: how many single records it keeps of each kind.

    Attributes:
        own_clock: the one that it was given, if it was.
    """

    def __init__(self, turns: Turns, clock: Clock | None = None, capacity: int = 10_000) -> None:
        self._turns = turns
        self.own_clock: Clock | None = clock
        super().__init__(capacity, clock=clock)
        # The hot path looks at what waits: were it another's, this one's would wait for ever.
        self._own_append, self._own_late = self._pending.append, self._ended.append

    def _make_scope(self, clock: Clock | None) -> Scope:
        scope = super()._make_scope(clock)
        turns, keep = self._turns, scope.append

        def append(raw: Raw) -> None:
            if turns.places is not None:
                turns.note_place(raw)
            if turns.strays is not None:
                turns.strays.begin(raw)
            if turns.now is self and not turns.left_behind:
                keep(raw)
            else:
                turns.taker_of(raw, self)._take(raw)

        derived = scope.derive(append=append, late=turns.end)
        #: To see of each entry whose it is, or to trust that it is this one's, at the price of any registry.
        self.looking, self.trusting = derived.hot, scope.hot
        return derived

    def _take(self, raw: Raw) -> None:
        self._own_append(raw)
        if len(self._pending) > self._pending.limit:
            self._fold_soon()

    def has_entries(self) -> bool:
        """Return whether anything was recorded here; it costs next to nothing."""
        return bool(self._pending or self._open or self._finished)

    def is_in_flight(self) -> bool:
        """Return whether something that began here has not ended."""
        with self._lock:
            self._fold()
            return bool(self._open)

    def hand_over(self, other: Registry, seconds: float) -> bool:
        """Give all that was recorded here to a registry without single records, if that is all there is to do.

        Returns:
            Whether it was: everything has ended, nothing says more than "completed" or took longer
            than so many seconds, and nobody has asked yet. Otherwise it is as it was before.
        """
        with self._lock:
            if self._finished or self._open or self._ended:
                return False
            size, bound = len(self._pending), int(seconds * 1e9)
            groups = Groups()
            groups.sort_out(self._pending[:size], bound, bound)
            if groups.special or groups.claims or groups.op_claims or groups.unfinished:
                return False
            del self._pending[:size]
        other.take_groups(groups, size)
        return True

    def notable(self, seconds: float) -> list[tuple[int, Any]]:
        """Return the records of what failed or took longer than so many seconds, in no order.

        Returns:
            When each began, in nanoseconds on the clock of this registry, and the record.
        """
        bound = seconds * 1e9
        found = []
        for network in (False, True):
            finished, _ = self.entries(network=network)
            for raw in finished:
                extra = raw[EXTRA]
                if raw[END] - raw[START] > bound or (
                    extra is not None and extra.status == Status.FAILED
                ):
                    found.append((raw[START], record_of(raw)))
        return found

    def in_flight(self) -> list[tuple[int, Any]]:
        """Return the records of what has not ended, likewise."""
        with self._lock:
            self._fold()
            return [(raw[START], running_record(raw)) for raw in self._open.values()]

    def pour_into(self, other: Registry) -> None:
        """Add the totals of what was recorded here to another registry, but no single record."""
        with self._lock:
            self._fold()
            other.take_totals(self._event_totals, self._op_totals, self._finished)

    def places(self) -> dict[str, tuple[str, int]]:
        """Return where the program began what is kept here, by its `task_id`: file and line."""
        known = self._turns.places
        if not known:
            return {}
        with self._lock:
            raws = [
                raw
                for network in (False, True)
                for one in self.entries(network=network)
                for raw in one
            ]
        return {str(show_id(identify(raw))): known[id(raw)] for raw in raws if id(raw) in known}

    def start_again(self) -> None:
        """Forget everything, for another turn, in which nothing may be in flight yet."""
        if not self.has_entries() and not self._errors:
            return
        with self._lock:
            self._fold()
            self._start_again()
            self._errors.clear()

    def end(self, raw: Raw) -> None:
        """Note the end of an entry, if it is in flight here."""
        # One that has just been met by a fold stands in `_open` when that is done.
        if id(raw) in self._open or self._folding:
            self._own_late(raw)


class Turns:
    """Which of many registries the process records into, one at a time.

    Attributes:
        now: the one whose turn it is, or None.
        left_behind: by number, threads that outlive the turn in which they were started, and whose what
            they go on to record is.
    """

    def __init__(self) -> None:
        self.now: Watch | None = None
        self.left_behind: dict[int, tuple[Thread, Watch]] = {}
        #: The one whose turn it is, if all that begins is its own and need not be looked at: nobody asks for
        #: places or strays, and no thread is left behind.
        self._plain: Watch | None = None
        self._places: dict[int, tuple[str, int]] | None = None
        self._strays: Strays | None = None
        # Those that may have something in flight.
        self._alive: list[Watch] = []
        self._is_on = False

    @property
    def places(self) -> dict[int, tuple[str, int]] | None:
        """While somebody may ask: by the identity of an entry, the file and line that began it."""
        return self._places

    @places.setter
    def places(self, places: dict[int, tuple[str, int]] | None) -> None:
        self._places = places
        self._simplify()

    @property
    def strays(self) -> Strays | None:
        """While somebody may ask: what notes which entries end on another thread than they began on."""
        return self._strays

    @strays.setter
    def strays(self, strays: Strays | None) -> None:
        self._strays = strays
        self._simplify()

    def _simplify(self) -> None:
        is_plain = self._places is None and self._strays is None and not self.left_behind
        plain = self.now if is_plain else None
        if plain is not self._plain:
            if self._plain is not None:
                self._plain.scope.hot = self._plain.looking
            if plain is not None:
                plain.scope.hot = plain.trusting
            self._plain = plain

    def give(self, watch: Watch | None) -> Watch | None:
        """Give the turn to this one, or to none; return who had it."""
        before = self.now
        if watch is not before:
            if watch is not None and watch not in self._alive:
                self._alive.append(watch)
            self.now = watch
            self._simplify()
            watch_process(watch)
            if (watch is not None) is not self._is_on:
                self._is_on = not self._is_on
                (SWITCH.add if self._is_on else SWITCH.remove)()
        return before

    def close(self, watch: Watch) -> None:
        """Let one go that will have no more turns, and in which nothing is in flight."""
        if watch in self._alive:
            self._alive.remove(watch)

    def leave_behind(self, threads: Iterable[Thread], watch: Watch) -> None:
        """Have what begins in these threads from now on be this one's, for as long as they live."""
        self.left_behind.update((thread.ident or 0, (thread, watch)) for thread in threads)
        self._simplify()
        if watch not in self._alive:
            self._alive.append(watch)

    def note_place(self, raw: Raw) -> None:
        """Remember where the program begins something: the innermost line that is no library's."""
        places = self.places
        if places is None or len(places) >= PLACES:
            return
        frame: FrameType | None = sys._getframe(2)
        while frame is not None:
            if not is_librarys(frame.f_code.co_filename):
                places[id(raw)] = frame.f_code.co_filename, frame.f_lineno
                return
            frame = frame.f_back

    def taker_of(self, raw: Raw, given: Watch) -> Watch:
        """Return whose an entry is that was given to one of them."""
        # An event says where it began, an operation begins where it is given.
        here = raw[THREAD] or get_ident()
        thread, whose = self.left_behind.get(here, (None, None))
        if thread is not None and not thread.is_alive():  # its number is another's now
            self.left_behind.pop(here, None)
            self._simplify()
            whose = None
        return whose or self.now or given

    def end(self, raw: Raw) -> None:
        """Note the end of an entry, wherever it is in flight."""
        for watch in self._alive:
            watch.end(raw)
        if self._strays is not None:
            self._strays.end(raw)
