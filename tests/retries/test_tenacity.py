"""`traced_retrying`: the attempts of what tenacity retries, on the event around them."""

from __future__ import annotations

import asyncio
import copy
import inspect
import pickle
import threading

import pytest
import tenacity
from tenacity import (
    AsyncRetrying,
    RetryError,
    Retrying,
    TryAgain,
    retry,
    retry_if_result,
    stop_after_attempt,
    wait_fixed,
    wait_none,
)

from tests.at_once import cancel, in_threads
from tests.retries._calls import EXHAUSTED, RECOVERED, Flaky, call_at_once, call_methods
from volnux.telemetry import (
    TelemetryError,
    capture,
    current_event,
    get_retry_stats,
    record_retry,
    traced_event,
)
from volnux.telemetry.retries import traced_retrying


@pytest.fixture(name="settings")
def _settings(clock):
    """Three attempts with two seconds between them, on the test's clock."""
    return {"stop": stop_after_attempt(3), "wait": wait_fixed(2), "sleep": clock.advance}


@pytest.fixture(name="async_settings")
def _async_settings(clock):
    async def sleep(seconds):
        clock.advance(seconds)
        await asyncio.sleep(0)

    return {"stop": stop_after_attempt(3), "wait": wait_fixed(2), "sleep": sleep}


def decorated(function, settings):
    @traced_retrying
    @retry(**settings)
    def fetch():
        return function()

    return fetch


class TestOneCall:
    def test_that_succeeds_at_once_is_one_attempt(self, registry, clock, settings, attempts_of):
        """A first try that succeeds is an attempt, and no retry."""
        with traced_event("load"):
            assert decorated(Flaky(clock), settings)() == 1

        [event] = registry.events()
        assert (event.event_name, event.retry_count) == ("load", 0)
        assert attempts_of(event) == [(1, "completed", None, None, 1.0, 0.0)]

    def test_that_recovers_tells_work_from_backoff(self, registry, clock, settings, attempts_of):
        """Each attempt has its own work, outcome and error, and the pauses apart."""
        with traced_event("load"):
            assert decorated(Flaky(clock, failures=2), settings)() == 3

        [event] = registry.events()
        assert (event.status, event.retry_count, event.duration) == ("completed", 2, 7.0)
        assert attempts_of(event) == RECOVERED

    def test_that_gives_up_fails_the_last_attempt(self, registry, clock, settings, attempts_of):
        """The event fails with tenacity's error, the attempts with the function's."""
        with pytest.raises(RetryError), traced_event("load"):
            decorated(Flaky(clock, failures=9), settings)()

        [event] = registry.events()
        assert (event.status, event.error_type, event.retry_count) == ("failed", "RetryError", 2)
        assert attempts_of(event) == EXHAUSTED

    def test_that_reraises_fails_as_the_function_did(self, registry, clock, settings, outcomes_of):
        """With reraise=True the program gets the function's own error."""
        with pytest.raises(OSError, match="attempt 3"), traced_event("load"):
            decorated(Flaky(clock, failures=9), {**settings, "reraise": True})()

        [event] = registry.events()
        assert (event.error_type, event.error) == ("OSError", "attempt 3")
        assert outcomes_of(event) == ["1 failed", "2 failed", "3 failed"]

    def test_in_vain_is_seen_in_an_event_that_goes_on(self, registry, clock, settings, outcomes_of):
        """An event that catches the error completes, its last attempt having failed."""
        with traced_event("load"), pytest.raises(RetryError):
            decorated(Flaky(clock, failures=9), settings)()

        [event] = registry.events()
        assert event.status == "completed"
        assert outcomes_of(event) == ["1 failed", "2 failed", "3 failed"]
        stats = get_retry_stats()
        assert (stats.recovered, stats.exhausted) == (0, 1)

    def test_that_fails_beyond_retrying_is_one_attempt(
        self, registry, clock, settings, outcomes_of
    ):
        """What is not to be retried is not."""
        kept = {**settings, "retry": tenacity.retry_if_exception_type(OSError)}
        with pytest.raises(ValueError), traced_event("load"):
            decorated(Flaky(clock, failures=1, error=ValueError), kept)()

        [event] = registry.events()
        assert event.retry_count == 0
        assert outcomes_of(event) == ["1 failed"]

    def test_is_retried_for_its_result(self, registry, clock, settings, attempts_of):
        """A result that is not good enough makes a failed attempt without an error."""
        kept = {**settings, "retry": retry_if_result(lambda answer: answer < 2)}
        with traced_event("load"):
            assert decorated(Flaky(clock), kept)() == 2

        assert attempts_of(registry.events()[0]) == [
            (1, "failed", None, None, 1.0, 2.0),
            (2, "completed", None, None, 1.0, 0.0),
        ]

    def test_gives_up_on_results(self, registry, clock, settings, outcomes_of):
        """If no result is good enough, the last attempt has failed as well."""
        kept = {**settings, "retry": retry_if_result(lambda answer: True)}
        with pytest.raises(RetryError), traced_event("load"):
            decorated(Flaky(clock), kept)()

        [event] = registry.events()
        assert outcomes_of(event) == ["1 failed", "2 failed", "3 failed"]
        assert get_retry_stats().exhausted == 1

    def test_may_have_its_giving_up_turned_into_a_result(
        self, registry, clock, settings, outcomes_of
    ):
        """What `retry_error_callback` returns does not make the last attempt a success."""
        kept = {**settings, "retry_error_callback": lambda state: "nothing"}
        with traced_event("load"):
            assert decorated(Flaky(clock, failures=9), kept)() == "nothing"

        [event] = registry.events()
        assert outcomes_of(event) == ["1 failed", "2 failed", "3 failed"]
        assert get_retry_stats().exhausted == 1

    def test_may_ask_for_another_attempt(self, registry, clock, settings, attempts_of):
        """TryAgain is an error like any other."""
        with traced_event("load"):
            decorated(Flaky(clock, failures=1, error=TryAgain), settings)()

        assert attempts_of(registry.events()[0])[0] == (
            1,
            "failed",
            "TryAgain",
            "attempt 1",
            1.0,
            2.0,
        )

    def test_hides_secrets_in_errors(self, registry, clock, settings):
        """The text of an attempt's error is as clean as any other."""

        def login():
            raise OSError("password=hunter2")

        with pytest.raises(RetryError), traced_event("load"):
            decorated(login, settings)()

        assert "hunter2" not in repr(registry.events())

    def test_of_a_hundred_attempts_and_more_keeps_the_latest(self, registry, clock, settings):
        """The count stays exact, and the cut is counted."""
        with traced_event("load"):
            decorated(Flaky(clock, failures=149), {**settings, "stop": tenacity.stop_never})()

        [event] = registry.events()
        assert event.retry_count == 149
        assert [one.number for one in event.attempts] == list(range(51, 151))
        assert get_retry_stats().total_attempts == 150
        assert registry.health().errors == {"bounds": {"attempts": 50}}

    def test_can_be_seen_while_it_runs(self, registry, clock, settings, attempts_of):
        """Attempts are on the event as soon as they are made."""
        seen = []

        def look():
            clock.advance(1.0)
            seen.append(attempts_of(registry.events(status="running")[0]))
            if len(seen) < 2:
                raise OSError("busy")

        with traced_event("load"):
            decorated(look, settings)()

        assert seen == [
            [(1, "running", None, None, 1.0, 0.0)],
            [(1, "failed", "OSError", "busy", 1.0, 2.0), (2, "running", None, None, 1.0, 0.0)],
        ]

    def test_can_be_seen_while_it_waits(self, registry, clock, settings, attempts_of):
        """The pause is as long as it has been so far."""
        seen = []

        def sleep(seconds):
            clock.advance(seconds / 2)
            seen.append(attempts_of(registry.events(status="running")[0]))
            clock.advance(seconds / 2)

        with traced_event("load"):
            decorated(Flaky(clock, failures=1), {**settings, "sleep": sleep})()

        assert seen == [[(1, "failed", "OSError", "attempt 1", 1.0, 1.0)]]

    def test_waits_as_long_as_it_really_did(self, registry, clock, settings):
        """A pause is measured, not believed."""
        late = {**settings, "sleep": lambda seconds: clock.advance(seconds + 3.0)}
        with traced_event("load"):
            decorated(Flaky(clock, failures=1), late)()

        assert [one.backoff for one in registry.events()[0].attempts] == [5.0, 0.0]


class TestInterrupted:
    @pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
    def test_at_work_is_cancelled(self, registry, clock, settings, attempts_of, kind):
        """Asking to stop is no failure."""
        with pytest.raises(kind), traced_event("load"):
            decorated(Flaky(clock, failures=1, error=kind), settings)()

        [event] = registry.events()
        assert (event.status, event.retry_count) == ("cancelled", 0)
        assert attempts_of(event) == [(1, "cancelled", kind.__name__, "attempt 1", 1.0, 0.0)]

    def test_in_backoff_is_cancelled_without_another_attempt(
        self, registry, clock, settings, attempts_of, interrupted
    ):
        """What was waited for has never been made."""
        with pytest.raises(KeyboardInterrupt), traced_event("load"):
            decorated(Flaky(clock, failures=9), {**settings, "sleep": interrupted})()

        [event] = registry.events()
        assert (event.status, event.retry_count) == ("cancelled", 0)
        assert attempts_of(event) == [(1, "failed", "OSError", "attempt 1", 1.0, 0.5)]

    def test_in_backoff_and_caught_has_waited_no_longer(
        self, registry, clock, settings, attempts_of, interrupted
    ):
        """The pause ends where it was broken off, also if the event goes on."""
        with traced_event("load"):
            with pytest.raises(KeyboardInterrupt):
                decorated(Flaky(clock, failures=9), {**settings, "sleep": interrupted})()
            clock.advance(60.0)

        assert attempts_of(registry.events()[0]) == [
            (1, "failed", "OSError", "attempt 1", 1.0, 0.5)
        ]

    def test_task_in_backoff_is_cancelled(self, registry, clock, attempts_of):
        """A task cancelled while it waits is cancelled, and so is its event."""
        settings = {"stop": stop_after_attempt(3), "wait": wait_fixed(3_600)}

        @traced_event("load")
        @traced_retrying
        @retry(**settings)
        async def fetch():
            clock.advance(1.0)
            raise OSError("busy")

        async def main():
            task = asyncio.ensure_future(fetch())
            await asyncio.sleep(0)
            clock.advance(4.0)
            await cancel(task)

        asyncio.run(main())

        [event] = registry.events()
        assert (event.status, event.error_type, event.retry_count) == (
            "cancelled",
            "CancelledError",
            0,
        )
        assert attempts_of(event) == [(1, "failed", "OSError", "busy", 1.0, 4.0)]
        assert (get_retry_stats().total_retries, get_retry_stats().exhausted) == (0, 0)

    def test_task_at_work_is_cancelled(self, registry, clock, async_settings, outcomes_of):
        """A task cancelled in its second attempt has made two."""
        made = []

        @traced_event("load")
        @traced_retrying
        @retry(**async_settings)
        async def fetch(again):
            made.append(1)
            if len(made) == 1:
                raise OSError("busy")
            again.set()
            await asyncio.Event().wait()

        async def main():
            again = asyncio.Event()
            task = asyncio.ensure_future(fetch(again))
            await again.wait()
            await cancel(task)

        asyncio.run(main())

        [event] = registry.events()
        assert (event.status, event.retry_count) == ("cancelled", 1)
        assert outcomes_of(event) == ["1 failed", "2 cancelled"]
        stats = get_retry_stats()
        assert (stats.total_attempts, stats.recovered, stats.exhausted) == (2, 0, 0)


class TestSeveralCalls:
    def test_one_after_the_other_add_up(self, registry, clock, settings, outcomes_of):
        """Each call's attempts begin with 1 again, and the event has them all."""
        with traced_event("load"):
            decorated(Flaky(clock, failures=2), settings)()
            decorated(Flaky(clock), settings)()
            with pytest.raises(RetryError):
                decorated(Flaky(clock, failures=9), settings)()

        [event] = registry.events()
        assert event.retry_count == 4
        assert outcomes_of(event) == [
            *("1 failed", "2 failed", "3 completed"),
            "1 completed",
            *("1 failed", "2 failed", "3 failed"),
        ]
        assert get_retry_stats().total_attempts == 7

    def test_at_once_in_tasks_are_listed_call_by_call(
        self, registry, clock, async_settings, outcomes_of
    ):
        """Attempts of one function that interleave are not mixed."""
        call_at_once(traced_retrying, retry(**async_settings))

        [event] = registry.events()
        assert outcomes_of(event) == [
            *("1 failed", "2 completed"),
            *("1 failed", "2 failed", "3 completed"),
            "1 completed",
        ]
        assert [one.error for one in event.attempts] == ["a", None, "b", "b", None, None]

    def test_at_once_in_threads_are_listed_call_by_call(
        self, registry, clock, settings, outcomes_of
    ):
        """Threads that carry the event's context tell that event."""
        barrier = threading.Barrier(2)

        @traced_retrying
        @retry(stop=stop_after_attempt(3))
        def fetch():
            barrier.wait()
            raise OSError("busy")

        def attempt(number):
            with pytest.raises(RetryError):
                fetch()

        with traced_event("load"):
            in_threads(attempt, range(2))

        [event] = registry.events()
        assert event.retry_count == 4
        assert outcomes_of(event) == ["1 failed", "2 failed", "3 failed"] * 2

    def test_inside_of_each_other_are_two_calls_and_more(
        self, registry, clock, settings, outcomes_of
    ):
        """Each call tells its own attempts, the outer one first."""
        inner = Flaky(clock, failures=4)

        @traced_retrying
        @retry(stop=stop_after_attempt(2))
        def page():
            return inner()

        with traced_event("load"):
            decorated(page, settings)()

        [event] = registry.events()
        assert outcomes_of(event) == [
            *("1 failed", "2 failed", "3 completed"),
            *("1 failed", "2 failed"),
            *("1 failed", "2 failed"),
            "1 completed",
        ]
        assert (event.retry_count, get_retry_stats().total_attempts) == (4, 8)

    def test_inside_of_each_other_are_told_apart_by_an_event(self, registry, clock, settings):
        """A traced function keeps its attempts to itself."""
        inner = Flaky(clock, failures=4)

        @traced_event("page")
        @traced_retrying
        @retry(stop=stop_after_attempt(2), reraise=True)
        def page():
            return inner()

        with traced_event("load"):
            decorated(page, settings)()

        attempts = [(event.event_name, len(event.attempts)) for event in registry.events()]
        assert sorted(attempts) == [("load", 3), ("page", 1), ("page", 2), ("page", 2)]
        assert inner.asked == 5

    def test_besides_retries_told_by_hand_add_up(self, registry, clock, settings, outcomes_of):
        """The event's own attempts come first."""
        with traced_event("load"):
            record_retry(OSError("by hand"))
            decorated(Flaky(clock, failures=1), settings)()

        [event] = registry.events()
        assert event.retry_count == 2
        assert outcomes_of(event) == ["1 failed", "2 completed", "1 failed", "2 completed"]
        assert get_retry_stats().total_attempts == 4

    def test_leave_one_that_retried_in_vain_to_the_others(self, registry, clock, settings):
        """One call that gave up makes the event's retrying exhausted, whatever the others did."""
        with traced_event("load"):
            with pytest.raises(RetryError):
                decorated(Flaky(clock, failures=9), settings)()
            decorated(Flaky(clock, failures=1), settings)()

        stats = get_retry_stats()
        assert (stats.retried_events, stats.recovered, stats.exhausted) == (1, 0, 1)


class TestWithoutAnEvent:
    def test_a_call_becomes_an_event(self, registry, clock, settings, outcomes_of):
        """It is named after the function."""
        decorated(Flaky(clock, failures=1), settings)()

        [event] = registry.events()
        assert (event.event_name, event.duration) == ("fetch", 4.0)
        assert outcomes_of(event) == ["1 failed", "2 completed"]

    def test_a_coroutine_becomes_an_event(self, registry, clock, async_settings, outcomes_of):
        """As a function does."""
        work = Flaky(clock, failures=1)

        @traced_retrying
        @retry(**async_settings)
        async def fetch():
            return work()

        assert asyncio.run(fetch()) == 2

        [event] = registry.events()
        assert event.event_name == "fetch"
        assert outcomes_of(event) == ["1 failed", "2 completed"]

    def test_a_failure_fails_that_event(self, registry, clock, settings):
        """Like any other step's."""
        with pytest.raises(RetryError):
            decorated(Flaky(clock, failures=9), settings)()

        assert [event.status for event in registry.events()] == ["failed"]

    def test_is_no_event_of_its_own_below_a_traced_function(self, registry, clock, settings):
        """One call of one function is one event."""
        traced_event("fetch")(decorated(Flaky(clock, failures=1), settings))()

        assert [len(event.attempts) for event in registry.events()] == [2]

    def test_a_loop_is_counted_as_an_error(self, clock, settings):
        """It has no name to be an event by."""
        work = Flaky(clock, failures=2)
        with capture() as registry:
            for attempt in traced_retrying(Retrying(**settings)):
                with attempt:
                    work()

        assert registry.events() == []
        assert registry.health().errors == {"retry": {"outside of any event": 2}}

    def test_a_loop_that_does_not_retry_is_no_error(self, registry, clock, settings):
        """Nothing is missing then."""
        for attempt in traced_retrying(Retrying(**settings)):
            with attempt:
                pass

        assert registry.health().errors == {}

    def test_a_loop_raises_in_strict_mode(self, registry, clock, settings):
        """A test is told that its retries go nowhere."""
        work = Flaky(clock, failures=1)
        with pytest.raises(TelemetryError, match="outside of any event"):
            for attempt in traced_retrying(Retrying(**settings)):
                with attempt:
                    work()

    def test_retries_after_the_end_of_the_event_are_counted(self, clock, async_settings):
        """A task may outlive its event, which stays as it is."""
        failures = iter([True, True, False])

        @traced_retrying
        @retry(**async_settings)
        async def fetch():
            if next(failures):
                raise OSError("busy")

        async def main():
            with traced_event("load"):
                task = asyncio.ensure_future(fetch())
                await asyncio.sleep(0)
            await task

        with capture(clock=clock) as registry:
            asyncio.run(main())

        [event] = registry.events()
        assert (event.retry_count, len(event.attempts)) == (0, 1)
        assert registry.health().errors == {"retry": {"after the end of the event": 2}}


class TestLoops:
    def test_tell_the_event_around_them(self, registry, clock, settings, attempts_of):
        """A block's attempts are the event's."""
        work = Flaky(clock, failures=1)
        with traced_event("load"):
            for attempt in traced_retrying(Retrying(**settings)):
                with attempt:
                    work()
            clock.advance(5.0)

        assert attempts_of(registry.events()[0]) == [
            (1, "failed", "OSError", "attempt 1", 1.0, 2.0),
            (2, "completed", None, None, 1.0, 0.0),
        ]

    def test_may_be_left_from_within(self, registry, clock, settings, attempts_of):
        """What returns from the block has succeeded, then and there."""

        def load():
            for attempt in traced_retrying(Retrying(**settings)):
                with attempt:
                    clock.advance(1.0)
                    return "done"
            raise AssertionError

        with traced_event("load"):
            assert load() == "done"
            clock.advance(5.0)

        assert attempts_of(registry.events()[0]) == [(1, "completed", None, None, 1.0, 0.0)]

    def test_give_up(self, registry, clock, settings, outcomes_of):
        """The last attempt has failed."""
        with traced_event("load"), pytest.raises(RetryError):
            for attempt in traced_retrying(Retrying(**settings)):
                with attempt:
                    raise OSError("busy")

        assert outcomes_of(registry.events()[0]) == ["1 failed", "2 failed", "3 failed"]
        assert get_retry_stats().exhausted == 1

    def test_are_retried_for_a_result(self, registry, clock, settings, outcomes_of):
        """A result is set by hand, after the block."""
        kept = {**settings, "retry": retry_if_result(lambda number: number < 2)}
        with traced_event("load"):
            for attempt in traced_retrying(Retrying(**kept)):
                with attempt:
                    pass
                attempt.retry_state.set_result(attempt.retry_state.attempt_number)

        assert outcomes_of(registry.events()[0]) == ["1 failed", "2 completed"]

    def test_interrupted_in_backoff_have_waited_no_longer(
        self, registry, clock, settings, attempts_of, interrupted
    ):
        """As calls."""
        with traced_event("load"):
            with pytest.raises(KeyboardInterrupt):
                for attempt in traced_retrying(Retrying(**{**settings, "sleep": interrupted})):
                    with attempt:
                        raise OSError("busy")
            clock.advance(60.0)

        assert attempts_of(registry.events()[0]) == [(1, "failed", "OSError", "busy", 0.0, 0.5)]

    def test_in_async_code_tell_as_well(self, registry, clock, async_settings, attempts_of):
        """`async for` is the same."""
        work = Flaky(clock, failures=1)

        @traced_event
        async def load():
            async for attempt in traced_retrying(AsyncRetrying(**async_settings)):
                with attempt:
                    work()
            clock.advance(5.0)

        asyncio.run(load())

        assert attempts_of(registry.events()[0]) == [
            (1, "failed", "OSError", "attempt 1", 1.0, 2.0),
            (2, "completed", None, None, 1.0, 0.0),
        ]

    def test_in_async_code_are_cancelled_in_backoff(
        self, registry, clock, async_settings, attempts_of
    ):
        """The pause ends where the task was cancelled."""

        async def forever(seconds):
            await asyncio.Event().wait()

        async def load():
            retrying = AsyncRetrying(**{**async_settings, "sleep": forever})
            async for attempt in traced_retrying(retrying):
                with attempt:
                    raise OSError("busy")

        async def main():
            with traced_event("load"):
                task = asyncio.ensure_future(load())
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                clock.advance(4.0)
                await cancel(task)
                clock.advance(60.0)

        asyncio.run(main())

        assert attempts_of(registry.events()[0]) == [(1, "failed", "OSError", "busy", 0.0, 4.0)]

    def test_run_in_the_event_around_them(self, registry, settings):
        """What is traced inside an attempt is a child of that event."""
        with traced_event("load") as load:
            for attempt in traced_retrying(Retrying(**settings)):
                with attempt, traced_event("page"):
                    assert current_event().name == "page"

        assert [event.parent_id for event in registry.events("page")] == [load.task_id]


class TestWhatItIsGiven:
    def test_may_be_called_with_a_function(self, registry, clock, settings, outcomes_of):
        """A Retrying is called as before."""
        traced = traced_retrying(Retrying(**settings))
        assert traced(Flaky(clock, failures=1)) == 2
        assert traced(lambda number, *, add: number + add, 1, add=2) == 3

        [first, second] = registry.events()
        assert (first.event_name, outcomes_of(first)) == ("Flaky", ["1 failed", "2 completed"])
        assert outcomes_of(second) == ["1 completed"]

    def test_may_be_awaited_with_a_function(self, registry, clock, async_settings, outcomes_of):
        """An AsyncRetrying is called as before."""
        work = Flaky(clock, failures=1)

        async def fetch():
            return work()

        assert asyncio.run(traced_retrying(AsyncRetrying(**async_settings))(fetch)) == 2

        [event] = registry.events("fetch")
        assert outcomes_of(event) == ["1 failed", "2 completed"]

    def test_may_be_a_decorator(self, registry, clock, settings, outcomes_of):
        """`retry(...)` and `retry` itself, for a module that decorates much."""
        work = Flaky(clock, failures=1)
        traced_retry = traced_retrying(retry)

        @traced_retry(**settings)
        def fetch():
            return work()

        @traced_retrying(retry(**settings))
        def load():
            return fetch()

        @traced_retry
        def step():
            return load()

        step()

        [event] = registry.events()
        assert event.event_name == "step"
        assert outcomes_of(event) == ["1 completed", "1 completed", "1 failed", "2 completed"]

    def test_may_be_a_method(self, registry, clock, settings, outcomes_of):
        """In a class body, bound to an instance, and with classmethod and staticmethod."""
        call_methods(traced_retrying, retry(**settings))

        attempts = [(event.event_name, len(event.attempts)) for event in registry.events()]
        assert attempts == [
            ("Client.get", 2),
            ("Client.put", 1),
            ("Client.make", 1),
            ("Client.parse", 1),
        ]

    def test_may_be_an_instance_of_a_class_of_the_users(
        self, registry, clock, settings, outcomes_of
    ):
        """What a subclass keeps and does is kept and done."""

        class Patient(Retrying):
            def __init__(self, *args, tag="", **kwargs):
                super().__init__(*args, **kwargs)
                self.tag = tag

            def begin(self):
                super().begin()
                self.statistics["tag"] = self.tag

        traced = traced_retrying(Patient(**settings, tag="slow"))
        traced(Flaky(clock, failures=1))

        assert isinstance(traced, Patient)
        assert (traced.tag, traced.statistics["tag"]) == ("slow", "slow")
        assert outcomes_of(registry.events()[0]) == ["1 failed", "2 completed"]

    def test_may_be_traced_already(self, registry, clock, settings):
        """Twice is once."""
        traced = decorated(Flaky(clock, failures=1), settings)
        retrying = traced_retrying(Retrying(**settings))
        assert traced_retrying(traced) is traced
        assert traced_retrying(retrying) is retrying

    @pytest.mark.parametrize("target", [None, 3, len, lambda: None, Retrying, "retry"])
    def test_must_retry(self, target):
        """Anything else is a mistake, and the message says what would do."""
        with pytest.raises(TypeError, match=r"give it a Retrying"):
            traced_retrying(target)

    def test_must_not_be_decorated_further_up(self, settings):
        """What lies between would be lost."""

        @traced_event
        @retry(**settings)
        def fetch(): ...

        with pytest.raises(TypeError, match=r"directly on top of that"):
            traced_retrying(fetch)


class TestUnchanged:
    def test_is_what_it_is_given(self, settings):
        """The target is not touched."""
        retrying = Retrying(**settings)
        before = dict(vars(retrying))
        retrying_is = type(retrying)

        @retry(**settings)
        def fetch(): ...

        kept = dict(vars(fetch))
        traced_retrying(retrying)(lambda: None)
        traced_retrying(fetch)()

        assert (vars(retrying), type(retrying)) == (before, retrying_is)
        assert retrying.statistics == {}
        assert (vars(fetch), fetch.statistics) == (kept, {})

    def test_are_types_and_settings(self, settings):
        """A traced Retrying is one, with the same settings and the same face."""
        retrying = Retrying(**settings)
        traced = traced_retrying(retrying)
        assert isinstance(traced, Retrying)
        assert type(traced).__name__ == "Retrying"
        for name in (
            "sleep",
            "stop",
            "wait",
            "retry",
            "before",
            "after",
            "before_sleep",
            "reraise",
        ):
            assert getattr(traced, name) is getattr(retrying, name)
        assert isinstance(traced.copy(reraise=True), type(traced))

    def test_are_attributes_of_functions(self, clock, settings):
        """`retry`, `retry_with`, `statistics`, and what the user has set besides."""

        @retry(**settings)
        def fetch(url: str) -> str:
            """Fetch."""
            raise OSError(url)

        fetch.custom = 3
        traced = traced_retrying(fetch)
        with pytest.raises(RetryError):
            traced("x")

        assert isinstance(traced.retry, Retrying)
        assert traced.retry.stop is fetch.retry.stop
        assert (traced.statistics["attempt_number"], traced.statistics["idle_for"]) == (3, 4)
        assert (traced.custom, traced.__doc__, traced.__name__) == (3, "Fetch.", "fetch")
        assert traced.__wrapped__ is fetch.__wrapped__
        assert inspect.signature(traced) == inspect.signature(fetch)

    def test_is_what_retry_with_makes(self, registry, clock, settings, outcomes_of):
        """Another policy for one call is recorded, too."""
        traced = decorated(Flaky(clock, failures=9), settings)
        with pytest.raises(RetryError):
            traced.retry_with(stop=stop_after_attempt(2), sleep=clock.advance)()

        assert outcomes_of(registry.events()[0]) == ["1 failed", "2 failed"]

    def test_is_a_policy_changed_later(self, registry, clock, settings, outcomes_of):
        """As tests do: `fetch.retry.stop = ...`."""
        traced = decorated(Flaky(clock, failures=9), settings)
        traced.retry.stop = stop_after_attempt(2)
        with pytest.raises(RetryError):
            traced()

        assert outcomes_of(registry.events()[0]) == ["1 failed", "2 failed"]

    def test_is_the_kind_of_a_function(self, settings, async_settings):
        """A coroutine function stays one, and a function one."""

        async def coroutine(): ...

        def function(): ...

        assert inspect.iscoroutinefunction(traced_retrying(retry(**async_settings)(coroutine)))
        traced = traced_retrying(retry(**settings)(function))
        assert inspect.isfunction(traced)
        assert not inspect.iscoroutinefunction(traced)

    def test_are_callbacks_and_what_they_see(self, registry, clock, settings):
        """All run as before, in the same order, on the same state."""

        def run(wrap):
            seen = []

            def seeing(name):
                def callback(state):
                    outcome = state.outcome and state.outcome.failed
                    seen.append((name, state.attempt_number, state.fn.__name__, outcome))
                    return name

                return callback

            names = ("before", "after", "before_sleep", "retry_error_callback")
            kept = {**settings, **{name: seeing(name) for name in names}}
            work = Flaky(clock, failures=9)

            @wrap
            @retry(**kept)
            def fetch():
                return work()

            return fetch(), seen

        assert run(traced_retrying) == run(lambda function: function)

    @pytest.mark.parametrize(
        "name", ["before", "after", "before_sleep", "retry_error_callback", "stop", "wait", "retry"]
    )
    def test_is_a_callback_that_raises(self, registry, clock, settings, name, outcomes_of):
        """Its error reaches the program, and the attempts made so far are told."""

        def fails(state):
            raise ZeroDivisionError(name)

        work = Flaky(clock, failures=9)
        with pytest.raises(ZeroDivisionError), traced_event("load"):
            decorated(work, {**settings, name: fails})()

        [event] = registry.events()
        attempts = [f"{number} failed" for number in range(1, work.asked + 1)]
        assert outcomes_of(event) == (attempts or ["1 failed"])
        assert event.retry_count == max(0, work.asked - 1)

    def test_is_pickling_by_reference(self):
        """A traced function in a module pickles as the bare one does."""
        assert pickle.loads(pickle.dumps(in_module)) is in_module

    def test_is_pickling_by_value(self, registry, clock):
        """A traced Retrying pickles and copies if the bare one does, and is traced at the other end."""
        traced = traced_retrying(Retrying(stop=stop_after_attempt(2)))
        copies = [copy.copy(traced)]
        if hasattr(Retrying, "__setstate__"):  # the oldest tenacity cannot pickle its own
            copies += [copy.deepcopy(traced), pickle.loads(pickle.dumps(traced))]
        for one in copies:
            one(Flaky(clock, failures=1))

        assert [event.retry_count for event in registry.events()] == [1] * len(copies)

    def test_is_the_error_and_where_it_came_from(self, settings):
        """The traceback leads to the function, and the cause is the function's error."""

        def work():
            raise OSError("busy")

        with pytest.raises(RetryError) as caught:
            decorated(work, settings)()
        assert isinstance(caught.value.__cause__, OSError)
        assert caught.value.last_attempt.attempt_number == 3

    @pytest.mark.skipif(not hasattr(Retrying(), "enabled"), reason="newer than this tenacity")
    def test_is_retrying_switched_off(self, registry, clock, settings, outcomes_of):
        """Then the event is its own only attempt."""
        with pytest.raises(OSError), traced_event("load"):
            decorated(Flaky(clock, failures=9), {**settings, "enabled": False})()
        with traced_event("loop"):
            for attempt in traced_retrying(Retrying(**settings, enabled=False)):
                with attempt:
                    pass

        assert [outcomes_of(event) for event in registry.events()] == [
            ["1 failed"],
            ["1 completed"],
        ]


@traced_retrying
@retry
def in_module(): ...


class TestOff:
    def test_does_nothing(self, clock, settings):
        """Without telemetry a call is the bare call, and leaves no trace in its state."""
        states = []

        @traced_retrying
        @retry(**settings, after=states.append)
        def fetch():
            if not states:
                raise OSError("busy")
            return 1

        assert fetch() == 1
        assert not [name for name in vars(states[0]) if "volnux" in name]

    def test_where_nothing_is_recorded_does_nothing(self, registry, clock, settings):
        """A thread outside of the capture has no event."""
        thread = threading.Thread(target=decorated(Flaky(clock, failures=1), settings))
        thread.start()
        thread.join()

        assert registry.events() == []
        assert registry.health().errors == {}

    def test_switched_on_half_way_begins_with_the_next_call(self, clock, settings):
        """A call that began unrecorded stays so."""
        work = Flaky(clock, failures=1)
        retrying = traced_retrying(Retrying(**settings))
        attempts = iter(retrying)
        with next(attempts), pytest.raises(OSError):
            work()
            raise OSError
        with capture(clock=clock, strict=True) as registry, traced_event("load"):
            for attempt in attempts:
                with attempt:
                    work()

        assert registry.events()[0].retry_count == 0


class TestExactly:
    """Attempts recorded are attempts made, by the server's own count."""

    @pytest.fixture(name="work")
    def _work(self, server):
        """Five hundred calls of a thread, some of them in vain."""
        # Not a decorated function: tenacity 9.2.1 has all calls of one share their statistics, so
        # that in threads it raises a KeyError of its own, telemetry or not.
        retrying = traced_retrying(Retrying(stop=stop_after_attempt(3), wait=wait_none()))

        def fetch(key):
            return server.ask(key, failures=hash(key) % 5)

        def work(thread):
            for number in range(500):
                try:
                    retrying(fetch, (thread, number))
                except RetryError:
                    pass

        return work

    def test_eight_threads_of_five_hundred_calls(self, server, work):
        """Every call an event of its own."""
        with capture(isolated=True, capacity=5_000, strict=True) as registry:
            in_threads(work, range(8))

        events = registry.events()
        assert len(events) == 4_000
        assert sum(len(event.attempts) for event in events) == server.count
        assert sum(event.retry_count for event in events) == server.count - 4_000
        assert {event.retry_count for event in events} == {0, 1, 2}
        for event in events:
            assert [one.number for one in event.attempts] == list(range(1, event.retry_count + 2))

    def test_eight_threads_in_one_event(self, server, work):
        """Every call in the same event."""
        with capture(isolated=True, strict=True) as registry:
            with traced_event("load"):
                in_threads(work, range(8))
            stats = registry.retry_stats()

        assert (stats.total_attempts, stats.total_retries) == (server.count, server.count - 4_000)

    @pytest.mark.parametrize("shared", [False, True])
    def test_fifty_tasks_of_five_hundred_calls(self, server, shared):
        """Each call an event of its own, or all calls of a task in one."""
        # The full number once; in one event it takes as long, and shows the same.
        calls = 50 if shared else 500

        @traced_retrying
        @retry(stop=stop_after_attempt(3), wait=wait_none(), sleep=lambda seconds: asyncio.sleep(0))
        async def fetch(key):
            await asyncio.sleep(0)
            return server.ask(key, failures=hash(key) % 3)

        async def work(task):
            for number in range(calls):
                await fetch((task, number))

        async def main():
            step = traced_event("task")(work) if shared else work
            await asyncio.gather(*map(step, range(50)))

        with capture(isolated=True, capacity=30_000, strict=True) as registry:
            asyncio.run(main())

        stats, events = registry.retry_stats(), registry.events()
        assert stats.total_retries == server.count - 50 * calls
        if shared:
            assert (len(events), stats.total_attempts) == (50, server.count)
        else:
            assert sum(len(event.attempts) for event in events) == server.count
