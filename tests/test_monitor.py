"""`monitor_events` and the monitor it returns: the one place that knows both ends."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading

import pytest

from volnux.telemetry import (
    CompositePublisher,
    ConsolePublisher,
    MetricsPublisher,
    Monitor,
    Registry,
    capture,
    monitor_events,
    network_op,
    traced_event,
)
from volnux.telemetry._monitor import _flatten
from volnux.telemetry._switch import SWITCH
from volnux.telemetry.testing import FailingPublisher, RecordingPublisher


@traced_event
def step():
    pass


class Gate(RecordingPublisher):
    """Holds every record until it is opened."""

    def __init__(self):
        super().__init__()
        self.entered, self.opened = threading.Event(), threading.Event()

    def publish_event_metrics(self, metrics):
        self.entered.set()
        self.opened.wait()
        super().publish_event_metrics(metrics)


class TestSwitching:
    """Telemetry is on while at least one monitor is open."""

    def test_it_is_on_between_the_call_and_close(self):
        """Before and after, nothing is kept."""
        registry = Registry()
        step()
        monitor = monitor_events(registry=registry)
        step()
        monitor.close()
        step()
        assert not SWITCH.on
        assert monitor.health().finished == 1

    def test_a_publisher_need_not_know_of_its_end(self):
        """Without a flush and a close of its own it has nothing left to do."""

        class Bare:
            names = []

            def publish_event_metrics(self, metrics):
                self.names.append(metrics.event_name)

            def publish_network_metrics(self, metrics):
                self.names.append(metrics["operation"])

        monitor = monitor_events([Bare()], registry=Registry())
        step()
        assert monitor.flush()
        assert monitor.close()
        assert Bare.names == ["step"]

    def test_two_monitors_keep_it_on_until_the_last_one_closes(self):
        """Whichever closes first."""
        registry = Registry()
        first, second = monitor_events(registry=registry), monitor_events()
        first.close()
        step()
        second.close()
        step()
        assert [record.event_name for record in registry.events()] == ["step"]

    def test_closing_twice_is_closing_once(self):
        """The second time takes nothing away from others."""
        with monitor_events() as other:
            monitor = monitor_events()
            assert monitor.close()
            assert monitor.close()
            assert SWITCH.on
        assert repr(other) == "<Monitor closed: no publishers>"

    def test_off_in_the_environment_wins(self, monkeypatch):
        """The monitor does nothing, and says so."""
        monkeypatch.setenv("VOLNUX_TELEMETRY", "off")
        publisher = RecordingPublisher()
        with monitor_events([publisher], registry=Registry()) as monitor:
            step()
            assert monitor.flush()
            assert repr(monitor) == "<Monitor off: VOLNUX_TELEMETRY says so>"
            health = monitor.health()
        assert (publisher.events, health.started, health.publishers) == ([], 0, {})

    def test_off_in_the_environment_still_finds_mistakes(self, monkeypatch):
        """What is wrong in production is wrong here."""
        monkeypatch.setenv("VOLNUX_TELEMETRY", "off")
        with pytest.raises(TypeError, match="is no publisher"):
            monitor_events([3])


class TestPublishing:
    """What is recorded arrives at every publisher."""

    def test_events_and_operations_arrive(self):
        """As a record, and as a dict."""
        publisher = RecordingPublisher()
        with monitor_events(publisher, registry=Registry()) as monitor:
            step()
            with network_op("example.org", 443) as op:
                op.sent(7)
            assert monitor.flush()
            assert [record.event_name for record in publisher.events] == ["step"]
            assert [data["bytes_sent"] for data in publisher.network_ops] == [7]

    def test_closing_delivers_what_is_left(self):
        """Without a flush before."""
        publisher = RecordingPublisher()
        with monitor_events([publisher], registry=Registry()):
            step()
        assert len(publisher.events) == 1

    def test_few_records_are_published_within_the_interval(self):
        """Nobody flushes, and there are far fewer than a batch."""
        publisher = Gate()
        with monitor_events([publisher], registry=Registry(), interval=0.001):
            step()
            assert publisher.entered.wait(60)
            publisher.opened.set()

    def test_records_from_before_are_not_published(self):
        """A publisher gets what is recorded from its call on."""
        registry, late = Registry(), RecordingPublisher()
        with monitor_events(registry=registry):
            step()
            with monitor_events([late]):
                step()
        assert len(late.events) == 1

    def test_captured_records_arrive_too_unless_isolated(self):
        """They flow on to the enclosing registry, and so to its publishers."""
        publisher = RecordingPublisher()
        with monitor_events([publisher], registry=Registry()) as monitor:
            with capture():
                step()
            with capture(isolated=True):
                step()
            assert monitor.flush()
            assert len(publisher.events) == 1

    def test_each_call_adds_its_publishers(self):
        """The first one goes on."""
        first, second = RecordingPublisher(), RecordingPublisher()
        with monitor_events([first], registry=Registry()), monitor_events([second]):
            step()
        assert (len(first.events), len(second.events)) == (1, 1)

    def test_one_that_hangs_keeps_no_other_waiting(self):
        """Each has a queue and a thread of its own, also inside a composite."""
        gate, free = Gate(), RecordingPublisher()
        monitor = monitor_events([CompositePublisher([gate, free])], registry=Registry())
        step()
        assert not monitor.flush(timeout=0.0)
        gate.entered.wait()
        with monitor_events([free]) as second:
            assert second.flush(timeout=None)
        assert len(free.events) == 1
        gate.opened.set()
        assert monitor.close(timeout=None)

    def test_one_that_raises_keeps_no_other_from_its_records(self):
        """And the program sees nothing of it."""
        failing, other = FailingPublisher(TypeError("bug")), RecordingPublisher()
        with monitor_events([failing, other], registry=Registry()) as monitor:
            step()
            monitor.close(timeout=0.5)
        assert len(other.events) == 1
        assert monitor.health().publishers["FailingPublisher"]["delivered"] == 0

    def test_the_same_publisher_is_used_once(self):
        """Given twice in one call, inside a composite, and by another call."""
        one = RecordingPublisher()
        both = CompositePublisher([one, CompositePublisher([one])])
        with monitor_events([one, both, one], registry=Registry()) as first:
            with monitor_events(one) as second:
                step()
            assert list(first.health().publishers) == list(second.health().publishers)
            step()
        assert len(one.events) == 2
        assert first.health().publishers["RecordingPublisher"]["accepted"] == 2

    def test_a_monitor_that_nobody_holds_goes_on(self):
        """`monitor_events([...])` as a statement is all it takes."""
        publisher = Gate()
        publisher.opened.set()
        registry = Registry()
        monitor_events([publisher], registry=registry)
        gc.collect()
        step()
        with monitor_events([publisher]) as monitor:
            assert monitor.flush()
        assert len(publisher.events) == 1
        # Nobody can close the first one any more, but for its deliveries and the switch.
        Monitor(registry, monitor._deliveries, is_off=False).close()

    def test_no_resource_warning_for_a_forgotten_monitor(self):
        """A program that never closes it is in order: its exit does."""
        code = (
            "from volnux.telemetry import *; from volnux.telemetry.testing import *\n"
            "monitor_events([RecordingPublisher()]); import gc; gc.collect()"
        )
        done = subprocess.run(
            [sys.executable, "-X", "dev", "-W", "error", "-c", code],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")


class TestHealth:
    """For each publisher, what has become of its records."""

    def test_it_has_the_registry_s_numbers_and_each_publisher_s(self):
        """Accepted, delivered, dropped by reason, pending, spooled."""
        with monitor_events([RecordingPublisher()], registry=Registry()) as monitor:
            step()
            monitor.flush()
            health = monitor.health()
        assert (health.started, health.finished) == (1, 1)
        assert health.to_dict()["publishers"] == {
            "RecordingPublisher": {
                "accepted": 1,
                "delivered": 1,
                "dropped": {},
                "pending": 0,
                "spooled": 0,
            }
        }

    def test_names_are_made_unique(self):
        """Two of a kind can be told apart."""
        publishers = [RecordingPublisher(), RecordingPublisher(), ConsolePublisher()]
        with monitor_events(publishers, registry=Registry()) as monitor:
            names = ["RecordingPublisher", "RecordingPublisher-2", "ConsolePublisher"]
            assert list(monitor.health().publishers) == names
            assert repr(monitor) == f"<Monitor open: {', '.join(names)}>"

    def test_a_publisher_may_name_itself(self):
        """By its `name`."""

        class Named(RecordingPublisher):
            name = "kitchen"

        with monitor_events([Named()], registry=Registry()) as monitor:
            assert list(monitor.health().publishers) == ["kitchen"]

    def test_what_is_dropped_is_told_by_reason(self):
        """Here by a queue of two, and a close that cannot wait."""
        gate = Gate()
        monitor = monitor_events([gate], registry=Registry(), queue_items=2)
        for _ in range(5):
            step()
        monitor.flush(timeout=0.0)
        monitor.close(timeout=0.0)
        numbers = monitor.health().publishers["Gate"]
        gate.opened.set()
        assert numbers["dropped"] == {"queue_full": 3, "shutdown": 2}
        assert (numbers["accepted"], numbers["pending"]) == (5, 0)


class TestStrict:
    """In strict mode the caller of `flush` and `close` sees what went wrong."""

    @pytest.mark.parametrize("by", ["registry", "argument"])
    def test_flush_raises_what_the_publisher_raised(self, by):
        """The very same exception."""
        registry = Registry(strict=by == "registry")
        error = TypeError("bug")
        publisher = FailingPublisher(error, times=1)
        strict = True if by == "argument" else None
        monitor = monitor_events([publisher], registry=registry, strict=strict)
        step()
        with pytest.raises(TypeError) as caught:
            monitor.flush()
        assert caught.value is error
        monitor.close()

    def test_close_raises_it_after_closing(self):
        """Telemetry is off all the same."""
        publisher = FailingPublisher(TypeError("bug"), times=1)
        monitor = monitor_events([publisher], registry=Registry(), strict=True)
        step()
        with pytest.raises(TypeError, match="bug"):
            monitor.close()
        assert not SWITCH.on

    def test_otherwise_nothing_is_raised(self):
        """The program goes on, health tells."""
        publisher = FailingPublisher(TypeError("bug"), times=1)
        with monitor_events([publisher], registry=Registry()) as monitor:
            step()
            assert monitor.flush()
            assert monitor.health().errors == {"publish": {"TypeError": 1}}


class TestMistakes:
    """Set-up mistakes raise at once, and the message names the way out."""

    @pytest.mark.parametrize("wrong", [3, "console", [3], object(), [RecordingPublisher(), None]])
    def test_what_is_no_publisher(self, wrong):
        """The message names the base class and the two methods."""
        with pytest.raises(TypeError) as caught:
            monitor_events(wrong)
        for name in ("MetricsPublisher", "publish_event_metrics", "publish_network_metrics"):
            assert name in str(caught.value)
        assert not SWITCH.on

    def test_a_class_instead_of_an_object(self):
        """A common slip has an answer of its own."""
        with pytest.raises(TypeError, match=r"give an instance, ConsolePublisher\(\.\.\.\)"):
            monitor_events([ConsolePublisher])
        with pytest.raises(TypeError, match="is a class"):
            CompositePublisher([ConsolePublisher])

    @pytest.mark.parametrize(
        "options",
        [
            {"queue_items": 0},
            {"queue_bytes": -1},
            {"queue_items": "many"},
            {"interval": 0},
            {"interval": float("nan")},
            {"interval": float("inf")},
            {"interval": "1s"},
            {"when_full": "explode"},
        ],
    )
    def test_numbers_and_words_out_of_range(self, options):
        """The message names the argument and what was given."""
        [(name, value)] = options.items()
        with pytest.raises(ValueError, match=name) as caught:
            monitor_events(**options)
        assert repr(value) in str(caught.value)
        assert not SWITCH.on

    def test_a_registry_that_is_none(self):
        """The message says what it must be."""
        with pytest.raises(TypeError, match=r"must be a volnux\.telemetry\.Registry, not 'mine'"):
            monitor_events(registry="mine")

    def test_a_generator_of_publishers_is_fine(self):
        """Any iterable will do, and none at all."""
        one = RecordingPublisher()
        assert _flatten(item for item in [one]) == [one]
        assert _flatten(None) == []

    def test_an_abstract_publisher_cannot_be_made(self):
        """A missing method is found where the publisher is made."""
        with pytest.raises(TypeError, match="publish_network_metrics"):
            type("Half", (MetricsPublisher,), {"publish_event_metrics": print})()


def test_a_signal_handler_may_flush_in_the_middle_of_anything():
    """It answers, true or false, and deadlocks nobody."""
    answers = []
    publisher = RecordingPublisher()
    with monitor_events([publisher], registry=Registry()) as monitor:
        before = signal.signal(signal.SIGUSR1, lambda *_: answers.append(monitor.flush(60)))
        try:
            for _ in range(20):
                for _ in range(1_100):
                    step()
                os.kill(os.getpid(), signal.SIGUSR1)
        finally:
            signal.signal(signal.SIGUSR1, before)
        assert monitor.flush(60)
    assert len(answers) == 20
    assert len(publisher.events) == 22_000


def test_events_ended_by_the_garbage_collector_are_delivered():
    """A generator that is closed wherever a collection strikes, also inside delivery."""

    @traced_event
    def stream():
        while True:
            yield

    publisher = RecordingPublisher()
    with monitor_events([publisher], registry=Registry()) as monitor:
        for _ in range(3_000):
            endless = stream()
            next(endless)
            cycle = [endless]
            cycle.append(cycle)
            del endless, cycle
        gc.collect()
        assert monitor.flush(60)
    assert len(publisher.events) == 3_000


def test_eight_threads_and_two_publishers_lose_nothing():
    """And at every moment the counts add up, whoever flushes in the middle."""
    publishers = [RecordingPublisher(), RecordingPublisher()]
    start = threading.Barrier(8)

    def work():
        start.wait()
        for _ in range(1_000):
            step()

    with monitor_events(publishers, registry=Registry()) as monitor:
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            for numbers in monitor.health().publishers.values():
                settled = numbers["delivered"] + sum(numbers["dropped"].values())
                assert numbers["accepted"] == settled + numbers["pending"]
            monitor.flush(60)
        assert monitor.flush(60)
    assert [len(publisher.events) for publisher in publishers] == [8_000, 8_000]


class TestFoldingForOthers:
    """Threads that record are spared folding where a delivery has a thread of its own."""

    def test_the_thread_folds_before_its_interval(self):
        """And sends no earlier for it."""
        publisher, told = RecordingPublisher(), threading.Event()
        registry = Registry()
        monitor = monitor_events([publisher], registry=registry, interval=3_600)
        registry.subscribe(lambda batch: told.set())
        for _ in range(2_000):
            step()
        assert told.wait(60)
        assert publisher.events == []
        assert monitor.close(timeout=None)
        assert len(publisher.events) == 2_000

    def test_who_records_folds_what_the_thread_does_not(self, monkeypatch):
        """A publisher that hangs keeps nothing waiting without bounds."""
        monkeypatch.setattr("volnux.telemetry._intake.LEFT", 1_000)
        gate, registry = Gate(), Registry()
        monitor = monitor_events([gate], registry=registry)
        step()
        assert not monitor.flush(timeout=0.0)
        gate.entered.wait()
        for _ in range(5_000):
            step()
        waiting = len(registry._pending)
        gate.opened.set()
        assert monitor.close(timeout=None)
        assert waiting <= 1_001


def test_a_ctrl_c_at_the_end_of_the_process_ends_the_waiting():
    """Without a traceback through files that are not the program's."""
    code = """
import os, signal, threading
from volnux.telemetry import MetricsPublisher, monitor_events, traced_event

class Stuck(MetricsPublisher):
    def publish_event_metrics(self, metrics):
        while True:  # the first may come just before the main thread waits, and unnoticed
            os.kill(os.getpid(), signal.SIGINT)
            threading.Event().wait(2)

    def publish_network_metrics(self, metrics):
        pass

signal.signal(signal.SIGINT, signal.default_int_handler)
monitor_events([Stuck()])
with traced_event("step"):
    pass
"""
    env = {**os.environ, "VOLNUX_EXIT_TIMEOUT": "60"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        timeout=50,
        env=env,
    )
    assert done.stderr == ""
