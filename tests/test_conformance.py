"""The conformance table: every kind of callable, the same promises.

docs/conformance.md shows the same cases beside other libraries.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import pickle
import traceback
from contextlib import suppress

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


# Each of these makes a traced callable around `body` and returns how to run it to its end.


def function(body):
    @traced_event("step")
    def step():
        return body()

    return step


def coroutine_function(body):
    @traced_event("step")
    async def step():
        await asyncio.sleep(0)
        return body()

    return lambda: asyncio.run(step())


def generator_function(body):
    @traced_event("step")
    def step():
        yield body()

    def run():
        [item] = step()
        return item

    return run


def async_generator_function(body):
    @traced_event("step")
    async def step():
        await asyncio.sleep(0)
        yield body()

    async def collect():
        [item] = [item async for item in step()]
        return item

    return lambda: asyncio.run(collect())


def method(body):
    class Service:
        @traced_event("step")
        def step(self):
            assert type(self) is Service
            return body()

    return Service().step


def decorator_above_classmethod(body):
    class Service:
        @traced_event("step")
        @classmethod
        def step(cls):
            assert cls is Service
            return body()

    return Service.step


def decorator_above_classmethod_on_an_instance(body):
    class Service:
        @traced_event("step")
        @classmethod
        def step(cls):
            assert cls is Service
            return body()

    return Service().step


def decorator_below_classmethod(body):
    class Service:
        @classmethod
        @traced_event("step")
        def step(cls):
            assert cls is Service
            return body()

    return Service.step


def decorator_above_staticmethod(body):
    class Service:
        @traced_event("step")
        @staticmethod
        def step():
            return body()

    return Service.step


def decorator_above_staticmethod_on_an_instance(body):
    class Service:
        @traced_event("step")
        @staticmethod
        def step():
            return body()

    return Service().step


def decorator_below_staticmethod(body):
    class Service:
        @staticmethod
        @traced_event("step")
        def step():
            return body()

    return Service().step


def decorator_above_property(body):
    class Service:
        @traced_event("step")
        @property
        def step(self):
            return body()

    return lambda: Service().step


def decorator_below_property(body):
    class Service:
        @property
        @traced_event("step")
        def step(self):
            return body()

    return lambda: Service().step


def decorator_above_cached_property(body):
    class Service:
        @traced_event("step")
        @functools.cached_property
        def step(self):
            return body()

    service = Service()

    def run():
        first = service.step
        assert service.step is first
        return first

    return run


def partial(body):
    def step(number, *, scale):
        assert (number, scale) == (3, 10)
        return body()

    traced = traced_event("step")(functools.partial(step, 3, scale=1))
    return lambda: traced(scale=10)


def partial_of_coroutine_function(body):
    async def step(number):
        assert number == 3
        return body()

    traced = traced_event("step")(functools.partial(step, 3))
    return lambda: asyncio.run(traced())


def partialmethod(body):
    class Service:
        def _step(self, number, scale):
            assert (type(self), number, scale) == (Service, 3, 10)
            return body()

        step = traced_event("step")(functools.partialmethod(_step, 3))

    return lambda: Service().step(10)


def callable_object(body):
    class Step:
        def __call__(self):
            return body()

    return traced_event("step")(Step())


def async_callable_object(body):
    class Step:
        async def __call__(self):
            await asyncio.sleep(0)
            return body()

    traced = traced_event("step")(Step())
    return lambda: asyncio.run(traced())


def function_returning_a_coroutine(body):
    async def work():
        await asyncio.sleep(0)
        return body()

    @traced_event("step")
    def step():
        return work()

    async def run():
        return await step()

    return lambda: asyncio.run(run())


def function_returning_a_task(body):
    async def work():
        await asyncio.sleep(0)
        return body()

    @traced_event("step")
    def step():
        return asyncio.get_running_loop().create_task(work())

    async def run():
        return await step()

    return lambda: asyncio.run(run())


def function_returning_a_future(body):
    @traced_event("step")
    def step():
        loop = asyncio.get_running_loop()
        future = loop.create_future()

        def settle():
            try:
                future.set_result(body())
            except ValueError as error:
                future.set_exception(error)

        loop.call_soon(settle)
        return future

    async def run():
        return await step()

    return lambda: asyncio.run(run())


def function_returning_an_awaitable(body):
    class Later:
        def __await__(self):
            yield from asyncio.sleep(0).__await__()
            return body()

    @traced_event("step")
    def step():
        return Later()

    async def run():
        return await step()

    return lambda: asyncio.run(run())


def function_returning_a_generator(body):
    def items():
        yield body()

    @traced_event("step")
    def step():
        return items()

    def run():
        [item] = step()
        return item

    return run


def function_returning_an_async_generator(body):
    async def items():
        yield body()

    @traced_event("step")
    def step():
        return items()

    async def collect():
        [item] = [item async for item in step()]
        return item

    return lambda: asyncio.run(collect())


def with_block(body):
    def run():
        with traced_event("step"):
            return body()

    return run


def async_with_block(body):
    async def run():
        async with traced_event("step"):
            await asyncio.sleep(0)
            return body()

    return lambda: asyncio.run(run())


KINDS = [
    function,
    coroutine_function,
    generator_function,
    async_generator_function,
    method,
    decorator_above_classmethod,
    decorator_above_classmethod_on_an_instance,
    decorator_below_classmethod,
    decorator_above_staticmethod,
    decorator_above_staticmethod_on_an_instance,
    decorator_below_staticmethod,
    decorator_above_property,
    decorator_below_property,
    decorator_above_cached_property,
    partial,
    partial_of_coroutine_function,
    partialmethod,
    callable_object,
    async_callable_object,
    function_returning_a_coroutine,
    function_returning_a_task,
    function_returning_a_future,
    function_returning_an_awaitable,
    function_returning_a_generator,
    function_returning_an_async_generator,
    with_block,
    async_with_block,
]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


class TestEveryKind:
    @every_kind
    def test_is_recorded_once_with_its_exact_duration(self, kind, registry, clock):
        """One call is one completed event as long as the work took."""

        def body():
            clock.advance(2.5)

        kind(body)()

        assert [
            (event.event_name, event.status, event.duration) for event in registry.events()
        ] == [("step", "completed", 2.5)]

    @every_kind
    def test_returns_what_it_returns(self, kind, registry):
        """The caller gets the very object that the work gave."""
        answer = object()

        assert answer is kind(lambda: answer)()

    @every_kind
    def test_records_a_failure_and_lets_it_through(self, kind, registry, clock):
        """The caller gets the very exception, the record its type and text."""
        wrong = ValueError("no such value")

        def body():
            clock.advance(0.25)
            raise wrong

        with pytest.raises(ValueError) as caught:
            kind(body)()

        assert wrong is caught.value
        assert [
            (event.status, event.error_type, event.error, event.duration)
            for event in registry.events()
        ] == [("failed", "ValueError", "no such value", 0.25)]

    @every_kind
    def test_a_child_hangs_under_it(self, kind, registry):
        """What the work traces has the step for its parent."""

        def body():
            with traced_event("child"):
                pass

        kind(body)()

        [step] = registry.events(name="step")
        [child] = registry.events(name="child")
        assert child.parent_id == step.task_id

    @every_kind
    def test_leaves_nothing_current(self, kind, registry):
        """Afterwards the caller's own event is current again."""
        with traced_event("outer") as outer:
            kind(lambda: None)()

            assert outer.task_id == current_event().task_id
        assert current_event() is None

    @every_kind
    def test_a_failure_leaves_nothing_current(self, kind, registry):
        """Nor does a failing step stay current."""

        def body():
            raise ValueError("no such value")

        with suppress(ValueError):
            kind(body)()

        assert current_event() is None

    @every_kind
    def test_costs_a_traceback_one_frame(self, kind, registry):
        """A traceback shows at most one frame of ours between caller and work."""

        def body():
            raise ValueError("no such value")

        with pytest.raises(ValueError) as caught:
            kind(body)()

        frames = traceback.extract_tb(caught.value.__traceback__)
        ours = [frame for frame in frames if "/volnux/telemetry/" in frame.filename]
        assert len(ours) <= 1

    @every_kind
    def test_works_while_telemetry_is_off(self, kind):
        """Switched off, the work runs as if untouched."""
        assert kind(lambda: 7)() == 7

    @every_kind
    def test_counts_start_and_finish(self, kind, registry):
        """What started has finished, and nothing is in flight."""
        kind(lambda: None)()

        health = registry.health()
        assert (health.started, health.finished, health.in_flight) == (1, 1, 0)


class TestClass:
    def test_is_the_same_class(self, registry):
        """Decorating a class gives the class itself."""

        class Service:
            pass

        assert traced_event(Service) is Service

    def test_its_public_methods_are_traced(self, registry, clock):
        """Public methods of all kinds are steps named for class and method; others are left alone."""

        @traced_event
        class Service:
            def run(self):
                clock.advance(1.0)

            async def arun(self):
                clock.advance(2.0)

            @classmethod
            def make(cls):
                clock.advance(3.0)
                return cls()

            @staticmethod
            def check():
                clock.advance(4.0)

            def _private(self):
                clock.advance(5.0)

        service = Service.make()
        service.run()
        asyncio.run(service.arun())
        service.check()
        service._private()

        assert [(event.event_name, event.duration) for event in registry.events()] == [
            ("Service.make", 3.0),
            ("Service.run", 1.0),
            ("Service.arun", 2.0),
            ("Service.check", 4.0),
        ]

    def test_what_is_no_method_stays_as_it_is(self, registry):
        """Public constants and nested classes are nothing to be traced."""

        @traced_event
        class Service:
            limit = 3

            class Error(Exception):
                pass

            def run(self):
                if self.limit:
                    raise self.Error

        with pytest.raises(Service.Error):
            Service().run()

        assert (Service.limit, Service.Error.__name__) == (3, "Error")
        assert [event.event_name.rpartition(".")[2] for event in registry.events()] == ["run"]


def plain(number: int, *, scale: float = 1.0) -> float:
    """Scale a number."""
    return number * scale


async def plain_coroutine(number: int) -> int:
    """Return the number."""
    return number


def plain_generator(number: int):
    """Count up to the number."""
    yield from range(number)


async def plain_async_generator(number: int):
    """Count up to the number."""
    for item in range(number):
        yield item


PLAIN = [plain, plain_coroutine, plain_generator, plain_async_generator]
every_plain_kind = pytest.mark.parametrize("bare", PLAIN, ids=lambda bare: bare.__name__)


@traced_event
def traced_function(number):
    """Return the number."""
    return number


@traced_event
async def traced_coroutine(number):
    """Return the number."""
    return number


@traced_event
def traced_generator(number):
    """Count up to the number."""
    yield from range(number)


class Holder:
    @traced_event
    def method(self):
        """Return nothing."""

    @traced_event
    @classmethod
    def made(cls):
        """Return nothing."""


class TestMetadata:
    @every_plain_kind
    @pytest.mark.parametrize(
        "question",
        [
            inspect.isfunction,
            inspect.iscoroutinefunction,
            inspect.isgeneratorfunction,
            inspect.isasyncgenfunction,
            asyncio.iscoroutinefunction,
            inspect.signature,
            inspect.getdoc,
            inspect.getsource,
            callable,
        ],
        ids=lambda question: f"{question.__module__}.{question.__name__}",
    )
    def test_inspect_sees_the_same(self, bare, question):
        """A traced callable answers every question as the bare one does."""
        assert question(bare) == question(traced_event(bare))

    @every_plain_kind
    @pytest.mark.parametrize(
        "attribute", ["__name__", "__qualname__", "__module__", "__doc__", "__annotations__"]
    )
    def test_attributes_are_kept(self, bare, attribute):
        """Names, documentation and annotations are those of the bare function."""
        assert getattr(bare, attribute) == getattr(traced_event(bare), attribute)

    @every_plain_kind
    def test_the_bare_function_can_be_had(self, bare):
        """The function itself is in ``__wrapped__``."""
        assert bare is traced_event(bare).__wrapped__

    @pytest.mark.parametrize(
        "thing",
        [traced_function, traced_coroutine, traced_generator, Holder.method],
        ids=lambda thing: thing.__qualname__,
    )
    def test_pickles_by_reference(self, thing):
        """Unpickling gives the very same object, so it crosses process pools."""
        assert thing is pickle.loads(pickle.dumps(thing))

    def test_a_bound_classmethod_pickles(self):
        """A class method decorated above pickles as any other."""
        assert Holder.made == pickle.loads(pickle.dumps(Holder.made))

    @pytest.mark.parametrize("traced", [False, True])
    def test_a_descriptor_stays_what_it_is(self, traced):
        """In the class's namespace a class method is a classmethod, and so on."""
        wrap = traced_event if traced else lambda descriptor: descriptor
        made = [
            wrap(classmethod(lambda cls: None)),
            wrap(staticmethod(lambda: None)),
            wrap(property(lambda self: None)),
            wrap(functools.cached_property(lambda self: None)),
            wrap(functools.partialmethod(plain, 3)),
        ]

        assert [
            classmethod,
            staticmethod,
            property,
            functools.cached_property,
            functools.partialmethod,
        ] == [type(descriptor) for descriptor in made]

    def test_a_property_keeps_its_setter_and_deleter(self, registry):
        """Getting, setting and deleting are a step each."""

        class Service:
            def __init__(self):
                self.stored = 1

            @property
            def value(self):
                """Return what is stored."""
                return self.stored

            @value.setter
            def value(self, new):
                self.stored = new

            @value.deleter
            def value(self):
                self.stored = None

            value = traced_event("value")(value)

        service = Service()
        service.value = service.value + 1
        del service.value

        assert service.stored is None
        assert Service.value.__doc__ == "Return what is stored."
        assert [event.event_name for event in registry.events()] == ["value"] * 3

    def test_a_partial_is_named_for_its_function(self, registry):
        """However many partials it is wrapped in."""
        traced_event(functools.partial(functools.partial(plain, 3), scale=2))()

        assert [event.event_name for event in registry.events()] == ["plain"]

    @pytest.mark.parametrize("arguments", [(), (1, 2), ("a", "b", "c")])
    def test_wrong_arguments_raise_as_bare(self, arguments):
        """A call with wrong arguments raises the bare function's own TypeError."""
        with pytest.raises(TypeError) as bare:
            plain(*arguments)
        with pytest.raises(TypeError) as traced:
            traced_event(plain)(*arguments)

        assert str(bare.value) == str(traced.value)
