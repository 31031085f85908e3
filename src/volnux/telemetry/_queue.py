"""The queue between the registry and one publisher: bounded, counted, safe to be re-entered."""

from __future__ import annotations

from _thread import RLock, get_ident
from bisect import bisect_right
from collections import deque
from itertools import accumulate, islice
from threading import Event
from typing import TYPE_CHECKING, NamedTuple

from volnux.telemetry._raw import EXTRA, SITE
from volnux.telemetry._render import PLAIN_WEIGHT, weight_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from volnux.telemetry._raw import Raw


class Counts(NamedTuple):
    """What has become of the records given to one publisher.

    `accepted == delivered + sum(dropped.values()) + pending`, in every one of them. `spooled` of those
    that are pending are on disk.
    """

    accepted: int = 0
    delivered: int = 0
    dropped: Mapping[str, int] = {}
    pending: int = 0
    spooled: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return them as health shows them."""
        return {**self._asdict(), "dropped": dict(self.dropped)}


class Flush:
    """Somebody waits for what is pending now: counts it down, and lets go of who waits.

    That is so many of the oldest entries, and those of them that have gone behind newer ones.

    Args:
        deadline: when the waiting is over, on the clock of the delivery.
    """

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.oldest = 0
        # By identity: what is counted here is in the queue, so alive.
        self._behind: set[int] = set()
        self.ok = False
        self.done = Event()

    @property
    def remaining(self) -> int:
        """How many entries it still waits for."""
        return self.oldest + len(self._behind)

    def count_down(self, taken: list[Raw], keep: Sequence[int], behind: Sequence[int]) -> None:
        """Take note of entries that were sent, and of the places of those that stay or go behind."""
        stay = {id(taken[place]) for place in (*keep, *behind)}
        self._behind -= {id(raw) for raw in taken} - stay
        self._behind |= {id(taken[place]) for place in behind if place < self.oldest}
        kept = sum(1 for place in keep if place < self.oldest)
        self.oldest += kept - min(len(taken), self.oldest)

    def finish(self, *, ok: bool) -> None:
        """Let go of who waits, and tell whether everything went well."""
        self.ok = ok
        self.done.set()


class RecordQueue:
    """Entries on their way to one publisher, at most so many and so many bytes.

    Any thread puts; one takes: it peeks at the oldest, sends them, and settles what became of them,
    until when they are pending. The counts are one immutable tuple that is replaced as a whole, so
    whoever reads it, whenever, reads numbers that add up.

    `put` may interrupt any method in the same thread (a garbage collection or a signal handler ends
    an event), and threads that put never wait for one another: batches go through an inbox, and
    whoever has the lock takes them out of it.
    """

    def __init__(self, max_items: int, max_bytes: int) -> None:
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._lock = RLock()
        # The thread that is changing something; it may be interrupted by itself.
        self._owner = 0
        self._inbox: deque[list[Raw]] = deque()
        self._raws: deque[Raw] = deque()
        self._bytes = 0
        self._counts = Counts()
        self._flushes: list[Flush] = []
        self._refuses: str | None = None

    @property
    def pending(self) -> int:
        """How many entries have been accepted and not settled."""
        return self._counts.pending

    @property
    def is_entered(self) -> bool:
        """Whether the caller has interrupted a method of this queue in its own thread."""
        return self._owner == get_ident()

    def is_filled(self, share: float) -> bool:
        """Whether so much of the room is taken, by number or by bytes."""
        return (
            self._counts.pending >= share * self._max_items
            or self._bytes >= share * self._max_bytes
        )

    def counts(self) -> Counts:
        """Return what has become of everything that was put before."""
        with self._lock:
            self._take_in()
        self._settle_inbox()
        return self._counts

    # -- putting ---------------------------------------------------------------------------------

    def put(self, batch: list[Raw]) -> None:
        """Accept a batch; what exceeds the bounds, the newest, is dropped and counted."""
        self._inbox.append(batch)
        self._settle_inbox()

    def fill(self, batch: list[Raw]) -> list[Raw]:
        """Accept as much of a batch as there is room for; return the rest, uncounted."""
        with self._lock:
            if not self._take_in():
                self._inbox.append(batch)
                return []
            room = len(batch) if self._refuses else self._room_for(batch)[0]
            if room:
                self._inbox.append(batch[:room])
                self._take_in()
        self._settle_inbox()
        return batch[room:]

    def _settle_inbox(self) -> None:
        # Looked at again after each release: another thread may have put, and left it to this one.
        while self._inbox and self._lock.acquire(blocking=False):
            try:
                if not self._take_in():
                    return
            finally:
                self._lock.release()

    def _take_in(self) -> bool:
        """Empty the inbox; False when this thread is already at it further up. Needs the lock."""
        if self._owner:
            return False
        self._owner = get_ident()
        try:
            while self._inbox:
                self._admit(self._inbox.popleft())
        finally:
            self._leave()
        return True

    def _admit(self, batch: list[Raw]) -> None:
        count = len(batch)
        room, weight = (0, 0) if self._refuses else self._room_for(batch)
        accepted, delivered, dropped, pending, _ = self._counts
        if room < count:
            full = "queue_full" if pending + room >= self._max_items else "queue_bytes"
            dropped = added(dropped, {self._refuses or full: count - room})
        self._bytes += weight
        self._raws.extend(batch if room == count else batch[:room])
        self._counts = Counts(accepted + count, delivered, dropped, pending + room)

    def _room_for(self, batch: list[Raw]) -> tuple[int, int]:
        """Return how many entries of the batch fit, from its oldest on, and what these weigh."""
        room = min(len(batch), self._max_items - self._counts.pending)
        left = self._max_bytes - self._bytes
        fitting = batch if room == len(batch) else batch[: max(0, room)]
        weight = weigh_all(fitting)
        if weight <= left:
            return len(fitting), weight
        weights = [0, *accumulate(map(weight_of, fitting))]
        place = bisect_right(weights, left) - 1
        return place, weights[place]

    def _leave(self) -> None:
        # A KeyboardInterrupt may have struck between two lines: what is in the queue is the truth.
        counts = self._counts
        pending = len(self._raws)
        if counts.pending != pending:
            accepted = counts.delivered + sum(counts.dropped.values()) + pending
            self._counts = counts._replace(accepted=accepted, pending=pending)
        if not pending:
            self._bytes = 0
        self._owner = 0

    # -- taking ----------------------------------------------------------------------------------

    def peek(self, limit: int) -> list[Raw]:
        """Return up to `limit` of the oldest entries, which stay where they are."""
        with self._lock:
            self._owner = get_ident()
            try:
                found = list(islice(self._raws, limit))
            finally:
                self._leave()
        self._settle_inbox()
        return found

    def settle(
        self,
        size: int,
        *,
        delivered: int,
        dropped: Mapping[str, int],
        keep: Sequence[int] = (),
        behind: Sequence[int] = (),
    ) -> None:
        """Say what became of the `size` oldest entries.

        Args:
            size: how many of them were sent; all leave the queue but those in `keep` and `behind`.
            delivered: how many arrived.
            dropped: how many were given up, by reason.
            keep: the places, among the oldest, of those that stay there for another try.
            behind: the places of those that are to be tried again after all that wait now.
        """
        with self._lock:
            if self._refuses != SHUTDOWN:
                self._owner = get_ident()
                try:
                    self._remove(size, keep, behind)
                    counts = self._counts
                    self._counts = Counts(
                        counts.accepted,
                        counts.delivered + delivered,
                        added(counts.dropped, dropped),
                        counts.pending - size + len(keep) + len(behind),
                    )
                finally:
                    self._leave()
        self._settle_inbox()

    def _remove(self, size: int, keep: Sequence[int], behind: Sequence[int]) -> None:
        taken = [self._raws.popleft() for _ in range(size)]
        kept = [taken[place] for place in keep]
        moved = [taken[place] for place in behind]
        self._raws.extendleft(reversed(kept))
        self._raws.extend(moved)
        self._bytes -= weigh_all(taken) - weigh_all(kept) - weigh_all(moved)
        for flush in self._flushes:
            flush.count_down(taken, keep, behind)
        self._flushes = [flush for flush in self._flushes if flush.remaining]

    def count_down(self, flush: Flush) -> None:
        """Have a flush count down the entries that are pending now."""
        with self._lock:
            self._take_in()
            flush.oldest = self._counts.pending
            if flush.remaining:
                self._flushes.append(flush)
        self._settle_inbox()

    def refuse(self) -> None:
        """Accept nothing from now on: what is put counts as dropped, because "closed"."""
        with self._lock:
            self._refuses = self._refuses or CLOSED
        self._settle_inbox()

    def abandon(self) -> int:
        """Give up what is pending, as dropped because of "shutdown"; return how many it were."""
        with self._lock:
            self._take_in()
            lost = self._counts.pending
            self._refuses = SHUTDOWN
            if lost:
                counts = self._counts
                dropped = added(counts.dropped, {SHUTDOWN: lost})
                self._counts = counts._replace(dropped=dropped, pending=0)
            self._raws.clear()
            self._bytes = 0
        self._settle_inbox()
        return lost


CLOSED = "closed"
SHUTDOWN = "shutdown"


def weigh_all(raws: list[Raw]) -> int:
    """Return an estimate of the bytes that entries occupy, quickly: most of them are plain."""
    special = [raw for raw in raws if raw[EXTRA] is not None or raw[SITE].weight]
    return PLAIN_WEIGHT * (len(raws) - len(special)) + sum(map(weight_of, special))


def added(counts: Mapping[str, int], more: Mapping[str, int]) -> Mapping[str, int]:
    """Return the sums of counts by reason."""
    if not any(more.values()):
        return counts
    return {
        key: counts.get(key, 0) + more.get(key, 0)
        for key in (*counts, *(key for key in more if key not in counts and more[key]))
    }
