"""The registry: what it counts, what it answers, and that it is right at every moment."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import signal
import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workers import in_fork
from volnux.telemetry import (
    EventMetrics,
    NetworkMetrics,
    Registry,
    TelemetryError,
    capture,
    current_event,
    network_op,
    propagate,
    record_retry,
    traced_event,
)
from volnux.telemetry._groups import Groups
from volnux.telemetry._guard import PROCESS, ErrorCounts, note
from volnux.telemetry._ids import IDS
from volnux.telemetry._registry import read_record
from volnux.telemetry._render import records_of, weight_of
from volnux.telemetry._scope import switch_off, switch_on
from volnux.telemetry.testing import FakeClock

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


def names(registry):
    return [event.event_name for event in registry.events()]


def counts(registry):
    health = registry.health()
    return health.started, health.finished, health.in_flight


def interrupt(*_anything):
    raise KeyboardInterrupt


def run_together(function, number=8):
    """Run a function in so many threads at once, in the present context."""
    barrier = threading.Barrier(number)

    def work():
        barrier.wait()
        function()

    threads = [threading.Thread(target=propagate(work)) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@traced_event("work")
def work():
    pass


@traced_event("fail")
def fail():
    raise ValueError


@traced_event("awork")
async def awork():
    pass


class TestQueries:
    def test_events_are_oldest_first(self, registry, clock):
        """By their start, not by their end."""
        with traced_event("outer"):
            clock.advance(1.0)
            with traced_event("inner"):
                clock.advance(1.0)

        assert names(registry) == ["outer", "inner"]

    def test_running_events_are_in_their_place(self, registry, clock):
        """Among the finished, by their start."""
        with traced_event("outer"):
            clock.advance(1.0)
            with traced_event("first"):
                clock.advance(1.0)
            with traced_event("second"):
                clock.advance(1.0)

                assert [(event.event_name, event.status) for event in registry.events()] == [
                    ("outer", "running"),
                    ("first", "completed"),
                    ("second", "running"),
                ]

    def test_events_can_be_asked_for_by_name(self, registry):
        """Running ones too."""
        with traced_event("a"), traced_event("b"):
            work()

            assert [event.event_name for event in registry.events("b")] == ["b"]
            assert [event.event_name for event in registry.events("work")] == ["work"]

    @pytest.mark.parametrize("status", ["running", "completed", "failed", "cancelled"])
    def test_events_can_be_asked_for_by_status(self, registry, status):
        """Each finds its own."""
        for name, error in (("failed", ValueError), ("cancelled", KeyboardInterrupt)):
            with pytest.raises(error), traced_event(name):
                raise error
        with traced_event("completed"):
            pass
        with traced_event("running"):
            assert [event.event_name for event in registry.events(status=status)] == [status]

    def test_an_event_with_attributes_is_completed(self, registry):
        """Having more to say does not change its status."""
        with traced_event("work") as event:
            event.set_attribute("rows", 1)

        assert len(registry.events(status="completed")) == 1

    def test_operations_can_be_asked_for(self, registry):
        """By host, by port, and by status, alone or together."""
        for host, port in (("a", 1), ("a", 2), ("b", 1)):
            with network_op(host, port):
                pass
        with pytest.raises(OSError), network_op("a", 1, "fail"):
            raise OSError
        with network_op("b", 2):
            found = [
                [(op.host, op.port, op.operation) for op in registry.network_ops(**wanted)]
                for wanted in (
                    {"host": "a"},
                    {"port": 1, "status": "completed"},
                    {"status": "failed"},
                    {"status": "running"},
                )
            ]

        assert found == [
            [("a", 1, "exchange"), ("a", 2, "exchange"), ("a", 1, "fail")],
            [("a", 1, "exchange"), ("b", 1, "exchange")],
            [("a", 1, "fail")],
            [("b", 2, "exchange")],
        ]

    def test_a_list_is_the_callers(self, registry):
        """What is done with an answer changes nothing."""
        work()
        registry.events().clear()

        assert names(registry) == ["work"]

    def test_asking_twice_gives_the_same(self, registry):
        """Records do not depend on who asks when."""
        work()

        assert registry.events() == registry.events()

    def test_it_shows_what_it_has(self, registry):
        """Its repr is short."""
        with traced_event("outer"):
            work()

            assert repr(registry) == "<Registry finished=1 in_flight=1>"


class TestTotals:
    def test_of_events_are_exact(self, registry, clock):
        """Counts and sums, in seconds."""
        for seconds in (1.0, 2.0, 6.0):
            with traced_event("work"):
                clock.advance(seconds)
        with pytest.raises(ValueError), traced_event("work"):
            clock.advance(3.0)
            raise ValueError
        with pytest.raises(KeyboardInterrupt), traced_event("work"):
            record_retry()
            raise KeyboardInterrupt

        stats = registry.event_stats()["work"]
        assert (stats.count, stats.failed, stats.cancelled, stats.retries) == (5, 1, 1, 1)
        assert (stats.min, stats.max, stats.total, stats.mean) == (0.0, 6.0, 12.0, 2.4)

    def test_of_operations_are_by_host_port_and_operation(self, registry, clock):
        """Three together are one exchange."""
        for operation, seconds in (("get", 1.0), ("get", 3.0), ("put", 5.0)):
            with network_op("a", 1, operation) as op:
                op.sent(10)
                op.received(100)
                clock.advance(seconds)

        stats = registry.network_stats()
        assert set(stats) == {("a", 1, "get"), ("a", 1, "put")}
        get = stats["a", 1, "get"]
        assert (get.count, get.bytes_sent, get.bytes_received, get.mean) == (2, 20, 200, 2.0)

    def test_of_operations_count_outcomes(self, registry):
        """Also those of them that were stopped."""
        for error in (OSError, KeyboardInterrupt):
            with pytest.raises(error), network_op("a", 1):
                raise error

        stats = registry.network_stats()["a", 1, "exchange"]
        assert (stats.failed, stats.cancelled) == (1, 1)

    def test_outlive_single_records(self):
        """Totals are of everything that ever happened."""
        with capture(capacity=10) as registry:
            for _ in range(5_000):
                work()

        assert registry.event_stats()["work"].count == 5_000
        assert registry.health().evicted == 4_990

    def test_leave_out_what_is_running(self, registry):
        """An event is counted when it has ended."""
        with traced_event("outer"):
            assert registry.event_stats() == {}

    def test_are_compressed_as_they_grow(self, registry):
        """Memory does not grow with the number of events."""
        for _ in range(30_000):
            work()
        registry.fold()

        assert len(registry._event_totals["work"].durations.buffer) < 12_000

    def test_of_more_than_two_thousand_names_are_counted_together(self, registry):
        """The excess has one total, and is counted."""
        for number in range(2_100):
            with traced_event(f"name {number}"):
                pass

        stats = registry.event_stats()
        assert len(stats) == 2_001
        assert stats["__other__"].count == 100
        assert sum(one.count for one in stats.values()) == 2_100
        assert registry.health().errors["bounds"]["names"] >= 1

    def test_of_very_many_names_fit(self):
        """A name made of data does not fill the memory."""
        with capture(capacity=100) as registry:
            for number in range(20_000):
                with traced_event(f"order {number}"):
                    pass

        assert len(registry.event_stats()) == 2_001
        assert counts(registry) == (20_000, 20_000, 0)


class TestHealth:
    def test_started_is_finished_and_in_flight(self, registry):
        """At every moment of a nested program."""
        assert counts(registry) == (0, 0, 0)
        with traced_event("outer"):
            assert counts(registry) == (1, 0, 1)
            with network_op("a", 1):
                assert counts(registry) == (2, 0, 2)
            assert counts(registry) == (2, 1, 1)
        assert counts(registry) == (2, 2, 0)

    def test_holds_in_threads_that_record_and_ask(self):
        """Whoever asks, whenever, the sum is right and never falls."""
        with capture(strict=True) as registry:

            def record_and_ask():
                last = 0
                for _ in range(300):
                    with traced_event("outer"):
                        work()
                    health = registry.health()
                    assert health.started == health.finished + health.in_flight
                    assert health.finished >= last
                    last = health.finished

            run_together(record_and_ask)

        assert counts(registry) == (4_800, 4_800, 0)
        assert registry.event_stats()["work"].count == 2_400

    def test_every_event_of_many_threads_is_counted_once(self):
        """Eight threads with one registry lose nothing and double nothing."""
        with capture(strict=True) as registry:
            run_together(lambda: [work() for _ in range(5_000)])

        assert counts(registry) == (40_000, 40_000, 0)
        assert registry.event_stats()["work"].count == 40_000
        assert len(registry.events()) == 10_000

    def test_events_seen_running_are_counted_once(self):
        """Threads whose events a fold meets half-way."""
        with capture(strict=True) as registry:

            def nest():
                for _ in range(100):
                    with traced_event("a"):
                        registry.fold()
                        with traced_event("b"):
                            registry.fold()

            run_together(nest)

        assert counts(registry) == (1_600, 1_600, 0)
        stats = registry.event_stats()
        assert (stats["a"].count, stats["b"].count) == (800, 800)

    def test_errors_of_the_process_are_part_of_it(self, registry):
        """What was swallowed where no registry was at hand shows in all of them."""
        PROCESS.clear()
        note(None, "example", "went wrong")

        assert registry.health().errors["example"] == {"went wrong": 1}
        PROCESS.clear()

    def test_publishers_are_none_of_its_business(self, registry):
        """They are filled in by the monitor."""
        assert registry.health().publishers == {}

    def test_it_is_plain_data(self, registry):
        """`to_dict` can be written as JSON."""
        work()

        assert json.loads(json.dumps(registry.health().to_dict())) == {
            "started": 1,
            "finished": 1,
            "in_flight": 0,
            "evicted": 0,
            "errors": registry.health().errors,
            "publishers": {},
            "remote": {"sent": 0, "reported": 0, "missing": 0},
        }


class TestFolding:
    def test_an_end_after_a_fold_is_not_missed(self, registry, clock):
        """An event that a query met running is finished by the next one."""
        with traced_event("outer"):
            registry.fold()
            clock.advance(2.0)

        assert [(event.status, event.duration) for event in registry.events()] == [
            ("completed", 2.0)
        ]

    def test_ends_in_any_order_after_a_fold(self, registry, clock):
        """Generators end as they like."""

        @traced_event("items")
        def items():
            yield 1

        opened = [items() for _ in range(3)]
        for one in opened:
            next(one)
        registry.fold()
        for one in (opened[1], opened[0], opened[2]):
            one.close()

        assert counts(registry) == (3, 3, 0)

    def test_registries_around_each_other_share_entries(self):
        """Each may fold first, and both count each event once."""
        with capture(strict=True) as outer, capture(strict=True) as inner:
            with traced_event("first"):
                inner.fold()
            with traced_event("second"):
                outer.fold()
            with traced_event("third"):
                outer.fold()
                inner.fold()

        assert counts(outer) == counts(inner) == (3, 3, 0)
        assert outer.events() == inner.events()

    def test_registries_around_each_other_agree_under_threads(self):
        """Eight threads, two registries, folds everywhere."""
        with capture(strict=True) as outer, capture(strict=True) as inner:

            def nest():
                for number in range(200):
                    with traced_event("work"):
                        (outer if number % 2 else inner).fold()

            run_together(nest)

        assert counts(outer) == counts(inner) == (1_600, 1_600, 0)

    def test_a_fold_that_is_interrupted_begins_again(self, registry, monkeypatch):
        """Nothing is lost and nothing counted twice."""
        work()
        with monkeypatch.context() as patch:
            patch.setattr(Groups, "sort_out", interrupt)
            with pytest.raises(KeyboardInterrupt):
                registry.fold()

        assert counts(registry) == (1, 1, 0)

    def test_a_late_end_whose_fold_is_interrupted_is_not_lost(self, registry, monkeypatch):
        """Nor is what ended after a fold had met it."""
        with traced_event("outer"):
            registry.fold()
        with monkeypatch.context() as patch:
            patch.setattr(Groups, "sort_out", interrupt)
            with pytest.raises(KeyboardInterrupt):
                registry.fold()

        assert counts(registry) == (1, 1, 0)

    def test_totals_that_are_interrupted_are_counted_as_cut_short(self, monkeypatch):
        """Records are kept and told all the same."""
        told = []
        with capture(isolated=True) as registry:
            registry.subscribe(told.extend)
            work()
            work()
            with monkeypatch.context() as patch:
                patch.setattr(registry, "_totals_of", interrupt)
                with pytest.raises(KeyboardInterrupt):
                    registry.fold()

        assert registry.health().errors["fold"] == {"cut short": 2}
        assert counts(registry) == (2, 2, 0)
        assert (len(registry.events()), len(told)) == (2, 2)

    def test_a_fold_waits_for_a_stack_to_do_it_on(self, registry):
        """Deep in a recursion it is left to who returns from it."""

        def dive(depth):
            try:
                dive(depth + 1)
            except RecursionError:
                registry.fold_if_free()
                folded.append(registry._finished)

        folded = []
        work()
        dive(0)
        assert folded[0] == 0
        assert counts(registry) == (1, 1, 0)

    def test_threads_wait_where_too_much_waits(self, monkeypatch):
        """While who folds is held up, no more than a bound is let in."""
        monkeypatch.setattr("volnux.telemetry._intake.CROWD", 2_000)
        monkeypatch.setattr("volnux.telemetry._intake.PATIENCE", 60.0)
        registry = Registry()
        held, go = threading.Event(), threading.Event()

        def hold(batch):
            held.set()
            go.wait()

        def fill():
            for _ in range(10_000):
                work()

        registry.subscribe(hold)
        switch_on(registry)
        threads = [threading.Thread(target=fill) for _ in range(3)]
        for thread in threads:
            thread.start()
        held.wait()
        while len(registry._pending) <= 2_000:
            threads[0].join(0.001)
        for thread in threads:
            thread.join(0.05)
        waiting = len(registry._pending)
        go.set()
        for thread in threads:
            thread.join()
        switch_off(registry)

        assert waiting <= 2_000 + 3 * 501
        assert counts(registry) == (30_000, 30_000, 0)

    def test_threads_wait_for_a_time_only(self, monkeypatch):
        """They may hold a lock that who folds is waiting for, in a finalizer say."""
        monkeypatch.setattr("volnux.telemetry._intake.CROWD", 1_000)
        monkeypatch.setattr("volnux.telemetry._intake.PATIENCE", 0.001)
        registry = Registry()
        held, go = threading.Event(), threading.Event()

        def hold(batch):
            held.set()
            go.wait()

        registry.subscribe(hold)
        switch_on(registry)
        folding = threading.Thread(target=lambda: (work(), registry.fold()))
        folding.start()
        held.wait()
        for _ in range(3_000):
            work()
        go.set()
        folding.join()
        switch_off(registry)

        assert counts(registry) == (3_001, 3_001, 0)

    def test_a_fold_within_a_fold_does_nothing(self, registry):
        """A signal handler or a finalizer may ask a question at any moment."""
        seen = []
        registry.subscribe(lambda batch: seen.append(registry.health().finished))
        work()
        registry.fold()

        assert seen == [1]
        assert counts(registry) == (1, 1, 0)

    def test_a_signal_handler_may_record_and_ask(self, registry):
        """In the middle of anything."""
        asked = []

        def handle(number, frame):
            with traced_event("handled"):
                asked.append(registry.health())

        before = signal.signal(signal.SIGUSR1, handle)
        try:
            for _ in range(20):
                work()
                os.kill(os.getpid(), signal.SIGUSR1)
        finally:
            signal.signal(signal.SIGUSR1, before)

        assert len(asked) == 20
        assert counts(registry) == (40, 40, 0)

    def test_a_generator_closed_by_the_collector_is_counted(self, registry):
        """In whatever thread, at whatever moment."""

        @traced_event("items")
        def items():
            yield 1

        class Cycle:
            pass

        for _ in range(10):
            cycle = Cycle()
            cycle.me, cycle.items = cycle, items()
            next(cycle.items)
            del cycle
        thread = threading.Thread(target=gc.collect)
        thread.start()
        thread.join()

        assert counts(registry) == (10, 10, 0)

    def test_threads_leave_the_fold_to_its_holder(self, registry):
        """Who cannot have the lock does not wait for it."""
        inside, leave = threading.Barrier(2), threading.Barrier(2)

        def hold(batch):
            if len(batch) == 1:
                inside.wait()
                leave.wait()

        registry.subscribe(hold)
        work()
        thread = threading.Thread(target=registry.fold)
        thread.start()
        inside.wait()
        for _ in range(3_000):
            work()
        leave.wait()
        thread.join()

        assert counts(registry) == (3_001, 3_001, 0)


class TestFoldingInTime:
    """Nobody has to ask for the memory to be bounded, whatever is recorded."""

    def test_of_failing_events(self, registry):
        """Failures are folded as successes are."""
        for _ in range(3_000):
            with contextlib.suppress(ValueError):
                fail()

        assert len(registry._pending) < 2_000

    def test_of_coroutines(self, registry):
        """Also when nothing else runs."""

        async def main():
            for _ in range(3_000):
                await awork()

        asyncio.run(main())

        assert len(registry._pending) < 2_000

    def test_in_captures_around_each_other(self):
        """The inner one folds them all."""
        with capture(strict=True) as outer, capture(strict=True) as inner:
            for _ in range(3_000):
                work()

        assert len(outer._pending) < 2_000
        assert len(inner._pending) < 2_000

    def test_of_what_a_fold_met_running(self, registry):
        """A failure and a coroutine that were seen running are announced."""

        @traced_event("fails")
        def fails():
            registry.fold()
            raise ValueError

        @traced_event("waits")
        async def waits():
            registry.fold()

        with pytest.raises(ValueError):
            fails()
        asyncio.run(waits())

        assert counts(registry) == (2, 2, 0)


class TestSubscribe:
    def test_hands_over_every_finished_entry_once(self, registry):
        """In batches, in the order in which they were folded."""
        seen = []
        registry.subscribe(seen.extend)
        with traced_event("outer"):
            work()
            registry.fold()
        registry.fold()

        assert records_of(seen) == [*registry.events("work"), *registry.events("outer")]

    def test_begins_with_what_ends_later(self, registry):
        """What was finished before is no news."""
        work()
        seen = []
        registry.subscribe(seen.extend)
        registry.fold()

        assert seen == []

    def test_ends_with_what_ended_before(self, registry):
        """Unsubscribing hands over the rest."""
        seen = []
        unsubscribe = registry.subscribe(seen.extend)
        work()
        unsubscribe()
        work()
        registry.fold()

        assert len(seen) == 1

    def test_twice_is_heard_twice(self, registry):
        """And each subscription ends by itself."""
        seen = []
        first = registry.subscribe(seen.extend)
        registry.subscribe(seen.extend)
        work()
        first()
        work()
        registry.fold()

        assert len(seen) == 3

    def test_unsubscribing_twice_ends_one(self, registry):
        """The other subscription stays."""
        seen = []
        first = registry.subscribe(seen.extend)
        registry.subscribe(seen.extend)
        first()
        first()
        work()
        registry.fold()

        assert len(seen) == 1

    def test_a_listener_that_raises_harms_nobody(self):
        """It is counted, and the others are told."""
        seen = []
        with capture() as registry:
            registry.subscribe(lambda batch: 1 / 0)
            registry.subscribe(seen.extend)
            work()

        assert registry.health().errors["listener"] == {"ZeroDivisionError": 1}
        assert len(seen) == 1

    def test_a_listener_that_raises_is_heard_in_strict_mode(self, registry):
        """A strict registry lets its error through, and has counted the event."""
        unsubscribe = registry.subscribe(lambda batch: 1 / 0)
        work()
        with pytest.raises(ZeroDivisionError):
            registry.fold()
        unsubscribe()

        assert counts(registry) == (1, 1, 0)

    def test_a_listener_hears_of_added_and_merged_records(self, registry):
        """Wherever they were made."""
        with capture(isolated=True) as other:
            work()
        seen = []
        registry.subscribe(seen.extend)
        registry.add(EventMetrics(event_name="added", task_id="1"))
        registry.merge(other.export())

        assert [record.event_name for record in records_of(seen)] == ["added", "work"]

    def test_entries_have_a_weight(self, registry):
        """What says more weighs more."""
        work()
        with traced_event("wordy") as event:
            event.set_attributes({"text": "x" * 500, "list": [1, 2], "dict": {"a": None}})
            record_retry(OSError("busy"))
        with network_op("a", 1):
            pass
        registry.add(EventMetrics(event_name="added", task_id="1"))
        entries = []
        for network in (False, True):
            entries += registry.entries(network=network)[0]

        weights = {entry[0].key: weight_of(entry) for entry in entries}
        assert weights["wordy"] > weights["work"] + 500
        assert weights["added"] > 0
        assert weights["a", 1, "exchange"] == weights["work"]


class TestAdd:
    EVENT = EventMetrics(
        event_name="work",
        task_id="00000000000000aa",
        start_time=1_700_000_000.0,
        end_time=1_700_000_002.0,
        duration=2.0,
        status="failed",
        error="no",
        error_type="ValueError",
        retry_count=3,
    )
    OPERATION = NetworkMetrics(
        host="a",
        task_id="00000000000000bb",
        port=1,
        operation="get",
        latency=0.5,
        bytes_sent=10,
        bytes_received=20,
        status="cancelled",
    )

    def test_an_event_counts_and_is_kept(self, registry):
        """As if it had happened here."""
        registry.add(self.EVENT)

        stats = registry.event_stats()["work"]
        assert registry.events() == [self.EVENT]
        assert (stats.count, stats.failed, stats.retries, stats.total) == (1, 1, 3, 2.0)
        assert registry.retry_stats().exhausted == 1
        assert counts(registry) == (1, 1, 0)

    def test_an_operation_counts_and_is_kept(self, registry):
        """Bytes and all."""
        registry.add(self.OPERATION)

        stats = registry.network_stats()["a", 1, "get"]
        assert registry.network_ops() == [self.OPERATION]
        assert (stats.cancelled, stats.bytes_sent, stats.bytes_received) == (1, 10, 20)

    def test_records_of_both_kinds_stand_in_their_place(self, registry, clock):
        """Among those recorded here, by date."""
        clock.advance(1.0)
        work()
        registry.add(self.EVENT)
        registry.add(self.EVENT.__replace__(start_time=1_700_000_005.0, event_name="later"))

        assert [event.event_name for event in registry.events()] == ["work", "work", "later"]
        assert registry.events()[0] == self.EVENT

    def test_a_running_one_is_refused(self, registry):
        """Only what is finished is a record."""
        with traced_event("outer"):
            [running] = registry.events()

        with pytest.raises(ValueError, match="only finished records"):
            registry.add(running)

    def test_foreign_identifiers_stay(self, registry):
        """Whatever they look like."""
        registry.add(self.EVENT.__replace__(task_id="order-66"))

        assert registry.events()[0].task_id == "order-66"


def busy(registry):
    """Fill a registry with some of everything."""
    with traced_event("outer", attributes={"a": 1}):
        record_retry(OSError("busy"))
        with network_op("a", 1) as op:
            op.sent(5)
    with pytest.raises(ValueError), traced_event("bad"):
        raise ValueError("no")
    return registry


class TestMerge:
    def test_brings_everything(self):
        """Totals, records and errors, through JSON."""
        with capture(isolated=True) as there:
            busy(there)
            there.count_error("example", "went wrong")
        here = Registry(strict=True)
        here.merge(json.loads(json.dumps(there.export())))

        assert here.events() == there.events()
        assert here.network_ops() == there.network_ops()
        assert here.event_stats() == there.event_stats()
        assert here.network_stats() == there.network_stats()
        assert here.retry_stats() == there.retry_stats()
        assert here.health().errors["example"] == {"went wrong": 1}
        assert counts(here) == counts(there)

    def test_adds_to_what_is_there(self, registry):
        """Several workers are one total."""
        busy(registry)
        state = registry.export()
        registry.merge(state)
        registry.merge(state)

        assert registry.event_stats()["outer"].count == 3
        assert registry.network_stats()["a", 1, "exchange"].bytes_sent == 15
        assert registry.retry_stats().total_retries == 3

    def test_counts_what_was_evicted_there(self):
        """Finished is kept and evicted, wherever that was."""
        with capture(isolated=True, capacity=2) as there:
            for _ in range(5):
                work()
        here = Registry(strict=True)
        here.merge(there.export())

        health = here.health()
        assert (health.finished, health.evicted, len(here.events())) == (5, 3, 2)

    def test_counts_what_was_still_running_there(self, registry):
        """It will never be heard of again."""
        with traced_event("outer"):
            state = registry.export()
        here = Registry()
        here.merge(state)

        assert here.health().errors["remote"] == {"unfinished": 1}
        assert counts(here) == (0, 0, 0)

    def test_keeps_to_the_bound_of_names(self):
        """Merging does not fill the memory either."""
        here = Registry(strict=True)
        for start in (0, 1_500):
            there = Registry(strict=True)
            for number in range(start, start + 1_500):
                there.add(EventMetrics(event_name=f"name {number}", task_id=f"{number:x}"))
            here.merge(there.export())

        stats = here.event_stats()
        assert (len(stats), sum(one.count for one in stats.values())) == (2_001, 3_000)

    @pytest.mark.parametrize("state", [{}, {"schema": "volnux.registry/2"}])
    def test_refuses_what_it_does_not_know(self, registry, state):
        """Another version's state is not guessed at."""
        with pytest.raises(ValueError, match="cannot merge schema"):
            registry.merge(state)

    def test_of_nothing_changes_nothing(self, registry):
        """An empty registry has nothing to bring."""
        registry.merge(Registry().export())

        assert counts(registry) == (0, 0, 0)

    @given(st.lists(st.lists(st.integers(0, 10**10), max_size=30), max_size=4))
    def test_is_as_if_all_had_happened_in_one(self, parts):
        """Whatever was recorded where."""
        clock = FakeClock()
        whole, merged = Registry(clock=clock, strict=True), Registry(clock=clock, strict=True)
        for part in parts:
            there = Registry(clock=clock, strict=True)
            for number, nanoseconds in enumerate(part):
                record = EventMetrics(
                    event_name=f"name {number % 3}", task_id="1", duration=nanoseconds / 1e9
                )
                there.add(record)
                whole.add(record)
            merged.merge(there.export())

        assert merged.event_stats() == whole.event_stats()
        assert counts(merged) == counts(whole)


class TestClear:
    def test_forgets_what_is_finished(self, registry):
        """Records, totals and counted errors."""
        busy(registry)
        registry.count_error("example", "went wrong")
        registry.clear()

        assert (registry.events(), registry.network_ops()) == ([], [])
        assert (registry.event_stats(), registry.network_stats()) == ({}, {})
        assert "example" not in registry.health().errors
        assert counts(registry) == (0, 0, 0)

    def test_keeps_what_is_in_flight(self, registry, clock):
        """It ends as if nothing had been."""
        with traced_event("outer"):
            clock.advance(1.0)
            registry.clear()

            assert counts(registry) == (1, 0, 1)
        assert [event.duration for event in registry.events()] == [1.0]


class TestSetUp:
    @pytest.mark.parametrize("capacity", [-1, -10_000])
    def test_a_capacity_below_zero_is_refused(self, capacity):
        """At once, with the value in the message."""
        with pytest.raises(ValueError, match=f"0 or more, not {capacity}"):
            Registry(capacity)

    def test_a_capacity_that_is_no_number_is_refused(self):
        """At once, with the value in the message."""
        with pytest.raises(TypeError, match="a number of records, not '10'"):
            Registry("10")

    def test_a_capacity_of_zero_keeps_totals_only(self):
        """Which is a use of its own."""
        with capture(capacity=0) as registry:
            work()
            with pytest.raises(ValueError), traced_event("bad"):
                raise ValueError

        assert registry.events() == []
        assert (registry.health().evicted, registry.event_stats()["work"].count) == (2, 1)


class TestStrict:
    def test_a_note_without_an_error_raises_one_of_ours(self, registry):
        """It names stage and reason."""
        with pytest.raises(TelemetryError, match="example: went wrong"):
            note(registry, "example", "went wrong")

    def test_a_note_with_an_error_raises_that(self, registry):
        """Nothing is dressed up."""
        with pytest.raises(KeyError):
            note(registry, "example", "went wrong", KeyError("x"))

    def test_otherwise_it_is_counted(self):
        """By stage and reason, from any thread."""
        registry = Registry()
        run_together(lambda: [note(registry, "example", "went wrong") for _ in range(100)])

        assert registry.health().errors["example"] == {"went wrong": 800}


class TestReading:
    def test_a_record_of_each_kind(self, registry):
        """By the kind that `to_dict` wrote."""
        busy(registry)

        for record in (*registry.events(), *registry.network_ops()):
            assert read_record(record.to_dict()) == record

    def test_another_kind_is_refused(self):
        """A newer volnux may have more of them."""
        with pytest.raises(ValueError, match="unknown kind of record: 'log'"):
            read_record({"kind": "log"})


class TestFork:
    def test_the_childs_registry_is_empty(self, registry):
        """What was recorded before belongs to the parent."""
        work()
        with traced_event("outer"):
            seen = in_fork(lambda: (counts(registry), names(registry), registry.event_stats()))

        assert seen == ((0, 0, 0), [], {})
        assert counts(registry) == (2, 2, 0)

    def test_the_child_records_for_itself(self, registry):
        """Under the event that was running in the parent."""
        with traced_event("outer") as outer:

            def child():
                work()
                return registry.events()

            [theirs] = in_fork(child)

        assert theirs.parent_id == outer.task_id
        assert theirs.process_id != os.getpid()
        assert names(registry) == ["outer"]

    def test_an_event_of_the_parent_that_ends_in_the_child_is_the_parents(self, registry):
        """Also if a fold has met it before."""

        def child(block):
            block.__exit__(None, None, None)
            return counts(registry)

        first, second = traced_event("first"), traced_event("second")
        with first:
            registry.fold()
            with second:
                seen = in_fork(lambda: (child(second), child(first)))

        assert seen == ((0, 0, 0), (0, 0, 0))
        assert counts(registry) == (2, 2, 0)

    def test_counted_errors_stay_with_the_parent(self, registry):
        """The child's health is its own."""
        registry.count_error("example", "went wrong")

        assert "example" not in in_fork(lambda: registry.health().errors)

    def test_a_lock_held_by_another_thread_is_free_in_the_child(self, registry):
        """No lock of ours survives a fork."""
        inside, leave = threading.Barrier(2), threading.Barrier(2)

        def hold():
            with registry._lock, IDS.lock, registry._errors._lock, PROCESS._lock:
                inside.wait()
                leave.wait()

        thread = threading.Thread(target=hold)
        thread.start()
        inside.wait()

        def child():
            with traced_event("work") as event:
                event.set_attribute("rows", 1)
                registry.count_error("example", "went wrong")
                note(None, "example", "went wrong")
            return names(registry), current_event()

        # The parent's identifiers are drawn before the fork, under a lock that is taken.
        seen = in_fork(child)
        leave.wait()
        thread.join()

        assert seen == (["work"], None)

    def test_in_the_middle_of_a_fold_goes_on_in_both(self):
        """As when a signal handler or a listener forks."""
        seen = []
        with capture() as registry:

            def fork(batch):
                if not seen:
                    seen.append(in_fork(os.getpid))

            registry.subscribe(fork)
            for _ in range(1_500):
                work()

        assert len(seen) == 1
        assert counts(registry) == (1_500, 1_500, 0)

    def test_a_child_that_returns_through_a_fold_goes_on(self):
        """Forked inside of one, it leaves it as any other."""
        code = """if True:
            import os, sys
            from volnux.telemetry import capture, traced_event

            @traced_event("work")
            def work(): pass

            children = []
            with capture(strict=True) as registry:
                registry.subscribe(lambda batch: children or children.append(os.fork()))
                for _ in range(1_500):
                    work()
            if children[0] == 0:
                print("child", registry.health().started < 1_500, flush=True)
                os._exit(0)
            _, status = os.waitpid(children[0], 0)
            print("parent", status, registry.health().started)
            """
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
        )

        assert (done.stdout.splitlines(), done.stderr) == (["child True", "parent 0 1500"], "")

    def test_counters_that_are_gone_are_forgotten(self):
        """The hook keeps nothing alive."""
        counters = ErrorCounts()
        counters.add("example", "went wrong")
        del counters
        gc.collect()

        assert in_fork(lambda: True)
