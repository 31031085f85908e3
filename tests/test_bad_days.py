"""Bad input and bad days: the user's program sees none of it, and nothing is lost uncounted."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import sys
import threading
from collections import Counter

import pytest

from volnux.telemetry import (
    Clock,
    Registry,
    TelemetryError,
    capture,
    current_event,
    get_metrics,
    monitor_events,
    network_op,
    pipeline,
    propagate,
    record_retry,
    set_redactor,
    traced_event,
)
from volnux.telemetry._retention import Retention
from volnux.telemetry.testing import FailingPublisher, FakeClock, RecordingPublisher


class Hostile:
    """An object that raises whatever is asked of it."""

    def _raise(self, *args):
        raise ValueError("hostile")

    __repr__ = __str__ = __eq__ = __len__ = __iter__ = __bool__ = __getitem__ = _raise
    __index__ = __float__ = __int__ = __contains__ = __mul__ = __lt__ = _raise

    def __hash__(self):
        raise ValueError("hostile")


class Boom(Exception):
    """What the user's program raises."""


def assert_whole(registry, finished):
    """Check that so many events have finished, none is in flight, and nothing is current."""
    health = registry.health()
    assert (health.started, health.finished, health.in_flight) == (finished, finished, 0)
    assert current_event() is None


class TestSetUp:
    """Set-up mistakes raise at once and name the way out."""

    @pytest.mark.parametrize("target", [3, [], object(), b"x", Hostile()], ids=type)
    def test_what_cannot_be_called_cannot_be_traced(self, target):
        """Decorating something that is not callable says what can be decorated."""
        if isinstance(target, Hostile):
            target = [target]
            with pytest.raises((TypeError, ValueError)):
                traced_event(target)
            return
        with pytest.raises(TypeError, match="decorate a function, method, class"):
            traced_event(target)
        with pytest.raises(TypeError, match="decorate a function, method, class"):
            traced_event("name")(target)

    @pytest.mark.parametrize("name", ["", "  ", "\n"])
    def test_an_event_needs_a_name(self, name):
        """An empty name is refused, with what to write instead."""
        with pytest.raises(ValueError, match='write @traced_event\\("name"\\)'):
            traced_event(name)

    def test_a_block_needs_a_name(self):
        """There is nothing a with-block could be named for."""
        with (
            capture(),
            pytest.raises(TypeError, match='with traced_event\\("name"\\)'),
            traced_event(),
        ):
            pass

    @pytest.mark.parametrize(
        ("mistake", "kind", "says"),
        [
            (lambda: traced_event("x", attributes=3), TypeError, "attributes must be a mapping"),
            (lambda: pipeline(""), ValueError, 'pipeline("nightly")'),
            (lambda: pipeline(3), ValueError, 'pipeline("nightly")'),
            (lambda: capture(clock=3), TypeError, "testing.FakeClock()"),
            (lambda: capture(capacity=-1), ValueError, "capacity must be 0 or more"),
            (lambda: Registry(-1), ValueError, "capacity must be 0 or more"),
            (lambda: propagate(3), TypeError, "something to call"),
            (lambda: set_redactor(3), TypeError, "set_redactor needs a Redactor"),
            (lambda: monitor_events([3]), TypeError, "subclass volnux.telemetry.MetricsPublisher"),
            (lambda: monitor_events(registry=3), TypeError, "must be a volnux.telemetry.Registry"),
        ],
    )
    def test_names_the_way_out(self, mistake, kind, says):
        """Each mistake is refused where it is made, in words that help."""
        with pytest.raises(kind) as caught:
            mistake()
        assert says in str(caught.value)


class TestNames:
    """Names that no dashboard was made for."""

    def test_distinct_names_without_end(self):
        """Of 100,000 distinct names the totals are bounded, and what exceeds them is counted."""
        with capture() as registry:
            for number in range(100_000):
                with traced_event(f"name {number}"):
                    pass
        assert_whole(registry, 100_000)
        stats = registry.event_stats()
        assert len(stats) <= 2_001
        assert sum(one.count for one in stats.values()) == 100_000
        assert registry.health().errors["bounds"]["names"] > 0
        assert registry.health().evicted == 90_000

    def test_distinct_hosts_without_end(self):
        """Of many distinct hosts the totals are bounded likewise."""
        with capture() as registry:
            for number in range(5_000):
                with network_op(f"host-{number}", 80) as op:
                    op.sent(1)
        stats = registry.network_stats()
        assert len(stats) <= 2_001
        assert sum(one.bytes_sent for one in stats.values()) == 5_000

    @pytest.mark.parametrize(
        "name", ["two\nlines", "esc\x1b[31m", "nul\x00", "lone \ud800", "x" * 100_000, "tab\t"]
    )
    def test_names_stay_on_one_line(self, name):
        """Whatever a name holds, records carry one short line that can be printed."""
        with capture() as registry:
            with traced_event(name):
                pass
            with network_op(name, 1, name):
                pass
        (event,) = registry.events()
        (op,) = registry.network_ops()
        for shown in (event.event_name, op.host, op.operation):
            assert len(shown) <= 200
            assert len(shown.splitlines()) == 1
            shown.encode("utf-8")
        assert json.loads(get_metrics(registry))["events"][0]["event_name"] == event.event_name


class TestAttributes:
    """Attributes that are huge, cyclic or hostile."""

    def test_huge_attributes(self):
        """They are cut, and the cut is counted."""
        with capture() as registry, traced_event("x") as event:
            event.set_attribute("text", "x" * 10_000_000)
            event.set_attribute("list", list(range(1_000_000)))
            event.set_attributes({f"k{number}": number for number in range(10_000)})
        (record,) = registry.events()
        assert len(record.attributes) <= 128
        assert len(json.dumps(record.to_dict())) < 20_000
        assert {"text", "items", "attributes"} <= registry.health().errors["bounds"].keys()

    def test_many_attributes_one_by_one(self):
        """The bound holds however they come."""
        with capture() as registry, traced_event("x", attributes={"a": 1}) as event:
            for number in range(1_000):
                event.set_attribute(f"k{number}", number)
        assert len(registry.events()[0].attributes) <= 130

    def test_cyclic_attributes(self):
        """A container within itself ends where it begins again."""
        cycle = {"a": 1}
        cycle["self"] = [cycle]
        with capture() as registry, traced_event("x", attributes={"c": cycle}):
            pass
        assert registry.events()[0].attributes == {"c": {"a": 1, "self": ["[cycle]"]}}
        json.loads(get_metrics(registry))

    def test_hostile_attributes(self):
        """Values and keys that raise become placeholders."""
        with capture() as registry:
            with traced_event("x", attributes={"decorator": Hostile()}) as event:
                event.set_attribute("value", Hostile())
                event.set_attribute(Hostile(), 1)
                event.set_attribute([], 2)
                event.set_attributes(Hostile())
            with network_op("h", 1, attributes={"op": Hostile()}) as op:
                op.set_attribute(Hostile(), Hostile())
            with pipeline("p", shared=Hostile()), traced_event("y"):
                pass
        assert_whole(registry, 3)
        attributes = registry.events("x")[0].attributes
        assert attributes["decorator"] == attributes["value"] == "<unprintable Hostile>"
        assert attributes["<unprintable Hostile>"] == 1
        assert registry.events("y")[0].attributes == {"shared": "<unprintable Hostile>"}
        json.loads(get_metrics(registry))

    def test_hostile_arguments(self):
        """What is passed through a traced function is not looked at."""

        @traced_event
        def through(value):
            return value

        value = Hostile()
        with capture() as registry:
            assert through(value) is value
        assert_whole(registry, 1)

    @pytest.mark.parametrize("count", [None, -1, 1.5, "x", Hostile(), True], ids=type)
    def test_hostile_byte_counts(self, count):
        """A count that is no number of bytes counts nothing, or what it stands for."""
        with capture() as registry, network_op("h", 1) as op:
            op.sent(count)
            op.received(2)
        (record,) = registry.network_ops()
        assert (record.bytes_sent, record.bytes_received) == (1 if count is True else 0, 2)

    @pytest.mark.parametrize("place", [Hostile(), None, 3, b"x", []], ids=type)
    def test_hostile_hosts(self, place):
        """A host, port or operation may be anything."""
        with capture() as registry:
            with network_op(place, place, place) as op:
                pass
            repr(op)
        assert_whole(registry, 1)
        json.loads(get_metrics(registry))

    @pytest.mark.parametrize(
        "delay", ["a", None, float("nan"), float("inf"), -5, 10**400, Hostile()]
    )
    @pytest.mark.parametrize("error", [None, "text", 3, Hostile()], ids=type)
    def test_hostile_retries(self, delay, error):
        """A retry's error and delay may be anything."""
        with capture() as registry, traced_event("x"):
            record_retry(error, delay)
        (record,) = registry.events()
        assert record.retry_count == 1
        assert all(attempt.backoff >= 0 and attempt.duration >= 0 for attempt in record.attempts)
        json.loads(get_metrics(registry))


class StrRaises(Boom):
    """Its text cannot be had."""

    def __str__(self):
        raise ValueError("hostile")


class ReprLies(Boom):
    """Its text is none."""

    def __str__(self):
        return 3  # noqa: PLE0307  # that is the point


class NoAttributes(Boom):
    """Not even its attributes can be read."""

    __slots__ = ()

    def __getattribute__(self, name):
        raise ValueError(name)


class NoDict(Boom):
    """It denies having a dict."""

    @property
    def __dict__(self):
        raise ValueError("hostile")


class NoClass(Boom):
    """It denies having a class."""

    @property
    def __class__(self):
        raise ValueError("hostile")


class Unhashable(Boom):
    """It can be neither compared nor hashed, nor changed."""

    __hash__ = None

    def __eq__(self, other):
        raise ValueError("hostile")

    def __setattr__(self, name, value):
        raise ValueError("hostile")


class HostileMeta(type):
    """A metaclass that hides the names of its classes."""

    def __getattribute__(cls, name):
        if name in ("__qualname__", "__name__"):
            raise ValueError("hostile")
        return super().__getattribute__(name)


class Nameless(Boom, metaclass=HostileMeta):
    """Its class has no name."""


HOSTILE_ERRORS = [StrRaises, ReprLies, NoAttributes, NoDict, NoClass, Unhashable, Nameless]


@pytest.mark.parametrize(
    "kind", HOSTILE_ERRORS, ids=lambda kind: type.__repr__(kind).split(".")[-1]
)
class TestHostileErrors:
    """Exceptions that raise when looked at reach the program as they are."""

    def test_from_functions(self, kind):
        """Through two traced functions comes the very exception."""
        error = kind("text")

        @traced_event("inner")
        def inner():
            raise error

        @traced_event("outer")
        def outer():
            inner()

        with capture() as registry:
            caught = self.catch(outer)
        assert caught is error
        assert_whole(registry, 2)
        records = {record.event_name: record for record in registry.events()}
        assert {record.status for record in records.values()} == {"failed"}
        assert records["outer"].error is None
        assert records["outer"].error_origin == records["inner"].task_id
        assert records["inner"].error_type in str(type.__repr__(kind))
        json.loads(get_metrics(registry))

    def test_from_blocks_and_operations(self, kind):
        """Out of with-blocks comes the very exception."""
        error = kind("text")

        def blocks():
            with traced_event("block"), network_op("h", 1):
                raise error

        with capture() as registry:
            caught = self.catch(blocks)
        assert caught is error
        assert_whole(registry, 2)
        assert registry.network_ops()[0].status == "failed"

    def test_from_generators(self, kind):
        """Out of a generator comes the very exception."""
        error = kind("text")

        @traced_event("stream")
        def stream():
            yield 1
            raise error

        with capture() as registry:
            caught = self.catch(lambda: list(stream()))
        assert caught is error
        assert_whole(registry, 1)
        assert registry.events()[0].status == "failed"

    def test_from_coroutines(self, kind):
        """Out of a coroutine comes the very exception."""
        error = kind("text")

        @traced_event("task")
        async def task():
            raise error

        with capture() as registry:
            caught = self.catch(lambda: task().send(None))
        assert caught is error
        assert_whole(registry, 1)

    def test_as_reasons_to_retry(self, kind):
        """A retry may be for any exception."""
        with capture() as registry, traced_event("x"):
            record_retry(kind("text"))
        assert registry.events()[0].retry_count == 1

    @staticmethod
    def catch(call):
        try:
            call()
        except BaseException as error:
            return error
        return None


class BrokenClock(Clock):
    """A clock that gives one answer after the other, whatever they are."""

    def __init__(self, answers):
        self.answers = answers
        self.asked = 0

    def monotonic_ns(self):
        self.asked += 1
        answer = self.answers[self.asked % len(self.answers)]
        if isinstance(answer, Exception):
            raise answer
        return answer

    time_ns = monotonic_ns


class TestClocks:
    """Clocks that go backwards, jump or break."""

    @pytest.mark.parametrize(
        "answers",
        [
            (10**9, 0, -5),
            (ValueError("x"), 5),
            ("a", None),
            (10**30, -(10**30)),
            (float("nan"), float("inf")),
        ],
        ids=["backwards", "raising", "nonsense", "huge", "infinite"],
    )
    def test_broken_clocks(self, answers):
        """Everything is recorded, and no duration is negative."""
        with capture(clock=BrokenClock(answers)) as registry:
            for _ in range(5):
                with traced_event("x"):
                    record_retry(delay=1)
                with network_op("h", 1) as op:
                    op.received(3)
        assert_whole(registry, 10)
        assert all(record.duration >= 0 for record in registry.events())
        assert all(record.latency >= 0 for record in registry.network_ops())
        assert registry.event_stats()["x"].min >= 0
        json.loads(get_metrics(registry))

    def test_raising_clocks_are_counted(self):
        """Each answer that a clock owes is counted."""
        with capture(clock=BrokenClock([ValueError("x")])) as registry, traced_event("x"):
            pass
        assert registry.health().errors["clock"]["ValueError"] > 0

    def test_the_wall_clock_may_jump(self):
        """An event lasts as long as it lasts, whatever the date does meanwhile."""
        clock = FakeClock()
        with capture(clock=clock) as registry, traced_event("x"):
            clock.advance(2)
            clock.wall_jump(-86_400)
        (record,) = registry.events()
        assert record.duration == 2.0
        assert record.end_time - record.start_time == pytest.approx(2.0)


class TestRecursion:
    """Recursion to the limit."""

    @pytest.mark.parametrize("kind", ["function", "block", "operation", "generator", "coroutine"])
    def test_of_what_is_traced(self, kind):
        """What calls itself for ever fails as it would untraced, and every part of it ends."""

        @traced_event("deep")
        def function():
            return function()

        def block():
            with traced_event("deep"):
                return block()

        def operation():
            with network_op("h", 1):
                return operation()

        @traced_event("deep")
        def produce():
            yield from produce()

        def generator():
            return list(produce())

        @traced_event("deep")
        async def task():
            return await task()

        def coroutine():
            return task().send(None)

        with capture() as registry:
            with pytest.raises(RecursionError):
                {one.__name__: one for one in (block, operation, generator, coroutine)}.get(
                    kind, function
                )()
            gc.collect()
            health = registry.health()
            assert current_event() is None
            assert health.in_flight == 0
            assert health.finished > 50
            with traced_event("after"):
                pass
        assert registry.events("after")[0].parent_id is None

    @pytest.mark.parametrize("kind", ["function", "block", "operation"])
    @pytest.mark.parametrize("looks", [False, True], ids=["unseen", "seen"])
    def test_inside_of_several_registries(self, kind, looks):
        """Wherever the stack runs out, all of them have the same, and nothing in flight for ever."""
        registries = [Registry()]

        def look(level):
            # The end of what a registry has seen in flight is announced to it.
            if looks and level == 20:
                for registry in registries:
                    registry.fold()

        @traced_event("deep")
        def function(level=0):
            look(level)
            return function(level + 1)

        def block(level=0):
            with traced_event("deep"):
                look(level)
                return block(level + 1)

        def operation(level=0):
            with network_op("h", 1):
                look(level)
                return operation(level + 1)

        deep = {"function": function, "block": block, "operation": operation}[kind]

        def begin(frames):
            return begin(frames - 1) if frames else deep()

        with monitor_events(registry=registries[0]), contextlib.ExitStack() as stack:
            registries += [stack.enter_context(capture()) for _ in range(5)]
            for frames in range(8):  # so that it runs out at another place each time
                with pytest.raises(RecursionError):
                    begin(frames)
            healths = [registry.health() for registry in registries]
        assert {health.in_flight for health in healths} == {0}
        assert len({health.finished for health in healths}) == 1

    def test_of_exceptions_texts(self):
        """An exception whose text recurses for ever is recorded without it."""

        class EndlessError(Boom):
            def __str__(self):
                return str(self)

        error = EndlessError()
        with capture() as registry, pytest.raises(EndlessError) as caught, traced_event("x"):
            raise error
        assert caught.value is error
        assert registry.events()[0].error == "<unprintable EndlessError>"


class TestGarbage:
    """Generators closed by the garbage collector."""

    def test_in_another_thread(self):
        """A generator that is garbage ends wherever the collector happens to run."""

        @traced_event("stream")
        def stream():
            yield 1
            yield 2

        class Cycle:
            pass

        with capture() as registry:
            cycle = Cycle()
            cycle.me, cycle.stream = cycle, stream()
            next(cycle.stream)
            gc.disable()
            try:
                del cycle
                collector = threading.Thread(target=gc.collect)
                collector.start()
                collector.join()
            finally:
                gc.enable()
        assert_whole(registry, 1)
        (record,) = registry.events()
        assert (record.status, record.items) == ("completed", 1)

    def test_in_the_middle_of_a_fold(self):
        """A collection may run while the registry's lock is held, by the same thread."""

        @traced_event("stream")
        def stream():
            yield 1

        held = []

        def listener(batch):
            # What the collector would do at any of these lines.
            if held:
                held.pop().close()

        with capture() as registry:
            registry.subscribe(listener)
            held.append(stream())
            next(held[0])
            for _ in range(3):
                with traced_event("x"):
                    pass
                registry.fold()
        assert_whole(registry, 4)


def in_child(work):
    """Run `work` in a forked child that is given 20 seconds; return its exit status."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            import signal

            signal.alarm(20)
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
class TestFork:
    """Forks at the worst moment."""

    def test_with_every_lock_held(self):
        """A child forked while another thread holds the registry's lock records all the same."""
        entered, leave = threading.Event(), threading.Event()
        parent = os.getpid()

        def listener(batch):
            entered.set()
            if os.getpid() == parent:
                leave.wait(20)

        def work():
            with traced_event("in child"):
                pass
            health = registry.health()
            assert (health.finished, health.in_flight) == (1, 0)
            json.loads(get_metrics(registry))

        with capture() as registry:
            unsubscribe = registry.subscribe(listener)
            with traced_event("x"):
                pass
            holder = threading.Thread(target=registry.fold)
            holder.start()
            assert entered.wait(20)
            try:
                assert in_child(work) == 0
            finally:
                leave.set()
                holder.join()
            unsubscribe()
        assert_whole(registry, 1)

    def test_within_an_event(self):
        """An event open at the fork is the parent's; the child's own hang under it."""
        with capture() as registry, traced_event("outer") as outer:

            def work():
                with traced_event("inner"):
                    pass
                (record,) = registry.events("inner")
                assert record.parent_id == outer.task_id
                assert registry.health().finished == 1

            assert in_child(work) == 0
        assert_whole(registry, 1)


class TestFolds:
    """What goes wrong while records are put away."""

    def test_a_fold_that_fails(self, monkeypatch):
        """The program sees nothing of it; it is counted, and totals stay exact."""

        @traced_event("step")
        def step(value):
            return value

        def fail(self, *batch):
            monkeypatch.undo()
            raise MemoryError

        with capture() as registry:
            monkeypatch.setattr(Retention, "keep", fail)
            assert [step(number) for number in range(2_500)] == [*range(2_500)]
            health = registry.health()
        assert health.errors["fold"] == {"MemoryError": 1}
        assert (health.started, health.finished) == (2_500, 2_500)
        assert len(registry.events()) + health.evicted == 2_500
        assert registry.event_stats()["step"].count == 2_500


class TestListeners:
    """What listens to a registry may fail."""

    def test_a_listener_that_raises_and_records(self):
        """Its error is counted, its own events are recorded, and nobody waits for ever."""

        @traced_event("step")
        def step():
            return 1

        def listener(batch):
            if len(batch) > 100:
                step()
            raise OSError("down")

        with capture() as registry:
            registry.subscribe(listener)
            for _ in range(2_500):
                assert step() == 1
            errors = registry.health().errors["listener"]
        assert errors["OSError"] >= 1
        assert registry.event_stats()["step"].count == registry.health().finished > 2_500

    def test_strict_raises(self):
        """In strict mode the listener's error is raised."""
        with capture(strict=True) as registry:
            registry.subscribe(lambda batch: 1 / 0)
            with traced_event("x"):
                pass
            with pytest.raises(ZeroDivisionError):
                registry.fold()


class TestStrict:
    """What is swallowed otherwise is raised in strict mode."""

    @pytest.mark.parametrize(
        "misuse",
        [
            lambda event, op: event.set_attribute("late", 1),
            lambda event, op: event.retry(),
            lambda event, op: op.sent(1),
            lambda event, op: op.set_attribute("late", 1),
            lambda event, op: record_retry(),
        ],
    )
    def test_misuse(self, misuse):
        """Using what has ended is counted, and raises in strict mode."""
        for strict in (False, True):
            with capture(strict=strict) as registry:
                with traced_event("x") as event, network_op("h", 1) as op:
                    pass
                before = Counter(
                    {stage: sum(counts.values()) for stage, counts in self.errors(registry).items()}
                )
                if strict:
                    with pytest.raises(TelemetryError):
                        misuse(event, op)
                else:
                    misuse(event, op)
                after = Counter(
                    {stage: sum(counts.values()) for stage, counts in self.errors(registry).items()}
                )
                assert (after - before).total() == 1

    @staticmethod
    def errors(registry):
        return registry.health().errors

    def test_broken_clock(self):
        """A clock that raises is seen at once."""
        with (
            pytest.raises(ValueError, match="broken"),
            capture(clock=BrokenClock([ValueError("broken")]), strict=True),
            traced_event("x"),
        ):
            pass


class TestPublishers:
    """Publishers that raise, hang, or call traced code."""

    def test_one_that_raises(self):
        """The program sees nothing of it, the other publisher gets everything."""
        bad, good = FailingPublisher(ValueError("down")), RecordingPublisher()
        registry = Registry()
        with monitor_events([bad, good], registry=registry, interval=0.01) as monitor:
            for _ in range(10):
                with traced_event("x"):
                    pass
            monitor.flush(2)
            publishers = monitor.health().publishers
        assert len(good.events) == 10
        assert not bad.events
        for counts in publishers.values():
            dropped = sum(counts["dropped"].values())
            assert counts["accepted"] == counts["delivered"] + dropped + counts["pending"]

    def test_one_that_hangs(self):
        """A publisher that never returns keeps neither the program nor its neighbours waiting."""
        release = threading.Event()

        class Hanging(RecordingPublisher):
            def publish_event_metrics(self, metrics):
                release.wait(60)

        hanging, good = Hanging(), RecordingPublisher()
        monitor = monitor_events([hanging, good], registry=Registry(), interval=0.01)
        try:
            for _ in range(10):
                with traced_event("x"):
                    pass
            assert not monitor.flush(0.5)
            assert len(good.events) == 10
            counts = monitor.health().publishers["Hanging"]
            assert counts["accepted"] == 10
            assert counts["accepted"] == counts["delivered"] + counts["pending"]
        finally:
            release.set()
            monitor.close(10)

    def test_one_that_calls_traced_code(self):
        """A publisher's own traffic is never recorded, or it would feed itself."""

        @traced_event("publishing")
        def publish(metrics):
            with network_op("backend", 443):
                return metrics

        class Traced(RecordingPublisher):
            def publish_event_metrics(self, metrics):
                super().publish_event_metrics(publish(metrics))

        publisher, registry = Traced(), Registry()
        with monitor_events([publisher], registry=registry, interval=0.01) as monitor:
            with traced_event("x"):
                pass
            assert monitor.flush(10)
        assert [record.event_name for record in publisher.events] == ["x"]
        assert registry.health().started == 1


class TestInterference:
    """Untraced generators, odd results, telemetry switched while something runs."""

    def test_interleaved_blocks_of_one_name(self):
        """Two generators hold a block of the same name open and end in another order."""
        clock = FakeClock()

        def hold(number):
            with traced_event("held") as event:
                event.set_attribute("n", number)
                yield

        with capture(clock=clock) as registry:
            first, second = hold(1), hold(2)
            next(first)
            clock.advance(1)
            next(second)
            clock.advance(1)
            with pytest.raises(Boom):
                first.throw(Boom("first"))
            clock.advance(1)
            next(second, None)
            health = registry.health()
        assert (health.finished, health.in_flight) == (2, 0)
        found = {record.attributes["n"]: record for record in registry.events()}
        assert (found[1].status, found[1].duration) == ("failed", 2.0)
        assert (found[2].status, found[2].duration) == ("completed", 2.0)

    def test_results_of_hostile_classes(self):
        """A result whose class raises when looked at is returned all the same."""

        class Meta(type):
            def __getattribute__(cls, name):
                raise ValueError(name)

        result = Meta("Odd", (), {})()

        @traced_event("through")
        def through():
            return result

        with capture() as registry:
            assert through() is result
        assert_whole(registry, 1)

    def test_capture_left_while_something_runs(self):
        """An event that outlives its capture ends there all the same."""

        @traced_event("stream")
        def stream():
            yield 1

        with capture() as registry:
            running = stream()
            next(running)
        assert registry.health().in_flight == 1
        running.close()
        assert_whole(registry, 1)

    def test_threads_that_record_and_ask_at_once(self):
        """Nothing is lost or counted twice while others fold, ask and clear nothing."""
        barrier = threading.Barrier(4)

        @traced_event("step")
        def step():
            pass

        def work():
            barrier.wait(20)
            for _ in range(3_000):
                step()

        def ask():
            barrier.wait(20)
            for _ in range(30):
                health = registry.health()
                assert health.started == health.finished + health.in_flight
                registry.events(status="running")

        with capture() as registry:
            threads = [threading.Thread(target=propagate(work)) for _ in range(3)]
            threads.append(threading.Thread(target=propagate(ask)))
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert_whole(registry, 9_000)
        assert registry.event_stats()["step"].count == 9_000

    def test_a_switch_interval_of_nothing(self):
        """Threads that change places at every chance lose nothing either."""
        before = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            self.test_threads_that_record_and_ask_at_once()
        finally:
            sys.setswitchinterval(before)
