"""Intake: how entries that the hot path appended become totals, kept records and news.

The hot path appends an entry when it begins and sets its `END` when it ends; nothing else. A *fold*
takes what has been appended, in batches, under one lock that the hot path never waits for.
"""

from __future__ import annotations

from _operator import itemgetter
from _thread import RLock
from time import sleep

from volnux.telemetry._clock import SYSTEM_CLOCK, Anchor, SafeClock
from volnux.telemetry._fork import on_fork
from volnux.telemetry._groups import Groups, need_stack
from volnux.telemetry._guard import ErrorCounts, note
from volnux.telemetry._raw import (
    END,
    EXTRA,
    ID,
    RECEIVED,
    SENT,
    SITE,
    Pending,
    Scope,
    identify,
)
from volnux.telemetry._retention import Retention
from volnux.telemetry._totals import Totals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    from volnux.telemetry._clock import Clock
    from volnux.telemetry._raw import Raw
    from volnux.telemetry._sites import Site

    Listener: TypeAlias = Callable[[list[Raw]], None]

#: Entries that may wait before the thread that adds one more folds them. With those that other threads add
#: meanwhile, fewer than the 700 (2,000 in newer Pythons) at which the garbage collector looks through
#: what is young: a full registry lets as many go at a fold as came since the last, so recording sets off
#: no collections at all.
BATCH = 300
#: Where another thread is folding: how many more entries may wait until the next attempt, so many more
#: each time that it is still at it, and the seconds for which it is given room. Eight threads that each
#: added a batch more would pile up what sets off collections, and does not fit into the processor's cache.
MORE, YIELD = 20, 0.001
#: Entries that may wait before the threads that add more are held up, and for how many seconds each
#: time they add a batch. Whoever folds then gets on with it; and a publisher that holds a program up
#: while its queue is full holds up all of its threads. For a time only: they may hold what it needs.
CROWD = 5_000
PATIENCE = 0.05
#: Entries that are left to a listener that folds in a thread of its own, before who records does so.
LEFT = 25_000
#: Calls inside of each other that a fold may need, listeners included: one that ran out of stack half
#: way would lose its batch.
STACK = 50
#: Buffered durations at which distributions are compressed.
BUFFERED = 8_000
#: Distinct names, and distinct exchanges, that have totals of their own: the OpenTelemetry
#: specification's default cardinality limit. What exceeds it is counted together.
MAX_NAMES = 2_000
_SENT_OF, _RECEIVED_OF = itemgetter(SENT), itemgetter(RECEIVED)
OTHER = "__other__"
OTHER_OP = (OTHER, None, OTHER)


class Intake:
    """The half of a registry that entries go into. Every method is safe from any thread."""

    def __init__(self, capacity: int, clock: Clock | None, *, strict: bool) -> None:
        self.capacity = capacity
        self.strict = strict
        self._errors = ErrorCounts()
        self._lock = RLock()
        self._folding = False
        self._pending = Pending()
        self._pending.limit = BATCH
        #: Attempts that another thread was in the way of, since the last fold.
        self._in_vain = 0
        self._ended: list[Raw] = []
        self._open: dict[int, Raw] = {}
        #: Whether entries may be timed by another clock than this registry's.
        self.has_foreign_clocks = False
        self._listeners: dict[object, Listener] = {}
        self._folders: dict[object, Callable[[], None]] = {}
        self._folder: Callable[[], None] | None = None
        self._start_again()
        self.scope: Scope = self._make_scope(clock)
        on_fork(self)

    def _start_again(self) -> None:
        self._finished = 0
        self._buffered = 0
        self._event_totals: dict[Any, Totals] = {}
        self._op_totals: dict[Any, Totals] = {}
        self._kept = (Retention(self.capacity), Retention(self.capacity))

    def _make_scope(self, clock: Clock | None) -> Scope:
        safe = SYSTEM_CLOCK if clock is None else SafeClock(clock, self._note_clock)
        return Scope(
            append=self._pending.append,
            late=self._ended.append,
            now=safe.monotonic_ns,
            pending=self._pending,
            fold=self._fold_soon,
            registries=(self,),
            anchor=Anchor(safe),
            pipeline=None,
            attributes=None,
        )

    def _note_clock(self, error: Exception) -> None:
        note(self, "clock", type(error).__name__, error)

    def fold(self) -> None:
        """Bring totals, kept records and listeners up to date with what has been recorded.

        Queries do it by themselves. It waits for another thread that is doing it.
        """
        with self._lock:
            self._fold()

    def _fold_soon(self) -> None:
        # On the hot path: who has somebody to fold for him leaves it to that one; whoever cannot have
        # the lock leaves the batch to its holder, unless that one is being held up, too.
        if self._folder is not None and len(self._pending) <= LEFT:
            self._pending.limit = LEFT
            self._folder()
            return
        self.fold_if_free()
        if len(self._pending) > CROWD:
            lock = self._lock
            if lock.acquire(timeout=PATIENCE):
                lock.release()

    def fold_if_free(self) -> None:
        """Fold, unless another thread is doing so: it waits no longer than a moment for that one."""
        # Who cannot have the lock spares those that come after him the attempt.
        lock = self._lock  # the same one to the end, also if a listener forks
        if lock.acquire(blocking=False):
            try:
                self._fold()
            except RecursionError:  # there will be room when what runs here returns
                pass
            except Exception as error:  # noqa: BLE001  # the program asked for none of this
                note(self, "fold", type(error).__name__, error)
            finally:
                self._pending.limit = BATCH
                self._in_vain = 0
                lock.release()
        else:
            # The holder may have been interrupted in the middle, and needs the interpreter.
            self._in_vain += 1
            self._pending.limit += MORE * self._in_vain
            sleep(YIELD)

    def _fold(self) -> None:
        if self._folding:  # re-entered from a signal handler or a garbage collection
            return
        if not self._pending and not self._ended:
            self.scope.anchor.refresh()
            return
        batch: list[Raw] = []
        try:
            self._folding = True
            need_stack(STACK)
            size = len(self._pending)
            batch += self._pending[:size]
            del self._pending[:size]
            batch += self._take_late()
            groups = Groups()
            groups.sort_out(batch, *(kept.threshold for kept in self._kept))
        except BaseException:  # an interrupt: nothing has been counted yet, so begin again later
            self._pending[:0] = batch
            raise
        else:
            self._count(batch, groups)
        finally:
            self._folding = False

    def _take_late(self) -> list[Raw]:
        if not self._ended:
            return []
        size = len(self._ended)
        ended = self._ended[:size]
        del self._ended[:size]
        # An entry announced by another registry's fold may not have been open in this one.
        return [raw for raw in ended if self._open.pop(id(raw), None) is not None]

    def _count(self, batch: list[Raw], groups: Groups) -> None:
        if groups.unfinished:
            self._open.update((id(raw), raw) for raw in groups.unfinished)
            batch = [raw for raw in batch if id(raw) not in self._open]
        # Each whatever becomes of the one before it: an interrupt, or no memory.
        try:
            self._total(groups, len(batch))
        finally:
            try:
                self._keep(batch, groups)
            finally:
                if batch:
                    self._tell(batch)
                self.scope.anchor.refresh()

    def _total(self, groups: Groups, size: int) -> None:
        try:
            self._counted(size)
            for site, (durations, operations) in groups.by_site.items():
                totals = self._totals_of(site, len(durations))
                totals.durations.buffer += durations
                if operations:
                    sent, received = map(_SENT_OF, operations), map(_RECEIVED_OF, operations)
                    totals.count_bytes(sum(sent), sum(received))
            for raw in groups.special:
                totals = self._totals_of(raw[SITE])
                if raw[EXTRA].network:
                    totals.count_outcome(raw[EXTRA].status)
                    totals.count_bytes(raw[SENT], raw[RECEIVED])
                else:
                    totals.count_event(raw[EXTRA])
        except BaseException:  # how far it came, nobody knows
            self._errors.add("fold", "cut short", size)
            raise

    def _keep(self, batch: list[Raw], groups: Groups) -> None:
        for raw in groups.special:
            (groups.op_claims if raw[EXTRA].network else groups.claims).append(raw)
        kinds = {site.network for site in groups.by_site}
        for network in kinds:
            one_kind = kinds == {network}
            raws = batch if one_kind else [raw for raw in batch if raw[SITE].network is network]
            self._kept[network].keep(raws, groups.op_claims if network else groups.claims)

    def _counted(self, size: int) -> None:
        self._finished += size
        self._buffered += size
        if self._buffered > BUFFERED:
            self._compress()

    def _compress(self) -> None:
        self._buffered = 0
        for totals in (*self._event_totals.values(), *self._op_totals.values()):
            if totals.durations.buffer:
                totals.durations.compress()

    def _totals_of(self, site: Site, entries: int = 0) -> Totals:
        """Return the totals of a site; so many entries are counted if they get none of their own."""
        if site.network:
            return self._named(self._op_totals, site.key, OTHER_OP, entries)
        return self._named(self._event_totals, site.key, OTHER, entries)

    def _named(self, totals: dict[Any, Totals], key: Any, other: Any, entries: int = 0) -> Totals:
        found = totals.get(key)
        if found is None:
            if len(totals) >= MAX_NAMES and key != other:
                if entries:
                    self._errors.add("bounds", "names", entries)
                return self._named(totals, other, other)
            found = totals[key] = Totals()
        return found

    # -- listening -------------------------------------------------------------------------------

    def subscribe(
        self, listener: Listener, folder: Callable[[], None] | None = None
    ) -> Callable[[], None]:
        """Have every finished entry handed over, in batches; return what ends it.

        Args:
            listener: called in whatever thread folds, under the registry's lock: it must be quick
                and must not raise. `record_of` makes a record of an entry.
            folder: asks another thread to call `fold_if_free` soon, so that those that record are
                spared it; called from any of them, at any moment.
        """
        with self._lock:
            self._fold()
            subscription = object()
            self._listeners[subscription] = listener
            if folder is not None:
                self._folders[subscription] = self._folder = folder

        def unsubscribe() -> None:
            with self._lock:
                self._fold()
                self._listeners.pop(subscription, None)
                self._folders.pop(subscription, None)
                self._folder = next(iter(self._folders.values()), None)

        return unsubscribe

    def _tell(self, batch: list[Raw]) -> None:
        for listener in list(self._listeners.values()):
            try:
                listener(batch)
            except Exception as error:  # noqa: BLE001  # a listener never harms who records
                note(self, "listener", type(error).__name__, error)

    def count_error(self, stage: str, reason: str) -> None:
        """Count something that was swallowed or cut; `health().errors` shows it."""
        self._errors.add(stage, reason)

    # -- fork ------------------------------------------------------------------------------------

    def _before_fork(self) -> None:
        # Parent and child must know entries in flight by the same identifier.
        for raw in (*self._pending, *self._open.copy().values()):
            if raw[END] is None and raw[ID] is None:
                identify(raw)

    def _after_fork(self) -> None:
        self._lock = RLock()
        self._folding = False
        del self._pending[:], self._ended[:]
        self._pending.limit = BATCH
        self._open.clear()
        self._start_again()
