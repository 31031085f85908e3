"""The test kit: a clock that stands still, and publishers that remember or fail."""

from __future__ import annotations

import pytest

from volnux.telemetry import (
    Clock,
    EventMetrics,
    MetricsPublisher,
    NetworkMetrics,
    capture,
    monitor_events,
    network_op,
    traced_event,
)
from volnux.telemetry.testing import FailingPublisher, FakeClock, RecordingPublisher

EVENT = EventMetrics(event_name="load", task_id="1")
OPERATION = NetworkMetrics(host="a", task_id="2").to_dict()


def publish(publisher):
    publisher.publish_event_metrics(EVENT)
    publisher.publish_network_metrics(OPERATION)


class TestFakeClock:
    def test_is_a_clock(self):
        """Whatever takes a clock takes this one."""
        assert isinstance(FakeClock(), Clock)

    def test_stands_still(self):
        """Two readings are the same."""
        clock = FakeClock(start=1_000.0)

        assert [clock.monotonic_ns() for _ in "ab"] == [0, 0]
        assert [clock.time_ns() for _ in "ab"] == [1_000_000_000_000] * 2

    def test_moves_both_hands_when_told_to(self):
        """Measuring and dating agree."""
        clock = FakeClock(start=1_000.0)
        clock.advance(2.5)

        assert (clock.monotonic_ns(), clock.time_ns()) == (2_500_000_000, 1_002_500_000_000)

    def test_goes_back_when_told_to(self):
        """For tests of what should never happen."""
        clock = FakeClock(start=1_000.0)
        clock.advance(-1.0)

        assert clock.monotonic_ns() == -1_000_000_000

    def test_jumps_with_the_wall_clock_alone(self):
        """As NTP does."""
        clock = FakeClock(start=1_000.0)
        clock.wall_jump(60.0)

        assert (clock.monotonic_ns(), clock.time_ns()) == (0, 1_060_000_000_000)

    def test_makes_durations_exact(self):
        """As its documentation shows."""
        clock = FakeClock()
        with capture(clock=clock) as registry, traced_event("step"):
            clock.advance(1.5)

        assert registry.events()[0].duration == 1.5

    def test_adds_up_without_drift(self):
        """Ten times a tenth is one."""
        clock = FakeClock()
        for _ in range(10):
            clock.advance(0.1)

        assert clock.monotonic_ns() == 1_000_000_000


class TestRecordingPublisher:
    def test_is_a_publisher(self):
        """Whatever takes a publisher takes this one."""
        assert isinstance(RecordingPublisher(), MetricsPublisher)

    def test_remembers_what_it_is_given(self):
        """By kind, in order."""
        publisher = RecordingPublisher()
        publish(publisher)
        publish(publisher)

        assert (publisher.events, publisher.network_ops) == ([EVENT] * 2, [OPERATION] * 2)

    def test_gets_what_is_recorded(self):
        """Through a monitor, as any back end."""
        publisher = RecordingPublisher()
        with monitor_events([publisher]) as monitor:
            with traced_event("load"), network_op("a", 1) as op:
                op.sent(5)
            assert monitor.flush(timeout=30)

        assert [event.event_name for event in publisher.events] == ["load"]
        assert [op["bytes_sent"] for op in publisher.network_ops] == [5]


class TestFailingPublisher:
    def test_fails_always_by_default(self):
        """As a back end that is down does."""
        publisher = FailingPublisher()
        for _ in range(3):
            with pytest.raises(OSError, match="this back end is down"):
                publisher.publish_event_metrics(EVENT)
        with pytest.raises(OSError):
            publisher.publish_network_metrics(OPERATION)

        assert (publisher.events, publisher.network_ops) == ([], [])

    def test_fails_so_many_times(self):
        """And works from then on."""
        publisher = FailingPublisher(times=2)
        for _ in range(2):
            with pytest.raises(OSError):
                publisher.publish_event_metrics(EVENT)
        publish(publisher)

        assert (publisher.events, publisher.network_ops) == ([EVENT], [OPERATION])

    def test_fails_as_it_is_told(self):
        """With any exception."""
        wrong = ValueError("not like this")
        with pytest.raises(ValueError) as caught:
            FailingPublisher(wrong).publish_event_metrics(EVENT)

        assert wrong is caught.value
