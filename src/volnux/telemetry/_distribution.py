"""Mergeable running totals of durations, with quantiles.

Durations are counted in buckets whose upper bounds grow by 5 %: a quantile read from them is
within 2.5 % of the true one, whatever the range, and two distributions merge exactly. (The idea
is that of DDSketch, https://arxiv.org/abs/1908.10693, with fixed integer bounds.)
"""

from __future__ import annotations

from _operator import mul
from bisect import bisect_left, bisect_right
from itertools import accumulate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

#: How much wider each bucket is than the one before it.
GROWTH = 1.05


#: Inclusive upper bounds of the buckets, in nanoseconds; made when the first is needed.
BOUNDS: list[int] = []


def bucket_bounds() -> list[int]:
    """Return the inclusive upper bounds of the buckets, ascending, in nanoseconds."""
    if not BOUNDS:
        bounds = [0]
        while bounds[-1] < 10**17:  # three years
            bounds.append(max(bounds[-1] + 1, int(bounds[-1] * GROWTH)))
        bounds.append(1 << 200)
        BOUNDS[:] = bounds
    return BOUNDS


def _counted(values: list[int]) -> Mapping[int, int]:
    from collections import Counter  # late: importing volnux has a budget

    return Counter(values)


class Distribution:
    """Count, sum, extremes and shape of many durations, in nanoseconds.

    Not thread-safe: its registry's lock guards it. `buffer.append` is the cheap way in; whatever
    reads calls `compress` first.
    """

    __slots__ = ("buckets", "buffer", "count", "max", "min", "total")

    def __init__(self) -> None:
        self.buffer: list[int] = []
        self.buckets: dict[int, int] = {}
        self.count = 0
        self.total = 0
        self.min = 0
        self.max = 0

    def compress(self) -> None:
        """Count what is in the buffer."""
        # Taken out by slice: a garbage collection meanwhile may append.
        values = self.buffer[:]
        if not values:
            return
        del self.buffer[: len(values)]
        # Counted first, since short durations are few different ones; sorted, so that the work left
        # for Python is per bucket.
        counts = _counted(values)
        distinct = sorted(counts)
        if distinct[0] < 0:  # a clock that went back
            counts = _counted([max(0, value) for value in values])
            distinct = sorted(counts)
        times = [*map(counts.__getitem__, distinct)]
        sums = [0, *accumulate(times)]
        self._extremes(distinct[0], distinct[-1])
        self.count += len(values)
        self.total += sum(map(mul, distinct, times))
        buckets, bounds = self.buckets, bucket_bounds()
        done, size = 0, len(distinct)
        while done < size:
            index = bisect_left(bounds, distinct[done])
            following = bisect_right(distinct, bounds[index], done)
            buckets[index] = buckets.get(index, 0) + sums[following] - sums[done]
            done = following

    def _extremes(self, low: int, high: int) -> None:
        if not self.count or low < self.min:
            self.min = low
        if not self.count or high > self.max:
            self.max = high

    def quantiles(self, fractions: Sequence[float]) -> list[int]:
        """Return the values below which these fractions (ascending) of all values lie."""
        self.compress()
        if not self.count:
            return [0] * len(fractions)
        ranks = [max(1, -int(-fraction * self.count // 1)) for fraction in fractions]
        found: list[int] = []
        seen = 0
        for index in sorted(self.buckets):
            seen += self.buckets[index]
            while len(found) < len(ranks) and seen >= ranks[len(found)]:
                found.append(self._middle(index))
        return found

    def _middle(self, index: int) -> int:
        # The harmonic mean of the bounds errs equally, in proportion, towards both.
        bounds = bucket_bounds()
        high = bounds[index]
        low = bounds[index - 1] + 1 if index else 0
        middle = 2 * low * high // (low + high) if high else 0
        return min(self.max, max(self.min, middle))

    def merge(self, other: Distribution) -> None:
        """Add everything that another distribution has counted."""
        self.compress()
        other.compress()
        if not other.count:
            return
        self._extremes(other.min, other.max)
        self.count += other.count
        self.total += other.total
        for index, count in other.buckets.items():
            self.buckets[index] = self.buckets.get(index, 0) + count

    def absorb(self, other: Distribution) -> None:
        """Add everything that another distribution has counted, or is about to."""
        if other.count:
            self.merge(other)
        else:  # it has not even sorted anything yet
            self.buffer += other.buffer

    def export(self) -> dict[str, Any]:
        """Return the state as JSON-ready data; `restore` is the way back."""
        self.compress()
        return {
            "count": self.count,
            "total_ns": self.total,
            "min_ns": self.min,
            "max_ns": self.max,
            "buckets": {str(index): count for index, count in self.buckets.items()},
        }

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> Distribution:
        """Return the distribution whose `export` gave this state."""
        restored = cls()
        restored.count = int(state["count"])
        restored.total = int(state["total_ns"])
        restored.min = int(state["min_ns"])
        restored.max = int(state["max_ns"])
        restored.buckets = {int(index): int(count) for index, count in state["buckets"].items()}
        return restored
