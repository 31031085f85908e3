"""Callable objects: traced, they are still what they were."""

from __future__ import annotations

import asyncio
import copy
import functools
import gc
import inspect
import os
import pickle
import subprocess
import sys
import weakref
from collections.abc import Iterable, Sized
from contextlib import AbstractContextManager
from types import MethodType
from unittest import mock
from xmlrpc.client import ServerProxy

import pytest

from volnux.telemetry import traced_event


def names(registry):
    return [event.event_name for event in registry.events()]


@traced_event
@functools.lru_cache(maxsize=8)
def cached(number: int) -> int:
    """Double a number."""
    return number * 2


@functools.lru_cache(maxsize=8)
def halve(number: int) -> float:
    """Halve a number."""
    return number / 2


renamed = traced_event("renamed", attributes={"size": 8})(halve)


def add(first, second=0):
    return first + second


class Model:
    """Something with a state."""

    kind = "linear"

    def __init__(self, rate=0.5):
        self.rate = rate

    def __call__(self, number, *, scale=1):
        return number * self.rate * scale

    def fit(self):
        self.rate = 2.0
        return self


class AsyncModel:
    async def __call__(self, number):
        return number


class TestAnyAttribute:
    """Objects that answer to every name."""

    def test_a_remote_method_is_called(self, registry):
        """It has whatever attribute it is asked for, and none of them means anything."""
        asked = []
        remote = ServerProxy("http://127.0.0.1:1")
        remote._ServerProxy__request = lambda *request: asked.append(request)

        traced_event("rpc")(remote.add)(1, 2)

        assert (asked, names(registry)) == ([("add", (1, 2))], ["rpc"])

    def test_a_remote_method_is_named_for_its_class(self, registry):
        """What it answers for a name is none."""
        remote = ServerProxy("http://127.0.0.1:1")
        remote._ServerProxy__request = lambda *request: None

        traced_event(remote.add)()

        assert names(registry) == ["_Method"]

    @pytest.mark.parametrize("kind", [mock.Mock, mock.MagicMock])
    def test_a_mock_returns_what_it_is_to_return(self, registry, kind):
        """A mock of anything is no coroutine function."""
        stand_in = kind(return_value=3)

        assert traced_event("mock")(stand_in)(1) == 3
        stand_in.assert_called_once_with(1)

    def test_a_mock_of_a_method_is_none(self, registry):
        """It says that it is one, and has no function."""
        stand_in = mock.Mock(spec=Model().fit, return_value=3)

        assert traced_event("mock")(stand_in)() == 3

    def test_a_mock_of_a_coroutine_function_is_awaited(self, registry):
        """It is marked as one by asyncio, and is one."""
        stand_in = mock.AsyncMock(return_value=3)

        assert asyncio.run(traced_event("mock")(stand_in)()) == 3
        assert [(event.event_name, event.status) for event in registry.events()] == [
            ("mock", "completed")
        ]

    if sys.version_info >= (3, 12):  # nothing is marked before

        def test_a_marked_function_is_a_coroutine_function(self):
            """The mark of inspect counts."""
            marked = inspect.markcoroutinefunction(lambda: asyncio.sleep(0))

            assert inspect.iscoroutinefunction(traced_event(marked))

    def test_an_object_that_cannot_be_asked_is_traced(self, registry):
        """One that stands for something not there yet raises whatever it likes."""

        class Unbound:
            def __getattr__(self, name):
                raise RuntimeError("working outside of the request")

            def __call__(self):
                return 3

        assert traced_event(Unbound())() == 3
        assert names(registry) == ["Unbound"]

    def test_an_object_of_a_class_without_a_hash_is_traced(self, registry):
        """Nothing can be kept for its class."""

        class Hostile(type):
            def __hash__(cls):
                raise TypeError("no hash")

        class Strange(metaclass=Hostile):
            def __call__(self):
                return 3

        assert traced_event("strange")(Strange())() == 3
        assert names(registry) == ["strange"]

    def test_tracing_loads_nothing_to_compare_with(self):
        """Marks are looked for in modules that the program has loaded."""
        code = (
            "import sys; from volnux.telemetry import traced_event; traced_event(lambda: 1); "
            "print(sys.modules.keys() & {'inspect', 'asyncio', 'wrapt'})"
        )
        # A coverage run would load half the standard library first.
        env = {name: value for name, value in os.environ.items() if "COV" not in name}
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env
        )

        assert done.stdout == "set()\n"


class TestAttributes:
    def test_a_cached_function_can_be_cleared(self, registry):
        """It has the methods of its cache, and they are of that cache."""

        @traced_event
        @functools.lru_cache
        def double(number):
            return number * 2

        double(1)
        double(1)
        before = double.cache_info()
        double.cache_clear()

        assert (before.hits, before.misses, double.cache_info().misses) == (1, 1, 0)

    def test_also_while_telemetry_is_off(self):
        """Off or on, it is the same object."""
        cached.cache_clear()

        assert (cached(3), cached.cache_info().misses) == (6, 1)

    def test_an_object_shows_its_state(self, registry):
        """Attributes of the object and of its class are there, as they are now."""
        bare = Model()
        model = traced_event(bare)
        bare.rate = 0.25

        assert (model.rate, model.kind, model(4)) == (0.25, "linear", 1.0)

    def test_a_change_goes_to_the_object(self):
        """So that it computes with what it is given."""
        bare = Model()
        model = traced_event(bare)
        model.rate = 3.0
        del bare.rate
        model.rate = 4.0

        assert (bare.rate, vars(bare)) == (4.0, {"rate": 4.0})

    def test_a_partial_shows_what_it_is_made_of(self):
        """Its function and its arguments."""
        traced = traced_event(functools.partial(add, 1, second=2))

        assert (traced.func, traced.args, traced.keywords) == (add, (1,), {"second": 2})

    def test_a_partial_computes_with_what_is_changed(self, registry):
        """Its keywords are its own."""
        traced = traced_event(functools.partial(add, 1, second=2))
        traced.keywords["second"] = 5

        assert traced() == 6

    def test_a_partial_is_still_one(self):
        """It is an instance of what it was an instance of."""
        assert isinstance(traced_event(functools.partial(add, 1)), functools.partial)

    @pytest.mark.parametrize("kind", [Iterable, Sized, AbstractContextManager])
    def test_it_is_nothing_else(self, kind):
        """A proxy does not pass for what the object is not."""
        assert not isinstance(traced_event(Model()), kind)

    def test_it_is_iterable_if_the_object_is(self):
        """Special methods are there if they were."""

        class Table:
            def __call__(self):
                return 1

            def __iter__(self):
                return iter([1, 2])

        traced = traced_event(Table())

        assert (isinstance(traced, Iterable), list(traced)) == (True, [1, 2])

    def test_it_equals_the_object(self):
        """And has its hash, so that it is found where the object is."""
        bare = Model()

        assert {bare: 1}[traced_event(bare)] == 1

    def test_it_is_collected_with_its_class(self):
        """What was made for a class does not keep it."""

        def trace():
            class Local:
                def __call__(self):
                    return 1

            traced_event(Local())()
            return weakref.ref(Local)

        local = trace()
        gc.collect()

        assert local() is None

    def test_a_function_in_c_stays_a_function(self, registry):
        """There is nothing to be seen in it."""
        assert [traced_event(len)("abc"), traced_event(str.upper)("abc")] == [3, "ABC"]
        assert names(registry) == ["len", "str.upper"]


class TestSignature:
    @pytest.mark.parametrize(
        "bare",
        [halve, Model(), functools.partial(add, 1)],
        ids=["cached", "object", "partial"],
    )
    def test_is_that_of_the_object(self, bare):
        """As inspect sees it."""
        assert inspect.signature(bare) == inspect.signature(traced_event(bare))

    def test_a_partial_of_a_coroutine_function_is_one(self):
        """As inspect sees it."""
        assert inspect.iscoroutinefunction(traced_event(functools.partial(AsyncModel.__call__, 1)))

    def test_an_async_object_calls_a_coroutine_function(self):
        """As frameworks see it that look at what is called."""
        assert inspect.iscoroutinefunction(traced_event(AsyncModel()).__call__)

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_an_async_object_is_marked_for_asyncio(self):
        """Which has a mark in every version."""
        assert asyncio.iscoroutinefunction(traced_event(AsyncModel()))

    def test_a_sync_object_is_not_marked(self):
        """Its calls are no coroutines."""
        assert not inspect.iscoroutinefunction(traced_event(Model()))


class TestMethods:
    def test_a_cached_function_binds(self, registry):
        """In a class it is a method, called with its instance."""

        class Service:
            @traced_event("step")
            @functools.lru_cache  # noqa: B019  # its instance is gone with the test
            def step(self, number):
                return (self, number)

        service = Service()

        assert (service.step(1), Service.step(service, 1)) == ((service, 1), (service, 1))
        assert names(registry) == ["step", "step"]

    def test_a_bound_cached_function_is_a_method(self):
        """With the traced one for its function."""

        class Service:
            @traced_event
            @functools.lru_cache  # noqa: B019  # likewise
            def step(self):
                return self

        service = Service()

        assert type(service.step) is MethodType
        assert service.step.__func__ is Service.step
        assert service.step.__self__ is service

    def test_an_object_does_not_bind(self, registry):
        """In a class it is called without the instance, as the bare one is."""

        class Service:
            model = traced_event(Model(2.0))

        assert Service().model(3) == 6.0

    def test_a_descriptor_is_traced_as_it_binds(self, registry):
        """What a decorator of one's own gives out for an instance is called as the step."""

        class Bound:
            def __init__(self, function):
                self.function = function

            def __get__(self, instance, owner):
                return functools.partial(self.function, instance)

            def __call__(self, instance):
                return self.function(instance)

        class Service:
            @traced_event("step")
            @Bound
            def step(self):
                return self

        service = Service()

        assert (service.step(), Service.__dict__["step"](service)) == (service, service)
        assert names(registry) == ["step", "step"]

    def test_a_descriptor_learns_its_name(self):
        """As it does when it is not traced."""

        class Named:
            def __set_name__(self, owner, name):
                self.name = name

            def __call__(self):
                return self.name

        class Service:
            step = traced_event(Named())

        assert Service.step.name == "step"


class TestCopies:
    def test_a_cached_function_pickles_by_reference(self):
        """As it did, for it is found by its name."""
        assert cached is pickle.loads(pickle.dumps(cached))

    def test_one_that_is_found_by_no_name_pickles_by_value(self, registry):
        """Its name is that of another one; the event's name and attributes come along."""
        pickle.loads(pickle.dumps(renamed))(1)

        [event] = registry.events("renamed")
        assert dict(event.attributes) == {"size": 8}

    def test_an_object_pickles_by_value(self, registry):
        """With its state, and traced."""
        again = pickle.loads(pickle.dumps(traced_event("model")(Model(0.25))))

        assert (again.rate, again(4)) == (0.25, 1.0)
        assert names(registry) == ["model"]

    def test_a_partial_pickles_by_value(self, registry):
        """With its arguments, and traced."""
        again = pickle.loads(pickle.dumps(traced_event(functools.partial(add, 1, second=2))))

        assert (again.args, again()) == ((1,), 3)
        assert names(registry) == ["add"]

    @pytest.mark.parametrize("way", [copy.copy, copy.deepcopy])
    def test_a_copy_has_a_state_of_its_own(self, registry, way):
        """And is traced as well."""
        model = traced_event("model")(Model())
        again = way(model)
        again.rate = 2.0

        assert (model.rate, again(1)) == (0.5, 2.0)
        assert names(registry) == ["model"]

    @pytest.mark.parametrize("way", [copy.copy, copy.deepcopy])
    def test_a_copy_of_a_cached_function_is_the_function(self, way):
        """As for the bare one."""
        assert way(cached) is cached
