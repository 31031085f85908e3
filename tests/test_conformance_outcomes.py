"""The conformance table, continued: outcomes, errors, and where an event is current."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from volnux.telemetry import capture, current_event, propagate, traced_event
from volnux.telemetry.testing import FakeClock


@pytest.fixture
def clock():
    return FakeClock(start=1_700_000_000.0)


@pytest.fixture
def registry(clock):
    with capture(isolated=True, clock=clock) as registry:
        yield registry


class TestOutcomes:
    def test_a_cancelled_task_is_cancelled(self, registry, clock):
        """Cancellation by asyncio is neither success nor failure, and its time is counted."""

        @traced_event("step")
        async def step():
            clock.advance(1.5)
            await asyncio.Event().wait()

        async def main():
            task = asyncio.create_task(step())
            await asyncio.sleep(0)
            clock.advance(2.0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(main())

        [event] = registry.events()
        assert (event.status, event.duration) == ("cancelled", 3.5)
        assert _counts(registry, "step") == (1, 0, 1)

    @pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
    def test_an_interrupt_is_cancelled(self, registry, clock, kind):
        """A program told to stop has not failed."""

        @traced_event("step")
        def step():
            clock.advance(0.5)
            raise kind

        with pytest.raises(kind):
            step()

        [event] = registry.events()
        assert (event.status, event.duration) == ("cancelled", 0.5)

    @pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
    def test_an_interrupt_in_a_with_block_is_cancelled(self, registry, kind):
        """A with-block tells outcomes apart as the decorator does."""
        with pytest.raises(kind), traced_event("step"):
            raise kind

        [event] = registry.events()
        assert event.status == "cancelled"

    def test_a_timeout_is_what_the_step_saw(self, registry):
        """The step inside `wait_for` is cancelled; the one around it fails with the timeout."""

        @traced_event("inner")
        async def inner():
            await asyncio.Event().wait()

        @traced_event("outer")
        async def outer():
            await asyncio.wait_for(inner(), 0.001)

        with pytest.raises(asyncio.TimeoutError):
            asyncio.run(outer())

        assert {event.event_name: event.status for event in registry.events()} == {
            "inner": "cancelled",
            "outer": "failed",
        }


class UnprintableError(Exception):
    def __str__(self):
        raise RuntimeError("no text")

    __repr__ = __str__


class TestErrors:
    def test_an_error_without_text_is_let_through(self, registry):
        """An exception whose ``__str__`` raises reaches the caller, and its type the record."""

        @traced_event("step")
        def step():
            raise UnprintableError

        with pytest.raises(UnprintableError):
            step()

        [event] = registry.events()
        assert (event.status, event.error_type) == ("failed", "UnprintableError")
        assert isinstance(event.error, str)

    def test_an_error_is_recorded_once_where_it_arose(self, registry):
        """Through three levels, the text is on the innermost; the others refer to it."""

        @traced_event("inner")
        def inner():
            raise ValueError("no such value")

        @traced_event("middle")
        def middle():
            inner()

        @traced_event("outer")
        def outer():
            middle()

        with pytest.raises(ValueError):
            outer()

        [origin] = registry.events(name="inner")
        assert [
            ("outer", "failed", "ValueError", None, origin.task_id),
            ("middle", "failed", "ValueError", None, origin.task_id),
            ("inner", "failed", "ValueError", "no such value", None),
        ] == [
            (event.event_name, event.status, event.error_type, event.error, event.error_origin)
            for event in registry.events()
        ]

    def test_an_error_is_recorded_once_through_all_kinds(self, registry):
        """A coroutine, a generator, an async generator and a block share one error."""

        @traced_event("block")
        def block():
            with traced_event("origin"):
                raise ValueError("no such value")

        @traced_event("generator")
        def generator():
            yield block()

        @traced_event("async generator")
        async def async_generator():
            for item in generator():
                yield item

        @traced_event("coroutine")
        async def coroutine():
            return [item async for item in async_generator()]

        with pytest.raises(ValueError):
            asyncio.run(coroutine())

        events = registry.events()
        assert [event.status for event in events] == ["failed"] * 5
        assert [event.error for event in events if event.error is not None] == ["no such value"]
        [origin] = registry.events(name="origin")
        assert {origin.task_id} == {event.error_origin for event in events if event != origin}

    def test_the_same_error_raised_again_elsewhere_is_told_apart(self, registry):
        """An error kept and raised by another step arises there anew or refers back, never blank."""
        kept = ValueError("no such value")

        @traced_event("step")
        def step():
            raise kept

        for _ in range(2):
            with pytest.raises(ValueError):
                step()

        assert [
            event.error == "no such value" or event.error_origin is not None
            for event in registry.events()
        ] == [True, True]

    def test_an_error_from_an_error_is_another(self, registry):
        """Translating an exception makes a new one, recorded where it was raised."""

        @traced_event("inner")
        def inner():
            raise KeyError("id")

        @traced_event("outer")
        def outer():
            try:
                inner()
            except KeyError as error:
                raise LookupError("no such user") from error

        with pytest.raises(LookupError):
            outer()

        assert [
            (event.event_name, event.error_type, event.error_origin) for event in registry.events()
        ] == [("outer", "LookupError", None), ("inner", "KeyError", None)]

    def test_a_caught_error_fails_only_its_own_step(self, registry):
        """A step that handles its child's error has completed."""

        @traced_event("inner")
        def inner():
            raise ValueError("no such value")

        @traced_event("outer")
        def outer():
            with pytest.raises(ValueError):
                inner()

        outer()

        assert {event.event_name: event.status for event in registry.events()} == {
            "inner": "failed",
            "outer": "completed",
        }


class TestThreads:
    def test_a_child_in_an_executor_keeps_its_parent(self, registry):
        """`propagate` carries the current event into a thread pool."""
        with ThreadPoolExecutor(1) as pool, traced_event("parent") as parent:
            pool.submit(propagate(_child)).result()

        [child] = registry.events(name="child")
        assert parent.task_id == child.parent_id

    def test_a_child_in_a_thread_keeps_its_parent(self, registry):
        """`propagate` carries the current event into a thread."""
        with traced_event("parent") as parent:
            thread = threading.Thread(target=propagate(_child))
            thread.start()
            thread.join()

        [child] = registry.events(name="child")
        assert parent.task_id == child.parent_id

    def test_a_child_in_to_thread_keeps_its_parent(self, registry):
        """`asyncio.to_thread` needs no help."""

        async def main():
            async with traced_event("parent") as parent:
                await asyncio.to_thread(_child)
                return parent.task_id

        parent_id = asyncio.run(main())

        [child] = registry.events(name="child")
        assert parent_id == child.parent_id

    def test_one_propagated_function_serves_many_threads(self, registry):
        """Calls at the same time do not share a context."""
        barrier = threading.Barrier(4)

        def child():
            with traced_event("child"):
                barrier.wait()

        with ThreadPoolExecutor(4) as pool, traced_event("parent") as parent:
            carried = propagate(child)
            for future in [pool.submit(carried) for _ in range(4)]:
                future.result()

        assert [parent.task_id] * 4 == [event.parent_id for event in registry.events(name="child")]

    def test_a_duration_in_a_thread_is_exact(self, registry, clock):
        """Time in `to_thread` is measured around the work, not around handing it over."""

        @traced_event("step")
        def step():
            clock.advance(4.0)

        asyncio.run(asyncio.to_thread(step))

        [event] = registry.events()
        assert event.duration == 4.0


class TestTasks:
    def test_siblings_at_once_have_one_parent(self, registry):
        """Tasks that interleave do not become each other's children."""

        @traced_event("child")
        async def child():
            await asyncio.sleep(0)
            await asyncio.sleep(0)

        async def main():
            async with traced_event("parent") as parent:
                await asyncio.gather(child(), child(), child())
                return parent.task_id

        parent_id = asyncio.run(main())

        assert [parent_id] * 3 == [event.parent_id for event in registry.events(name="child")]

    def test_a_coroutine_awaited_in_a_foreign_context_ends_well(self, registry):
        """Starting in one context and ending in another neither raises nor leaks."""

        @traced_event("step")
        async def step():
            await asyncio.sleep(0)

        coroutine = step()
        contextvars.copy_context().run(coroutine.send, None)
        with pytest.raises(StopIteration):
            contextvars.copy_context().run(coroutine.send, None)

        [event] = registry.events()
        assert event.status == "completed"
        assert current_event() is None

    def test_a_block_closed_out_of_order_leaves_nothing_current(self, registry):
        """Blocks that end in the wrong order do not resurrect an ended event."""
        first, second = traced_event("first"), traced_event("second")
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        second.__exit__(None, None, None)

        assert registry.health().in_flight == 0
        assert current_event() is None


def _child():
    with traced_event("child"):
        pass


def _counts(registry, name):
    stats = registry.event_stats()[name]
    return stats.count, stats.failed, stats.cancelled
