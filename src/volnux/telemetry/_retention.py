"""Which single records are kept when there are more than may be."""

from __future__ import annotations

from _heapq import heappush, heapreplace
from itertools import count

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
    theirs) or is among the slowest (a tenth). Guarded by its registry's lock.
    """

    __slots__ = (
        "_failed",
        "_gone",
        "_notable",
        "_order",
        "_recent",
        "_slow",
        "_threshold",
        "capacity",
        "failed_share",
        "slow_share",
    )

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.failed_share = capacity // 4
        self.slow_share = capacity // 10
        self._order = count()
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._recent: list[Raw] = []
        #: Entries among the recent that may have a claim to a preferred place, and where they
        #: stand, counted from the first ever kept. Found while an entry is fresh in the cache:
        #: looking at each again when it leaves would cost more than all the rest of keeping it.
        self._notable: deque[tuple[int, Raw]] = deque()
        self._gone = 0
        self._failed: deque[Raw] = deque()
        self._slow: list[tuple[int, int, Raw]] = []
        # Nanoseconds to be longer than, to be among the slowest.
        self._threshold = -1 if self.slow_share else 1 << 200

    def __len__(self) -> int:
        return len(self._recent) + len(self._failed) + len(self._slow)

    def keep(self, raws: list[Raw]) -> None:
        """Take in finished entries, letting go of others as the capacity demands."""
        threshold = self._threshold
        self._notable.extend(
            [
                (place, raw)
                for place, raw in enumerate(raws, self._gone + len(self._recent))
                if raw[5] - raw[3] > threshold or (raw[6] is not None and raw[6] is not PLAIN_OP)
            ]
        )
        self._recent += raws
        excess = len(self) - self.capacity
        while excess > 0:
            del self._recent[:excess]
            self._gone += excess
            excess = 0
            while self._notable and self._notable[0][0] < self._gone:
                excess += self._prefer(self._notable.popleft()[1])

    def _prefer(self, raw: Raw) -> int:
        """Give a leaving entry a preferred place if it has a claim to one; 1 if one was free."""
        extra = raw[EXTRA]
        if self.failed_share and extra is not None and extra.status == Status.FAILED:
            self._failed.append(raw)
            if len(self._failed) <= self.failed_share:
                return 1
            self._failed.popleft()
            return 0
        duration = raw[END] - raw[START]
        if duration <= self._threshold:
            return 0
        entry = (duration, next(self._order), raw)
        if len(self._slow) < self.slow_share:
            heappush(self._slow, entry)
            if len(self._slow) == self.slow_share:
                self._threshold = self._slow[0][0]
            return 1
        heapreplace(self._slow, entry)
        self._threshold = self._slow[0][0]
        return 0

    def kept(self) -> list[Raw]:
        """Return all entries that are kept, in no particular order but the newest last."""
        return [*self._failed, *(raw for _, _, raw in self._slow), *self._recent]
