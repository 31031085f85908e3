"""Retries: the attempts of an event, work apart from backoff, and what they add up to."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volnux.telemetry import (
    TelemetryError,
    capture,
    current_event,
    get_retry_stats,
    record_retry,
    traced_event,
)
from volnux.telemetry.testing import FakeClock


def attempts_of(event):
    """The attempts as tuples: number, outcome, error type, error, work, backoff."""
    return [tuple(attempt.to_dict().values()) for attempt in event.attempts]


class Flaky:
    """Fails so often, each attempt taking `work` seconds and each pause `delay`."""

    def __init__(self, clock, failures, work=1.0, delay=0.5, tries=100):
        self.clock, self.failures, self.work, self.delay = clock, failures, work, delay
        self.tries = tries

    @traced_event("fetch")
    def run(self):
        for number in range(1, self.tries + 1):
            self.clock.advance(self.work)
            if number > self.failures:
                return
            error = OSError(f"attempt {number}")
            if number == self.tries:
                raise error
            record_retry(error, delay=self.delay)
            self.clock.advance(self.delay)


class TestAttempts:
    def test_without_retries_there_is_one(self, registry, clock):
        """The event is its own only attempt."""
        with traced_event("fetch"):
            clock.advance(2.0)

        [event] = registry.events()
        assert event.retry_count == 0
        assert attempts_of(event) == [(1, "completed", None, None, 2.0, 0.0)]

    def test_tell_work_from_backoff(self, registry, clock):
        """Each attempt has its own time, outcome and error."""
        Flaky(clock, failures=2).run()

        [event] = registry.events()
        assert (event.status, event.retry_count, event.duration) == ("completed", 2, 4.0)
        assert attempts_of(event) == [
            (1, "failed", "OSError", "attempt 1", 1.0, 0.5),
            (2, "failed", "OSError", "attempt 2", 1.0, 0.5),
            (3, "completed", None, None, 1.0, 0.0),
        ]

    def test_giving_up_fails_the_last_one(self, registry, clock):
        """The event failed as its last attempt did."""
        with pytest.raises(OSError):
            Flaky(clock, failures=9, tries=2).run()

        [event] = registry.events()
        assert event.status == "failed"
        assert attempts_of(event) == [
            (1, "failed", "OSError", "attempt 1", 1.0, 0.5),
            (2, "failed", "OSError", "attempt 2", 1.0, 0.0),
        ]

    def test_need_neither_error_nor_delay(self, registry, clock):
        """A retry may be all that is known."""
        with traced_event("fetch"):
            clock.advance(1.0)
            record_retry()
            clock.advance(2.0)

        assert attempts_of(registry.events()[0]) == [
            (1, "failed", None, None, 1.0, 0.0),
            (2, "completed", None, None, 2.0, 0.0),
        ]

    def test_of_a_running_event_can_be_seen(self, registry, clock):
        """The present attempt is running."""
        with traced_event("fetch"):
            clock.advance(1.0)
            record_retry(OSError("busy"), delay=2.0)
            clock.advance(3.0)

            [event] = registry.events(status="running")
        assert attempts_of(event) == [
            (1, "failed", "OSError", "busy", 1.0, 2.0),
            (2, "running", None, None, 1.0, 0.0),
        ]

    def test_cancelled_in_backoff_has_waited_no_longer(self, registry, clock):
        """The pause ends with the event, and the attempt to come took no time."""
        with pytest.raises(KeyboardInterrupt), traced_event("fetch"):
            clock.advance(1.0)
            record_retry(OSError("busy"), delay=60.0)
            clock.advance(2.0)
            raise KeyboardInterrupt

        [event] = registry.events()
        assert event.status == "cancelled"
        assert attempts_of(event) == [
            (1, "failed", "OSError", "busy", 1.0, 2.0),
            (2, "cancelled", "KeyboardInterrupt", "", 0.0, 0.0),
        ]

    def test_a_pause_cut_short_is_as_long_as_it_was(self, registry, clock):
        """Backoff never goes beyond the end of the next attempt."""
        with traced_event("fetch"):
            record_retry(OSError("busy"), delay=60.0)
            clock.advance(2.0)
            record_retry(OSError("busy"), delay=1.0)
            clock.advance(1.0)
            clock.advance(4.0)

        assert [(one.duration, one.backoff) for one in registry.events()[0].attempts] == [
            (0.0, 2.0),
            (0.0, 1.0),
            (4.0, 0.0),
        ]

    def test_more_than_a_hundred_keep_the_latest(self, registry, clock):
        """The count stays exact, and so do the times of those that are listed."""
        Flaky(clock, failures=150, tries=200).run()

        [event] = registry.events()
        assert event.retry_count == 150
        assert [one.number for one in event.attempts] == list(range(52, 152))
        assert {(one.duration, one.backoff) for one in event.attempts[:-1]} == {(1.0, 0.5)}
        assert attempts_of(event)[-1] == (151, "completed", None, None, 1.0, 0.0)

    def test_exactly_a_hundred_are_all_there(self, registry, clock):
        """The bound cuts nothing that fits."""
        Flaky(clock, failures=99).run()

        assert [one.number for one in registry.events()[0].attempts] == list(range(1, 101))

    @given(
        st.lists(
            st.tuples(st.integers(0, 1_000), st.integers(0, 1_000), st.integers(0, 1_000)),
            max_size=130,
        ),
        st.integers(0, 1_000),
    )
    def test_work_and_backoff_never_exceed_the_event(self, retries, last):
        """Whatever was announced, and however long the pauses really were."""
        clock = FakeClock()
        with capture(isolated=True, clock=clock, strict=True) as registry, traced_event("fetch"):
            for work, announced, waited in retries:
                clock.advance(work / 1e3)
                record_retry(delay=announced / 1e3)
                clock.advance(waited / 1e3)
            clock.advance(last / 1e3)

        [event] = registry.events()
        total = sum(one.duration + one.backoff for one in event.attempts)
        if len(retries) < 100:
            assert total == pytest.approx(event.duration)
        else:
            assert total <= event.duration + 1e-6


class TestRecording:
    def test_on_an_event_counts_there(self, registry):
        """`event.retry` is for the event it is called on."""
        with traced_event("outer") as outer, traced_event("inner"):
            outer.retry(OSError("busy"))

        counts = {event.event_name: event.retry_count for event in registry.events()}
        assert counts == {"outer": 1, "inner": 0}

    def test_without_an_event_counts_on_the_innermost(self, registry):
        """`record_retry` is for the event around it."""
        with traced_event("outer"), traced_event("inner"):
            record_retry(OSError("busy"))

        counts = {event.event_name: event.retry_count for event in registry.events()}
        assert counts == {"outer": 0, "inner": 1}

    def test_from_concurrent_tasks_counts_on_their_own(self, registry):
        """Tasks that retry at once do not share a count."""

        @traced_event("fetch")
        async def fetch(times):
            for _ in range(times):
                record_retry(OSError("busy"))
                await asyncio.sleep(0)

        async def main():
            await asyncio.gather(*(fetch(times) for times in range(4)))

        asyncio.run(main())

        assert sorted(event.retry_count for event in registry.events()) == [0, 1, 2, 3]

    def test_from_threads_on_one_event_counts_all(self, registry):
        """An event may be retried by several threads."""
        barrier = threading.Barrier(4)
        with traced_event("fetch") as event:

            def retry():
                barrier.wait()
                for _ in range(10):
                    event.retry()

            threads = [threading.Thread(target=retry) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        assert registry.events()[0].retry_count == 40

    def test_secrets_in_errors_are_hidden(self, registry):
        """The text of an attempt's error is as clean as any other."""
        with traced_event("login"):
            record_retry(ValueError("password=hunter2"))

        assert "hunter2" not in repr(registry.events())

    def test_outside_of_any_event_is_counted_as_an_error(self):
        """It does nothing, and health says so."""
        with capture() as registry:
            record_retry(OSError("busy"))

        assert registry.health().errors["retry"] == {"outside of any event": 1}

    def test_outside_of_any_event_raises_in_strict_mode(self, registry):
        """A strict registry makes it an error."""
        with pytest.raises(TelemetryError, match="outside of any event"):
            record_retry(OSError("busy"))

    def test_after_the_end_changes_nothing(self):
        """A finished event stays as it is, and health says that somebody tried."""
        with capture() as registry:
            with traced_event("fetch") as event:
                pass
            event.retry(OSError("late"))

        assert registry.events()[0].retry_count == 0
        assert registry.health().errors["retry"] == {"after the end of the event": 1}

    def test_while_off_does_nothing(self):
        """There is nothing to count on, and nothing to complain of."""
        record_retry(OSError("busy"))

        assert current_event() is None

    def test_where_nothing_is_recorded_does_nothing(self):
        """A thread outside of the capture has no event."""
        with capture() as registry:
            thread = threading.Thread(target=record_retry)
            thread.start()
            thread.join()

        assert registry.health().errors.get("retry") is None


class Stubborn:
    def __bool__(self):
        raise RuntimeError("neither")


class TestDelay:
    @pytest.mark.parametrize(
        ("delay", "backoff"), [(1, 1.0), (0.25, 0.25), (Decimal("0.5"), 0.5), (None, 0.0), (0, 0.0)]
    )
    def test_is_seconds(self, registry, clock, delay, backoff):
        """Any number will do."""
        with traced_event("fetch"):
            record_retry(delay=delay)
            clock.advance(2.0)

        assert registry.events()[0].attempts[0].backoff == backoff

    def test_below_zero_is_none(self, registry, clock):
        """Nobody waits into the past."""
        with traced_event("fetch"):
            record_retry(delay=-1.0)
            clock.advance(1.0)

        assert registry.events()[0].attempts[0].backoff == 0.0

    @pytest.mark.parametrize(
        "delay", ["soon", timedelta(seconds=1), float("nan"), float("inf"), [], Stubborn()]
    )
    def test_that_is_no_number_is_counted_as_an_error(self, delay):
        """The retry counts all the same."""
        with capture() as registry, traced_event("fetch"):
            record_retry(delay=delay)

        assert registry.events()[0].retry_count == 1
        assert registry.health().errors["retry"] == {"delay is no number": 1}


class TestStats:
    def test_tell_recovered_from_exhausted(self, registry, clock):
        """And leave those that were cancelled to themselves."""
        Flaky(clock, failures=0).run()
        Flaky(clock, failures=2).run()
        with pytest.raises(OSError):
            Flaky(clock, failures=9, tries=4).run()
        with pytest.raises(KeyboardInterrupt), traced_event("fetch"):
            record_retry()
            raise KeyboardInterrupt

        assert get_retry_stats().to_dict() == {
            "total_retries": 6,
            "total_attempts": 9,
            "retried_events": 3,
            "recovered": 1,
            "exhausted": 1,
            "by_event": {
                "fetch": {
                    "total_retries": 6,
                    "total_attempts": 9,
                    "retried_events": 3,
                    "recovered": 1,
                    "exhausted": 1,
                }
            },
        }

    def test_leave_out_names_without_retries(self, registry, clock):
        """What never retried is not in the list."""
        with traced_event("steady"):
            pass
        Flaky(clock, failures=1).run()

        assert set(registry.retry_stats().by_event) == {"fetch"}

    def test_of_nothing_are_zero(self, registry):
        """There is an answer before anything happened."""
        stats = registry.retry_stats()

        assert (stats.total_retries, stats.total_attempts, stats.by_event) == (0, 0, {})

    def test_do_not_count_what_is_still_running(self, registry):
        """An event is counted when it is known what came of it."""
        with traced_event("fetch"):
            record_retry()

            assert registry.retry_stats().total_retries == 0
        assert registry.retry_stats().total_retries == 1

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["a", "b", "c"]),
                st.integers(0, 120),
                st.sampled_from(["completed", "failed", "cancelled"]),
            ),
            max_size=20,
        )
    )
    def test_add_up_to_the_attempts(self, events):
        """Over all names, however each event ended."""
        with capture(isolated=True, clock=FakeClock(), strict=True) as registry:
            for name, retries, status in events:
                run_to(name, retries, status)

        stats = registry.retry_stats()
        retried = [(name, retries, status) for name, retries, status in events if retries]
        assert stats.total_retries == sum(retries for _, retries, _ in retried)
        assert stats.total_attempts == stats.total_retries + len(retried)
        assert stats.retried_events == len(retried)
        assert stats.recovered == sum(status == "completed" for _, _, status in retried)
        assert stats.exhausted == sum(status == "failed" for _, _, status in retried)
        for field in ("total_retries", "total_attempts", "retried_events", "recovered"):
            assert getattr(stats, field) == sum(one[field] for one in stats.by_event.values())
        assert stats.total_attempts == sum(
            event.attempts[-1].number for event in registry.events() if event.retry_count
        )


def run_to(name, retries, status):
    """Run an event with so many retries to an end of that status."""
    outcome = {"completed": None, "failed": OSError("down"), "cancelled": KeyboardInterrupt()}
    error = outcome[status]
    try:
        with traced_event(name):
            for _ in range(retries):
                record_retry()
            if error is not None:
                raise error
    except (OSError, KeyboardInterrupt):
        pass
