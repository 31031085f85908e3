"""Which single records are kept when there are more than may be."""

from __future__ import annotations

from _heapq import heappush, heapreplace
from itertools import count

from volnux.telemetry._raw import END, EXTRA, START
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
    theirs) or is among the slowest (another quarter). Guarded by its registry's lock.
    """

    __slots__ = ("_failed", "_order", "_recent", "_share", "_slow", "_threshold", "capacity")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._share = capacity // 4
        self._order = count()
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._recent: list[Raw] = []
        self._failed: deque[Raw] = deque()
        self._slow: list[tuple[int, int, Raw]] = []
        # Nanoseconds to be longer than, to be among the slowest.
        self._threshold = -1 if self._share else 1 << 200

    def __len__(self) -> int:
        return len(self._recent) + len(self._failed) + len(self._slow)

    def keep(self, raws: list[Raw]) -> None:
        """Take in finished entries, letting go of others as the capacity demands."""
        self._recent += raws
        excess = len(self) - self.capacity
        while excess > 0:
            oldest = self._recent[:excess]
            del self._recent[:excess]
            excess = 0
            threshold = self._threshold
            for raw in [
                raw for raw in oldest if raw[EXTRA] is not None or raw[END] - raw[START] > threshold
            ]:
                excess += self._prefer(raw)

    def _prefer(self, raw: Raw) -> int:
        """Give a leaving entry a preferred place if it has a claim to one; 1 if one was free."""
        extra = raw[EXTRA]
        if self._share and extra is not None and extra.status == Status.FAILED:
            self._failed.append(raw)
            if len(self._failed) <= self._share:
                return 1
            self._failed.popleft()
            return 0
        duration = raw[END] - raw[START]
        if duration <= self._threshold:
            return 0
        entry = (duration, next(self._order), raw)
        if len(self._slow) < self._share:
            heappush(self._slow, entry)
            if len(self._slow) == self._share:
                self._threshold = self._slow[0][0]
            return 1
        heapreplace(self._slow, entry)
        self._threshold = self._slow[0][0]
        return 0

    def kept(self) -> list[Raw]:
        """Return all entries that are kept, in no particular order."""
        return [*self._failed, *(raw for _, _, raw in self._slow), *self._recent]
