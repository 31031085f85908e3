"""Records as spans: what OpenTelemetry's own messages read in what is written by hand."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span

from tests.publishers.conftest import LATE
from tests.publishers.decoded import attributes_of, value_of
from volnux.telemetry import (
    Attempt,
    EventMetrics,
    NetworkMetrics,
    capture,
    extract,
    network_op,
    pipeline,
    traced_event,
)
from volnux.telemetry._brief import brief_of
from volnux.telemetry.formats._otlp_traces import Spans, request_of
from volnux.telemetry.formats._otlp_wire import (
    DEEPEST,
    any_value,
    identifier,
    nanoseconds,
    pairs,
    part,
    trace_identifier,
    varint,
)

pytestmark = pytest.mark.extras
START = 1_767_398_399_500_000_000
HERE = 7


def span_of(record, brief=None):
    """The span of a record, decoded."""
    (span,) = ScopeSpans.FromString(Spans(HERE).of(record, brief)).spans
    return span


def plain(**more):
    """The record of an event that says little."""
    fields = {"event_name": "a", "task_id": "1" * 16, "process_id": HERE, "thread_id": 8}
    return EventMetrics(**fields | more)


class TestEvents:
    """Events."""

    def test_a_failed_event(self, event):
        """All that its record says, by the names of OpenTelemetry where it has some."""
        span = span_of(event)
        assert span.trace_id == trace_identifier(None, event.task_id)
        assert span.span_id.hex() == "00000000000000ab"
        assert span.parent_span_id.hex() == "00000000000000aa"
        assert span.name == "load"
        assert span.kind == Span.SPAN_KIND_INTERNAL
        assert span.start_time_unix_nano == START
        assert span.end_time_unix_nano == START + 1_000_000_001
        assert attributes_of(span) == {
            "path": "/data",
            "rows": 3,
            "nested": {"a": [1, 2]},
            "volnux.status": "failed",
            "volnux.pipeline_id": "nightly",
            "thread.id": 8,
            "volnux.retry_count": 1,
            "error.type": "FileNotFoundError",
        }
        assert span.status.code == 2
        assert span.status.message == "FileNotFoundError: no such file"

    def test_its_attempts_and_its_error_are_events(self, event):
        """Each attempt at its end, with the wait after it, and the exception at that of the event."""
        first, second, error = span_of(event).events
        assert [one.name for one in (first, second, error)] == ["attempt", "attempt", "exception"]
        times = [one.time_unix_nano - START for one in (first, second, error)]
        assert times == [250_000_000, 1_000_000_000, 1_000_000_001]
        assert attributes_of(first) == {
            "volnux.attempt.number": 1,
            "volnux.attempt.outcome": "failed",
            "volnux.attempt.duration": 0.25,
            "volnux.attempt.backoff": 0.5,
            "error.type": "OSError",
        }
        assert attributes_of(error) == {
            "exception.type": "FileNotFoundError",
            "exception.message": "no such file",
        }

    def test_what_is_plain_says_little(self):
        """No status, no event, no parent; a pid only where it is another one."""
        span = span_of(plain())
        assert attributes_of(span) == {"volnux.status": "completed", "thread.id": 8}
        assert (span.HasField("status"), len(span.events), span.parent_span_id) == (False, 0, b"")
        assert attributes_of(span_of(plain(process_id=9)))["process.pid"] == 9

    def test_attempts_whose_first_ones_were_let_go(self):
        """The latest hundred end with the event, wherever they began."""
        attempts = [
            Attempt(number=number, outcome="failed", duration=0.01, backoff=0.01)
            for number in range(51, 151)
        ]
        span = span_of(plain(start_time=LATE, duration=10.0, attempts=tuple(attempts)))
        assert span.events[0].time_unix_nano == START + 8_010_000_000
        assert span.events[-1].time_unix_nano == START + 9_990_000_000

    def test_attempts_never_end_after_their_event(self):
        """Those of calls that ran at once lasted longer together."""
        attempts = tuple(Attempt(number=1, outcome="failed", duration=0.8) for _ in range(3))
        span = span_of(plain(start_time=LATE, duration=1.0, attempts=attempts))
        times = [one.time_unix_nano - START for one in span.events]
        assert times == [800_000_000, 1_000_000_000, 1_000_000_000]

    def test_an_attempt_says_what_went_wrong(self):
        """Its error's text as well."""
        attempts = (
            Attempt(number=1, outcome="failed", error_type="E", error="busy"),
            Attempt(number=2, outcome="completed"),
        )
        first, second = span_of(plain(attempts=attempts)).events
        assert attributes_of(first)["volnux.attempt.error"] == "busy"
        assert "error.type" not in attributes_of(second)

    def test_an_error_from_elsewhere(self):
        """An event that it passed through has failed by its type, and no exception of its own."""
        record = plain(status="failed", error_type="OSError", error_origin="2" * 16)
        span = span_of(record)
        assert (span.status.code, span.status.message, len(span.events)) == (2, "OSError", 0)
        assert attributes_of(span)["volnux.error_origin"] == "2" * 16

    def test_a_failure_without_a_type(self):
        """The convention has a word for that."""
        span = span_of(plain(status="failed"))
        assert (span.status.code, span.status.message, len(span.events)) == (2, "", 0)
        assert attributes_of(span)["error.type"] == "_OTHER"

    def test_a_cancelled_event(self):
        """It is no failure, so nothing that stands for one is said; but what ended it is."""
        record = plain(status="cancelled", error_type="CancelledError", error="stop")
        span = span_of(record)
        assert (span.HasField("status"), len(span.events)) == (False, 0)
        assert attributes_of(span) == {
            "volnux.status": "cancelled",
            "thread.id": 8,
            "volnux.error_type": "CancelledError",
            "volnux.error": "stop",
        }

    def test_a_stream(self):
        """Items also where there were none."""
        found = attributes_of(
            span_of(plain(items=0, active_time=0.0, time_to_first_item=None, retry_count=0))
        )
        assert (found["volnux.items"], found["volnux.active_time"]) == (0, 0.0)
        assert "volnux.retry_count" not in found

    def test_what_the_program_says_wins(self):
        """A key stands once."""
        own = {"error.type": "mine", "thread.id": "main", "volnux.status": "odd"}
        found = attributes_of(span_of(plain(status="failed", attributes=own)))
        assert found == own


class TestOperations:
    """Network operations."""

    def test_an_operation(self, operation):
        """A span of a client, with the host and the bytes."""
        span = span_of(operation)
        assert (span.name, span.kind) == ("query", Span.SPAN_KIND_CLIENT)
        assert span.end_time_unix_nano - span.start_time_unix_nano == 250_000_000
        assert attributes_of(span) == {
            "volnux.status": "completed",
            "server.address": "db.internal",
            "server.port": 5432,
            "volnux.bytes_sent": 10,
            "volnux.bytes_received": 2_000,
            "volnux.time_to_first_byte": 0.125,
        }

    def test_an_exchange_of_http(self):
        """What its client says stays as it is."""
        own = {"http.request.method": "GET", "http.response.status_code": 503}
        record = NetworkMetrics(
            host="h", task_id="1", status="failed", error_type="503", attributes=own
        )
        span = span_of(record)
        found = attributes_of(span)
        assert found.items() >= own.items()
        assert (found["network.protocol.name"], found["error.type"]) == ("http", "503")
        assert "server.port" not in found
        assert [one.name for one in span.events] == ["exception"]


class TestIdentifiers:
    """Of spans and traces."""

    def test_those_of_records_are_kept(self):
        """A record's own trace is the span's."""
        span = span_of(plain(trace_id="0af7651916cd43dd8448eb211c80319c"))
        assert span.trace_id.hex() == "0af7651916cd43dd8448eb211c80319c"

    @pytest.mark.parametrize("text", ["1", "", "0" * 16, "g" * 16, "12 34 56 78 9a b", "é" * 16])
    def test_others_become_some(self, text):
        """Of the right length, not all zeros, and the same every time."""
        found = identifier(text, 8)
        assert (len(found), any(found)) == (8, True)
        assert found == identifier(text, 8)

    def test_a_record_without_a_trace_has_one_by_itself(self):
        """So two of them are not one trace, and one that is sent again is."""
        one, another = span_of(plain()), span_of(plain(task_id="2" * 16))
        assert len(one.trace_id) == 16
        assert one.trace_id != another.trace_id
        assert one.trace_id == span_of(plain()).trace_id

    def test_a_tree_is_one_trace(self):
        """Parents and children, and what ran under them."""
        with capture(isolated=True) as registry:
            with traced_event("outer"), traced_event("inner"), network_op("h", 1):
                pass
            with traced_event("other"):
                pass
        records = [*registry.events(), *registry.network_ops()]
        found = {one.name: one for one in (span_of(it, brief_of(it)) for it in records)}
        outer, inner, op = found["outer"], found["inner"], found["exchange"]
        assert outer.trace_id == inner.trace_id == op.trace_id != found["other"].trace_id
        assert (inner.parent_span_id, op.parent_span_id) == (outer.span_id, inner.span_id)


class TestBriefs:
    """The way round the record."""

    def test_the_span_is_the_same(self):
        """Byte for byte, of whatever can happen to an event."""
        with capture(isolated=True) as registry:
            for attributes in ({}, {"a": 1, "b": [None, 2.5]}, {"thread.id": "x"}):
                with (
                    pipeline("nightly", region="eu"),
                    traced_event("outer", attributes=attributes) as outer,
                    traced_event("inner"),
                ):
                    outer.set_attribute("late", True)
                with traced_event("alone", attributes=attributes):
                    pass
            with traced_event("retried") as event:
                event.retry(OSError("x"), delay=0.0)
            with pytest.raises(ValueError, match="no"), traced_event("bad"):
                raise ValueError("no")
            with pytest.raises(KeyboardInterrupt), traced_event("cancelled"):
                raise KeyboardInterrupt

            @traced_event
            def stream():
                yield 1

            list(stream())
        records = registry.events()
        spans = Spans(records[0].process_id)
        briefs = [brief_of(one) for one in records]
        assert [brief is not None for brief in briefs].count(True) == 9
        for record, brief in zip(records, briefs, strict=True):
            assert spans.of(record, brief) == spans.of(record)

    def test_of_what_goes_on_from_elsewhere_there_is_none(self):
        """Its record says the trace and the parent that came along."""
        parent = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
        with capture(isolated=True) as registry, extract(parent), traced_event("here"):
            pass
        (record,) = registry.events()
        assert brief_of(record) is None
        span = span_of(record)
        assert span.trace_id.hex() == "0af7651916cd43dd8448eb211c80319c"
        assert span.parent_span_id.hex() == "b7ad6b7169203331"

    def test_of_what_was_made_by_hand_there_is_none(self, event, operation):
        """Nor of an operation."""
        assert (brief_of(event), brief_of(operation)) == (None, None)


class TestTimes:
    """Numbers of seconds."""

    @pytest.mark.parametrize(
        ("seconds", "found"),
        [
            *[(1.5, 1_500_000_000), (-1.0, 0), (math.nan, 0), (math.inf, 2**64 - 1)],
            *[(-math.inf, 0), (1e300, 2**64 - 1)],
        ],
    )
    def test_nanoseconds(self, seconds, found):
        """Nothing that a clock may say cannot be sent."""
        assert nanoseconds(seconds) == found

    @given(st.integers(0, 4_000_000_000_000_000))
    def test_microseconds_survive(self, stamp):
        """A stamp has microseconds, and its span has the same."""
        span = span_of(plain(start_time=stamp / 1e6))
        assert span.start_time_unix_nano == stamp * 1_000


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=20,
)


def wanted(value):
    """What is read of a value that was written."""
    if type(value) is int and not -(2**63) <= value < 2**63:
        return str(value)
    if isinstance(value, list):
        return [wanted(one) for one in value]
    if isinstance(value, dict):
        return {key: wanted(one) for key, one in value.items()}
    return value


class TestWire:
    """The format itself."""

    @given(st.integers(0, 2**64 - 1))
    def test_numbers(self, number):
        """As the library writes them."""
        signed = number - 2**64 if number >> 63 else number
        assert b"\x18" + varint(number) == AnyValue(int_value=signed).SerializeToString() or not (
            number
        )

    @given(VALUES)
    def test_values(self, value):
        """Whatever plain data is written is read again, integers of any size as their digits."""
        found = value_of(AnyValue.FromString(any_value(value)))
        assert found == wanted(value)
        assert type(found) is type(wanted(value))

    @given(st.floats())
    def test_floats(self, number):
        """To the bit, also those that are no numbers."""
        found = AnyValue.FromString(any_value(number)).double_value
        assert struct.pack("<d", found) == struct.pack("<d", number) or math.isnan(number)

    @given(st.dictionaries(st.text(), VALUES))
    def test_any_key_and_text(self, attributes):
        """Text that is no text is written all the same; two such keys may look alike then."""
        data = pairs(b"\x4a", attributes)
        found = [(one.key, value_of(one.value)) for one in Span.FromString(data).attributes]
        keys = [key.encode("utf-8", "replace").decode() for key in attributes]
        assert found == list(zip(keys, map(wanted, attributes.values()), strict=True))

    def test_what_has_no_type_there(self):
        """It is shown as text, and what cannot be shown is so, too."""

        class Odd:
            def __str__(self):
                raise ValueError("no")

        class Whole(int):
            def __index__(self):
                raise ValueError("no")

        class Words(str):
            __slots__ = ()

            def __str__(self):
                raise ValueError("no")

        class Real(float):
            pass

        for value, shown in (
            (complex(1, 2), "(1+2j)"),
            (Whole(3), 3),
            (Words("x"), "x"),
            (Real(0.5), 0.5),
            ((1, 2), [1, 2]),
            ({1: 2}, {"1": 2}),
            (bytearray(b"x"), b"x"),
            (10**5000, hex(10**5000)),
        ):
            assert value_of(AnyValue.FromString(any_value(value))) == shown
        assert AnyValue.FromString(any_value(Odd())).string_value

    def test_what_is_too_deep(self):
        """A parser would refuse the whole request."""
        value = []
        for _ in range(100):
            value = {"a": [value]}
        found = value_of(KeyValue.FromString(part(b"\x12", any_value(value))).value)
        depth = 0
        while found != "[too deep]":
            found = found["a"] if isinstance(found, dict) else found[0]
            depth += 1
        assert depth == DEEPEST

    def test_many_keys_and_names_do_not_pile_up(self):
        """What is kept encoded has a bound."""
        spans = Spans(HERE)
        for number in range(5_000):
            spans.of(plain(event_name=str(number), thread_id=number, attributes={str(number): 1}))
        for number in range(5_000):
            spans.of(plain(), ("a", 1, 0, b"", 0, 0, number, None, {}))
        assert max(len(spans._heads), len(spans._common)) <= 4_096

    def test_a_request(self):
        """Its resource and its scope stand once."""
        body = request_of(
            pairs(b"\x0a", {"service.name": "a"}), b"\x0a\x01v", [Spans(HERE).of(plain())] * 2
        )
        (resource,) = ExportTraceServiceRequest.FromString(body).resource_spans
        assert attributes_of(resource.resource) == {"service.name": "a"}
        (scope,) = resource.scope_spans
        assert (scope.scope.name, len(scope.spans)) == ("v", 2)
