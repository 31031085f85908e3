"""The two clocks behind one seam: one that measures and one that dates."""

from __future__ import annotations

from time import perf_counter_ns, time_ns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Clock:
    """What a registry reads time from.

    `monotonic_ns` measures: it never goes back, and only differences of it mean anything.
    `time_ns` dates: nanoseconds since the epoch, UTC, and it may jump. Implementations must be safe
    to call from any thread and must not raise.
    """

    def monotonic_ns(self) -> int:
        """Return nanoseconds from an arbitrary start."""
        raise NotImplementedError

    def time_ns(self) -> int:
        """Return nanoseconds since the epoch, UTC."""
        raise NotImplementedError


class SystemClock(Clock):
    """The operating system's clocks: `time.perf_counter_ns` and `time.time_ns`."""

    # Bound when the class is made, so that tools that patch `time` later leave durations alone.
    monotonic_ns: Callable[[], int] = staticmethod(perf_counter_ns)
    time_ns: Callable[[], int] = staticmethod(time_ns)


SYSTEM_CLOCK = SystemClock()


class SafeClock(Clock):
    """A user's clock that cannot hurt: what it raises is reported, and time stands still."""

    def __init__(self, clock: Clock, report: Callable[[Exception], None]) -> None:
        self._clock = clock
        self._report = report
        self._last = [0, 0]

    def _read(self, place: int, read: Callable[[], int]) -> int:
        try:
            self._last[place] = int(read())
        except Exception as error:  # noqa: BLE001  # a clock never harms who is timed
            self._report(error)
        return self._last[place]

    def monotonic_ns(self) -> int:
        """Return the clock's answer, or its last one if it raises."""
        return self._read(0, self._clock.monotonic_ns)

    def time_ns(self) -> int:
        """Return the clock's answer, or its last one if it raises."""
        return self._read(1, self._clock.time_ns)


class Anchor:
    """Turns monotonic stamps into wall-clock ones, the same way every time.

    One reading of both clocks gives an offset. A later `refresh` that finds the wall clock moved
    adds a second offset for stamps from then on; stamps taken earlier keep the first.
    """

    __slots__ = ("_offsets", "_starts", "clock")
    clock: Clock

    #: A wall clock is followed when it has moved by more than this against the monotonic one.
    TOLERANCE_NS = 10_000_000
    #: Jumps remembered; a clock that jumps more often loses its oldest ones.
    LIMIT = 1_000

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._starts: list[int] = []
        now = clock.monotonic_ns()
        self._offsets: list[int] = [clock.time_ns() - now]

    def refresh(self) -> int:
        """Follow the wall clock if it has moved; return the monotonic time in nanoseconds."""
        now = self.clock.monotonic_ns()
        offset = self.clock.time_ns() - now
        if abs(offset - self._offsets[-1]) > self.TOLERANCE_NS:
            self._offsets.append(offset)
            self._starts.append(now)
            if len(self._starts) > self.LIMIT:
                del self._offsets[0], self._starts[0]
        return now

    def wall_ns(self, monotonic_ns: int) -> int:
        """Return the UTC time, in nanoseconds since the epoch, of a monotonic stamp."""
        index = len(self._starts)
        while index and self._starts[index - 1] > monotonic_ns:
            index -= 1
        return monotonic_ns + self._offsets[index]
