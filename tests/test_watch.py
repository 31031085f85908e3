"""Registries that take turns: what the process records goes to the one whose turn it is."""

from __future__ import annotations

import contextvars
import sys
import threading

import pytest

from volnux.telemetry import (
    Registry,
    capture,
    current_registry,
    monitor_events,
    network_op,
    pipeline,
    traced_event,
)
from volnux.telemetry._watch import Turns, Watch
from volnux.telemetry.testing import FakeClock, RecordingPublisher


@pytest.fixture
def turns():
    """Nobody's turn yet, and nobody's afterwards."""
    turns = Turns()
    yield turns
    turns.give(None)


def step(name):
    with traced_event(name):
        pass


def names(watch):
    return [event.event_name for event in watch.events()]


def test_what_is_recorded_goes_to_whose_turn_it_is(turns):
    """One after the other, and to nobody once there is none."""
    first, second = Watch(turns), Watch(turns)
    assert turns.give(first) is None
    step("a")
    assert turns.give(second) is first
    step("b")
    turns.give(first)
    step("c")
    turns.give(None)
    step("d")
    assert (names(first), names(second)) == (["a", "c"], ["b"])


def test_a_thread_without_a_context_records_there(turns):
    """A new thread knows nothing of any context."""
    watch = Watch(turns)
    turns.give(watch)
    thread = threading.Thread(target=step, args=("in a thread",))
    thread.start()
    thread.join()
    assert names(watch) == ["in a thread"]


def test_what_stays_open_has_children_in_the_next_turn(turns):
    """They know their parent, which ends where it began."""
    first, second = Watch(turns), Watch(turns)
    turns.give(first)
    with traced_event("server"):
        first.fold()
        turns.give(second)
        step("request")
        with network_op("example.org", 80):
            pass
    (server,) = first.events()
    (request,) = second.events()
    assert (server.status, request.parent_id) == ("completed", server.task_id)
    assert [op.parent_id for op in second.network_ops()] == [server.task_id]
    assert first.health().in_flight == second.health().in_flight == 0


def test_a_pipeline_that_stays_open_names_what_comes(turns):
    """It has a scope of its own, which goes on to the next turn as well."""
    first, second = Watch(turns), Watch(turns)
    turns.give(first)
    with pipeline("nightly", region="eu"):
        turns.give(second)
        turns.close(first)
        step("load")
    (load,) = second.events()
    assert (load.pipeline_id, load.attributes) == ("nightly", {"region": "eu"})
    assert first.events() == []


def test_a_context_that_was_copied_in_an_earlier_turn_is_of_today(turns):
    """As that of a task which runs one test after the other."""
    first, second = Watch(turns), Watch(turns)
    turns.give(first)
    with traced_event("runner"):
        context = contextvars.copy_context()
    turns.give(second)
    turns.close(first)
    context.run(step, "in an old context")
    assert (names(first), names(second)) == (["runner"], ["in an old context"])


def test_a_thread_that_is_left_behind_stays_with_its_turn(turns):
    """What it begins later is not the next one's."""
    first, second = Watch(turns), Watch(turns)
    goes_on = threading.Event()

    def work():
        goes_on.wait(10)
        step("late")
        with network_op("example.org", 80):
            pass

    turns.give(first)
    thread = threading.Thread(target=work)
    thread.start()
    turns.leave_behind([thread], first)
    turns.give(second)
    step("mine")
    goes_on.set()
    thread.join()
    assert (names(first), names(second)) == (["late"], ["mine"])
    assert (len(first.network_ops()), second.network_ops()) == (1, [])


def test_what_ends_in_another_turn_ends_where_it_began(turns):
    """Also where the one that it began in is to have its turn again."""
    outer, inner = Watch(turns), Watch(turns)
    turns.give(outer)
    block = traced_event("slow")
    block.__enter__()
    outer.fold()
    turns.give(inner)
    block.__exit__(None, None, None)
    assert [event.status for event in outer.events()] == ["completed"]
    assert inner.events() == []


def test_publishers_of_the_program_get_everything_all_the_same(turns):
    """Its registry is not one of those that take turns, and outlives them."""
    publisher = RecordingPublisher()
    first, second = Watch(turns), Watch(turns)
    turns.give(first)
    with monitor_events([publisher]) as monitor:
        step("a")
        turns.give(second)
        step("b")
        assert monitor.flush(10)
        assert current_registry() not in {first, second}
    assert [event.event_name for event in publisher.events] == ["a", "b"]
    assert (names(first), names(second)) == (["a"], ["b"])
    assert current_registry() is second


def test_a_capture_inside_is_told_too_unless_it_is_isolated(turns):
    """As any registry around it."""
    watch = Watch(turns)
    turns.give(watch)
    with capture() as inner:
        step("shared")
    with capture(isolated=True):
        step("alone")
    assert names(watch) == names(inner) == ["shared"]


def test_each_has_its_own_clock(turns):
    """A turn may have a clock that stands still."""
    clock = FakeClock(start=1_000.0)
    first, second = Watch(turns, clock), Watch(turns)
    turns.give(first)
    with traced_event("slow"):
        clock.advance(2.5)
    turns.give(second)
    step("now")
    (slow,) = first.events()
    assert (slow.start_time, slow.duration) == (1_000.0, 2.5)
    assert second.events()[0].start_time > 1_700_000_000


def test_many_in_one_turn_are_folded_as_they_come(turns):
    """Also those that come by the scope of an earlier turn, so that memory is bounded."""
    first, second = Watch(turns), Watch(turns, capacity=10)
    turns.give(first)
    with pipeline("all"):
        turns.give(second)
        for number in range(2_000):
            step(f"step {number % 3}")
    assert len(second._pending) < 2_000
    assert second.health().finished == 2_000
    assert sum(stats.count for stats in second.event_stats().values()) == 2_000


def test_a_number_of_a_thread_that_is_gone_is_somebody_elses(turns):
    """The system gives it to a new thread, which is the turn's of today."""
    first, second = Watch(turns), Watch(turns)
    gone = threading.Thread(target=int)
    gone.start()
    gone.join()
    turns.left_behind[threading.get_ident()] = gone, first
    turns.give(second)
    step("mine")
    assert (names(first), names(second)) == ([], ["mine"])
    assert turns.left_behind == {}


def test_an_end_is_told_to_those_only_whom_it_concerns(turns):
    """The others would keep it for ever."""
    first, second = Watch(turns), Watch(turns)
    turns.give(first)
    for _ in range(3):
        with traced_event("slow"):
            first.fold()
            turns.give(second)
        turns.give(first)
    assert first.event_stats()["slow"].count == 3
    assert (first._ended, second._ended) == ([], [])


def test_it_can_be_used_again(turns):
    """As if it were new."""
    watch = Watch(turns)
    turns.give(watch)
    step("before")
    watch.start_again()
    assert not watch.has_entries()
    step("after")
    assert names(watch) == ["after"]
    assert set(watch.event_stats()) == {"after"}


def test_totals_are_poured_into_another_registry(turns):
    """Exactly, and no single record."""
    whole, watch = Registry(capacity=0), Watch(turns)
    turns.give(watch)
    for _ in range(2):
        step("a")
        with network_op("example.org", 80) as op:
            op.received(7)
        watch.pour_into(whole)
        watch.start_again()
    assert whole.event_stats()["a"].count == 2
    assert whole.network_stats()["example.org", 80, "exchange"].bytes_received == 14
    assert whole.health().finished == 4
    assert whole.events() == []


def test_what_is_notable(turns):
    """What failed, and what took longer than asked."""
    clock = FakeClock()
    watch = Watch(turns, clock)
    turns.give(watch)
    for name, seconds in (("short", 1.0), ("long", 1.5)):
        with traced_event(name):
            clock.advance(seconds)
    with pytest.raises(ValueError), traced_event("failed"):
        raise ValueError
    with network_op("example.org", 80):
        clock.advance(2.0)
    assert [type(it).__name__ for _, it in watch.notable(1.0)] == [
        "EventMetrics",
        "EventMetrics",
        "NetworkMetrics",
    ]
    assert {it.event_name for _, it in watch.notable(1.0)[:2]} == {"long", "failed"}


def test_places_of_the_program_are_known_while_somebody_may_ask(turns):
    """The line that called what is traced, in whatever it is traced with."""
    watch = Watch(turns)
    turns.give(watch)
    step("before")
    turns.places = {}

    @traced_event("function")
    def function():
        pass

    function()
    first = sys._getframe().f_lineno - 1
    with network_op("example.org", 80):
        pass
    by_id = watch.places()
    lines = {
        event.event_name: by_id[event.task_id] for event in watch.events() if event.task_id in by_id
    }
    assert lines == {"function": (__file__, first)}
    (op,) = watch.network_ops()
    assert by_id[op.task_id] == (__file__, first + 2)


def test_places_are_bounded(turns, monkeypatch):
    """What comes after has none."""
    monkeypatch.setattr("volnux.telemetry._watch.PLACES", 2)
    watch = Watch(turns)
    turns.give(watch)
    turns.places = {}
    for name in "abc":
        step(name)
    assert len(watch.places()) == 2


@pytest.mark.parametrize("first", ["program", "turn"])
def test_its_clock_times_what_the_program_records_too(turns, first):
    """Whichever came first, until it ends; the program's registries know, and stay the ones to ask."""
    clock = FakeClock(start=1_000.0)
    frozen, plain = Watch(turns, clock), Watch(turns)
    own, other = Registry(), Registry()
    if first == "turn":
        turns.give(frozen)
    with monitor_events(registry=other), monitor_events(registry=own):
        step("before")
        turns.give(frozen)
        with traced_event("slow"):
            clock.advance(2.5)
        assert current_registry() is own
        turns.give(plain)
        with traced_event("now"):
            clock.advance(2.5)
        turns.give(None)
        step("after")
        assert current_registry() is own
    (slow,) = frozen.events("slow")
    (now,) = plain.events()
    assert (slow.start_time, slow.duration) == (1_000.0, 2.5)
    assert now.start_time > 1_700_000_000
    assert now.duration < 2.5
    for registry in (own, other):
        assert registry.events("slow") == [slow]
        dates = [event.start_time for event in registry.events()]
        assert dates == sorted(dates)
        assert len(dates) == 4
