"""The metrics of `OTLPPublisher`: the totals of all records, each counted once."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_CUMULATIVE

from tests.publishers.decoded import (
    PROTOBUF,
    attributes_of,
    counts,
    points_in,
    pushes,
    spans,
    taken,
)
from tests.publishers.scripted import Answer, Scripted, Trickle
from volnux.telemetry import (
    EventMetrics,
    NetworkMetrics,
    OTLPPublisher,
    PublishError,
    Registry,
    monitor_events,
    network_op,
    traced_event,
)
from volnux.telemetry._brief import brief_of
from volnux.telemetry.formats._otlp_answers import Answer as Said
from volnux.telemetry.formats._otlp_wire import trace_identifier
from volnux.telemetry.formats._prometheus import BOUNDS, brief_observation, observation

pytestmark = pytest.mark.extras


@pytest.fixture
def server():
    """A receiver that takes everything, unless its script says otherwise."""
    yield from Scripted(taken).running()


@pytest.fixture
def publisher(server):
    """A publisher of metrics to the scripted server, which pushes when it is told to."""
    publisher = OTLPPublisher(server.place, signals=("metrics",), timeout=5)
    yield publisher
    publisher.close()


def event(name="load", status="completed", seconds=0.2, task="00000000000000ab", **more):
    """The record of an event."""
    return EventMetrics(
        event_name=name, task_id=task, status=status, duration=seconds, end_time=1.7e9, **more
    )


def operation(name="GET /", status="completed", **more):
    """The record of a network operation."""
    return NetworkMetrics(host="h", task_id="1", operation=name, status=status, **more)


class TestPoints:
    """What a push holds."""

    def test_everything_that_a_scrape_has(self, publisher, server):
        """Durations, outcomes, retries, operations and bytes, under OpenTelemetry's kinds of names."""
        assert publisher.publish_batch([event(retry_count=2), event(status="failed")]) is None
        publisher.publish_network_metrics(
            operation(latency=0.3, bytes_sent=10, bytes_received=20).to_dict()
        )
        assert publisher.flush(timeout=5)
        (push,) = pushes(server)
        (resource,) = push.resource_metrics
        units = {
            one.name: (one.unit, one.WhichOneof("data"))
            for one in resource.scope_metrics[0].metrics
        }
        assert units == {
            "volnux.event.duration": ("s", "histogram"),
            "volnux.events": ("{event}", "sum"),
            "volnux.event.retries": ("{retry}", "sum"),
            "volnux.event.retries_exhausted": ("{event}", "sum"),
            "volnux.network.operation.duration": ("s", "histogram"),
            "volnux.network.operations": ("{operation}", "sum"),
            "volnux.network.bytes": ("By", "sum"),
        }
        assert counts(push) == {("load", "completed"): 1, ("load", "failed"): 1}
        assert counts(push, "volnux.event.retries") == {("load",): 2}
        assert counts(push, "volnux.network.operations") == {("GET /", "completed"): 1}
        bytes_each_way = {("GET /", "sent"): 10, ("GET /", "received"): 20}
        assert counts(push, "volnux.network.bytes") == bytes_each_way

    def test_counters_begin_at_nought(self, publisher, server):
        """A name has every outcome from its first record on."""
        publisher.publish_event_metrics(event())
        publisher.flush(timeout=5)
        found = points_in(pushes(server)[0])["volnux.events"]
        assert {labels[1]: one.as_int for labels, one in found.items()} == {
            "completed": 1,
            "failed": 0,
            "cancelled": 0,
        }

    def test_a_histogram(self, publisher, server):
        """Buckets by their upper bounds, their sum and their count, and one example of each."""
        records = [event(seconds=one) for one in (0.1, 0.2, 4000.0)]
        publisher.publish_batch([*records, event(seconds=0.25, trace_id="ab" * 16)])
        publisher.flush(timeout=5)
        point = points_in(pushes(server)[0])["volnux.event.duration"]["load", "completed"]
        assert attributes_of(point) == {"event": "load", "status": "completed"}
        assert tuple(point.explicit_bounds) == BOUNDS
        filled = {place: count for place, count in enumerate(point.bucket_counts) if count}
        assert filled == {BOUNDS.index(0.1): 1, BOUNDS.index(0.25): 2, len(BOUNDS): 1}
        assert (point.count, point.sum) == (4, pytest.approx(4000.55))
        example = point.exemplars[1]
        assert (example.as_double, example.time_unix_nano) == (0.25, 1_700_000_000_000_000_000)
        assert (example.span_id.hex(), example.trace_id.hex()) == ("00000000000000ab", "ab" * 16)
        assert point.exemplars[0].trace_id == trace_identifier(None, "00000000000000ab")

    def test_totals_are_cumulative_from_a_fixed_moment(self, publisher, server):
        """That at which the process began to count, in every push and every point."""
        before = time.time_ns()
        for _ in range(2):
            publisher.publish_event_metrics(event())
            publisher.publish_event_metrics(event("other"))
            publisher.flush(timeout=5)
        first, second = pushes(server)
        (resource,) = second.resource_metrics
        for metric in resource.scope_metrics[0].metrics:
            data = getattr(metric, metric.WhichOneof("data"))
            assert data.aggregation_temporality == AGGREGATION_TEMPORALITY_CUMULATIVE
        found = [
            point
            for push in (first, second)
            for points in points_in(push).values()
            for point in points.values()
        ]
        (start,) = {point.start_time_unix_nano for point in found}
        assert start < before < min(point.time_unix_nano for point in found)
        assert counts(second)["load", "completed"] == 2

    def test_what_is_in_flight_and_what_was_dropped(self, server):
        """The monitor's health, where there is one: a number that rises and falls, and counters."""
        publisher = OTLPPublisher(server.place, signals=("metrics",))
        registry = Registry()
        with monitor_events([publisher], registry=registry) as monitor:
            with traced_event("outer"):
                with traced_event("inner"):
                    pass
                assert monitor.flush(timeout=10)
            (push,) = pushes(server)
        assert counts(push, "volnux.events.in_flight") == {(): 1}
        names = {one.name: one for one in push.resource_metrics[0].scope_metrics[0].metrics}
        assert not names["volnux.events.in_flight"].sum.is_monotonic
        assert names["volnux.events"].sum.is_monotonic

    def test_drops_and_errors_have_their_reasons(self, publisher, server):
        """By publisher and by stage."""

        class Health:
            in_flight = 0
            publishers = {"A": {"dropped": {"queue_full": 3}}}
            errors = {"bounds": {"text": 2}}

        publisher.watch(Health)
        publisher.publish_event_metrics(event())
        publisher.flush(timeout=5)
        (push,) = pushes(server)
        assert counts(push, "volnux.telemetry.dropped") == {("A", "queue_full"): 3}
        assert counts(push, "volnux.telemetry.errors") == {("bounds", "text"): 2}

    def test_too_many_names(self, server):
        """Are counted together."""
        publisher = OTLPPublisher(server.place, signals=("metrics",), max_names=1)
        publisher.publish_batch([event("a"), event("b"), event("c"), event("\udc80")])
        publisher.close(timeout=5)
        found = {("a", "completed"): 1, ("__other__", "completed"): 3}
        assert counts(pushes(server)[0]) == found

    def test_a_name_that_is_no_text(self, publisher, server):
        """Half a surrogate pair does not keep the others waiting."""
        publisher.publish_batch([event("a\udc80")])
        publisher.flush(timeout=5)
        assert counts(pushes(server)[0]) == {("a?", "completed"): 1}

    def test_a_brief_counts_as_its_record(self):
        """With the identifiers as numbers."""
        registry = Registry()
        with monitor_events(registry=registry), traced_event("a"):
            pass
        (record,) = registry.events()
        short = brief_observation(brief_of(record))
        long = observation(record)
        assert list(short[:5]) == long[:5]
        assert list(short[6:8]) == long[6:8]
        assert (f"{short[5]:016x}", short[8].hex()) == (long[5], long[8])


class TestPushing:
    """When totals are pushed, and what becomes of failures."""

    def test_regularly(self, server):
        """Whether or not anything is recorded meanwhile."""
        publisher = OTLPPublisher(server.place, signals=("metrics",), interval=0.02)
        publisher.publish_event_metrics(event())
        wait_until(lambda: len(server.requests) >= 3)
        publisher.close(timeout=5)
        number = len(server.requests)
        assert {tuple(counts(push).items()) for push in pushes(server)} == {
            ((("load", "completed"), 1),)
        }
        time.sleep(0.1)
        assert len(server.requests) == number

    def test_nothing_is_pushed_before_the_first_record(self, server):
        """A program that records nothing sends nothing."""
        publisher = OTLPPublisher(server.place, interval=0.01)
        with monitor_events([publisher], registry=Registry()) as monitor:
            assert monitor.flush(timeout=5)
        assert server.requests == []

    def test_a_lost_push_costs_resolution_only(self, publisher, server):
        """The next has the newest state, and the old one is not sent again."""
        server.script.append(Answer(503, b"", {}))
        publisher.publish_event_metrics(event())
        with pytest.raises(PublishError, match="503"):
            publisher.flush(timeout=5)
        publisher.publish_event_metrics(event())
        assert publisher.flush(timeout=5)
        found = [counts(push)["load", "completed"] for push in pushes(server)]
        assert found == [1, 2]

    def test_a_flush_of_the_monitor_tells_of_it(self, server):
        """The record counts as delivered, for it is counted; that it was not pushed is said."""
        server.usual = lambda request: Answer(503, b"")
        publisher = OTLPPublisher(server.place, signals=("metrics",))
        with monitor_events([publisher], registry=Registry()) as monitor:
            with traced_event("step"):
                pass
            assert not monitor.flush(timeout=5)
            health = monitor.health()
            server.usual = taken
        assert health.publishers["OTLPPublisher"]["delivered"] == 1
        assert counts(pushes(server)[-1]) == {("step", "completed"): 1}

    def test_retry_after_is_waited_for(self, server):
        """By regular pushes and by a flush; the last push of all is tried."""
        server.script.append(Answer(429, b"", {"Retry-After": "60"}))
        publisher = OTLPPublisher(server.place, signals=("metrics",), interval=0.01)
        publisher.publish_event_metrics(event())
        wait_until(lambda: server.requests)
        wait_until(lambda: publisher._pushing._is_failing)
        with pytest.raises(PublishError, match="wait") as caught:
            publisher.flush(timeout=5)
        assert 50 < caught.value.retry_after <= 60
        assert len(server.requests) == 1
        publisher.close(timeout=5)
        assert len(server.requests) == 2

    def test_failures_are_logged_when_they_begin(self, server, caplog):
        """Once for each outage, without the words of others' errors."""
        answers = [Answer(503, b"busy", {"Content-Type": "text/plain"})] * 3
        server.script += [*answers, taken, Answer(400, b"bad", {"Content-Type": "text/plain"})]
        publisher = OTLPPublisher(server.place, signals=("metrics",), interval=0.01)
        publisher.watch(lambda: 1 / 0 if len(server.requests) == 6 else None)
        publisher.publish_event_metrics(event())
        wait_until(lambda: len(caplog.records) >= 2)
        publisher.watch(lambda: None)
        publisher.close(timeout=5)
        told = [one.getMessage() for one in caplog.records]
        assert told[0] == "publisher OTLPPublisher cannot push its metrics: PublishError: 503: busy"
        assert "points of metrics were refused: 400: bad" in told[1]

    def test_an_error_of_another_kind_does_not_end_the_thread(self, server, caplog):
        """It is named, and not shown."""
        errors = [ZeroDivisionError("s3cret")] * 2

        def health():
            if errors:
                raise errors.pop()

        publisher = OTLPPublisher(server.place, signals=("metrics",), interval=0.01)
        publisher.watch(health)
        publisher.publish_event_metrics(event())
        wait_until(lambda: server.requests)
        publisher.close(timeout=5)
        (told,) = [one.getMessage() for one in caplog.records]
        assert told.endswith("cannot push its metrics: ZeroDivisionError")

    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            (Answer(400, b"out of order", {"Content-Type": "text/plain"}), "400: out of order"),
            (
                Answer(200, {"partialSuccess": {"rejectedDataPoints": 2, "errorMessage": "old"}}),
                "2 of 6 points of metrics were refused: old",
            ),
        ],
    )
    def test_what_is_refused_is_not_sent_again(self, publisher, server, answer, words):
        """And it is said."""
        server.script.append(answer)
        publisher.publish_event_metrics(event())
        with pytest.raises(PublishError, match=words) as caught:
            publisher.flush(timeout=5)
        assert (caught.value.permanent, len(server.requests)) == (True, 1)

    def test_a_push_that_is_too_large_is_halved(self, publisher, server):
        """Until it is taken: no point is missing, and none is there twice."""
        server.usual = lambda request: (
            Answer(413, b"", PROTOBUF) if len(request.body) > 3_000 else taken(request)
        )
        publisher.publish_batch([event(str(number)) for number in range(100)])
        assert publisher.flush(timeout=5)
        server.requests[:] = [one for one in server.requests if len(one.body) <= 3_000]
        found = Counter()
        for push in pushes(server):
            found.update(counts(push))
        assert found == {(str(number), "completed"): 1 for number in range(100)}
        server.requests.clear()
        assert publisher.flush(timeout=5)
        assert all(len(one.body) <= 3_000 for one in server.requests)

    def test_a_point_that_is_too_large_alone(self, server):
        """It is refused, and the others are taken."""
        server.usual = lambda request: (
            Answer(413, b"", PROTOBUF) if b"histogram" in request.body else taken(request)
        )
        publisher = OTLPPublisher(server.place, signals=("metrics",), max_request_bytes=1)
        publisher.publish_batch([event("histogram"), event("other")])
        with pytest.raises(PublishError, match="6 of 12 points of metrics were refused: 413"):
            publisher.flush(timeout=5)
        publisher._is_closed = True
        publisher._pushing.end()
        publisher._sending.close()

    @pytest.mark.parametrize("end", ["flush", "close"])
    def test_a_server_that_trickles(self, server, end):
        """It is waited for as long as was said."""
        server.script.append(Trickle())
        publisher = OTLPPublisher(server.place, signals=("metrics",), timeout=30)
        publisher.publish_event_metrics(event())
        begun = time.monotonic()
        with pytest.raises(PublishError, match=r"no answer to metrics within 0\.\d+ s"):
            getattr(publisher, end)(timeout=0.3)
        assert time.monotonic() - begun < 5
        publisher.close(timeout=5)

    def test_one_push_at_a_time(self, publisher, server):
        """So that an older state never comes after a newer one."""
        begun, go = threading.Event(), threading.Event()

        def slow(request):
            begun.set()
            go.wait(10)
            return taken(request)

        server.script.append(slow)
        publisher.publish_event_metrics(event())
        other = threading.Thread(target=publisher.flush, args=(10,))
        other.start()
        assert begun.wait(10)
        with pytest.raises(PublishError, match="an earlier push"):
            publisher.flush(timeout=0.05)
        go.set()
        other.join()
        assert len(server.requests) == 1

    def test_closing_pushes_once(self, publisher, server):
        """Closing again does nothing, and neither does what comes afterwards."""
        publisher.publish_event_metrics(event())
        publisher.close(timeout=5)
        publisher.close(timeout=5)
        assert publisher.flush(timeout=5)
        assert len(server.requests) == 1

    def test_traces_alone_push_nothing(self, server):
        """Nor metrics alone spans."""
        for signals, path in (("traces", "/v1/traces"), ("metrics", "/v1/metrics")):
            publisher = OTLPPublisher(server.place, signals=signals)
            publisher.publish_event_metrics(event())
            publisher.flush(timeout=5)
            publisher.close(timeout=5)
            assert {one.path for one in server.requests} == {path}
            server.requests.clear()

    def test_where_no_thread_can_be_had(self, server, monkeypatch):
        """At the end of the interpreter for example, the last push is made all the same."""

        def refuse(thread):
            raise RuntimeError("can't start new thread")

        publisher = OTLPPublisher(server.place, signals=("metrics",))
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            publisher.publish_event_metrics(event())
        publisher.close(timeout=5)
        assert counts(pushes(server)[0]) == {("load", "completed"): 1}

    def test_an_interval_of_the_environment(self, server, monkeypatch):
        """In milliseconds, as OpenTelemetry has it; nonsense is passed over with a warning."""
        monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "1500")
        assert OTLPPublisher(server.place)._interval == 1.5
        assert OTLPPublisher(server.place, interval=2)._interval == 2
        monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "often")
        with pytest.warns(match="OTEL_METRIC_EXPORT_INTERVAL is not a number"):
            assert OTLPPublisher(server.place)._interval == 60
        monkeypatch.delenv("OTEL_METRIC_EXPORT_INTERVAL")
        assert OTLPPublisher(server.place)._interval == 60


#: What a server says of the spans of a request.
FATES = st.lists(st.sampled_from(["taken", "later", "refused", "left out"]), max_size=12)


class TestEachOnce:
    """A record is counted once, whatever becomes of its span."""

    @settings(deadline=None, suppress_health_check=list(HealthCheck))
    @given(batches=st.lists(st.integers(1, 6), min_size=1, max_size=4), fates=FATES)
    def test_whatever_the_traces_do(self, batches, fates):
        """Batches that come again whole or in part add nothing, and none is missed."""
        publisher = OTLPPublisher(max_request_bytes=1, interval=3600)
        todo, pushed = deque(fates), []

        def post(place, body, timeout):
            if place.url.endswith("/v1/metrics"):
                pushed.append(ExportMetricsServiceRequest.FromString(body))
                return Said(200, "", None, b"")
            fate = todo.popleft() if todo else "taken"
            content = b'{"partialSuccess": {"rejectedSpans": 1}}' if fate == "left out" else b"{}"
            status = {"later": 503, "refused": 400}.get(fate, 200)
            return Said(status, "application/json", None, content)

        publisher._sending.post = post
        publisher._limit = 1 << 20  # of the metrics; spans go one by one
        publisher._requests = lambda spans: ([one] for one in spans)
        number = 0
        for size in batches:
            waiting = [event("load", task=f"{number + one:016x}") for one in range(size)]
            number += size
            while waiting:
                try:
                    verdicts = publisher.publish_batch(waiting)
                except PublishError:
                    continue
                waiting = [
                    one for one, said in zip(waiting, verdicts, strict=True) if said == "retry"
                ]
        publisher.close(timeout=5)
        assert counts(pushed[-1]) == {("load", "completed"): number}

    def test_when_it_will_not_come_again(self, server):
        """Taken or refused, it is counted then, and not before."""
        busy, refused = Answer(503, b"", PROTOBUF), Answer(400, b"", PROTOBUF)
        server.script += [busy, taken, busy, refused]
        publisher = OTLPPublisher(server.place)
        seen = []
        for _ in range(4):
            try:
                seen += publisher.publish_batch([event()])
            except PublishError:
                seen.append("outage")
            seen.append(publisher._tally._accumulator.totals().events.get(("load", "completed"), 0))
        publisher.close(timeout=5)
        assert seen == ["outage", 0, "ok", 1, "outage", 1, "reject", 2]

    def test_under_delivery(self, server):
        """With outages in between, every event is at the server once, as a span and in the totals."""
        busy = Answer(503, b"", PROTOBUF)
        server.script += [busy, taken, busy, taken, busy]
        publisher = OTLPPublisher(server.place, interval=3600)
        with monitor_events([publisher], registry=Registry(), interval=0.001) as monitor:
            (delivery,) = monitor._deliveries
            delivery._sender.backoff._uniform = lambda low, high: 0.001
            for number in range(50):
                with traced_event(f"step {number % 5}"), network_op("h", 1):
                    pass
                if number % 10 == 0:
                    time.sleep(0.005)
            monitor.flush(timeout=30)
            assert monitor.flush(timeout=30)
        wanted = {(f"step {number}", "completed"): 10 for number in range(5)}
        assert counts(pushes(server)[-1]) == wanted
        operations = counts(pushes(server)[-1], "volnux.network.operations")
        assert operations == {("exchange", "completed"): 50}
        accepted = [one for one in spans(server) if one.name != "exchange"]
        assert len({one.span_id for one in accepted}) == 50


def wait_until(is_so):
    """Wait until something is so, ten seconds at most."""
    deadline = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.005)
