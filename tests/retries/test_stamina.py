"""`traced_stamina` and `instrument_stamina`: the attempts of what stamina retries."""

from __future__ import annotations

import asyncio
import inspect
import pickle
import threading
from functools import partial
from types import SimpleNamespace

import pytest
import stamina
from stamina.instrumentation import RetryHookFactory, get_on_retry_hooks, set_on_retry_hooks

from tests.at_once import cancel, in_threads
from tests.retries._calls import EXHAUSTED, RECOVERED, Flaky, call_at_once, call_methods
from volnux.telemetry import (
    TelemetryError,
    capture,
    current_event,
    get_retry_stats,
    traced_event,
)
from volnux.telemetry.retries import (
    instrument_stamina,
    traced_stamina,
    uninstrument_stamina,
)

#: Three attempts with two seconds between them.
POLICY = {
    "attempts": 3,
    "timeout": None,
    "wait_initial": 2.0,
    "wait_max": 2.0,
    "wait_jitter": 0.0,
    "wait_exp_base": 1.0,
}
SETTINGS = {"on": OSError, **POLICY}


@pytest.fixture(autouse=True)
def _stamina_as_it_was():
    """No hooks but those of the test, and the defaults after it."""
    set_on_retry_hooks([])
    yield
    uninstrument_stamina()
    set_on_retry_hooks(None)


@pytest.fixture(autouse=True)
def _no_sleep(monkeypatch, clock):
    """Whoever sleeps moves the test's clock."""
    switch = asyncio.sleep

    async def sleep(seconds):
        clock.advance(seconds)
        await switch(0)

    monkeypatch.setattr("tenacity.nap.time", SimpleNamespace(sleep=clock.advance))
    monkeypatch.setattr("asyncio.sleep", sleep)


def decorated(function, **settings):
    @traced_stamina
    @stamina.retry(**{**SETTINGS, **settings})
    def fetch():
        return function()

    return fetch


def decorated_async(function, **settings):
    @traced_stamina
    @stamina.retry(**{**SETTINGS, **settings})
    async def fetch():
        return function()

    return fetch


def call(function):
    return function()


def call_async(function):
    return asyncio.run(function())


def in_block(function, **settings):
    def fetch():
        for attempt in traced_stamina(stamina.retry_context(**{**SETTINGS, **settings})):
            with attempt:
                return function()
        raise AssertionError

    return fetch


def in_block_async(function, **settings):
    async def fetch():
        async for attempt in traced_stamina(stamina.retry_context(**{**SETTINGS, **settings})):
            with attempt:
                return function()
        raise AssertionError

    return fetch


def by_caller(function, on=OSError, **settings):
    caller = traced_stamina(stamina.RetryingCaller(**{**POLICY, **settings}))
    return lambda: caller(on, function)


def by_bound_caller(function, on=OSError, **settings):
    caller = traced_stamina(stamina.RetryingCaller(**{**POLICY, **settings}).on(on))
    return lambda: caller(function)


def by_async_caller(function, on=OSError, **settings):
    caller = traced_stamina(stamina.AsyncRetryingCaller(**{**POLICY, **settings})).on(on)

    async def awaited():
        return function()

    return lambda: caller(awaited)


#: Every way to retry with stamina, and how what it makes is called.
WAYS = [
    pytest.param(decorated, call, id="function"),
    pytest.param(decorated_async, call_async, id="coroutine"),
    pytest.param(in_block, call, id="block"),
    pytest.param(in_block_async, call_async, id="async block"),
    pytest.param(by_caller, call, id="caller"),
    pytest.param(by_bound_caller, call, id="bound caller"),
    pytest.param(by_async_caller, call_async, id="async caller"),
]


@pytest.mark.parametrize(("retrying", "call"), WAYS)
class TestOneCall:
    def test_that_succeeds_at_once_is_one_attempt(
        self, registry, clock, attempts_of, retrying, call
    ):
        """A first try that succeeds is an attempt, and no retry."""
        with traced_event("load"):
            assert call(retrying(Flaky(clock))) == 1

        [event] = registry.events()
        assert event.retry_count == 0
        assert attempts_of(event) == [(1, "completed", None, None, 1.0, 0.0)]

    def test_that_recovers_tells_work_from_backoff(
        self, registry, clock, attempts_of, retrying, call
    ):
        """Each attempt has its own work, outcome and error, and the pauses apart."""
        with traced_event("load"):
            assert call(retrying(Flaky(clock, failures=2))) == 3
            clock.advance(5.0)

        [event] = registry.events()
        assert (event.status, event.retry_count) == ("completed", 2)
        assert attempts_of(event) == RECOVERED
        assert get_retry_stats().recovered == 1

    def test_that_gives_up_fails_the_last_attempt(
        self, registry, clock, attempts_of, retrying, call
    ):
        """The event fails with the last error."""
        with pytest.raises(OSError, match="attempt 3"), traced_event("load"):
            call(retrying(Flaky(clock, failures=9)))

        [event] = registry.events()
        assert (event.status, event.error, event.retry_count) == ("failed", "attempt 3", 2)
        assert attempts_of(event) == EXHAUSTED

    def test_in_vain_is_seen_in_an_event_that_goes_on(
        self, registry, clock, attempts_of, retrying, call
    ):
        """An event that catches the error completes, its last attempt having failed."""
        with traced_event("load"):
            with pytest.raises(OSError):
                call(retrying(Flaky(clock, failures=9)))
            clock.advance(5.0)

        [event] = registry.events()
        assert event.status == "completed"
        assert attempts_of(event) == EXHAUSTED
        assert (get_retry_stats().recovered, get_retry_stats().exhausted) == (0, 1)

    def test_that_fails_beyond_retrying_is_one_attempt(
        self, registry, clock, attempts_of, retrying, call
    ):
        """What is not to be retried is not."""
        with pytest.raises(ValueError), traced_event("load"):
            call(retrying(Flaky(clock, failures=1, error=ValueError)))

        assert attempts_of(registry.events()[0]) == [
            (1, "failed", "ValueError", "attempt 1", 1.0, 0.0)
        ]

    @pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
    def test_interrupted_at_work_is_cancelled(
        self, registry, clock, attempts_of, retrying, call, kind
    ):
        """Asking to stop is no failure."""
        with pytest.raises(kind), traced_event("load"):
            call(retrying(Flaky(clock, failures=1, error=kind)))

        [event] = registry.events()
        assert (event.status, event.retry_count) == ("cancelled", 0)
        assert attempts_of(event) == [(1, "cancelled", kind.__name__, "attempt 1", 1.0, 0.0)]

    def test_interrupted_in_backoff_has_made_no_other_attempt(
        self, registry, clock, attempts_of, retrying, call, monkeypatch, interrupted
    ):
        """What was waited for has never been made, and the pause was as long as it was."""
        monkeypatch.setattr("tenacity.nap.time", SimpleNamespace(sleep=interrupted))
        monkeypatch.setattr("asyncio.sleep", interrupted)
        with traced_event("load"):
            with pytest.raises(KeyboardInterrupt):
                call(retrying(Flaky(clock, failures=9)))
            clock.advance(60.0)

        [event] = registry.events()
        assert event.retry_count == 0
        assert attempts_of(event) == [(1, "failed", "OSError", "attempt 1", 1.0, 0.5)]

    def test_is_not_told_twice_by_the_hook(self, registry, clock, attempts_of, retrying, call):
        """What is traced is recorded once, also where everything is."""
        instrument_stamina()
        with traced_event("load"):
            call(retrying(Flaky(clock, failures=2)))
            clock.advance(5.0)

        [event] = registry.events()
        assert event.retry_count == 2
        assert attempts_of(event) == RECOVERED

    def test_while_stamina_is_switched_off_is_one_attempt(
        self, registry, clock, attempts_of, retrying, call
    ):
        """Nothing is retried then."""
        stamina.set_active(False)
        try:
            with pytest.raises(OSError), traced_event("load"):
                call(retrying(Flaky(clock, failures=9)))
        finally:
            stamina.set_active(True)

        assert len(registry.events()[0].attempts) == 1

    def test_in_test_mode_is_recorded_without_backoff(
        self, registry, clock, attempts_of, retrying, call
    ):
        """Stamina's own test mode waits for nothing."""
        testing = stamina.set_testing(True, attempts=2)
        with testing, pytest.raises(OSError), traced_event("load"):
            call(retrying(Flaky(clock, failures=9)))

        assert attempts_of(registry.events()[0]) == [
            (1, "failed", "OSError", "attempt 1", 1.0, 0.0),
            (2, "failed", "OSError", "attempt 2", 1.0, 0.0),
        ]

    def test_while_off_does_nothing(self, clock, retrying, call):
        """Without telemetry a call is the bare call."""
        assert call(retrying(Flaky(clock, failures=2))) == 3
        assert get_on_retry_hooks() == ()


class TestCancelled:
    @pytest.mark.parametrize("retrying", [decorated_async, in_block_async, by_async_caller])
    def test_task_in_backoff_is_cancelled(
        self, registry, clock, attempts_of, monkeypatch, retrying
    ):
        """A task cancelled while it waits is cancelled, and so is its event."""
        switch, forever = asyncio.tasks.sleep, None

        async def sleep(seconds):
            await forever.wait()

        async def main():
            nonlocal forever
            forever = asyncio.Event()
            monkeypatch.setattr("asyncio.sleep", sleep)
            task = asyncio.ensure_future(traced_event("load")(retrying(Flaky(clock, failures=9)))())
            for _ in range(3):
                await switch(0)
            clock.advance(1.5)
            await cancel(task)

        asyncio.run(main())

        [event] = registry.events()
        assert (event.status, event.retry_count) == ("cancelled", 0)
        assert attempts_of(event) == [(1, "failed", "OSError", "attempt 1", 1.0, 1.5)]

    @pytest.mark.parametrize("retrying", [decorated_async, in_block_async, by_async_caller])
    def test_task_at_work_is_cancelled(self, registry, clock, outcomes_of, retrying):
        """A task cancelled in its second attempt has made two."""
        work = Flaky(clock, failures=9)

        def raising():
            if work.asked:
                raise asyncio.CancelledError
            return work()

        async def main():
            with pytest.raises(asyncio.CancelledError):
                await traced_event("load")(retrying(raising))()

        asyncio.run(main())

        [event] = registry.events()
        assert (event.status, event.retry_count) == ("cancelled", 1)
        assert outcomes_of(event) == ["1 failed", "2 cancelled"]


class TestSeveralCalls:
    def test_one_after_the_other_add_up(self, registry, clock, outcomes_of):
        """Each call's attempts begin with 1 again, and the event has them all."""
        with traced_event("load"):
            decorated(Flaky(clock, failures=2))()
            decorated(Flaky(clock))()
            in_block(Flaky(clock, failures=1))()
            with pytest.raises(OSError):
                decorated(Flaky(clock, failures=9))()

        [event] = registry.events()
        assert event.retry_count == 5
        assert outcomes_of(event) == [
            *("1 failed", "2 failed", "3 completed"),
            "1 completed",
            *("1 failed", "2 completed"),
            *("1 failed", "2 failed", "3 failed"),
        ]

    def test_at_once_in_tasks_are_listed_call_by_call(self, registry, clock, outcomes_of):
        """Attempts of one function that interleave are not mixed."""
        call_at_once(traced_stamina, stamina.retry(**SETTINGS))

        [event] = registry.events()
        assert outcomes_of(event) == [
            *("1 failed", "2 completed"),
            *("1 failed", "2 failed", "3 completed"),
            "1 completed",
        ]
        assert [one.error for one in event.attempts] == ["a", None, "b", "b", None, None]

    def test_inside_of_each_other_each_tell_their_own(self, registry, clock, outcomes_of):
        """Traced or not, a function inside another is not taken for it."""
        instrument_stamina()
        bare, inner, outer = Flaky(clock, 1), Flaky(clock, 1), Flaky(clock, 1)
        page = decorated(inner)

        @stamina.retry(**SETTINGS)
        def head():
            bare()

        def work():
            head()
            page()
            outer()

        with traced_event("load"):
            decorated(work)()

        [event] = registry.events()
        assert event.retry_count == 3
        # The bare function's, as far as the hook knows them; then the outer one's; then the inner's.
        assert outcomes_of(event) == [
            *("1 failed", "2 completed"),
            *("1 failed", "2 completed"),
            *("1 failed", "2 completed"),
            "1 completed",
        ]

    @pytest.mark.parametrize("retrying", [by_caller, in_block])
    def test_inside_of_a_block_are_left_to_the_hook(self, registry, clock, retrying):
        """What a block retries is told by itself, what is retried in it by the hook."""
        instrument_stamina()
        inner = Flaky(clock, failures=2)

        def work():
            for attempt in stamina.retry_context(**SETTINGS):
                with attempt:
                    inner()

        with traced_event("load"):
            retrying(work)()

        assert registry.events()[0].retry_count == 2

    def test_with_other_arguments_is_another_call(self, registry, clock, outcomes_of):
        """A function that calls itself, traced, tells each call."""

        @traced_stamina
        @stamina.retry(**SETTINGS)
        def walk(depth, *, failing):
            if depth:
                walk(depth - 1, failing=failing)
            if failing.pop() == depth:
                raise OSError(f"depth {depth}")

        with traced_event("load"):
            walk(1, failing=[None, None, 1, None])

        [event] = registry.events()
        assert outcomes_of(event) == ["1 failed", "2 completed", "1 completed", "1 completed"]

    def test_with_other_arguments_is_not_taken_for_it(self, registry, outcomes_of):
        """What the bare function retries inside of its traced self is not that one's."""
        failing = ["inner", "inner"]

        @stamina.retry(**SETTINGS)
        def walk(name):
            if name == "outer":
                walk("inner")
            if name in failing:
                failing.remove(name)
                raise OSError(name)

        with traced_event("load"):
            traced_stamina(walk)("outer")

        assert outcomes_of(registry.events()[0]) == ["1 completed"]
        assert failing == []


class TestWithoutAnEvent:
    @pytest.mark.parametrize(
        ("retrying", "call", "name"),
        [
            (decorated, call, "fetch"),
            (decorated_async, call_async, "fetch"),
            (by_caller, call, "Flaky"),
            (by_async_caller, call_async, "awaited"),
        ],
    )
    def test_a_call_becomes_an_event(self, registry, clock, outcomes_of, retrying, call, name):
        """It is named after the function."""
        call(retrying(Flaky(clock, failures=1)))

        [event] = registry.events()
        assert (event.event_name, event.duration) == (name, 4.0)
        assert outcomes_of(event) == ["1 failed", "2 completed"]

    def test_a_block_is_counted_as_an_error(self, clock):
        """It has no name to be an event by."""
        with capture() as registry:
            in_block(Flaky(clock, failures=2))()

        assert registry.events() == []
        assert registry.health().errors == {"retry": {"outside of any event": 2}}


class TestInstrument:
    def test_records_retries_of_what_is_not_traced(self, registry, clock, attempts_of):
        """The event is its last attempt, as with retries told by hand."""
        instrument_stamina()
        work = Flaky(clock, failures=2)
        with traced_event("load"):
            stamina.retry(**SETTINGS)(lambda: work())()

        [event] = registry.events()
        assert event.retry_count == 2
        assert attempts_of(event) == RECOVERED

    def test_again_changes_nothing(self, registry, clock):
        """There is one hook, and every retry is recorded once."""
        instrument_stamina()
        instrument_stamina()
        with traced_event("load"):
            stamina.retry(**SETTINGS)(Flaky(clock, failures=2))()

        assert len(get_on_retry_hooks()) == 1
        assert registry.events()[0].retry_count == 2

    def test_leaves_the_hooks_of_the_program(self, registry, clock):
        """Those, and what factories make, are called as before."""
        seen = []
        set_on_retry_hooks([seen.append, RetryHookFactory(lambda: seen.append)])
        instrument_stamina()
        with traced_event("load"):
            stamina.retry(**SETTINGS)(Flaky(clock, failures=1))()

        assert [details.retry_num for details in seen] == [1, 1]

    def test_can_be_taken_back(self, registry, clock):
        """What remains are the hooks of the program."""
        mine = [].append
        set_on_retry_hooks([mine])
        instrument_stamina()
        uninstrument_stamina()
        with traced_event("load"):
            stamina.retry(**SETTINGS)(Flaky(clock, failures=1))()

        assert get_on_retry_hooks() == (mine,)
        assert registry.events()[0].retry_count == 0

    def test_taken_back_leaves_what_is_traced(self, registry, clock, attempts_of):
        """A traced function sees to its hook itself."""
        traced = decorated(Flaky(clock, failures=2))
        instrument_stamina()
        uninstrument_stamina()
        with traced_event("load"):
            traced()
            stamina.retry(**SETTINGS)(Flaky(clock, failures=1))()

        assert attempts_of(registry.events()[0])[:2] == RECOVERED[:2]
        assert registry.events()[0].retry_count == 2

    def test_survives_that_the_program_sets_its_hooks(self, registry, clock, attempts_of):
        """A traced function is recorded all the same."""
        traced = decorated(Flaky(clock, failures=2))
        with traced_event("warm up"):
            decorated(Flaky(clock))()
        set_on_retry_hooks([])
        with traced_event("load"):
            traced()
            clock.advance(1.0)

        assert attempts_of(registry.events("load")[0]) == RECOVERED

    def test_by_several_threads_at_once_installs_one_hook(self):
        """It may be called from anywhere."""
        barrier = threading.Barrier(8)

        def install(number):
            barrier.wait()
            instrument_stamina()

        in_threads(install, range(8))

        assert len(get_on_retry_hooks()) == 1

    def test_outside_of_any_event_is_counted_as_an_error(self, clock):
        """As `record_retry` is."""
        instrument_stamina()
        with capture() as registry:
            stamina.retry(**SETTINGS)(Flaky(clock, failures=1))()

        assert registry.health().errors == {"retry": {"outside of any event": 1}}

    def test_outside_of_any_event_raises_in_strict_mode(self, registry, clock):
        """A test is told that its retries go nowhere."""
        instrument_stamina()
        with pytest.raises(TelemetryError, match="outside of any event"):
            stamina.retry(**SETTINGS)(Flaky(clock, failures=1))()

    def test_is_not_hurt_by_errors_that_cannot_be_shown(self, clock):
        """Nothing that the hook does may end the retrying."""

        class Unspeakable(OSError):
            def __str__(self):
                raise RuntimeError("no")

        instrument_stamina()
        with capture() as registry, traced_event("load"):
            stamina.retry(**SETTINGS)(Flaky(clock, failures=2, error=Unspeakable))()
            decorated(Flaky(clock, failures=2, error=Unspeakable))()

        assert registry.events()[0].retry_count == 4


class TestWhatItIsGiven:
    def test_may_be_a_method(self, registry, clock, outcomes_of):
        """In a class body, bound to an instance, and with classmethod and staticmethod."""
        call_methods(traced_stamina, stamina.retry(**SETTINGS))

        attempts = [(event.event_name, len(event.attempts)) for event in registry.events()]
        assert attempts == [
            ("Client.get", 2),
            ("Client.put", 1),
            ("Client.make", 1),
            ("Client.parse", 1),
        ]

    def test_may_be_traced_already(self):
        """Twice is once."""
        caller = traced_stamina(stamina.RetryingCaller())
        for traced in (
            decorated(print),
            traced_stamina(stamina.retry_context(on=OSError)),
            caller,
            caller.on(OSError),
        ):
            assert traced_stamina(traced) is traced

    @pytest.mark.parametrize("target", [None, 3, stamina.RetryingCaller, "retry"])
    def test_must_retry(self, target):
        """Anything else is a mistake, and the message says what would do."""
        with pytest.raises(TypeError, match=r"give it a function that @stamina\.retry decorates"):
            traced_stamina(target)

    def test_must_not_be_a_generator(self):
        """The message says what to do instead."""

        def rows():
            yield 1

        async def async_rows():
            yield 1

        for generator in (rows, async_rows):
            with pytest.raises(TypeError, match=r"instrument_stamina\(\)"):
                traced_stamina(generator)


class TestUnchanged:
    def test_is_the_kind_of_a_function(self):
        """A coroutine function stays one, with its name and signature."""

        @stamina.retry(**SETTINGS)
        async def fetch(url: str) -> str:
            """Fetch."""

        traced = traced_stamina(fetch)
        assert inspect.iscoroutinefunction(traced)
        assert not inspect.iscoroutinefunction(decorated(print))
        assert (traced.__name__, traced.__doc__) == ("fetch", "Fetch.")
        assert inspect.signature(traced) == inspect.signature(fetch)

    def test_are_callers(self):
        """A caller keeps its class, its face and its pickling."""
        for bare in (
            stamina.RetryingCaller(attempts=2),
            stamina.AsyncRetryingCaller(attempts=2),
        ):
            traced = traced_stamina(bare)
            assert isinstance(traced, type(bare))
            assert repr(traced) == repr(bare)
            again = pickle.loads(pickle.dumps(traced))
            assert (type(again).__mro__[1:], repr(again)) == (type(traced).__mro__[1:], repr(bare))

    def test_are_attempts(self, registry):
        """An attempt is one of stamina's, with its number and what it would wait."""
        for attempt in traced_stamina(stamina.retry_context(**SETTINGS)):
            assert isinstance(attempt, stamina.Attempt)
            assert (attempt.num, attempt.next_wait) == (1, 2.0)
            assert repr(attempt) == "<Attempt num=1, next_wait=2.0>"
            with attempt:
                pass

    def test_is_pickling_by_reference(self):
        """A traced function in a module pickles as the bare one does."""
        assert pickle.loads(pickle.dumps(in_module)) is in_module

    def test_are_arguments_and_results(self, registry):
        """Whatever goes in and comes out."""
        caller = traced_stamina(stamina.RetryingCaller())

        def echo(*args, **kwargs):
            return args, kwargs

        traced = traced_stamina(stamina.retry(on=OSError)(echo))
        assert traced(1, on=2) == caller(OSError, echo, 1, on=2) == ((1,), {"on": 2})
        with pytest.raises(TypeError, match="callable_"):
            caller(OSError)

    def test_is_what_runs_in_an_attempt(self, registry, clock):
        """What is traced inside an attempt is a child of the event."""

        @traced_event("page")
        def page():
            return current_event().name

        with traced_event("load") as load:
            assert decorated(page)() == "page"
            assert by_caller(page)() == "page"

        assert [event.parent_id for event in registry.events("page")] == [load.task_id] * 2


@traced_stamina
@stamina.retry(on=OSError)
def in_module(): ...


class TestExactly:
    """Attempts recorded are attempts made, by the server's own count."""

    @pytest.mark.parametrize("shared", [False, True])
    def test_eight_threads_of_five_hundred_calls(self, server, shared):
        """Each call an event of its own, or all calls in one."""

        @traced_stamina
        @stamina.retry(on=OSError)
        def fetch(key):
            return server.ask(key, failures=hash(key) % 5)

        def work(thread):
            for number in range(500):
                try:
                    fetch((thread, number))
                except OSError:
                    pass

        run = partial(in_threads, work, range(8))
        recording = capture(isolated=True, capacity=5_000, strict=True)
        with recording as registry, stamina.set_testing(True, attempts=3):
            traced_event("load")(run)() if shared else run()

        stats, events = registry.retry_stats(), registry.events()
        assert stats.total_retries == server.count - 4_000
        if shared:
            assert stats.total_attempts == server.count
        else:
            assert len(events) == 4_000
            assert sum(len(event.attempts) for event in events) == server.count

    @pytest.mark.parametrize("shared", [False, True])
    def test_fifty_tasks_of_five_hundred_calls(self, server, shared):
        """Each call an event of its own, or all calls of a task in one."""
        # The full number once; in one event it takes as long, and shows the same.
        calls = 50 if shared else 500

        @traced_stamina
        @stamina.retry(on=OSError)
        async def fetch(key):
            await asyncio.sleep(0)
            return server.ask(key, failures=hash(key) % 3)

        async def work(task):
            for number in range(calls):
                await fetch((task, number))

        async def main():
            step = traced_event("task")(work) if shared else work
            await asyncio.gather(*map(step, range(50)))

        recording = capture(isolated=True, capacity=30_000, strict=True)
        with recording as registry, stamina.set_testing(True, attempts=3):
            asyncio.run(main())

        stats, events = registry.retry_stats(), registry.events()
        assert stats.total_retries == server.count - 50 * calls
        if shared:
            assert (len(events), stats.total_attempts) == (50, server.count)
        else:
            assert sum(len(event.attempts) for event in events) == server.count
