"""Traces: every record of a tree says the same one, however and wherever it was made and folded."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workers import in_fork
from volnux.telemetry import (
    capture,
    extract,
    inject,
    network_op,
    propagate,
    traced_event,
)

#: How a tree grows: events and operations that begin, and what folds in between.
STEPS = st.lists(st.sampled_from(["event", "operation", "end", "fold"]), max_size=40)


def work():
    """What a worker does: an event under an event."""
    with traced_event("outer"), traced_event("inner"), network_op("db", 5432):
        pass


def traces_of(registry):
    return {record.trace_id for record in (*registry.events(), *registry.network_ops())}


def test_two_trees_have_two_traces(registry):
    """32 digits each, and not those of the other."""
    for _ in range(2):
        with traced_event("tree"):
            pass
    first, second = (event.trace_id for event in registry.events())
    assert first != second
    assert len(first) == len(second) == 32


@given(STEPS)
def test_a_tree_has_one_trace(steps):
    """Whenever its entries are folded: while all around them runs, or after."""
    with capture(isolated=True, strict=True) as registry, traced_event("tree"):
        open_events = []
        for step in steps:
            if step == "event":
                open_events.append(traced_event("step"))
                open_events[-1].__enter__()
            elif step == "operation":
                with network_op("db", 5432):
                    pass
            elif step == "end" and open_events:
                open_events.pop().__exit__(None, None, None)
            elif step == "fold":
                registry.event_stats()
        while open_events:
            open_events.pop().__exit__(None, None, None)
    assert len(traces_of(registry)) == 1


def test_what_outlives_its_events_stays_in_the_trace(registry):
    """A task goes on after all events around it have ended and are folded."""

    async def late(ready):
        await ready.wait()
        with traced_event("late"):
            pass

    async def main():
        ready = asyncio.Event()
        with traced_event("outer"), traced_event("middle"), traced_event("inner"):
            task = asyncio.ensure_future(late(ready))
            await asyncio.sleep(0)
        registry.event_stats()
        ready.set()
        await task

    asyncio.run(main())
    assert len(registry.events()) == 4
    assert len(traces_of(registry)) == 1


def test_a_thread_stays_in_the_trace(registry):
    """By `propagate`."""
    with traced_event("outer"), traced_event("inner"):
        thread = threading.Thread(target=propagate(work))
        thread.start()
        thread.join()
    assert len(registry.events()) == 4
    assert len(traces_of(registry)) == 1


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_process_stays_in_the_trace(registry, method):
    """Its records come home with the trace of the event that asked for them."""
    pool = ProcessPoolExecutor(1, mp_context=get_context(method))
    with pool, traced_event("outer"), traced_event("inner"):
        pool.submit(propagate(work)).result()
    assert len(registry.events()) == 4
    assert len(traces_of(registry)) == 1


def test_a_forked_child_stays_in_the_trace():
    """Whatever it records under an event that its parent has begun."""
    with capture(isolated=True) as registry, traced_event("outer"), traced_event("inner"):
        with traced_event("here"):
            pass

        def child():
            work()
            return traces_of(registry)

        found = in_fork(child)
    assert found == traces_of(registry)


def test_is_that_of_the_header(registry):
    """What is sent along names the trace of the record."""
    with traced_event("outer"), traced_event("inner"):
        headers = {}
        inject(headers)
    assert traces_of(registry) == {headers["traceparent"].split("-")[1]}


def test_is_taken_over_from_a_header(registry):
    """A tree that goes on from elsewhere has the trace that came with it, at every depth."""
    trace = "0af7651916cd43dd8448eb211c80319c"
    with extract({"traceparent": f"00-{trace}-b7ad6b7169203331-01"}):
        work()
    assert traces_of(registry) == {trace}
