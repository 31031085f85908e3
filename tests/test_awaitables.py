"""What runs only later, however it is used, and whoever else holds it."""

from __future__ import annotations

import asyncio
import collections.abc
import copy
import gc
import pickle
import sys
import types
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress

import pytest

from volnux.telemetry import capture, current_event, traced_event


class Later:
    """An awaitable, and nothing else."""

    def __await__(self):
        yield from asyncio.sleep(0).__await__()
        return 7


class Cursor:
    """To be awaited, or iterated: as asyncpg's cursors."""

    def __init__(self, rows=(1, 2, 3), act=lambda: None):
        self.rows = rows
        self.act = act

    def __await__(self):
        yield from asyncio.sleep(0).__await__()
        self.act()
        return self

    async def __aiter__(self):
        for row in self.rows:
            self.act()
            yield row


class Stream:
    """Its own iterator."""

    def __init__(self, act=lambda: None):
        self.left = [1, 2, 3]
        self.act = act

    def __await__(self):
        yield from asyncio.sleep(0).__await__()
        return self.left

    def __aiter__(self):
        return self

    async def __anext__(self):
        self.act()
        if not self.left:
            raise StopAsyncIteration
        return self.left.pop(0)

    async def aclose(self):
        self.left = []


class Request:
    """To be awaited, or entered: as the requests of aiohttp, or as the clients of redis."""

    def __init__(self, act=lambda: None, *, swallows=False):
        self.act = act
        self.swallows = swallows
        self.closed = False

    def __await__(self):
        yield from asyncio.sleep(0).__await__()
        self.act()
        return self

    async def __aenter__(self):
        self.act()
        return self

    async def __aexit__(self, *exc_info):
        self.act()
        self.closed = True
        return self.swallows

    def ping(self):
        return "pong"


class Operation(collections.abc.Coroutine):
    """To be awaited, or run by a task: a coroutine by its methods alone."""

    def __init__(self):
        self.inner = self.run()

    def run(self):
        yield from asyncio.sleep(0).__await__()
        return 7

    def send(self, value):
        return self.inner.send(value)

    def throw(self, *error):
        return self.inner.throw(*error)

    def close(self):
        self.inner.close()

    def __await__(self):
        return self.inner


def step(make, *args, **kwargs):
    """Return a traced function that makes something."""

    @traced_event("step")
    def step():
        return make(*args, **kwargs)

    return step


def outcomes(registry):
    """The status and the duration of every event of the step, and how many are in flight."""
    events = [(event.status, event.duration) for event in registry.events("step")]
    return events, registry.health().in_flight


class TestAwaited:
    def test_a_cursor_is_recorded_until_it_has_been_awaited(self, registry, clock):
        """As any awaitable is."""

        async def main():
            return await step(Cursor, act=lambda: clock.advance(2.0))()

        assert asyncio.run(main()).rows == (1, 2, 3)
        assert outcomes(registry) == ([("completed", 2.0)], 0)

    def test_a_second_await_changes_nothing(self, registry, clock):
        """What is finished stays as it is."""

        async def main():
            request = step(Request, lambda: clock.advance(1.0))()
            await request
            await request

        asyncio.run(main())

        health = registry.health()
        assert outcomes(registry) == ([("completed", 1.0)], 0)
        assert (health.started, health.finished) == (1, 1)

    def test_a_task_runs_it_by_its_methods(self, registry):
        """An awaitable that is a coroutine by its methods can be given to a task."""

        async def main():
            return await asyncio.create_task(step(Operation)())

        assert asyncio.run(main()) == 7
        assert outcomes(registry) == ([("completed", 0.0)], 0)

    def test_closing_it_reaches_the_object(self, registry):
        """So that it is not reported as never awaited."""
        operation = step(Operation)()
        operation.close()

        assert operation.inner.gi_frame is None

    def test_throwing_into_it_reaches_the_object(self, registry):
        """Where it waits."""

        async def main():
            task = asyncio.create_task(step(Operation)())
            await asyncio.sleep(0)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

        asyncio.run(main())
        gc.collect()

        assert outcomes(registry) == ([("cancelled", 0.0)], 0)


class TestIterated:
    def test_gives_every_row(self, registry):
        """As while telemetry is off."""

        async def main():
            return [row async for row in step(Cursor)()]

        assert asyncio.run(main()) == [1, 2, 3]

    @pytest.mark.parametrize("make", [Cursor, Stream])
    def test_is_recorded_until_it_is_exhausted(self, registry, clock, make):
        """With all the time that it takes."""

        async def main():
            async for _ in step(make, act=lambda: clock.advance(1.0))():
                clock.advance(10.0)

        asyncio.run(main())

        [event], in_flight = outcomes(registry)
        assert event == ("completed", 33.0 if make is Cursor else 34.0)
        assert in_flight == 0

    @pytest.mark.parametrize("make", [Cursor, Stream])
    def test_leaving_early_is_no_failure(self, registry, make):
        """What nobody holds any more has ended."""

        async def main():
            async for _ in step(make)():
                break

        asyncio.run(main())
        gc.collect()

        assert outcomes(registry) == ([("completed", 0.0)], 0)

    @pytest.mark.parametrize("make", [Cursor, Stream])
    def test_closing_ends_it(self, registry, make):
        """While it is still held."""

        async def main():
            rows = aiter_of(step(make)())
            await rows.__anext__()
            await rows.aclose()
            assert outcomes(registry) == ([("completed", 0.0)], 0)

        asyncio.run(main())

    def test_a_failure_is_recorded(self, registry):
        """And reaches the program."""

        def fail():
            raise ValueError("no such row")

        async def main():
            return [row async for row in step(Stream, fail)()]

        with pytest.raises(ValueError):
            asyncio.run(main())
        assert outcomes(registry) == ([("failed", 0.0)], 0)

    def test_it_is_current_while_it_produces_only(self, registry):
        """Never in the consumer's code."""
        seen = []

        async def main():
            async for _ in step(Stream, lambda: seen.append(current_event()))():
                assert current_event() is None

        asyncio.run(main())

        [event] = registry.events("step")
        assert {known.task_id for known in seen} == {event.task_id}

    def test_an_object_that_is_its_own_iterator_stays_it(self, registry):
        """The proxy, for the object."""
        stream = step(Stream)()

        assert aiter_of(stream) is stream


class TestEntered:
    def test_is_recorded_until_it_is_left(self, registry, clock):
        """With what happens inside."""

        async def main():
            async with step(Request, lambda: clock.advance(1.0))() as request:
                clock.advance(10.0)
            return request

        assert asyncio.run(main()).closed
        assert outcomes(registry) == ([("completed", 12.0)], 0)

    def test_a_failure_inside_is_recorded(self, registry):
        """And reaches the program."""

        async def main():
            async with step(Request)():
                raise ValueError("no such page")

        with pytest.raises(ValueError):
            asyncio.run(main())
        assert outcomes(registry) == ([("failed", 0.0)], 0)

    def test_a_failure_that_it_swallows_is_none(self, registry):
        """It has dealt with it."""

        async def main():
            async with step(Request, swallows=True)():
                raise ValueError("no such page")

        asyncio.run(main())

        assert outcomes(registry) == ([("completed", 0.0)], 0)

    def test_a_failure_to_enter_is_recorded(self, registry):
        """And the block does not run."""

        def fail():
            raise ConnectionError("refused")

        async def main():
            async with step(Request, fail)():
                raise AssertionError

        with pytest.raises(ConnectionError):
            asyncio.run(main())
        assert outcomes(registry) == ([("failed", 0.0)], 0)

    def test_an_exit_stack_enters_it(self, registry):
        """Which looks for the methods in the class."""

        async def main():
            async with AsyncExitStack() as stack:
                return await stack.enter_async_context(step(Request)())

        assert asyncio.run(main()).closed
        assert outcomes(registry) == ([("completed", 0.0)], 0)

    def test_entering_again_is_nothing_new(self, registry):
        """The event is that of the first block."""

        async def main():
            request = step(Request)()
            async with request:
                pass
            async with request:
                pass

        asyncio.run(main())

        health = registry.health()
        assert (health.started, health.finished, health.in_flight) == (1, 1, 0)


class TestUsedOtherwise:
    def test_a_client_was_the_result(self, registry, clock):
        """Its event has ended when it was returned, as the program sees when it uses it."""
        client = step(Request)()
        clock.advance(5.0)

        assert client.ping() == "pong"
        assert outcomes(registry) == ([("completed", 0.0)], 0)

    def test_a_client_that_is_held_elsewhere_is_the_result(self, registry):
        """The program gets the very object, and the event has ended."""
        client = Request()

        assert step(lambda: client)() is client
        assert outcomes(registry) == ([("completed", 0.0)], 0)

    @pytest.mark.parametrize("make", [Later, Cursor, Request])
    def test_what_is_never_used_is_cancelled(self, registry, make):
        """It has never run."""
        for _ in range(3):
            step(make)()
        gc.collect()

        assert outcomes(registry) == ([("cancelled", 0.0)] * 3, 0)

    def test_what_is_awaited_in_vain_is_cancelled(self, registry):
        """The program may throw away what it got for the await."""
        later = step(Request)()
        later.__await__().close()
        del later
        gc.collect()

        assert outcomes(registry) == ([("cancelled", 0.0)], 0)

    def test_a_future_that_is_never_done_is_cancelled(self, registry):
        """When nobody can do it any more."""
        loop = asyncio.new_event_loop()
        step(loop.create_future)()
        gc.collect()
        loop.close()

        assert outcomes(registry) == ([("cancelled", 0.0)], 0)

    def test_a_future_of_a_closed_loop_is_returned(self, registry):
        """It is done, and its loop would call nobody back."""
        loop = asyncio.new_event_loop()
        future = loop.create_future()
        future.set_result(7)
        loop.close()

        assert step(lambda: future)() is future
        assert outcomes(registry) == ([("completed", 0.0)], 0)

    def test_an_awaitable_of_a_class_that_cannot_be_looked_at_is_returned(self):
        """That is counted, and the program gets its object."""

        class Hostile(type):
            def __hash__(cls):
                raise TypeError("no hash")

        class Strange(metaclass=Hostile):
            def __await__(self):
                yield

        with capture(isolated=True) as registry:
            assert type(step(Strange)()) is Strange

        assert outcomes(registry) == ([("completed", registry.events()[0].duration)], 0)
        assert registry.health().errors == {"event": {"TypeError": 1}}


class TestWhatItHas:
    @pytest.mark.parametrize("name", ["__aiter__", "__anext__", "__aenter__", "__aexit__"])
    @pytest.mark.parametrize("make", [Later, Cursor, Stream, Request])
    def test_is_what_the_object_has(self, registry, make, name):
        """No more and no less."""
        assert hasattr(make(), name) == hasattr(step(make)(), name)

    @pytest.mark.parametrize(
        "kind",
        [
            collections.abc.AsyncIterable,
            collections.abc.AsyncIterator,
            AbstractAsyncContextManager,
            collections.abc.Awaitable,
            collections.abc.Coroutine,
            collections.abc.Iterable,
        ],
    )
    @pytest.mark.parametrize("make", [Later, Cursor, Stream, Request, Operation])
    def test_is_what_abstract_classes_see(self, registry, make, kind):
        """As in the object."""
        assert isinstance(make(), kind) == isinstance(step(make)(), kind)

    @pytest.mark.parametrize(
        "way", [copy.copy, copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing))]
    )
    def test_a_copy_is_a_copy_of_the_object(self, registry, way):
        """With nothing of ours about it."""
        assert type(way(step(Later)())) is Later


def numbers():
    yield 1
    yield 2


async def async_numbers():
    yield 1
    yield 2


async def coroutine():
    return 7


@types.coroutine
def awaitable_generator():
    yield


def begun(generator):
    """Take the first item."""
    if hasattr(generator, "__next__"):
        next(generator)
    else:
        with suppress(StopIteration):
            generator.__anext__().send(None)
    return generator


def aiter_of(thing):
    """`aiter`, in a form that the linter takes for no mistake."""
    return type(thing).__aiter__(thing)


every_stream = pytest.mark.parametrize("make", [numbers, async_numbers])
everything_deferred = pytest.mark.parametrize(
    "make", [numbers, async_numbers, coroutine, awaitable_generator]
)


class TestHeldElsewhere:
    def test_a_stored_generator_goes_on_where_it_was(self, registry):
        """An accessor hands out the generator itself."""

        class Reader:
            def __init__(self):
                self._rows = numbers()

            @traced_event
            def rows(self):
                return self._rows

        reader = Reader()

        assert (next(reader.rows()), next(reader.rows()), next(reader.rows(), "END")) == (
            1,
            2,
            "END",
        )

    @everything_deferred
    @pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
    def test_is_returned_as_it_is(self, registry, make):
        """It is somebody else's, and the event has ended."""
        stored = make()

        assert step(lambda: stored)() is stored
        assert outcomes(registry) == ([("completed", 0.0)], 0)

    @every_stream
    def test_so_is_what_has_begun(self, registry, make):
        """Nobody can tell what it has done before."""
        returned = step(lambda: begun(make()))()

        assert type(returned).__name__ in {"generator", "async_generator"}
        assert returned.__qualname__ == make.__qualname__
        assert outcomes(registry) == ([("completed", 0.0)], 0)

    def test_so_is_what_has_ended(self, registry):
        """There is nothing left to record."""

        def ended():
            generator = numbers()
            list(generator)
            return generator

        assert list(step(ended)()) == []
        assert outcomes(registry) == ([("completed", 0.0)], 0)

    def test_a_primed_generator_takes_what_it_is_sent(self, registry):
        """It has been started so that it does."""

        def echo():
            value = yield
            while True:
                value = yield value

        assert step(lambda: begun(echo()))().send(3) == 3

    @everything_deferred
    @pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
    def test_what_was_just_made_is_recorded_to_its_end(self, registry, make):
        """Nobody else holds it."""
        returned = step(make)()

        assert outcomes(registry) == ([("running", 0.0)], 1)
        del returned

    @every_stream
    @pytest.mark.parametrize("observe", [sys.settrace, sys.setprofile])
    def test_also_under_a_debugger(self, registry, make, observe):
        """One that looks at the frames, which hold it too."""
        function = step(make)

        def look(frame, event, argument):
            frame.f_locals  # noqa: B018  # in Python 3.10 these are references
            return look

        before = sys.gettrace() if observe is sys.settrace else sys.getprofile()
        observe(look)
        try:
            returned = function()
        finally:
            observe(before)

        assert outcomes(registry) == ([("running", 0.0)], 1)
        del returned
