"""What one can ask: each function, its defaults, its order."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime, timezone

import pytest

from volnux.telemetry import (
    EventMetrics,
    NetworkMetrics,
    Registry,
    capture,
    get_event_stats,
    get_failed_events,
    get_failed_network_ops,
    get_metrics,
    get_network_stats,
    get_retry_stats,
    get_slow_events,
    get_slow_network_ops,
    health,
    network_op,
    record_retry,
    traced_event,
)
from volnux.telemetry.testing import FakeClock


def work(clock, name, seconds, error=None):
    """Record an event of that length."""
    try:
        with traced_event(name):
            clock.advance(seconds)
            if error is not None:
                raise error
    except type(error or None):
        pass


def exchange(clock, operation, seconds, error=None):
    """Record an operation of that length."""
    try:
        with network_op("db", 1, operation):
            clock.advance(seconds)
            if error is not None:
                raise error
    except type(error or None):
        pass


def names(events):
    return [event.event_name for event in events]


def operations(ops):
    return [op.operation for op in ops]


class TestFailed:
    def test_events_are_oldest_first(self, registry, clock):
        """And only those that failed."""
        work(clock, "first", 9.0, ValueError("no"))
        work(clock, "good", 1.0)
        work(clock, "stopped", 1.0, KeyboardInterrupt())
        work(clock, "second", 1.0, OSError("no"))

        assert names(get_failed_events()) == ["first", "second"]

    def test_operations_are_oldest_first(self, registry, clock):
        """And only those that failed."""
        exchange(clock, "first", 9.0, OSError("no"))
        exchange(clock, "good", 1.0)
        exchange(clock, "second", 1.0, OSError("no"))

        assert operations(get_failed_network_ops()) == ["first", "second"]

    def test_there_may_be_none(self, registry):
        """An empty list is an answer."""
        assert (get_failed_events(), get_failed_network_ops()) == ([], [])


class TestSlow:
    def test_events_are_slowest_first(self, registry, clock):
        """By default those of more than a second."""
        for name, seconds in (("a", 1.5), ("b", 0.5), ("c", 3.0), ("d", 1.0), ("e", 2.0)):
            work(clock, name, seconds)

        assert names(get_slow_events()) == ["c", "e", "a"]

    def test_operations_are_slowest_first(self, registry, clock):
        """By default those of more than a second."""
        for name, seconds in (("a", 1.5), ("b", 0.5), ("c", 3.0), ("d", 1.0)):
            exchange(clock, name, seconds)

        assert operations(get_slow_network_ops()) == ["c", "a"]

    @pytest.mark.parametrize("seconds", [0.067, 0.1, 0.25, 1.0, 1.001, 2.3, 4.1, 1.100001, 60.0])
    def test_means_strictly_longer(self, registry, clock, seconds):
        """Exactly as long as the threshold is not slow, one nanosecond more is."""
        work(clock, "exact", seconds)
        work(clock, "longer", seconds + 1e-9)
        exchange(clock, "exact", seconds)
        exchange(clock, "longer", seconds + 1e-9)

        assert names(get_slow_events(threshold_seconds=seconds)) == ["longer"]
        assert operations(get_slow_network_ops(threshold_seconds=seconds)) == ["longer"]

    @pytest.mark.parametrize("seconds", [0.067, 1.0, 1.001])
    def test_means_strictly_longer_for_those_in_flight(self, registry, clock, seconds):
        """Their age is compared in the same way."""
        with traced_event("running"), network_op("db", 1):
            clock.advance(seconds)
            exact = get_slow_events(seconds), get_slow_network_ops(seconds)
            clock.advance(1e-9)

            assert exact == ([], [])
            assert len(get_slow_events(seconds)) == len(get_slow_network_ops(seconds)) == 1

    def test_a_threshold_of_zero_finds_all_that_took_any_time(self, registry, clock):
        """But nothing that took none."""
        work(clock, "some", 0.001)
        work(clock, "none", 0.0)

        assert names(get_slow_events(0)) == ["some"]

    @pytest.mark.parametrize("threshold", [float("inf"), 1e30])
    def test_no_threshold_is_too_high(self, registry, clock, threshold):
        """It only finds nothing."""
        work(clock, "long", 1e6)

        assert get_slow_events(threshold) == []

    def test_running_events_count_by_their_age(self, registry, clock):
        """In their place among the finished."""
        work(clock, "longest", 9.0)
        with traced_event("running"):
            clock.advance(2.0)
            work(clock, "short", 3.0)

            slow = get_slow_events()
        assert [(event.event_name, event.status, event.duration) for event in slow] == [
            ("longest", "completed", 9.0),
            ("running", "running", 5.0),
            ("short", "completed", 3.0),
        ]

    def test_running_operations_count_by_their_age(self, registry, clock):
        """An exchange that hangs can be found."""
        with network_op("db", 1, "hangs"):
            clock.advance(30.0)

            assert [(op.operation, op.latency) for op in get_slow_network_ops()] == [
                ("hangs", 30.0)
            ]

    def test_added_records_are_found(self, registry):
        """Wherever they were made."""
        registry.add(EventMetrics(event_name="added", task_id="1", duration=5.0))
        registry.add(NetworkMetrics(host="a", task_id="2", operation="added", latency=5.0))

        assert names(get_slow_events()) == operations(get_slow_network_ops()) == ["added"]


class TestStats:
    def test_of_events(self, registry, clock):
        """By name."""
        work(clock, "load", 2.0)

        assert get_event_stats() == registry.event_stats()
        assert get_event_stats()["load"].total == 2.0

    def test_of_operations(self, registry, clock):
        """By host, port and operation."""
        exchange(clock, "query", 2.0)

        assert get_network_stats() == registry.network_stats()
        assert get_network_stats()["db", 1, "query"].total == 2.0

    def test_of_retries(self, registry):
        """Over all events."""
        with traced_event("load"):
            record_retry()

        assert get_retry_stats() == registry.retry_stats()
        assert get_retry_stats().recovered == 1

    def test_of_health(self, registry, clock):
        """Of the current registry."""
        work(clock, "load", 1.0)

        assert health().finished == 1


class TestWhose:
    QUESTIONS = (
        get_failed_events,
        get_slow_events,
        get_failed_network_ops,
        get_slow_network_ops,
        get_event_stats,
        get_network_stats,
        get_retry_stats,
        health,
    )

    @pytest.mark.parametrize("ask", QUESTIONS, ids=lambda ask: ask.__name__)
    def test_the_current_registry_by_default(self, registry, clock, ask):
        """That of the innermost capture."""
        work(clock, "outer", 5.0, ValueError("no"))
        with traced_event("retried"):
            record_retry()
        exchange(clock, "outer", 5.0, ValueError("no"))
        with capture(isolated=True):
            nothing = ask()

        assert nothing != ask()
        assert ask() == ask(registry=registry)

    @pytest.mark.parametrize("ask", QUESTIONS, ids=lambda ask: ask.__name__)
    def test_any_registry_on_request(self, registry, clock, ask):
        """Also one that is not current."""
        work(clock, "outer", 5.0, ValueError("no"))
        exchange(clock, "outer", 5.0, ValueError("no"))
        other = Registry()
        with capture(isolated=True):
            nothing = ask()

        assert ask(registry=other) == nothing

    def test_never_switched_on_warns_once(self):
        """By a warning that names the way out, at the caller's line."""
        code = (
            "import warnings\n"
            "from volnux.telemetry import get_failed_events, get_metrics\n"
            "with warnings.catch_warnings(record=True) as caught:\n"
            "    warnings.simplefilter('always')\n"
            "    get_failed_events()\n"
            "    get_metrics()\n"
            "[one] = caught\n"
            "print(one.category.__name__, one.lineno, 'monitor_events()' in str(one.message))\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )

        assert done.stdout == "TelemetryWarning 5 True\n"

    @pytest.mark.parametrize(
        "switch_on",
        [
            "from volnux.telemetry import monitor_events; monitor_events()",
            "from volnux.telemetry import capture\nwith capture(): pass",
        ],
    )
    def test_switched_on_once_never_warns(self, switch_on):
        """Also after it was switched off again."""
        code = f"{switch_on}\nfrom volnux.telemetry import get_failed_events; get_failed_events()"

        subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)

    def test_switched_off_by_the_environment_says_so(self):
        """And not to call what has been called already."""
        code = (
            "from volnux.telemetry import get_failed_events, monitor_events\n"
            "monitor_events(); get_failed_events()"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "VOLNUX_TELEMETRY": "off"},
        )

        assert "VOLNUX_TELEMETRY switches telemetry off" in done.stderr
        assert "call monitor_events()" not in done.stderr

    def test_a_registry_that_was_given_never_warns(self):
        """Who has one knows what is in it."""
        code = (
            "from volnux.telemetry import Registry, get_failed_events\n"
            "get_failed_events(Registry())"
        )

        subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def metrics(**options):
    return json.loads(get_metrics(**options))


class TestMetrics:
    def test_have_a_schema(self, registry):
        """Its version, when it was made, and where."""
        before = datetime.now(timezone.utc)
        data = metrics()

        assert data["schema"] == "volnux.telemetry/1"
        assert datetime.fromisoformat(data["generated_at"].replace("Z", "+00:00")) >= before
        assert set(data) == {
            "schema",
            "generated_at",
            "process_id",
            "event_stats",
            "network_stats",
            "retry_stats",
            "events",
            "network_ops",
            "health",
        }

    def test_hold_everything_that_can_be_asked(self, registry, clock):
        """In the shape that each answer has as a dict."""
        work(clock, "load", 2.0, ValueError("no"))
        exchange(clock, "query", 1.0)
        data = metrics()

        assert data["event_stats"] == {"load": get_event_stats()["load"].to_dict()}
        assert data["network_stats"] == [
            {
                "host": "db",
                "port": 1,
                "operation": "query",
                **get_network_stats()["db", 1, "query"].to_dict(),
            }
        ]
        assert data["retry_stats"] == get_retry_stats().to_dict()
        assert data["events"] == [event.to_dict() for event in registry.events()]
        assert data["network_ops"] == [op.to_dict() for op in registry.network_ops()]
        assert data["health"] == health().to_dict()

    def test_have_numbers_for_numbers(self, registry, clock):
        """Seconds are numbers, stamps are ISO-8601."""
        work(clock, "load", 2.0)
        [event] = metrics()["events"]

        assert (event["duration"], event["start_time"]) == (2.0, "2023-11-14T22:13:20.000000Z")

    def test_list_the_latest(self, registry, clock):
        """As many as asked for, oldest first."""
        for number in range(5):
            work(clock, f"event {number}", 1.0)
            exchange(clock, f"op {number}", 1.0)
        data = metrics(limit=2)

        assert [event["event_name"] for event in data["events"]] == ["event 3", "event 4"]
        assert [op["operation"] for op in data["network_ops"]] == ["op 3", "op 4"]

    @pytest.mark.parametrize("limit", [0, -1])
    def test_may_list_none(self, registry, clock, limit):
        """Totals are all there."""
        work(clock, "load", 1.0)
        data = metrics(limit=limit)

        assert (data["events"], data["event_stats"]["load"]["count"]) == ([], 1)

    def test_list_what_is_running(self, registry, clock):
        """In its place."""
        with traced_event("running"):
            clock.advance(1.0)
            work(clock, "done", 1.0)

            assert [event["status"] for event in metrics()["events"]] == ["running", "completed"]

    def test_of_any_registry(self, registry):
        """Also of one that is not current."""
        other = Registry(clock=FakeClock())
        other.add(EventMetrics(event_name="added", task_id="1"))

        assert set(metrics(registry=other)["event_stats"]) == {"added"}

    def test_are_json_whatever_was_recorded(self, registry):
        """Infinities and all."""
        with traced_event("odd", attributes={"x": float("inf"), "y": {1, 2}, "z": b"\xff"}):
            pass

        assert "Infinity" in metrics()["events"][0]["attributes"]["x"]
