"""Where records go: captures, pipelines, threads and tasks, and the switch over all of them."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from volnux.telemetry import (
    Registry,
    capture,
    current_event,
    current_registry,
    network_op,
    pipeline,
    propagate,
    traced_event,
)
from volnux.telemetry._scope import default_registry, suppressed, switch_off, switch_on
from volnux.telemetry._switch import SWITCH, Switch
from volnux.telemetry.testing import FakeClock


@traced_event("step")
def step():
    return threading.get_ident()


def names(registry):
    return [event.event_name for event in registry.events()]


def in_thread(function):
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


@pytest.fixture
def process():
    """The registry of the process, recording."""
    registry = switch_on(Registry(strict=True))
    yield registry
    switch_off(registry)


class TestCapture:
    def test_records_what_runs_inside(self):
        """And nothing before or after."""
        step()
        with capture() as registry:
            step()
        step()

        assert names(registry) == ["step"]

    def test_gives_the_current_registry(self):
        """`current_registry` is that of the innermost capture."""
        with capture() as outer:
            with capture() as inner:
                assert current_registry() is inner
            assert current_registry() is outer

        assert current_registry() is default_registry()

    def test_can_be_read_afterwards(self):
        """The registry outlives the block."""
        with capture() as registry:
            step()

        assert registry.event_stats()["step"].count == 1

    def test_nested_records_flow_outwards(self):
        """The enclosing registry has them too."""
        with capture() as outer:
            step()
            with capture() as inner:
                step()

        assert (len(outer.events()), len(inner.events())) == (2, 1)

    def test_nested_records_are_the_same(self):
        """Both registries tell the same story of one event."""
        with capture() as outer, capture() as inner:
            step()

        assert outer.events() == inner.events()

    def test_three_levels_flow_to_all(self):
        """However deep."""
        with capture() as first, capture() as second, capture() as third:
            step()

        assert [names(one) for one in (first, second, third)] == [["step"]] * 3

    def test_isolated_records_do_not_flow(self):
        """An isolated capture is alone."""
        with capture() as outer, capture(isolated=True) as inner:
            step()

        assert (names(outer), names(inner)) == ([], ["step"])

    def test_a_parent_outside_is_a_parent(self):
        """A capture inside an event does not cut the tree."""
        with capture(), traced_event("outer") as outer, capture() as inner:
            step()

        assert inner.events()[0].parent_id == outer.task_id

    def test_isolated_has_no_parent_outside(self):
        """An isolated capture begins a tree of its own."""
        with capture(), traced_event("outer"), capture(isolated=True) as inner:
            assert current_event() is None
            step()

        assert inner.events()[0].parent_id is None

    def test_the_event_around_it_is_current_inside(self):
        """Code in a capture can still talk to the event it runs in."""
        with capture(), traced_event("outer") as outer, capture():
            assert current_event().task_id == outer.task_id

    def test_has_a_clock_of_its_own(self):
        """Nested captures may read different clocks."""
        slow, fast = FakeClock(start=1_000.0), FakeClock(start=2_000.0)
        with capture(clock=slow) as outer, capture(clock=fast) as inner, traced_event("work"):
            slow.advance(1.0)
            fast.advance(10.0)

        assert inner.events()[0].duration == 10.0
        assert outer.events() == inner.events()

    def test_orders_records_of_several_clocks_by_date(self):
        """Stamps of different clocks compare only as dates."""
        late, early = FakeClock(start=2_000.0), FakeClock(start=1_000.0)
        early.advance(500.0)
        with capture(clock=late, isolated=True) as outer:
            with traced_event("late"):
                pass
            with capture(clock=early), traced_event("early"):
                pass

        assert names(outer) == ["early", "late"]

    def test_operations_flow_as_events_do(self):
        """Network operations go where events go."""
        with capture() as outer, capture() as inner, network_op("db.internal", 5432):
            pass

        assert len(outer.network_ops()) == len(inner.network_ops()) == 1

    def test_takes_a_capacity(self):
        """Few single records, and still exact totals."""
        with capture(capacity=2) as registry:
            for _ in range(5):
                step()

        assert (len(registry.events()), registry.event_stats()["step"].count) == (2, 5)

    def test_an_error_goes_through(self):
        """Leaving by an exception leaves nothing behind."""
        with pytest.raises(ValueError), capture():
            raise ValueError("no such value")

        assert current_registry() is default_registry()

    def test_one_that_is_entered_twice_is_left_twice(self):
        """Nothing stays current."""
        twice = capture()
        with twice, twice:
            step()

        assert current_registry() is default_registry()
        assert current_event() is None

    def test_left_in_a_foreign_context_is_safe(self):
        """A generator may hold a capture open and be closed elsewhere."""

        def hold():
            with capture():
                yield

        context = contextvars.copy_context()
        holding = hold()
        context.run(next, holding)
        with capture() as registry:
            holding.close()
            step()

        assert names(registry) == ["step"]

    def test_entered_twice_and_left_in_a_foreign_context_is_safe(self):
        """Nobody can tell which of the two is left, and what is current stays so."""
        shared = capture()

        def hold():
            with shared:
                yield

        holding = [hold(), hold()]
        for generator in holding:
            contextvars.copy_context().run(next, generator)
        with capture() as registry:
            for generator in holding:
                generator.close()
            step()

        assert names(registry) == ["step"]
        assert names(shared.registry) == []
        assert not SWITCH.on

    def test_one_that_is_left_too_early_is_over_all_the_same(self):
        """The one inside of it goes on; when that is left, neither is current."""
        before = current_registry()
        outer, inner = capture(), capture()
        outside = outer.__enter__()
        inside = inner.__enter__()
        outer.__exit__(None, None, None)
        step()
        inner.__exit__(None, None, None)

        assert current_registry() is before
        step()
        assert (names(outside), names(inside)) == (["step"], ["step"])

    def test_an_event_that_outlasts_it_still_ends(self):
        """What began inside is finished wherever it ends."""
        clock = FakeClock()
        block = traced_event("work")

        def begin():
            with capture(clock=clock, strict=True) as registry:
                block.__enter__()
            clock.advance(3.0)
            return registry

        registry = contextvars.copy_context().run(begin)
        block.__exit__(None, None, None)

        assert [(event.status, event.duration) for event in registry.events()] == [
            ("completed", 3.0)
        ]


class TestTasks:
    def test_record_where_they_were_started(self):
        """A task inherits the capture and the parent."""

        async def main():
            with capture() as registry, traced_event("outer") as outer:
                await asyncio.gather(*(asyncio.create_task(leaf()) for _ in range(3)))
            return registry, outer

        @traced_event("leaf")
        async def leaf():
            await asyncio.sleep(0)

        registry, outer = asyncio.run(main())

        assert {event.parent_id for event in registry.events("leaf")} == {outer.task_id}
        assert len(registry.events("leaf")) == 3

    def test_at_once_have_captures_of_their_own(self):
        """One task's capture is nobody else's."""

        async def work(name):
            with capture(isolated=True) as registry:
                with traced_event(name):
                    await asyncio.sleep(0)
                return names(registry)

        async def main():
            return await asyncio.gather(work("a"), work("b"))

        assert asyncio.run(main()) == [["a"], ["b"]]

    def test_to_thread_takes_the_context_along(self):
        """As asyncio promises."""

        async def main():
            with capture() as registry:
                await asyncio.to_thread(step)
            return registry

        assert names(asyncio.run(main())) == ["step"]


class TestThreads:
    def test_record_nothing_without_propagate(self):
        """A thread starts with an empty context."""
        with capture() as registry:
            in_thread(step)

        assert names(registry) == []

    def test_record_with_propagate(self):
        """With it they record where they were asked to."""
        with capture() as registry, traced_event("outer") as outer:
            in_thread(propagate(step))

        assert registry.events("step")[0].parent_id == outer.task_id

    def test_propagate_takes_the_context_of_the_asking(self):
        """Not that of the run: the parent is who called `propagate`."""
        with capture() as registry:
            with traced_event("asked") as asked:
                later = propagate(step)
            with traced_event("ran"):
                later()

        assert registry.events("step")[0].parent_id == asked.task_id

    def test_propagate_leaves_the_thread_as_it_was(self):
        """An executor's thread is used again by others."""
        with ThreadPoolExecutor(1) as pool:
            with capture() as registry:
                pool.submit(propagate(step)).result()
            pool.submit(step).result()

        assert len(registry.events()) == 1

    def test_one_propagated_function_runs_in_many_threads_at_once(self):
        """A context can be entered only once; a copy of it as often as one likes."""
        barrier = threading.Barrier(4)

        @traced_event("met")
        def meet():
            barrier.wait()

        with capture() as registry, ThreadPoolExecutor(4) as pool:
            together = propagate(meet)
            for future in [pool.submit(together) for _ in range(4)]:
                future.result()

        assert len(registry.events("met")) == 4

    def test_map_keeps_results_in_order(self):
        """`executor.map` works with a propagated function."""
        with capture() as registry, ThreadPoolExecutor(2) as pool:
            doubled = list(pool.map(propagate(traced_event("double")(lambda x: 2 * x)), range(5)))

        assert doubled == [0, 2, 4, 6, 8]
        assert registry.event_stats()["double"].count == 5

    def test_run_in_executor_works(self):
        """And so does the event loop's way."""

        async def main():
            with capture() as registry:
                await asyncio.get_running_loop().run_in_executor(None, propagate(step))
            return registry

        assert names(asyncio.run(main())) == ["step"]

    def test_propagate_passes_arguments_results_and_errors(self):
        """What is called cannot tell."""
        divide = propagate(lambda a, b=1: a / b)

        assert divide(6, b=3) == 2.0
        with pytest.raises(ZeroDivisionError):
            divide(1, b=0)

    def test_propagate_looks_like_what_it_wraps(self):
        """Name, documentation and the function itself are there."""
        wrapped = propagate(step)

        assert (wrapped.__name__, wrapped.__wrapped__) == ("step", step)
        assert repr(wrapped) == f"propagate({step!r})"

    def test_propagate_takes_partials(self):
        """Also what has no name."""
        with capture() as registry:
            propagate(functools.partial(step))()

        assert names(registry) == ["step"]

    def test_propagate_refuses_what_cannot_be_called(self):
        """At once, with the thing in the message."""
        with pytest.raises(TypeError, match="something to call, not 3"):
            propagate(3)


class TestPipeline:
    def test_names_everything_inside(self, registry):
        """Events and operations carry its name and attributes."""
        with pipeline("nightly", region="eu"), traced_event("load"), network_op("db", 1):
            pass

        for record in (*registry.events(), *registry.network_ops()):
            assert (record.pipeline_id, record.attributes) == ("nightly", {"region": "eu"})

    def test_ends_with_its_block(self, registry):
        """What comes later has none."""
        with pipeline("nightly", region="eu"):
            pass
        step()

        [event] = registry.events()
        assert (event.pipeline_id, event.attributes) == (None, {})

    def test_nested_takes_the_inner_name_and_joins_attributes(self, registry):
        """The inner attributes win over the outer ones."""
        with pipeline("outer", region="eu", tier=1), pipeline("inner", tier=2):
            step()

        [event] = registry.events()
        assert (event.pipeline_id, event.attributes) == ("inner", {"region": "eu", "tier": 2})

    def test_is_weaker_than_what_the_event_says(self, registry):
        """Attributes of the step win over shared ones."""
        with pipeline("nightly", rows=0), traced_event("load", attributes={"rows": 1}) as event:
            assert event.attributes == {"rows": 1}

        assert registry.events()[0].attributes == {"rows": 1}

    def test_keeps_the_parent(self, registry):
        """A pipeline is no event: it does not stand between parent and child."""
        with traced_event("outer") as outer, pipeline("nightly"):
            assert current_event().task_id == outer.task_id
            step()

        assert registry.events("step")[0].parent_id == outer.task_id

    def test_flows_to_tasks_and_threads(self, registry):
        """By context, as captures do."""

        async def main():
            with pipeline("nightly"):
                await asyncio.to_thread(step)
                await asyncio.create_task(leaf())
                in_thread(propagate(step))

        @traced_event("leaf")
        async def leaf():
            pass

        asyncio.run(main())

        assert [event.pipeline_id for event in registry.events()] == ["nightly"] * 3

    def test_flows_into_a_capture(self):
        """Whether anything was recorded outside or not."""
        with pipeline("nightly", region="eu"), capture() as outer, capture() as inner:
            step()

        for registry in (outer, inner):
            [event] = registry.events()
            assert (event.pipeline_id, event.attributes) == ("nightly", {"region": "eu"})

    def test_one_that_is_left_too_early_names_nothing_more(self, registry):
        """Once the one inside of it is left as well."""
        outer, inner = pipeline("outer"), pipeline("inner")
        outer.__enter__()
        inner.__enter__()
        outer.__exit__(None, None, None)
        step()
        inner.__exit__(None, None, None)
        step()

        assert [event.pipeline_id for event in registry.events()] == ["inner", None]

    def test_does_not_flow_into_an_isolated_capture(self):
        """Isolated is isolated."""
        with pipeline("nightly", region="eu"), capture(isolated=True) as registry:
            step()

        assert registry.events()[0].pipeline_id is None

    def test_one_object_may_be_used_by_threads_at_once(self, registry):
        """Each thread leaves what it entered."""
        nightly = pipeline("nightly")
        entered, leave = threading.Barrier(3), threading.Barrier(3)

        @traced_event("after")
        def after():
            pass

        def work():
            with nightly:
                entered.wait()
                leave.wait()
            after()

        threads = [threading.Thread(target=propagate(work)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert [event.pipeline_id for event in registry.events("after")] == [None] * 3

    def test_one_object_may_be_nested_in_itself(self, registry):
        """Recursion leaves nothing behind."""
        nightly = pipeline("nightly")
        with nightly, nightly:
            pass
        step()

        assert registry.events()[0].pipeline_id is None

    def test_records_nothing_by_itself(self):
        """While telemetry is off it is only a name."""
        with pipeline("nightly"):
            step()

        assert current_registry() is default_registry()

    def test_hides_secrets(self, registry):
        """Shared attributes are as clean as any other."""
        with pipeline("nightly", api_key="hunter2"):
            step()

        assert "hunter2" not in repr(registry.events())

    @pytest.mark.parametrize("name", ["", "  ", None, 3])
    def test_needs_a_name(self, name):
        """At once, with the way out."""
        with pytest.raises(ValueError, match=r'pipeline\("nightly"\)'):
            pipeline(name)


class TestProcess:
    def test_records_in_every_thread(self, process):
        """Switched on for the process, no thread needs anything."""
        step()
        in_thread(step)

        assert names(process) == ["step", "step"]

    def test_is_the_current_registry(self, process):
        """Where no capture says otherwise."""
        assert current_registry() is process

    def test_captures_flow_into_it(self, process):
        """The process sees everything that is not isolated."""
        with capture() as registry:
            step()
        with capture(isolated=True):
            step()

        assert (len(process.events()), len(registry.events())) == (1, 1)

    def test_stays_readable_when_switched_off(self):
        """Queries after the work find what was recorded."""
        registry = switch_on(Registry())
        step()
        switch_off(registry)
        step()

        assert current_registry() is registry
        assert names(registry) == ["step"]

    def test_a_second_one_records_beside_it(self, process):
        """Who was there first goes on as if alone, and is the current one again at the end."""
        second = switch_on(Registry(strict=True))
        step()
        assert current_registry() is second
        switch_off(second)
        step()

        assert current_registry() is process
        assert (names(process), names(second)) == (["step", "step"], ["step"])

    def test_those_that_leave_in_another_order_leave_the_others_alone(self, process):
        """The first may go while the second stays."""
        second = switch_on(Registry(strict=True))
        third = switch_on(Registry(strict=True))
        switch_off(second)
        step()
        switch_off(third)

        assert (names(process), names(second), names(third)) == (["step"], [], ["step"])

    def test_stays_on_until_the_last_has_switched_off(self, process):
        """Each user of the switch is counted."""
        assert switch_on() is process
        switch_off(process)
        step()

        assert names(process) == ["step"]

    def test_pipelines_reach_it(self, process):
        """By name and attributes."""
        with pipeline("nightly", region="eu"):
            step()

        [event] = process.events()
        assert (event.pipeline_id, event.attributes) == ("nightly", {"region": "eu"})

    def test_switched_on_inside_a_pipeline_records_it(self):
        """Also in those around it, and in nested ones; only while it is on."""
        with pipeline("nightly", region="eu"), pipeline("load"):
            registry = switch_on(Registry(strict=True))
            step()
            switch_off(registry)
            step()
        step()

        [event] = registry.events()
        assert (event.pipeline_id, event.attributes) == ("load", {"region": "eu"})

    def test_switched_on_inside_a_pipeline_of_which_another_use_was_left_elsewhere(
        self, monkeypatch
    ):
        """When nobody can tell which of two uses it was, both go on."""
        monkeypatch.setattr("volnux.telemetry._scope._waiting", {})
        shared = pipeline("nightly")

        def hold():
            with shared:
                yield

        left, held, context = hold(), hold(), contextvars.copy_context()
        contextvars.copy_context().run(next, left)
        context.run(next, held)
        left.close()
        registry = switch_on(Registry(strict=True))
        context.run(step)
        switch_off(registry)

        assert [event.pipeline_id for event in registry.events()] == ["nightly"]

    def test_switched_on_inside_a_suppressed_pipeline_records_nothing(self):
        """What is nobody's event stays so."""
        with suppressed(), pipeline("nightly"):
            registry = switch_on(Registry(strict=True))
            step()
            switch_off(registry)

        assert names(registry) == []


class TestSuppressed:
    def test_records_nothing(self, registry):
        """Neither events nor operations, nor retries."""
        with suppressed(), network_op("db", 1), traced_event("hidden"):
            step()

        assert registry.health().started == 0

    def test_restores_what_was_current(self, registry):
        """Afterwards recording goes on."""
        with traced_event("outer") as outer:
            with suppressed():
                assert current_event() is None
            assert current_event().task_id == outer.task_id

    def test_generators_and_coroutines_run_as_they_are(self, registry):
        """Every kind of step is silent."""

        @traced_event
        def items():
            yield 1

        @traced_event
        async def work():
            return 2

        @traced_event
        async def stream():
            yield 3

        async def collect():
            return [item async for item in stream()]

        with suppressed():
            assert (list(items()), asyncio.run(work()), asyncio.run(collect())) == ([1], 2, [3])
        assert registry.health().started == 0

    def test_a_capture_inside_records(self, registry):
        """Asked for by name, recording happens."""
        with suppressed(), capture() as inner:
            step()

        assert (names(registry), names(inner)) == ([], ["step"])


class TestSwitch:
    def test_is_off_when_nobody_records(self):
        """A traced call then costs one look."""
        assert not SWITCH.on
        with capture():
            assert SWITCH.on
        assert not SWITCH.on

    def test_counts_users_exactly(self):
        """Threads that open and close captures at once leave it as it was."""
        switch = Switch()
        barrier = threading.Barrier(4)

        def work():
            barrier.wait()
            for _ in range(500):
                switch.add()
                switch.remove()

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert (switch.users, switch.on) == (0, False)

    @pytest.mark.parametrize("value", ["off", "OFF", " 0 ", "false", "no"])
    def test_the_environment_wins(self, monkeypatch, value):
        """With VOLNUX_TELEMETRY=off a capture stays empty."""
        monkeypatch.setenv("VOLNUX_TELEMETRY", value)
        with capture() as registry, traced_event("work"), network_op("db", 1):
            step()

        assert registry.health().started == 0

    @pytest.mark.parametrize("value", ["", "on", "1", "yes"])
    def test_other_values_switch_nothing_off(self, monkeypatch, value):
        """Only a clear no is one."""
        monkeypatch.setenv("VOLNUX_TELEMETRY", value)
        with capture() as registry:
            step()

        assert names(registry) == ["step"]

    def test_the_environment_wins_over_monitor_events(self):
        """A whole program can be run without."""
        code = (
            "from volnux.telemetry import health, monitor_events, traced_event\n"
            "monitor_events()\n"
            "with traced_event('work'): pass\n"
            "print(health().started)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={"VOLNUX_TELEMETRY": "off", "PYTHONPATH": ":".join(sys.path)},
        )

        assert done.stdout == "0\n"

    def test_off_means_that_nothing_is_kept(self):
        """Calls outside of any capture leave no entry anywhere."""
        before = default_registry().health().started
        for _ in range(1_000):
            step()

        assert default_registry().health().started == before


CHURN = """
import gc
from contextvars import copy_context
from volnux.telemetry import Registry, monitor_events, traced_event
from volnux.telemetry._scope import CURRENT, PROCESS_ROOT

@traced_event
def stream():
    while True:
        yield

with monitor_events(registry=Registry()) as monitor:
    for _ in range(5_000):
        endless = stream()
        next(endless)
        cycle = [endless]
        cycle.append(cycle)
        del endless, cycle
        assert copy_context().get(CURRENT, PROCESS_ROOT) is CURRENT.get() is PROCESS_ROOT
    gc.collect()
    print(monitor.health().finished)
"""


def test_collections_that_close_generators_leave_contexts_whole():
    """A collection may strike inside ContextVar.set, and set it again; on 3.11 that crashed."""
    ended = subprocess.run(
        [sys.executable, "-c", CHURN], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "5000\n", "")
