"""The queue before one publisher, on disk: what it has accepted outlives the process."""

from __future__ import annotations

from _thread import get_ident
from collections import deque
from itertools import islice
from threading import RLock
from time import monotonic, time
from typing import TYPE_CHECKING

from volnux.telemetry._queue import SHUTDOWN, Counts, RecordQueue, added, weigh_all
from volnux.telemetry._spool_file import SpoolFullError
from volnux.telemetry._spool_shelf import SpoolLostError, places

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from volnux.telemetry._queue import Flush
    from volnux.telemetry._raw import Raw
    from volnux.telemetry._spool_file import Chunk
    from volnux.telemetry._spool_shelf import Home, Shelf

#: Records that are written at once.
AT_ONCE = 1_000
#: Seconds that writing may take at the end.
LAST_SECONDS = 1.0
FULL, EXPIRED, LOST = "spool_full", "spool_age", "spool_lost"


class SpoolQueue:
    """As `RecordQueue`, but accepted is what has been written to disk.

    What is put waits in memory until `write` is called, within the bounds that a queue in memory has,
    and is neither accepted nor dropped meanwhile. The oldest of what is on disk are in memory as well, so
    that nothing is read as long as a back end keeps up. Where the disk refuses, records are accepted
    into memory, and counted as dropped where that is full.

    One thread peeks and settles. Any may call the rest.

    Args:
        shelf: where the records are.
        max_items, max_bytes: how much may be in memory.
        max_age: seconds after which a record is given up.
        wall: says the time, in seconds since the epoch.
    """

    def __init__(
        self,
        shelf: Shelf,
        max_items: int,
        max_bytes: int,
        max_age: float,
        *,
        wall: Callable[[], float] = time,
    ) -> None:
        self._shelf = shelf
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._max_age = max_age
        self._wall = wall
        self._arrivals = RecordQueue(max_items, max_bytes)
        self._lock = RLock()
        self._counts = Counts()
        self._flushes: list[Flush] = []
        self._is_over = False
        #: The thread that writes, if there is one.
        self.writer = 0
        # The oldest, and where each is on disk, if it is.
        self._raws: deque[Raw] = deque()
        self._homes: deque[Home | None] = deque()
        self._bytes = 0
        #: How many are on disk only.
        self._later = 0

    # -- what can be asked at any moment ---------------------------------------------------------

    @property
    def pending(self) -> int:
        """How many entries have been accepted and not settled; none of those that were left to others."""
        return 0 if self._is_over else self._counts.pending

    @property
    def is_entered(self) -> bool:
        """Whether the caller has interrupted a method of this queue in its own thread."""
        return self._arrivals.is_entered

    def is_filled(self, share: float) -> bool:
        """Whether so much of the memory is taken by what has not been written."""
        return self._arrivals.is_filled(share)

    def counts(self) -> Counts:
        """Return what has become of everything that was accepted."""
        turned_away = self._arrivals.counts().dropped
        counts = self._counts
        if not turned_away:
            return counts
        return counts._replace(
            accepted=counts.accepted + sum(turned_away.values()),
            dropped=added(counts.dropped, turned_away),
        )

    def put(self, batch: list[Raw]) -> None:
        """Take a batch; what exceeds the memory, the newest, is dropped and counted.

        Where it comes from the thread that writes, that makes room instead.
        """
        while self.writer == get_ident() and (batch := self._arrivals.fill(batch)):
            if not self.write():
                break
        if batch:
            self._arrivals.put(batch)

    def fill(self, batch: list[Raw]) -> list[Raw]:
        """Take as much of a batch as there is room for; return the rest, uncounted."""
        return self._arrivals.fill(batch)

    # -- writing ---------------------------------------------------------------------------------

    def write(self) -> bool:
        """Write some of what waits in memory; whether there may be more."""
        with self._lock:
            raws = [] if self._is_over else self._arrivals.peek(AT_ONCE)
            if not raws:
                return False
            try:
                chunk = self._shelf.write(raws)
            except SpoolFullError:
                self._accept(len(raws), dropped={FULL: len(raws)})
            except SpoolLostError:
                self._forget_disk()
                return True
            else:
                weight = weigh_all(raws)
                has_room = self._has_room(len(raws), weight)
                if chunk is None and not has_room:
                    return (
                        False  # they wait where they are, until there is room or they are too many
                    )
                self._take(raws, chunk, weight if has_room else None)
            self._arrivals.settle(len(raws), delivered=len(raws), dropped={})
        return True

    def _has_room(self, count: int, weight: int) -> bool:
        return (
            len(self._raws) + count <= self._max_items and self._bytes + weight <= self._max_bytes
        )

    def _take(self, raws: list[Raw], chunk: Chunk | None, weight: int | None) -> None:
        count = len(raws)
        if chunk is not None and (self._later or weight is None):
            self._later += count
        else:
            self._raws.extend(raws)
            self._homes.extend([None] * count if chunk is None else places(chunk))
            self._bytes += weight or 0
            if chunk is not None:
                self._shelf.hold(chunk)
        self._accept(count, spooled=0 if chunk is None else count)

    def _accept(
        self, count: int, *, dropped: Mapping[str, int] | None = None, spooled: int = 0
    ) -> None:
        counts = self._counts
        gone = sum(dropped.values()) if dropped else 0
        self._counts = counts._replace(
            accepted=counts.accepted + count,
            dropped=added(counts.dropped, dropped or {}),
            pending=counts.pending + count - gone,
            spooled=counts.spooled + spooled,
        )

    def adopt(self) -> None:
        """Take over what processes that are no more have left, and give up what is too old."""
        with self._lock:
            if self._is_over:
                return
            try:
                count = self._shelf.adopt()
                self._later += count
                self._accept(count, spooled=count)
                if self._later:
                    self._lose(self._shelf.expire(self._wall() - self._max_age), EXPIRED)
            except SpoolLostError:
                self._forget_disk()

    def _forget_disk(self) -> None:
        """Go on with what is in memory, and count the rest as lost: its file has been set aside."""
        self._homes = deque([None] * len(self._raws))
        self._counts = self._counts._replace(spooled=self._later)
        self._lose(self._later, LOST)

    def _lose(self, count: int, reason: str) -> None:
        """Count so many of those that are on disk only as dropped."""
        if count:
            counts = self._counts
            self._later -= count
            self._counts = counts._replace(
                dropped=added(counts.dropped, {reason: count}),
                pending=counts.pending - count,
                spooled=counts.spooled - count,
            )
            for flush in self._flushes:
                flush.oldest -= max(0, min(count, flush.oldest - len(self._raws)))
            self._forget_flushes()

    # -- taking ----------------------------------------------------------------------------------

    def peek(self, limit: int) -> list[Raw]:
        """Return up to `limit` of the oldest entries, which stay where they are."""
        with self._lock:
            if self._is_over:
                return []
            self._give_up_old()
            if self._later and len(self._raws) < limit:
                self._load()
            return list(islice(self._raws, limit))

    def _give_up_old(self) -> None:
        cutoff = self._wall() - self._max_age
        old = 0
        for home in self._homes:
            if home is None or home[0].at >= cutoff:
                break
            old += 1
        if old:
            self.settle(old, delivered=0, dropped={EXPIRED: old})

    def _load(self) -> None:
        try:
            for chunk, raws in self._shelf.load():
                self._raws.extend(raws)
                self._homes.extend(places(chunk))
                self._bytes += weigh_all(raws)
                self._later -= len(raws)
        except SpoolLostError:
            self._forget_disk()

    def settle(
        self,
        size: int,
        *,
        delivered: int,
        dropped: Mapping[str, int],
        keep: Sequence[int] = (),
        behind: Sequence[int] = (),
    ) -> None:
        """Say what became of the `size` oldest entries; see `RecordQueue.settle`."""
        with self._lock:
            if self._is_over:  # by a publisher that hung, and is back too late
                return
            taken = [self._raws.popleft() for _ in range(size)]
            homes = [self._homes.popleft() for _ in range(size)]
            self._raws.extendleft(taken[place] for place in reversed(keep))
            self._homes.extendleft(homes[place] for place in reversed(keep))
            self._raws.extend(taken[place] for place in behind)
            self._homes.extend(homes[place] for place in behind)
            stay = {*keep, *behind}
            gone = [place for place in range(size) if place not in stay]
            on_disk = [home for home in (homes[place] for place in gone) if home is not None]
            self._bytes -= weigh_all([taken[place] for place in gone])
            counts = self._counts
            self._counts = Counts(
                counts.accepted,
                counts.delivered + delivered,
                added(counts.dropped, dropped),
                counts.pending - len(gone),
                counts.spooled - len(on_disk),
            )
            for flush in self._flushes:
                flush.count_down(taken, keep, behind)
            self._forget_flushes()
            try:
                self._shelf.remove(on_disk)
            except SpoolLostError:
                self._forget_disk()

    def _write_until(self, deadline: float) -> None:
        while monotonic() < deadline and self.write():
            pass

    # -- flush and close -------------------------------------------------------------------------

    def count_down(self, flush: Flush) -> None:
        """Have a flush count down what has been put so far."""
        self._write_until(flush.deadline)
        with self._lock:
            flush.oldest = self._counts.pending + self._arrivals.pending
            if flush.remaining:
                self._flushes.append(flush)

    def _forget_flushes(self) -> None:
        self._flushes = [flush for flush in self._flushes if flush.remaining]

    def refuse(self) -> None:
        """Take nothing from now on: what is put counts as dropped, because "closed"."""
        self._arrivals.refuse()
        self._write_until(monotonic() + LAST_SECONDS)

    def abandon(self) -> int:
        """Leave what is pending to the next process; return how many are nowhere but here, and so lost."""
        self._write_until(monotonic() + LAST_SECONDS)
        with self._lock:
            lost = self._arrivals.abandon()
            kept = [place for place, home in enumerate(self._homes) if home is not None]
            bare = len(self._homes) - len(kept)
            if bare:
                self.settle(len(self._homes), delivered=0, dropped={SHUTDOWN: bare}, keep=kept)
            self._is_over = True
        return lost + bare

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._is_over = True
            self._shelf.close(is_empty=not self._counts.pending)

    def leave_to_parent(self) -> None:
        """In a child: what waits here is the parent's."""
        self._shelf.leave_to_parent()
