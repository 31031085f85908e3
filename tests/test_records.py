"""Records: finished, frozen, and the same everywhere they are written."""

from __future__ import annotations

import copy
import json
import pickle
import threading
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volnux.telemetry import (
    Attempt,
    EventMetrics,
    EventStats,
    Health,
    NetworkMetrics,
    NetworkStats,
    RetryStats,
    Status,
    network_op,
    record_retry,
    traced_event,
)
from volnux.telemetry._stamps import from_iso, to_iso

EVENT = EventMetrics(
    event_name="load",
    task_id="00000000000000aa",
    parent_id="00000000000000a0",
    pipeline_id="nightly",
    process_id=7,
    thread_id=8,
    start_time=1_700_000_000.25,
    end_time=1_700_000_001.75,
    duration=1.5,
    status=Status.FAILED,
    error="no such value",
    error_type="ValueError",
    error_origin="00000000000000ab",
    retry_count=1,
    attempts=(
        Attempt(number=1, outcome="failed", error_type="OSError", duration=0.5, backoff=0.25),
        Attempt(number=2, outcome="failed", error_type="ValueError", duration=0.75),
    ),
    attributes={"rows": 3, "tags": ["a"]},
    active_time=1.0,
    items=4,
    time_to_first_item=0.5,
)
OPERATION = NetworkMetrics(
    host="db.internal",
    task_id="00000000000000bb",
    port=5432,
    operation="query",
    parent_id="00000000000000aa",
    pipeline_id="nightly",
    process_id=7,
    start_time=1_700_000_000.5,
    end_time=1_700_000_000.75,
    latency=0.25,
    time_to_first_byte=0.125,
    bytes_sent=10,
    bytes_received=20,
    attributes={"table": "users"},
)
every_record = pytest.mark.parametrize("record", [EVENT, OPERATION], ids=["event", "operation"])
micro = st.integers(0, 4 * 10**15).map(lambda number: number / 1e6)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


class TestFrozen:
    @every_record
    def test_no_field_can_be_set(self, record):
        """What has happened does not change."""
        with pytest.raises(AttributeError, match="is frozen: cannot set 'status'"):
            record.status = "completed"

    @every_record
    def test_no_field_can_be_added(self, record):
        """Nor does it get longer."""
        with pytest.raises(AttributeError, match="has no attribute 'color'"):
            record.color = "red"

    @every_record
    def test_no_field_can_be_deleted(self, record):
        """Nor shorter."""
        with pytest.raises(AttributeError, match="cannot delete 'status'"):
            del record.status

    @every_record
    def test_a_field_that_is_none_is_an_attribute_error(self, record):
        """As with any object."""
        with pytest.raises(AttributeError, match="has no attribute 'color'"):
            _ = record.color

    @every_record
    def test_its_fields_are_listed(self, record):
        """So that a prompt can complete them."""
        assert {"task_id", "status", "attributes"} < set(dir(record))

    def test_recorded_ones_are_frozen_too(self, registry):
        """Also those that are rendered late."""
        with traced_event("work"):
            pass
        [event] = registry.events()

        with pytest.raises(AttributeError, match="EventMetrics is frozen"):
            event.status = "failed"

    def test_threads_that_look_first_see_the_same(self, registry):
        """Rendering late is safe from any thread."""
        with traced_event("work", attributes={"rows": 3}):
            pass
        [event] = registry.events()
        barrier = threading.Barrier(4)
        seen = []

        def look():
            barrier.wait()
            seen.append(event.to_dict())

        threads = [threading.Thread(target=look) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert seen == [event.to_dict()] * 4


class TestConstructor:
    def test_needs_little(self):
        """Everything but the name and the identifier has a default."""
        event = EventMetrics(event_name="load", task_id="1")

        assert (event.status, event.duration, event.attempts, event.attributes) == (
            "completed",
            0.0,
            (),
            {},
        )

    def test_says_what_is_missing(self):
        """By name."""
        with pytest.raises(TypeError, match="EventMetrics needs event_name, task_id"):
            EventMetrics()

    def test_says_what_is_unknown(self):
        """By name."""
        with pytest.raises(TypeError, match="NetworkMetrics has no field 'hots'"):
            NetworkMetrics(hots="a", host="a", task_id="1")

    @pytest.mark.parametrize(
        "make",
        [
            lambda: EventMetrics(event_name="load", task_id="1"),
            lambda: NetworkMetrics(host="a", task_id="1"),
        ],
    )
    def test_defaults_are_not_shared(self, make):
        """What somebody does to one record's attributes is not in the next."""
        make().attributes["rows"] = 3

        assert make().attributes == {}


class TestValue:
    @every_record
    def test_equal_records_are_equal(self, record):
        """And have one hash."""
        same = type(record)(**{name: getattr(record, name) for name in record._fields})

        assert (same, hash(same)) == (record, hash(record))

    @every_record
    def test_one_field_makes_the_difference(self, record):
        """Whichever it is."""
        other = record.__replace__(status="cancelled")

        assert other != record
        assert other.task_id == record.task_id

    def test_another_kind_is_never_equal(self):
        """A record is no dict, and no record of the other kind."""
        assert EVENT != OPERATION
        assert EVENT.to_dict() != EVENT
        assert OPERATION != 3

    @every_record
    @pytest.mark.parametrize("way", [copy.copy, copy.deepcopy])
    def test_copies_are_equal(self, record, way):
        """However deep."""
        assert way(record) == record

    @every_record
    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_survives_pickling(self, record, protocol):
        """In every protocol."""
        assert pickle.loads(pickle.dumps(record, protocol)) == record

    def test_shows_what_is_not_default(self):
        """Its repr can be read, and evaluated."""
        event = EventMetrics(event_name="load", task_id="1", duration=1.5)

        assert repr(event) == "EventMetrics(event_name='load', task_id='1', duration=1.5)"
        assert eval(repr(EVENT)) == EVENT

    def test_one_field_can_be_replaced_in_a_copy(self):
        """As with a dataclass."""
        # `copy.replace` of Python 3.13 calls this method.
        assert EVENT.__replace__(status="completed").status == "completed"


class TestToDict:
    def test_of_an_event(self):
        """Plain data: stamps as text, durations as seconds, attempts as dicts."""
        assert EVENT.to_dict() == {
            "kind": "event",
            "event_name": "load",
            "task_id": "00000000000000aa",
            "parent_id": "00000000000000a0",
            "trace_id": None,
            "pipeline_id": "nightly",
            "process_id": 7,
            "thread_id": 8,
            "start_time": "2023-11-14T22:13:20.250000Z",
            "end_time": "2023-11-14T22:13:21.750000Z",
            "duration": 1.5,
            "status": "failed",
            "error": "no such value",
            "error_type": "ValueError",
            "error_origin": "00000000000000ab",
            "retry_count": 1,
            "attempts": [
                {
                    "number": 1,
                    "outcome": "failed",
                    "error_type": "OSError",
                    "error": None,
                    "duration": 0.5,
                    "backoff": 0.25,
                },
                {
                    "number": 2,
                    "outcome": "failed",
                    "error_type": "ValueError",
                    "error": None,
                    "duration": 0.75,
                    "backoff": 0.0,
                },
            ],
            "attributes": {"rows": 3, "tags": ["a"]},
            "active_time": 1.0,
            "items": 4,
            "time_to_first_item": 0.5,
        }

    def test_of_an_operation(self):
        """The dict that `publish_network_metrics` gets."""
        assert OPERATION.to_dict() == {
            "kind": "network",
            "host": "db.internal",
            "task_id": "00000000000000bb",
            "port": 5432,
            "operation": "query",
            "parent_id": "00000000000000aa",
            "trace_id": None,
            "pipeline_id": "nightly",
            "process_id": 7,
            "start_time": "2023-11-14T22:13:20.500000Z",
            "end_time": "2023-11-14T22:13:20.750000Z",
            "latency": 0.25,
            "time_to_first_byte": 0.125,
            "bytes_sent": 10,
            "bytes_received": 20,
            "status": "completed",
            "error": None,
            "error_type": None,
            "attributes": {"table": "users"},
        }

    def test_of_something_running_has_no_end(self, registry):
        """In flight, `end_time` is None."""
        with traced_event("work"), network_op("a", 1):
            [event], [op] = registry.events(), registry.network_ops()

        assert (event.to_dict()["end_time"], op.to_dict()["end_time"]) == (None, None)

    @every_record
    def test_is_the_callers(self, record):
        """What is done with it does not change the record."""
        record.to_dict()["attributes"].clear()

        assert record.attributes != {}

    def test_of_what_was_recorded_is_json(self, registry):
        """Whatever the program said about it."""
        with traced_event("work", attributes={"any": object(), "nan": float("nan")}):
            record_retry(OSError("busy"))

        json.dumps(registry.events()[0].to_dict(), allow_nan=False)


class TestFromDict:
    @every_record
    def test_undoes_to_dict(self, record):
        """Through JSON and back."""
        assert type(record).from_dict(json.loads(json.dumps(record.to_dict()))) == record

    @given(micro, micro, st.integers(0, 10**6), st.dictionaries(st.text(max_size=9), plain))
    def test_undoes_to_dict_for_any_event(self, start, end, retries, attributes):
        """Stamps come back to the microsecond."""
        event = EventMetrics(
            event_name="load",
            task_id="1",
            start_time=start,
            end_time=end,
            retry_count=retries,
            attributes=attributes,
        )

        assert EventMetrics.from_dict(json.loads(json.dumps(event.to_dict()))) == event

    def test_undoes_to_dict_for_what_was_recorded(self, registry, clock):
        """All that is recorded can be read again."""
        with traced_event("work") as event, network_op("a", 1) as op:
            clock.advance(1.0)
            event.retry(OSError("busy"), delay=0.5)
            op.received(3)
            clock.advance(1.0)
        [event], [op] = registry.events(), registry.network_ops()

        assert EventMetrics.from_dict(event.to_dict()) == event
        assert NetworkMetrics.from_dict(op.to_dict()) == op

    @every_record
    def test_leaves_out_what_it_does_not_know(self, record):
        """A newer volnux may have written the data."""
        assert type(record).from_dict({**record.to_dict(), "color": "red"}) == record

    def test_takes_defaults_for_what_is_not_there(self):
        """An older one may have written less."""
        event = EventMetrics.from_dict({"event_name": "load", "task_id": "1"})

        assert event == EventMetrics(event_name="load", task_id="1")

    @pytest.mark.parametrize(
        "data",
        [{}, {"event_name": "a", "task_id": "1", "start_time": "noon"}, {"task_id": "1"}],
    )
    def test_refuses_another_shape(self, data):
        """With an ordinary error."""
        with pytest.raises((KeyError, TypeError, ValueError)):
            EventMetrics.from_dict(data)


class TestStamps:
    @given(st.integers(-(10**15), 10**17))
    def test_are_iso_8601_in_utc(self, number):
        """To the microsecond, with a Z."""
        seconds = number / 1e6
        text = to_iso(seconds)

        assert text == datetime.fromtimestamp(seconds, timezone.utc).strftime(
            "%Y-%m-%dT%H:%M:%S.%fZ"
        )
        assert from_iso(text) == pytest.approx(seconds, abs=1e-6)

    def test_round_up_to_the_next_second(self):
        """Half a microsecond short of it."""
        assert to_iso(0.9999999) == "1970-01-01T00:00:01.000000Z"

    @pytest.mark.parametrize(
        "seconds", [float("nan"), float("inf"), -float("inf"), 1e20, -1e20, 1e12, -1e12]
    )
    def test_outside_the_calendar_are_the_epoch(self, seconds):
        """A clock gone mad raises nothing."""
        assert to_iso(seconds) == "1970-01-01T00:00:00.000000Z"

    @pytest.mark.parametrize("text", ["", "noon", "2023-13-01T00:00:00Z"])
    def test_that_are_none_are_refused(self, text):
        """With a ValueError."""
        with pytest.raises(ValueError):
            from_iso(text)


class TestStats:
    NUMBERS = dict.fromkeys(
        ("count", "failed", "cancelled", "min", "max", "mean", "total", "p50", "p90", "p95", "p99"),
        1,
    )

    @pytest.mark.parametrize(
        "stats",
        [
            EventStats(retries=0, **NUMBERS),
            NetworkStats(bytes_sent=1, bytes_received=2, **NUMBERS),
            RetryStats(
                total_retries=0,
                total_attempts=0,
                retried_events=0,
                recovered=0,
                exhausted=0,
                by_event={},
            ),
            Health(started=1, finished=1, in_flight=0, evicted=0, errors={}),
            Attempt(number=1, outcome="completed"),
        ],
        ids=lambda stats: type(stats).__name__,
    )
    def test_are_values(self, stats):
        """They compare, hash, pickle and turn into dicts of their fields."""
        assert pickle.loads(pickle.dumps(stats)) == stats
        assert hash(copy.copy(stats)) == hash(stats)
        assert list(stats.to_dict()) == list(stats._fields)

    def test_defaults_of_health_are_not_shared(self):
        """Each has its own counts."""
        made = [Health(started=1, finished=1, in_flight=0, evicted=0, errors={}) for _ in "ab"]
        made[0].publishers["console"] = {}

        assert made[1].publishers == {}
