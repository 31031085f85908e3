"""The conformance table, continued: generators and async generators."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import threading
import types

import pytest

from volnux.telemetry import capture, current_event, traced_event
from volnux.telemetry.testing import FakeClock


@pytest.fixture
def clock():
    return FakeClock(start=1_700_000_000.0)


@pytest.fixture
def registry(clock):
    with capture(isolated=True, clock=clock) as registry:
        yield registry


def _bare(function):
    return function


# What a consumer can do to a generator. Each gives a transcript that must not depend on tracing.


def _conversation(generator):
    """Answer, ask, and tell what comes back, errors included."""
    said = []

    def tell(action, *arguments):
        try:
            said.append((action.__name__, action(*arguments)))
        except BaseException as error:
            said.append((action.__name__, type(error), str(error)))

    return said, tell


def _exhausting(decorate):
    @decorate
    def numbers():
        yield 1
        yield 2
        return "the end"

    said, tell = _conversation(generator := numbers())
    for _ in range(4):
        tell(generator.__next__)
    return said


def _sending(decorate):
    @decorate
    def echo():
        heard = []
        while len(heard) < 2:
            heard.append((yield heard[-1:]))
        return heard

    said, tell = _conversation(generator := echo())
    tell(generator.send, "too early")
    tell(generator.send, None)
    tell(generator.send, "one")
    tell(generator.send, "two")
    return said


def _throwing(decorate):
    @decorate
    def stubborn():
        try:
            yield 1
        except KeyError as error:
            yield f"caught {error}"
        yield 3

    said, tell = _conversation(generator := stubborn())
    tell(next, generator)
    tell(generator.throw, KeyError("id"))
    tell(generator.throw, ValueError("no such value"))
    tell(next, generator)
    return said


def _throwing_at_the_start(decorate):
    @decorate
    def numbers():
        yield 1

    said, tell = _conversation(generator := numbers())
    tell(generator.throw, ValueError("no such value"))
    tell(next, generator)
    return said


def _closing(decorate):
    cleaned = []

    @decorate
    def numbers():
        try:
            yield 1
            yield 2
        finally:
            cleaned.append("up")

    said, tell = _conversation(generator := numbers())
    tell(next, generator)
    tell(generator.close)
    tell(next, generator)
    tell(generator.close)
    return said, cleaned


def _closing_unstarted(decorate):
    @decorate
    def numbers():
        yield 1

    said, tell = _conversation(generator := numbers())
    tell(generator.close)
    tell(next, generator)
    return said


def _catching_generator_exit(decorate):
    @decorate
    def stubborn():
        try:
            yield 1
        except GeneratorExit:
            return "anyway"

    said, tell = _conversation(generator := stubborn())
    tell(next, generator)
    tell(generator.throw, GeneratorExit())
    return said


def _ignoring_generator_exit(decorate):
    @decorate
    def stubborn():
        try:
            yield 1
        except GeneratorExit:
            yield 2

    said, tell = _conversation(generator := stubborn())
    tell(next, generator)
    tell(generator.close)
    return said


def _raising_stop_iteration(decorate):
    @decorate
    def numbers():
        yield 1
        raise StopIteration("early")

    said, tell = _conversation(generator := numbers())
    tell(next, generator)
    tell(next, generator)
    return said


def _raising_while_closing(decorate):
    @decorate
    def numbers():
        try:
            yield 1
        finally:
            raise ValueError("no such value")

    said, tell = _conversation(generator := numbers())
    tell(next, generator)
    tell(generator.close)
    return said


def _delegating(decorate):
    @decorate
    def inner():
        got = yield 1
        return got * 2

    @decorate
    def outer():
        return (yield from inner())

    said, tell = _conversation(generator := outer())
    tell(generator.send, None)
    tell(generator.send, 21)
    return said


def _re_entering(decorate):
    made = []

    @decorate
    def numbers():
        yield next(made[0])

    made.append(numbers())
    said, tell = _conversation(made[0])
    tell(next, made[0])
    return said


def _managing(decorate):
    log = []

    @contextlib.contextmanager
    @decorate
    def managed():
        log.append("enter")
        try:
            yield 7
        except KeyError:
            log.append("swallowed")
        finally:
            log.append("leave")

    with managed() as value:
        log.append(value)
    with managed():
        raise KeyError("id")
    try:
        with managed():
            raise ValueError("no such value")
    except ValueError as error:
        log.append(str(error))
    return log


SYNC = [
    _exhausting,
    _sending,
    _throwing,
    _throwing_at_the_start,
    _closing,
    _closing_unstarted,
    _catching_generator_exit,
    _ignoring_generator_exit,
    _raising_stop_iteration,
    _raising_while_closing,
    _delegating,
    _re_entering,
    _managing,
]


async def _async_conversation():
    said = []

    async def tell(action, *arguments):
        try:
            said.append((action.__name__, await action(*arguments)))
        except BaseException as error:
            said.append((action.__name__, type(error), str(error)))

    return said, tell


async def _async_exhausting(decorate):
    @decorate
    async def numbers():
        yield 1
        await asyncio.sleep(0)
        yield 2

    said, tell = await _async_conversation()
    generator = numbers()
    for _ in range(4):
        await tell(generator.__anext__)
    return said


async def _async_sending(decorate):
    @decorate
    async def echo():
        heard = []
        while len(heard) < 2:
            heard.append((yield heard[-1:]))

    said, tell = await _async_conversation()
    generator = echo()
    await tell(generator.asend, "too early")
    await tell(generator.asend, None)
    await tell(generator.asend, "one")
    await tell(generator.asend, "two")
    return said


async def _async_throwing(decorate):
    @decorate
    async def stubborn():
        try:
            yield 1
        except KeyError as error:
            yield f"caught {error}"
        yield 3

    said, tell = await _async_conversation()
    generator = stubborn()
    await tell(generator.__anext__)
    await tell(generator.athrow, KeyError("id"))
    await tell(generator.athrow, ValueError("no such value"))
    await tell(generator.__anext__)
    return said


async def _async_closing(decorate):
    cleaned = []

    @decorate
    async def numbers():
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0)
            cleaned.append("up")

    said, tell = await _async_conversation()
    generator = numbers()
    await tell(generator.__anext__)
    await tell(generator.aclose)
    await tell(generator.__anext__)
    await tell(generator.aclose)
    return said, cleaned


async def _async_catching_generator_exit(decorate):
    @decorate
    async def stubborn():
        try:
            yield 1
        except GeneratorExit:
            return

    said, tell = await _async_conversation()
    generator = stubborn()
    await tell(generator.__anext__)
    await tell(generator.athrow, GeneratorExit())
    await tell(generator.__anext__)
    return said


async def _async_ignoring_generator_exit(decorate):
    @decorate
    async def stubborn():
        try:
            yield 1
        except GeneratorExit:
            yield 2

    said, tell = await _async_conversation()
    generator = stubborn()
    await tell(generator.__anext__)
    await tell(generator.aclose)
    return said


async def _async_raising_while_closing(decorate):
    @decorate
    async def numbers():
        try:
            yield 1
        finally:
            raise ValueError("no such value")

    said, tell = await _async_conversation()
    generator = numbers()
    await tell(generator.__anext__)
    await tell(generator.aclose)
    return said


async def _async_managing(decorate):
    log = []

    @contextlib.asynccontextmanager
    @decorate
    async def managed():
        log.append("enter")
        try:
            yield 7
        except KeyError:
            log.append("swallowed")
        finally:
            await asyncio.sleep(0)
            log.append("leave")

    async with managed() as value:
        log.append(value)
    async with managed():
        raise KeyError("id")
    try:
        async with managed():
            raise ValueError("no such value")
    except ValueError as error:
        log.append(str(error))
    return log


ASYNC = [
    _async_exhausting,
    _async_sending,
    _async_throwing,
    _async_closing,
    _async_catching_generator_exit,
    _async_ignoring_generator_exit,
    _async_raising_while_closing,
    _async_managing,
]


class TestTransparency:
    @pytest.mark.parametrize("scenario", SYNC, ids=lambda scenario: scenario.__name__)
    def test_a_consumer_cannot_tell(self, scenario, registry):
        """Values, send, throw, return and clean-up are those of the bare generator."""
        assert scenario(_bare) == scenario(traced_event)
        assert registry.health().in_flight == 0

    @pytest.mark.parametrize("scenario", ASYNC, ids=lambda scenario: scenario.__name__)
    def test_an_async_consumer_cannot_tell(self, scenario, registry):
        """Values, asend, athrow and clean-up are those of the bare async generator."""
        assert asyncio.run(scenario(_bare)) == asyncio.run(scenario(traced_event))
        assert registry.health().in_flight == 0

    @pytest.mark.parametrize("scenario", SYNC, ids=lambda scenario: scenario.__name__)
    def test_nor_while_telemetry_is_off(self, scenario):
        """Switched off, nothing differs either."""
        assert scenario(_bare) == scenario(traced_event)


class TestTimes:
    def test_the_consumers_time_is_not_the_producers(self, registry, clock):
        """Wall time counts all, active time the producer only, and the first item has its own."""

        @traced_event("numbers")
        def numbers():
            for number in range(3):
                clock.advance(0.5)
                yield number
            clock.advance(0.25)

        for _ in numbers():
            clock.advance(10.0)

        [event] = registry.events()
        assert (
            event.duration,
            event.active_time,
            event.items,
            event.time_to_first_item,
        ) == (31.75, 1.75, 3, 0.5)

    def test_nor_is_it_in_an_async_generator(self, registry, clock):
        """An async producer's own awaiting counts as active, the consumer's does not."""

        @traced_event("numbers")
        async def numbers():
            for number in range(3):
                clock.advance(0.25)
                await asyncio.sleep(0)
                clock.advance(0.25)
                yield number

        async def main():
            async for _ in numbers():
                clock.advance(10.0)
                await asyncio.sleep(0)

        asyncio.run(main())

        [event] = registry.events()
        assert (
            event.duration,
            event.active_time,
            event.items,
            event.time_to_first_item,
        ) == (31.5, 1.5, 3, 0.5)

    def test_nothing_yielded_has_no_first_item(self, registry):
        """An empty stream has zero items and no time to the first."""

        @traced_event("numbers")
        def numbers():
            yield from ()

        assert [*numbers()] == []

        [event] = registry.events()
        assert (event.items, event.time_to_first_item) == (0, None)

    def test_a_generator_that_never_started_is_no_event(self, registry):
        """Nothing ran, so nothing is recorded."""

        @traced_event("numbers")
        def numbers():
            yield 1

        numbers().close()

        assert registry.events() == []


class TestOutcome:
    def test_closed_early_is_completed(self, registry, clock):
        """A consumer that has had enough is no failure."""

        @traced_event("numbers")
        def numbers():
            clock.advance(1.0)
            yield 1
            yield 2

        generator = numbers()
        next(generator)
        clock.advance(2.0)
        generator.close()

        [event] = registry.events()
        assert (
            event.status,
            event.error_type,
            event.duration,
            event.active_time,
            event.items,
        ) == ("completed", None, 3.0, 1.0, 1)

    def test_an_async_one_closed_early_is_completed(self, registry):
        """Nor is it one for an async generator."""

        @traced_event("numbers")
        async def numbers():
            yield 1
            yield 2

        async def main():
            generator = numbers()
            await generator.__anext__()
            await generator.aclose()

        asyncio.run(main())

        [event] = registry.events()
        assert (event.status, event.items) == ("completed", 1)

    def test_an_error_in_the_producer_is_failed(self, registry):
        """What was yielded before the failure is counted."""

        @traced_event("numbers")
        def numbers():
            yield 1
            raise ValueError("no such value")

        with pytest.raises(ValueError):
            [*numbers()]

        [event] = registry.events()
        assert (event.status, event.error_type, event.items) == ("failed", "ValueError", 1)

    def test_an_error_in_clean_up_is_failed(self, registry):
        """Closing early does not excuse an error in ``finally``."""

        @traced_event("numbers")
        def numbers():
            try:
                yield 1
            finally:
                raise ValueError("no such value")

        generator = numbers()
        next(generator)
        with pytest.raises(ValueError):
            generator.close()

        [event] = registry.events()
        assert (event.status, event.error_type) == ("failed", "ValueError")

    def test_a_cancelled_consumer_cancels_the_producer_it_waits_for(self, registry):
        """A task cancelled while the producer awaits is cancelled there."""

        @traced_event("numbers")
        async def numbers():
            yield 1
            await asyncio.Event().wait()

        async def consume():
            async for _ in numbers():
                pass

        async def main():
            task = asyncio.create_task(consume())
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(main())

        [event] = registry.events()
        assert (event.status, event.items) == ("cancelled", 1)

    def test_a_consumer_closed_at_an_await_cancels_the_producer(self, registry):
        """Whoever closes it stays in the event in which that happens."""

        @types.coroutine
        def wait():
            yield

        @traced_event("numbers")
        async def numbers():
            await wait()
            yield 1

        async def consume():
            async for _ in numbers():
                pass

        consumer = consume()
        contextvars.copy_context().run(consumer.send, None)
        with traced_event("elsewhere") as elsewhere:
            consumer.close()
            del consumer
            gc.collect()
            assert current_event().task_id == elsewhere.task_id

        [event] = registry.events("numbers")
        assert (event.status, event.items) == ("cancelled", 0)

    def test_abandoned_is_completed(self, registry):
        """A generator nobody holds any more is closed and recorded."""

        @traced_event("numbers")
        def numbers():
            yield 1
            yield 2

        generator = numbers()
        next(generator)
        del generator
        gc.collect()

        [event] = registry.events()
        assert (event.status, event.items) == ("completed", 1)

    def test_abandoned_to_another_thread_is_completed(self, registry):
        """The collector may run in any thread: the record still goes where it began."""

        @traced_event("numbers")
        def numbers():
            yield 1
            yield 2

        held = [numbers()]
        next(held[0])
        thread = threading.Thread(target=held.clear)
        thread.start()
        thread.join()
        gc.collect()

        [event] = registry.events()
        assert ("completed", threading.get_ident()) == (event.status, event.thread_id)

    def test_an_abandoned_async_one_is_completed(self, registry):
        """The loop closes an abandoned async generator in a task of its own."""

        @traced_event("numbers")
        async def numbers():
            yield 1
            yield 2

        async def main():
            async for _ in numbers():
                break
            gc.collect()
            await asyncio.sleep(0)

        asyncio.run(main())

        [event] = registry.events()
        assert (event.status, event.items) == ("completed", 1)


class TestCurrent:
    def test_only_while_the_producer_runs(self, registry):
        """The consumer never sees the producer's event."""
        seen = []

        @traced_event("numbers")
        def numbers():
            for _ in range(2):
                seen.append(current_event().name)
                yield

        with traced_event("consumer"):
            for _ in numbers():
                seen.append(current_event().name)

        assert seen == ["numbers", "consumer"] * 2
        assert current_event() is None

    def test_only_while_the_async_producer_runs(self, registry):
        """Nor does an async consumer."""
        seen = []

        @traced_event("numbers")
        async def numbers():
            for _ in range(2):
                await asyncio.sleep(0)
                seen.append(current_event().name)
                yield

        async def main():
            async with traced_event("consumer"):
                async for _ in numbers():
                    seen.append(current_event().name)

        asyncio.run(main())

        assert seen == ["numbers", "consumer"] * 2

    def test_interleaved_generators_keep_their_children(self, registry):
        """Two generators in turns: each one's child hangs under it, and nothing stays current."""

        @traced_event
        def left():
            for _ in range(2):
                with traced_event("left child"):
                    pass
                yield

        @traced_event
        def right():
            for _ in range(2):
                with traced_event("right child"):
                    pass
                yield

        for _ in zip(left(), right(), strict=False):
            assert current_event() is None

        for side in ("left", "right"):
            [parent] = registry.events(name=side)
            children = registry.events(name=f"{side} child")
            assert [parent.task_id] * 2 == [child.parent_id for child in children]
        assert current_event() is None

    @pytest.mark.parametrize("order", [(0, 1), (1, 0)])
    def test_generators_that_end_in_any_order_leave_nothing(self, registry, order):
        """An ended event is never current again."""

        @traced_event("numbers")
        def numbers():
            yield 1
            yield 2

        generators = [numbers(), numbers()]
        for generator in generators:
            next(generator)
        for index in order:
            generators[index].close()
            assert current_event() is None

        assert [event.status for event in registry.events()] == ["completed"] * 2

    def test_a_child_held_across_a_yield_stays_the_parent(self, registry):
        """What the generator does next hangs under the block it is in, not under the consumer."""

        @traced_event("numbers")
        def numbers():
            with traced_event("held"):
                yield 1
                with traced_event("grandchild"):
                    pass
                yield 2

        with traced_event("consumer") as consumer:
            for _ in numbers():
                assert consumer.task_id == current_event().task_id

        [held] = registry.events(name="held")
        [grandchild] = registry.events(name="grandchild")
        [stream] = registry.events(name="numbers")
        assert (stream.task_id, held.task_id) == (held.parent_id, grandchild.parent_id)
        assert current_event() is None

    def test_an_async_child_held_across_a_yield_stays_the_parent(self, registry):
        """The same in an async generator that is driven by two tasks."""

        @traced_event("numbers")
        async def numbers():
            async with traced_event("held"):
                yield 1
                async with traced_event("grandchild"):
                    await asyncio.sleep(0)
                yield 2

        async def main():
            generator = numbers()
            await asyncio.create_task(_take(generator))
            await asyncio.create_task(_take(generator))
            await generator.aclose()
            assert current_event() is None

        asyncio.run(main())

        [held] = registry.events(name="held")
        [grandchild] = registry.events(name="grandchild")
        assert held.task_id == grandchild.parent_id

    def test_the_parent_is_taken_at_the_first_item(self, registry):
        """A generator made in one event and started in another belongs to the latter."""

        @traced_event("numbers")
        def numbers():
            yield 1

        with traced_event("maker"):
            generator = numbers()
        with traced_event("taker") as taker:
            for _ in generator:
                pass

        [event] = registry.events(name="numbers")
        assert taker.task_id == event.parent_id

    def test_closing_in_a_foreign_context_is_safe(self, registry):
        """Begun in one context, closed in another: one record, no error, nothing current."""

        @traced_event("numbers")
        def numbers():
            yield 1
            yield 2

        generator = numbers()
        contextvars.copy_context().run(next, generator)
        contextvars.Context().run(generator.close)

        [event] = registry.events()
        assert (event.status, event.items) == ("completed", 1)
        assert current_event() is None

    def test_closing_in_a_foreign_task_is_safe(self, registry):
        """An async generator may be closed by whoever gets to it."""

        @traced_event("numbers")
        async def numbers():
            try:
                yield 1
            finally:
                await asyncio.sleep(0)

        async def main():
            generator = numbers()
            await asyncio.create_task(_take(generator))
            async with traced_event("closer") as closer:
                await asyncio.create_task(generator.aclose())
                assert closer.task_id == current_event().task_id

        asyncio.run(main())

        [event] = registry.events(name="numbers")
        assert (event.status, event.items) == ("completed", 1)

    def test_the_block_of_a_context_manager_is_the_consumers(self, registry):
        """Under `contextmanager` the body of the with-block is not the generator's child."""

        @contextlib.contextmanager
        @traced_event("managed")
        def managed():
            yield

        with traced_event("outer") as outer, managed():
            assert outer.task_id == current_event().task_id

        assert [event.status for event in registry.events()] == ["completed"] * 2

    def test_clean_up_of_an_async_context_manager_runs_in_time(self, registry):
        """Under `asynccontextmanager` the inner ``finally`` has run when the block is left."""
        log = []

        @contextlib.asynccontextmanager
        @traced_event("managed")
        async def managed():
            try:
                yield
            finally:
                log.append(current_event().name)

        async def main():
            async with managed():
                pass
            log.append("after")

        asyncio.run(main())

        assert log == ["managed", "after"]


async def _take(generator):
    return await generator.__anext__()
