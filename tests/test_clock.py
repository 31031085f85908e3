"""The two clocks, and the stamps that are made of them."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from volnux.telemetry import Clock, Registry, SystemClock, capture, traced_event
from volnux.telemetry._clock import Anchor, SafeClock
from volnux.telemetry.testing import FakeClock

EPOCH = 1_700_000_000.0


def work(clock, seconds=0.0):
    with traced_event("work"):
        clock.advance(seconds)


class BrokenClock(Clock):
    """A clock that stops working when told to."""

    def __init__(self):
        self.is_broken = False
        self.now = 5_000_000_000

    def monotonic_ns(self):
        if self.is_broken:
            raise OSError("the battery is flat")
        return self.now

    time_ns = monotonic_ns


class TestSystemClock:
    def test_measures_with_the_performance_counter(self):
        """It is the highest resolution clock that never goes back."""
        assert SystemClock.monotonic_ns is time.perf_counter_ns

    def test_dates_with_the_wall_clock(self):
        """Stamps are those of the operating system."""
        assert SystemClock.time_ns is time.time_ns

    def test_is_what_a_registry_reads_by_default(self):
        """An event begins and ends between two readings of the wall clock."""
        before = time.time_ns() // 1_000 / 1e6
        with capture() as registry, traced_event("work"):
            pass
        after = time.time()

        [event] = registry.events()
        # Anchors follow a wall clock that drifts within their tolerance.
        slack = Anchor.TOLERANCE_NS / 1e9
        assert before - slack <= event.start_time <= event.end_time <= after + slack

    def test_is_bound_at_import(self):
        """A test tool that patches `time` later does not change durations."""
        code = (
            "from volnux.telemetry import capture, traced_event\n"
            "import time\n"
            "time.perf_counter_ns = time.time_ns = lambda: 10**30\n"
            "with capture() as registry, traced_event('work'): pass\n"
            "print(registry.events()[0].duration < 60)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )

        assert done.stdout == "True\n"


class TestClock:
    @pytest.mark.parametrize("method", ["monotonic_ns", "time_ns"])
    def test_leaves_both_readings_to_implementations(self, method):
        """A clock that forgot a method says so where it is asked."""
        with pytest.raises(NotImplementedError):
            getattr(Clock(), method)()

    def test_anything_else_is_refused_at_once(self):
        """A clock that is none is a set-up mistake that names the way out."""
        with pytest.raises(TypeError, match=r"FakeClock\(\), not 3"):
            capture(clock=3)


class TestStamps:
    def test_are_dated_by_the_wall_and_measured_by_the_monotonic_clock(self):
        """Start and end are dates; the duration is their distance."""
        clock = FakeClock(start=EPOCH)
        with capture(clock=clock) as registry:
            clock.advance(10.0)
            work(clock, 2.5)

        [event] = registry.events()
        assert (event.start_time, event.end_time, event.duration) == (
            EPOCH + 10.0,
            EPOCH + 12.5,
            2.5,
        )

    def test_a_jump_of_the_wall_clock_changes_no_duration(self):
        """An hour put back in the middle of an event leaves its length alone."""
        clock = FakeClock(start=EPOCH)
        with capture(clock=clock) as registry, traced_event("work"):
            clock.advance(1.0)
            clock.wall_jump(-3600.0)
            clock.advance(1.0)

        [event] = registry.events()
        assert (event.start_time, event.end_time, event.duration) == (EPOCH, EPOCH + 2.0, 2.0)

    def test_events_after_a_jump_have_the_new_date(self):
        """Once a fold has seen the jump, what begins later is dated by the new time."""
        clock = FakeClock(start=EPOCH)
        with capture(clock=clock) as registry:
            work(clock, 1.0)
            clock.wall_jump(3600.0)
            registry.fold()
            work(clock, 1.0)

        assert [event.start_time for event in registry.events()] == [EPOCH, EPOCH + 3601.0]

    def test_events_from_before_a_jump_keep_their_date(self):
        """A record says the same before and after the wall clock has moved."""
        clock = FakeClock(start=EPOCH)
        with capture(clock=clock) as registry:
            work(clock, 1.0)
            before = registry.events()
            clock.wall_jump(-50.0)
            clock.advance(1.0)
            registry.fold()

            assert registry.events() == before

    def test_a_monotonic_clock_that_goes_back_gives_no_negative_duration(self):
        """The duration is 0 and the end is the start."""
        clock = FakeClock(start=EPOCH)
        with capture(clock=clock, strict=True) as registry:
            clock.advance(10.0)
            work(clock, -5.0)

        [event] = registry.events()
        assert (event.start_time, event.end_time, event.duration) == (
            EPOCH + 10.0,
            EPOCH + 10.0,
            0.0,
        )
        assert registry.event_stats()["work"].total == 0.0


class TestAnchor:
    def test_ignores_what_is_within_its_tolerance(self):
        """Ten milliseconds of drift are not a jump."""
        clock = FakeClock(start=EPOCH)
        anchor = Anchor(clock)
        clock.wall_jump(0.010)
        anchor.refresh()

        assert anchor.wall_ns(0) == round(EPOCH * 1e9)

    def test_refresh_returns_the_monotonic_time(self):
        """So that a caller who needs it reads the clock once."""
        clock = FakeClock(start=EPOCH)
        clock.advance(3.0)

        assert Anchor(clock).refresh() == 3_000_000_000

    def test_dates_each_stretch_by_its_own_offset(self):
        """Stamps between two jumps are dated by the clock of that time."""
        clock = FakeClock(start=EPOCH)
        anchor = Anchor(clock)
        for jump in (100.0, 1000.0):
            clock.advance(1.0)
            clock.wall_jump(jump)
            anchor.refresh()

        seconds = [anchor.wall_ns(stamp) / 1e9 - EPOCH for stamp in (0, 10**9, 2 * 10**9)]
        assert seconds == [0.0, 101.0, 1102.0]

    def test_forgets_the_oldest_of_very_many_jumps(self):
        """A clock that jumps all the time does not fill the memory."""
        clock = FakeClock(start=EPOCH)
        anchor = Anchor(clock)
        for _ in range(Anchor.LIMIT + 50):
            clock.advance(1.0)
            clock.wall_jump(1.0)
            anchor.refresh()

        assert (len(anchor._starts), len(anchor._offsets)) == (Anchor.LIMIT, Anchor.LIMIT + 1)
        assert anchor.wall_ns(clock.monotonic_ns()) == clock.time_ns()


class TestBrokenClock:
    def test_stands_still_and_is_counted(self):
        """The program goes on, the event has no length, and health says why."""
        clock = BrokenClock()
        with capture(clock=clock) as registry:
            clock.now += 1_000_000_000
            with traced_event("work"):
                clock.now += 1_000_000_000
                clock.is_broken = True

        [event] = registry.events()
        assert event.duration == 0.0
        assert registry.health().errors["clock"]["OSError"] >= 1

    def test_recovers(self):
        """When the clock answers again, so does the registry."""
        clock = BrokenClock()
        with capture(clock=clock) as registry:
            clock.is_broken = True
            with traced_event("work"):
                clock.now += 2_000_000_000
                clock.is_broken = False

        assert registry.events()[0].duration == 2.0

    def test_raises_in_strict_mode(self):
        """A strict registry lets the clock's own error through."""
        clock = BrokenClock()
        clock.is_broken = True

        with pytest.raises(OSError, match="the battery is flat"):
            Registry(clock=clock, strict=True)

    def test_an_answer_that_is_no_number_is_an_error_of_the_clock(self):
        """Text for a time counts as the clock's failure."""
        seen = []
        clock = FakeClock()
        clock.monotonic_ns = lambda: "noon"

        assert SafeClock(clock, seen.append).monotonic_ns() == 0
        assert [type(error) for error in seen] == [ValueError]
