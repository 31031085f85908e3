"""Which single records are kept when there are more than may be."""

from __future__ import annotations

from _heapq import heappush, heapreplace
from itertools import chain, count

from volnux.telemetry._raw import END, EXTRA, PLAIN_OP, START
from volnux.telemetry._records import Status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque

    from volnux.telemetry._raw import Raw
else:
    from _collections import deque  # without the rest of collections


class Retention:
    """Keeps up to `capacity` finished entries: the newest, and the failed and slowest before them.

    When it is full, the oldest entry goes, unless it failed (up to a quarter of the capacity is
    theirs) or is among the slowest (a tenth). Entries come and go by the batch: while one of them
    lasts there are more than the capacity, which whoever asks never sees. Which of a batch have a
    claim to stay is found when they come, fresh in the cache; looking at each again when it leaves
    would cost more than all the rest of keeping it. Guarded by its registry's lock.
    """

    __slots__ = (
        "_batches",
        "_failed",
        "_order",
        "_slow",
        "capacity",
        "failed_share",
        "slow_share",
        "threshold",
    )

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.failed_share = capacity // 4
        self.slow_share = capacity // 10
        self._order = count()
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        #: Entries in the order they came, those of them that have a claim, and how many had come
        #: before them. How many there are follows from that, so that one step adds or takes them.
        self._batches: deque[tuple[list[Raw], list[Raw], int]] = deque()
        self._failed: deque[Raw] = deque()
        self._slow: list[tuple[int, int, Raw]] = []
        #: Nanoseconds to be longer than, to be among the slowest.
        self.threshold = -1 if self.slow_share else 1 << 200

    def __len__(self) -> int:
        self._trim()
        return self.capacity + self._excess()

    def keep(self, raws: list[Raw], claims: list[Raw] | None = None) -> None:
        """Take in finished entries, letting go of others as the capacity demands.

        Args:
            raws: the entries; the list is kept.
            claims: those of them that say more than "completed", or took longer than `threshold`;
                looked for if the caller does not know.
        """
        if claims is None:
            claims = [raw for raw in raws if self._has_claim(raw)]
        batches = self._batches
        before = batches[-1][2] + len(batches[-1][0]) if batches else 0
        batches.append((raws, claims, before))
        while batches and len(batches[0][0]) <= self._excess():
            for raw in batches.popleft()[1]:
                self._prefer(raw)

    def _has_claim(self, raw: Raw) -> bool:
        extra = raw[EXTRA]
        plain = extra is None or extra is PLAIN_OP
        return not plain or raw[END] - raw[START] > self.threshold

    def _excess(self) -> int:
        recent = 0
        if self._batches:
            newest, _, before = self._batches[-1]
            recent = before + len(newest) - self._batches[0][2]
        return recent + len(self._failed) + len(self._slow) - self.capacity

    def _trim(self) -> None:
        """Let go of single entries of the oldest batch."""
        while (excess := self._excess()) > 0:
            raws, claims, before = self._batches[0]
            leaving, staying = raws[:excess], raws[excess:]
            gone = set(map(id, leaving))
            if staying:
                still = [raw for raw in claims if id(raw) not in gone]
                self._batches[0] = (staying, still, before + len(leaving))
            else:
                self._batches.popleft()
            for raw in claims:
                if id(raw) in gone:
                    self._prefer(raw)

    def _prefer(self, raw: Raw) -> None:
        """Give a leaving entry a preferred place if it has a claim to one."""
        extra = raw[EXTRA]
        if self.failed_share and extra is not None and extra.status == Status.FAILED:
            self._failed.append(raw)
            if len(self._failed) > self.failed_share:
                self._failed.popleft()
            return
        duration = raw[END] - raw[START]
        if duration <= self.threshold:
            return
        entry = (duration, next(self._order), raw)
        if len(self._slow) < self.slow_share:
            heappush(self._slow, entry)
        else:
            heapreplace(self._slow, entry)
        if len(self._slow) == self.slow_share:
            self.threshold = self._slow[0][0]

    def kept(self) -> list[Raw]:
        """Return all entries that are kept, in no particular order but the newest last."""
        self._trim()
        recent = chain.from_iterable(raws for raws, _, _ in self._batches)
        return [*self._failed, *(raw for _, _, raw in self._slow), *recent]
