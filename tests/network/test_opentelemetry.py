"""OpenTelemetry on the other side, in between, and around: its own SDK, its own spans."""

from __future__ import annotations

import sys
import types

import pytest
from opentelemetry import propagate as otel
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from volnux.telemetry import capture, extract, inject, network_op, traced_event
from volnux.telemetry._guard import PROCESS
from volnux.telemetry.clients._exchange import Exchange
from volnux.telemetry.clients._gate import Settings
from volnux.telemetry.clients._trace import trace_headers


@pytest.fixture
def spans():
    """What the tracer has exported."""
    return InMemorySpanExporter()


@pytest.fixture
def tracer(spans):
    """OpenTelemetry at work, with a provider of its own: the global one is set once only."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    yield provider.get_tracer("test")
    provider.shutdown()


@pytest.fixture
def exchange(registry):
    """A request of a client with `propagate_trace`, under an event."""
    with traced_event("client"):
        exchange = Exchange("GET", "h", 80, "/", Settings(propagate_trace=True))
        yield exchange
        exchange.end()


def sent():
    """What somebody sends on who carries our context along."""
    headers: dict[str, str] = {}
    inject(headers)
    return headers


def header_of(span):
    """What OpenTelemetry itself would send under a span."""
    headers: dict[str, str] = {}
    otel.inject(headers, trace.set_span_in_context(span))
    return headers["traceparent"]


class TestTheOtherSide:
    def test_a_span_goes_on_from_our_operation(self, exchange, tracer, spans):
        """Its trace and its parent are those of our header, and it is sampled."""
        header = dict(trace_headers(exchange)).get("traceparent")
        remote = otel.extract({"traceparent": header})
        with tracer.start_as_current_span("server", context=remote):
            pass

        [span] = spans.get_finished_spans()
        _, trace_id, parent_id, _ = header.split("-")
        assert f"{span.context.trace_id:032x}" == f"{span.parent.trace_id:032x}" == trace_id
        assert f"{span.parent.span_id:016x}" == parent_id == exchange.op.task_id
        assert span.parent.is_remote
        assert span.context.trace_flags.sampled

    def test_every_span_of_one_tree_is_in_one_trace(self, registry, tracer, spans):
        """Requests from different depths, each with a server of its own."""
        with traced_event("a"):
            for depth in range(3):
                with traced_event("b"), network_op("h", depth) as op:
                    headers: dict[str, str] = {}
                    inject(headers, op)
                    tracer.start_span("server", context=otel.extract(headers)).end()

        assert len({span.context.trace_id for span in spans.get_finished_spans()}) == 1

    def test_our_event_goes_on_from_a_span(self, registry, tracer):
        """Its parent is the span, and what it sends on is of the same trace."""
        headers: dict[str, str] = {}
        with tracer.start_as_current_span("client") as span:
            otel.inject(headers)
        with extract(headers), traced_event("server"):
            on = sent()

        _, trace_id, span_id, flags = header_of(span).split("-")
        assert registry.events("server")[0].parent_id == span_id
        assert on["traceparent"].split("-")[1::2] == [trace_id, flags]

    def test_their_tracestate_comes_back_to_them(self, registry, tracer, spans):
        """Through us, and with our own member in front."""
        state = trace.TraceState([("vendor", "1")])
        sampled = trace.TraceFlags(trace.TraceFlags.SAMPLED)
        context = trace.SpanContext(1 << 100, 7, True, sampled, state)
        remote = trace.set_span_in_context(trace.NonRecordingSpan(context))
        headers: dict[str, str] = {}
        otel.inject(headers, remote)
        with extract(headers), traced_event("between") as event:
            back = otel.extract(sent())

        tracer.start_span("server", context=back).end()
        [span] = spans.get_finished_spans()
        expected = [("volnux", event.task_id), ("vendor", "1")]
        assert list(span.context.trace_state.items()) == expected

    def test_a_trace_that_is_not_sampled_stays_so(self, registry):
        """We record it all the same, and do not have others keep what was to be dropped."""
        provider = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
        headers: dict[str, str] = {}
        with provider.get_tracer("test").start_as_current_span("client"):
            otel.inject(headers)
        with extract(headers), traced_event("server"):
            on = sent()

        assert registry.event_stats()["server"].count == 1
        assert on["traceparent"][-2:] == headers["traceparent"][-2:]
        assert not int(on["traceparent"][-1]) & 1

    def test_a_service_of_theirs_between_two_of_ours(self, exchange, registry, tracer, spans):
        """Their tree and ours are both whole, in one trace."""
        incoming = dict(trace_headers(exchange))
        outgoing: dict[str, str] = {}
        with tracer.start_as_current_span("between", context=otel.extract(incoming)):
            otel.inject(outgoing)
        with extract(outgoing), traced_event("server"):
            on = sent()

        [span] = spans.get_finished_spans()
        assert f"{span.parent.span_id:016x}" == exchange.op.task_id
        assert registry.events("server")[0].parent_id == exchange.op.task_id
        assert on["traceparent"].split("-")[1] == incoming["traceparent"].split("-")[1]


class TestAround:
    def test_the_current_span_is_what_a_client_sends(self, exchange, tracer):
        """So that the tree of OpenTelemetry stays whole."""
        with tracer.start_as_current_span("around") as span:
            header = dict(trace_headers(exchange)).get("traceparent")

        assert header == header_of(span)

    def test_tracestate_names_the_operation(self, exchange, registry, tracer):
        """So that ours stays whole, too."""
        with tracer.start_as_current_span("around"):
            headers = trace_headers(exchange)
        with extract(headers), traced_event("server"):
            pass

        assert dict(headers)["tracestate"] == f"volnux={exchange.op.task_id}"
        assert registry.events("server")[0].parent_id == exchange.op.task_id

    def test_a_span_that_is_not_sampled_is_sent_as_such(self, exchange):
        """Its flags are its own."""
        provider = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
        with provider.get_tracer("test").start_as_current_span("around") as span:
            header = dict(trace_headers(exchange)).get("traceparent")

        assert header == header_of(span)
        assert not int(header[-1]) & 1

    def test_it_is_sent_without_an_event_of_ours_too(self, registry, tracer):
        """There is a parent then."""
        with tracer.start_as_current_span("around") as span:
            assert sent() == {"traceparent": header_of(span)}

    def test_nothing_is_sent_while_telemetry_is_off(self, tracer):
        """OpenTelemetry can do that itself."""
        with tracer.start_as_current_span("around"):
            assert sent() == {}

    def test_extract_without_headers_takes_the_current_span(self, registry, tracer):
        """For the parent of events that stay in the process."""
        around = tracer.start_as_current_span("around")
        with around as span, extract() as parent, traced_event("inside"):
            pass

        assert registry.events("inside")[0].parent_id == parent == header_of(span).split("-")[2]

    def test_and_goes_on_in_its_trace_after_it(self, registry, tracer):
        """Also where it is no longer current."""
        with tracer.start_as_current_span("around") as span:
            block = extract()
        with block, traced_event("inside"):
            assert sent()["traceparent"].split("-")[1] == header_of(span).split("-")[1]

    def test_extract_without_a_current_span_is_a_plain_block(self, registry):
        """What is in it runs under what it would have."""
        with traced_event("a") as event, extract() as parent, traced_event("b"):
            pass

        assert parent is None
        assert registry.events("b")[0].parent_id == event.task_id


class TestWhatStandsForIt:
    @pytest.fixture
    def counted(self):
        """What has been counted for the process meanwhile."""
        before = PROCESS.counts().get(("trace", "opentelemetry"), 0)
        return lambda: PROCESS.counts().get(("trace", "opentelemetry"), 0) - before

    def test_what_is_not_loaded_yet_is_passed_over(self, exchange, counted, monkeypatch):
        """A module is there before it is complete."""
        monkeypatch.setitem(sys.modules, "opentelemetry.trace", types.ModuleType("empty"))
        assert dict(trace_headers(exchange)).get("traceparent").split("-")[2] == exchange.op.task_id
        assert counted() == 0

    def test_what_raises_is_counted(self, exchange, counted, monkeypatch):
        """And the header is ours."""
        broken = types.ModuleType("broken")
        broken.get_current_span = dict  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "opentelemetry.trace", broken)
        assert dict(trace_headers(exchange)).get("traceparent").split("-")[2] == exchange.op.task_id
        assert counted() == 1


def test_a_capture_of_its_own_keeps_the_span_out(tracer):
    """Nothing of OpenTelemetry is recorded unless it is asked for."""
    with capture() as registry, tracer.start_as_current_span("around"), traced_event("a"):
        pass

    assert registry.events("a")[0].parent_id is None
