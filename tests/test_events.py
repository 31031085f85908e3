"""`with traced_event(...)`: blocks, attributes, and how errors travel.

What the decorator does for every kind of callable is in test_conformance.py.
"""

from __future__ import annotations

import asyncio
import contextvars
import copy
import gc
import sys
import threading
import types
from concurrent.futures import ThreadPoolExecutor

import pytest

from volnux.telemetry import (
    TelemetryError,
    capture,
    current_event,
    propagate,
    traced_event,
)
from volnux.telemetry._scope import suppressed


def by_name(registry):
    return {event.event_name: event for event in registry.events()}


def run_in_threads(*functions):
    threads = [threading.Thread(target=function) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class TestBlock:
    def test_is_recorded_with_its_exact_duration(self, registry, clock):
        """One block is one completed event."""
        with traced_event("parse"):
            clock.advance(1.25)

        [event] = registry.events()
        assert (event.event_name, event.status, event.duration) == ("parse", "completed", 1.25)

    def test_gives_the_event(self, registry):
        """What the block gets is the event that is current inside."""
        with traced_event("parse") as event:
            assert (event.name, event.status) == ("parse", "running")
            assert current_event().task_id == event.task_id

    def test_the_event_tells_how_it_ended(self, registry):
        """After the block, its status is that of the record."""
        with traced_event("parse") as good:
            pass
        with pytest.raises(KeyError), traced_event("parse") as bad:
            raise KeyError("x")

        assert (good.status, bad.status) == ("completed", "failed")

    def test_lets_an_error_through(self, registry):
        """The block swallows nothing."""
        wrong = ValueError("no such value")

        with pytest.raises(ValueError) as caught, traced_event("parse"):
            raise wrong

        assert wrong is caught.value

    def test_restores_what_was_current(self, registry):
        """Leaving a block brings back the event around it."""
        with traced_event("outer") as outer:
            with traced_event("inner"):
                pass

            assert current_event().task_id == outer.task_id

    def test_nests_under_what_is_current(self, registry):
        """An inner block has the outer one for its parent."""
        with traced_event("outer"), traced_event("inner"):
            pass

        events = by_name(registry)
        assert events["inner"].parent_id == events["outer"].task_id
        assert events["outer"].parent_id is None

    def test_tells_thread_and_process(self, registry):
        """A record says where it began."""
        with traced_event("parse"):
            pass

        [event] = registry.events()
        assert event.thread_id == threading.get_ident()

    def test_works_in_async_code(self, registry, clock):
        """`async with` is the same block."""

        async def main():
            async with traced_event("fetch"):
                await asyncio.sleep(0)
                clock.advance(0.5)

        asyncio.run(main())

        assert [(event.event_name, event.duration) for event in registry.events()] == [
            ("fetch", 0.5)
        ]

    def test_an_error_in_an_async_block_is_recorded(self, registry):
        """And passes through."""

        async def main():
            async with traced_event("fetch"):
                raise ValueError("no such host")

        with pytest.raises(ValueError):
            asyncio.run(main())

        assert [(event.status, event.error) for event in registry.events()] == [
            ("failed", "no such host")
        ]

    def test_folds_when_much_has_happened(self, registry):
        """Nobody has to ask for the memory to be bounded."""
        for _ in range(5_000):
            with traced_event("parse"):
                pass

        assert len(registry._pending) < 2_000


class TestOneInstance:
    def test_may_be_entered_again(self, registry, clock):
        """One object, several events."""
        block = traced_event("parse", attributes={"format": "csv"})
        for seconds in (1.0, 2.0):
            with block:
                clock.advance(seconds)

        assert [event.duration for event in registry.events()] == [1.0, 2.0]

    def test_may_be_entered_inside_itself(self, registry, clock):
        """Recursion nests."""
        block = traced_event("walk", attributes={"depth": 0})
        with block:
            clock.advance(1.0)
            with block:
                clock.advance(2.0)

        outer, inner = registry.events()
        assert (outer.duration, inner.duration) == (3.0, 2.0)
        assert inner.parent_id == outer.task_id

    def test_serves_threads_at_once(self, registry, clock):
        """Each thread leaves the block that it entered."""
        block = traced_event("step", attributes={"kind": "shared"})
        inside, leave = threading.Barrier(8), threading.Barrier(8)
        seen = []

        def work():
            with block as event:
                inside.wait()
                event.set_attribute("thread", threading.get_ident())
                leave.wait()
            seen.append(current_event())

        run_in_threads(*[propagate(work) for _ in range(8)])

        events = registry.events()
        assert {event.attributes["thread"] for event in events} == {
            event.thread_id for event in events
        }
        assert seen == [None] * 8
        assert registry.health().in_flight == 0

    def test_serves_tasks_at_once(self, registry, clock):
        """Tasks that begin at the very same moment are told apart."""
        block = traced_event("step", attributes={"kind": "shared"})

        async def work(seconds, turn):
            async with block as event:
                event.set_attribute("seconds", seconds)
                await turn.wait()

        async def main():
            turns = [asyncio.Event() for _ in range(3)]
            tasks = [
                asyncio.create_task(work(float(number), turn)) for number, turn in enumerate(turns)
            ]
            await asyncio.sleep(0)
            clock.advance(1.0)
            # Not in the order of entering.
            for number in (1, 0, 2):
                turns[number].set()
                await tasks[number]
                clock.advance(1.0)

        asyncio.run(main())

        durations = {event.attributes["seconds"]: event.duration for event in registry.events()}
        assert durations == {1.0: 1.0, 0.0: 2.0, 2.0: 3.0}

    def test_an_unrecorded_use_leaves_a_recorded_one_alone(self, registry, clock):
        """A block of the same name, run where nothing is recorded, ends nobody's event."""
        with traced_event("step") as event:
            with suppressed(), traced_event("step"):
                pass
            clock.advance(1.0)

            assert event.status == "running"
        assert [event.duration for event in registry.events()] == [1.0]

    def test_an_unrecorded_use_in_a_thread_leaves_a_recorded_one_alone(self, registry, clock):
        """A thread outside of the capture ends nothing inside it."""

        def work():
            with traced_event("step"):
                pass

        with traced_event("step") as event:
            run_in_threads(work)

            assert event.status == "running"
        assert registry.health().finished == 1

    def test_an_unrecorded_use_that_outlasts_a_recorded_one_ends_nothing(self, registry):
        """Nor does it when it is left last."""
        inside, leave = threading.Barrier(2), threading.Barrier(2)

        def work():
            with traced_event("step"):
                inside.wait()
                leave.wait()

        thread = threading.Thread(target=work)
        thread.start()
        inside.wait()
        with traced_event("step") as event:
            leave.wait()
            thread.join()

            assert event.status == "running"

    def test_left_in_a_foreign_context_ends_the_event(self, registry, clock):
        """A block held open by a generator may be left anywhere."""

        def hold():
            with traced_event("held"):
                yield

        holding = hold()
        contextvars.copy_context().run(next, holding)
        clock.advance(2.0)
        holding.close()

        assert [(event.status, event.duration) for event in registry.events()] == [
            ("cancelled", 2.0)
        ]

    def test_left_in_a_foreign_context_prefers_its_own_thread(self, registry, clock):
        """Of two that are open, the one of another thread goes on."""
        inside, leave = threading.Barrier(2), threading.Barrier(2)

        def work():
            with traced_event("held"):
                inside.wait()
                leave.wait()

        def hold():
            with traced_event("held"):
                yield

        holding = hold()
        contextvars.copy_context().run(next, holding)
        thread = threading.Thread(target=propagate(work))
        thread.start()
        inside.wait()
        holding.close()
        [running] = registry.events(status="running")
        leave.wait()
        thread.join()

        assert running.thread_id != threading.get_ident()
        assert registry.health().in_flight == 0

    def test_left_while_something_inside_is_still_current(self, registry, clock):
        """An exit finds its own event above what was left open."""
        inner = traced_event("inner")
        with traced_event("outer"):
            inner.__enter__()
            clock.advance(1.0)
        clock.advance(1.0)
        inner.__exit__(None, None, None)

        assert {event.event_name: event.duration for event in registry.events()} == {
            "outer": 1.0,
            "inner": 2.0,
        }

    def test_one_exit_too_many_does_nothing(self, registry):
        """The event has one end."""
        block = traced_event("step")
        with block:
            pass
        block.__exit__(None, None, None)

        assert registry.health().finished == 1

    def test_says_its_name(self):
        """Its repr is how it was made."""
        assert repr(traced_event("parse")) == "traced_event('parse')"


class TestOff:
    def test_a_block_runs_and_keeps_nothing(self):
        """While telemetry is off there is an event that does nothing."""
        with traced_event("parse") as event:
            event.set_attribute("rows", 3)
            event.retry(ValueError("again"))

        assert (event.name, event.task_id, event.attributes, event.status) == (
            "",
            None,
            {},
            "running",
        )

    def test_nothing_is_current(self):
        """There is no event to be had."""
        with traced_event("parse"):
            assert current_event() is None

    def test_switched_on_inside_a_block_its_end_is_no_event(self):
        """What was not begun is not ended."""
        block = traced_event("parse")
        block.__enter__()
        with capture() as registry:
            block.__exit__(None, None, None)

        assert registry.health().finished == 0


class TestDeferred:
    def test_a_result_that_is_never_run_is_cancelled(self, registry):
        """When nobody holds it any more."""

        def items():
            yield 1

        @traced_event("step")
        def step():
            return items()

        step()
        gc.collect()

        assert [event.status for event in registry.events()] == ["cancelled"]

    def test_a_future_that_is_cancelled_is_cancelled(self, registry):
        """The event ends as its future does."""

        @traced_event("step")
        def step():
            return asyncio.get_running_loop().create_future()

        async def main():
            step().cancel()
            await asyncio.sleep(0)

        asyncio.run(main())

        assert [event.status for event in registry.events()] == ["cancelled"]

    def test_a_result_whose_class_cannot_be_asked_is_a_result(self, registry):
        """A metaclass that raises harms nobody."""

        class Meta(type):
            def __getattr__(cls, name):
                raise RuntimeError(name)

        class Odd(metaclass=Meta):
            pass

        odd = Odd()

        assert traced_event("step")(lambda: odd)() is odd
        assert [event.status for event in registry.events()] == ["completed"]


class TestSetUp:
    def test_an_empty_name_is_refused(self):
        """At once, and the message says what to write."""
        with pytest.raises(ValueError, match='with traced_event\\("name"\\)'):
            traced_event(" ")

    def test_a_block_needs_a_name(self):
        """There is nothing to name it after."""
        with pytest.raises(TypeError, match="a with-block needs a name"), traced_event():
            pass

    @pytest.mark.parametrize("thing", [3, b"name", object()])
    def test_what_cannot_be_called_is_refused(self, thing):
        """The message shows the thing and names the ways."""
        with pytest.raises(TypeError, match="not callable: decorate a function"):
            traced_event(thing)

    @pytest.mark.parametrize("attributes", [[("a", 1)], "a=1", 3])
    def test_attributes_are_a_mapping(self, attributes):
        """Anything else is a mistake that shows at once."""
        with pytest.raises(TypeError, match="attributes must be a mapping"):
            traced_event("parse", attributes=attributes)


class TestAttributes:
    def test_of_the_step_and_of_the_execution_join(self, registry):
        """What is said while it runs wins."""
        with traced_event("parse", attributes={"format": "csv", "rows": 0}) as event:
            event.set_attribute("rows", 10)
            event.set_attributes({"path": "a.csv"})

        assert registry.events()[0].attributes == {"format": "csv", "rows": 10, "path": "a.csv"}

    def test_can_be_read_while_it_runs(self, registry):
        """A copy of what has been said so far."""
        with traced_event("parse", attributes={"format": "csv"}) as event:
            event.set_attribute("rows", 10)
            event.attributes["rows"] = 11

            assert event.attributes == {"format": "csv", "rows": 10}

    def test_can_be_set_on_the_current_event(self, registry):
        """Code further down finds the event around it."""

        @traced_event("parse")
        def parse():
            current_event().set_attribute("rows", 10)

        parse()

        assert registry.events()[0].attributes == {"rows": 10}

    def test_are_of_their_moment(self, registry):
        """What the program does with a list afterwards is not its attribute."""
        rows = [1]
        with traced_event("parse") as event:
            event.set_attribute("rows", rows)
            rows.append(2)

        assert registry.events()[0].attributes == {"rows": [1]}

    def test_are_bounded_in_number(self, registry):
        """Said one by one or together, there is one bound."""
        with traced_event("parse") as event:
            for number in range(500):
                event.set_attribute(f"key{number}", number)

        assert len(registry.events()[0].attributes) == 128

    def test_after_the_end_change_nothing(self):
        """A finished event stays as it is, and health says that somebody tried."""
        with capture() as registry:
            with traced_event("parse") as event:
                pass
            event.set_attribute("rows", 10)

        assert registry.events()[0].attributes == {}
        assert registry.health().errors["event"] == {"changed after its end": 1}

    def test_after_the_end_raise_in_strict_mode(self, registry):
        """A strict registry makes it an error."""
        with traced_event("parse") as event:
            pass

        with pytest.raises(TelemetryError, match="changed after its end"):
            event.set_attribute("rows", 10)

    def test_set_from_threads_at_once_arrive(self, registry):
        """An event may be told things from several threads."""
        barrier = threading.Barrier(4)
        with traced_event("parse") as event:

            def tell():
                barrier.wait()
                event.set_attribute("told", 1)

            run_in_threads(*[tell] * 4)

        assert registry.events()[0].attributes == {"told": 1}

    def test_secrets_are_hidden(self, registry):
        """Before any record exists."""
        with traced_event("login", attributes={"password": "hunter2"}) as event:
            event.set_attribute("token", "hunter2")

        assert "hunter2" not in repr(registry.events())

    def test_an_event_shows_itself(self, registry):
        """Its repr names it."""
        with traced_event("parse") as event:
            assert repr(event) == f"<Event 'parse' {event.task_id} running>"


class TestErrors:
    def test_are_recorded_once_through_many_levels(self, registry):
        """Text where it arose; further up its type and where to look."""
        with pytest.raises(ValueError), traced_event("a"), traced_event("b"), traced_event("c"):
            raise ValueError("no such value")

        events = by_name(registry)
        origin = events["c"].task_id
        assert {
            name: (event.status, event.error_type, event.error, event.error_origin)
            for name, event in events.items()
        } == {
            "c": ("failed", "ValueError", "no such value", None),
            "b": ("failed", "ValueError", None, origin),
            "a": ("failed", "ValueError", None, origin),
        }

    def test_leave_no_trace_on_the_exception(self, registry):
        """What came out of the outermost event is as it was raised."""
        with pytest.raises(ValueError) as caught, traced_event("a"), traced_event("b"):
            raise ValueError("no such value")

        assert vars(caught.value) == {}

    def test_keep_their_origin_through_a_thread(self, registry):
        """A future that hands on an error is not where it arose."""

        @traced_event("inner")
        def fail():
            raise ValueError("no such value")

        with (
            ThreadPoolExecutor(1) as pool,
            pytest.raises(ValueError),
            traced_event("outer"),
        ):
            pool.submit(propagate(fail)).result()

        events = by_name(registry)
        assert events["outer"].error_origin == events["inner"].task_id
        assert (events["outer"].error, events["inner"].error) == (None, "no such value")

    def test_keep_their_origin_through_a_task(self, registry):
        """An awaited task that failed is where the error arose."""

        @traced_event("inner")
        async def fail():
            raise ValueError("no such value")

        async def main():
            async with traced_event("outer"):
                await asyncio.create_task(fail())

        with pytest.raises(ValueError):
            asyncio.run(main())

        events = by_name(registry)
        assert events["outer"].error_origin == events["inner"].task_id

    def test_a_singleton_raised_twice_is_two_errors(self, registry):
        """An exception object that is used again arises where it is raised again."""
        only = ValueError("the only one")

        def fail(name):
            with pytest.raises(ValueError), traced_event(name):
                raise only

        with traced_event("outer"):
            fail("first")
            fail("second")

        events = by_name(registry)
        assert [
            (events[name].error, events[name].error_origin) for name in ("first", "second")
        ] == [("the only one", None)] * 2

    def test_a_class_raised_bare_has_no_text(self, registry):
        """An exception without arguments is known by its type."""
        with pytest.raises(KeyError), traced_event("a"):
            raise KeyError

        [event] = registry.events()
        assert (event.error_type, event.error) == ("KeyError", "")

    def test_a_copy_of_an_exception_is_another(self, registry):
        """A copy that is raised by the parent itself arose there."""
        with pytest.raises(ValueError), traced_event("outer"):
            kept = None
            try:
                with traced_event("inner"):
                    raise ValueError("no such value")
            except ValueError as error:
                kept = ValueError(*copy.copy(error).args)
            raise kept

        assert by_name(registry)["outer"].error == "no such value"

    def test_an_error_class_is_named_as_it_is_written(self, registry):
        """Qualified by its class, not by the function that defined it."""

        class Shop:
            class SoldOut(Exception):
                pass

        with pytest.raises(Shop.SoldOut), traced_event("a"):
            raise Shop.SoldOut

        assert registry.events()[0].error_type == "Shop.SoldOut"

    def test_a_frame_is_not_kept_alive(self, registry):
        """A record holds text, never the exception."""

        class Big:
            pass

        def fail():
            big = Big()
            with traced_event("a"):
                raise ValueError(big)

        with pytest.raises(ValueError):
            fail()
        gc.collect()

        assert [thing for thing in gc.get_objects() if type(thing) is Big] == []

    @pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
    def test_being_told_to_stop_is_cancelled_on_all_levels(self, registry, kind):
        """No failure, neither inside nor outside."""
        with pytest.raises(kind), traced_event("outer"), traced_event("inner"):
            raise kind

        assert {event.status for event in registry.events()} == {"cancelled"}

    def test_an_unknown_base_exception_is_failed(self, registry):
        """Only what asks to stop is cancelled."""

        class Alarm(BaseException):
            pass

        with pytest.raises(Alarm), traced_event("a"):
            raise Alarm

        assert registry.events()[0].status == "failed"

    @pytest.mark.parametrize(
        ("inner", "status"),
        [
            ((KeyboardInterrupt(), SystemExit()), "cancelled"),
            ((KeyboardInterrupt(), ValueError()), "failed"),
            ((), "failed"),
        ],
    )
    def test_a_group_is_cancelled_if_all_of_it_is(self, registry, inner, status):
        """As Python's own groups of exceptions carry them."""

        class Group(BaseException):
            exceptions = inner

        with pytest.raises(Group), traced_event("a"):
            raise Group

        assert registry.events()[0].status == status

    def test_a_cancellation_by_trio_is_cancelled(self, registry, monkeypatch):
        """It is known by its class, once the program has loaded trio."""

        class Cancelled(BaseException):
            pass

        trio = types.ModuleType("trio")
        trio.Cancelled = Cancelled
        monkeypatch.setitem(sys.modules, "trio", trio)
        with pytest.raises(Cancelled), traced_event("a"):
            raise Cancelled

        assert registry.events()[0].status == "cancelled"

    def test_a_group_that_does_not_show_its_errors_is_failed(self, registry):
        """What the event has said before stays, and the program gets its own error."""

        class Closed(BaseException):
            @property
            def exceptions(self):
                raise OSError("closed")

        with pytest.raises(Closed), traced_event("a") as event:
            event.set_attribute("rows", 3)
            raise Closed

        [record] = registry.events()
        assert (record.status, record.attributes) == ("failed", {"rows": 3})

    def test_an_exception_that_hides_its_attributes_is_recorded(self, registry):
        """It need not be possible to write on it."""

        class Closed(Exception):
            @property
            def __dict__(self):
                raise OSError("closed")

        with pytest.raises(Closed), traced_event("a"):
            raise Closed("for today")

        assert registry.events()[0].status == "failed"
