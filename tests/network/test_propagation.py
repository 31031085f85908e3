"""`inject` and `extract`: what runs elsewhere goes on under the event that asked for it."""

from __future__ import annotations

import asyncio
import os
import pickle
import re
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from email.message import Message
from multiprocessing import get_context

import pytest

from tests import workers
from tests.network._web import HEADER, PARENT, TRACE, injected, step, trace_in
from volnux.telemetry import (
    Registry,
    capture,
    current_event,
    extract,
    inject,
    network_op,
    pipeline,
    propagate,
    traced_event,
)
from volnux.telemetry._scope import suppressed, switch_off, switch_on


def in_thread(function):
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


@pytest.fixture
def process():
    """The registry of the process, recording."""
    registry = switch_on(Registry(strict=True))
    yield registry
    switch_off(registry)


class TestInject:
    def test_names_the_current_event(self, registry):
        """As the parent of whatever the headers are for, and as sampled."""
        with traced_event("a") as event:
            headers = injected()

        assert re.fullmatch(rf"00-[0-9a-f]{{32}}-{event.task_id}-01", headers["traceparent"])
        assert headers["tracestate"] == f"volnux={event.task_id}"

    def test_names_the_operation_it_is_given(self, registry):
        """What is sent with a request hangs under the request, not beside it."""
        with traced_event("a"), network_op("h", 80) as op:
            assert injected(op)["traceparent"].split("-")[2] == op.task_id

    @pytest.mark.parametrize("name", ["traceparent", "Traceparent", "TRACEPARENT"])
    def test_replaces_what_is_there_in_its_case(self, registry, name):
        """A second `traceparent` would make both of them invalid."""
        headers = {name: "old", "Host": "h"}
        with traced_event("a"):
            inject(headers)

        assert [key for key in headers if key.lower() == "traceparent"] == [name]
        assert headers[name] != "old"

    def test_leaves_headers_alone_where_there_is_no_event(self, registry):
        """There is nothing to go on under."""
        assert injected() == {}

    def test_leaves_headers_alone_while_telemetry_is_off(self):
        """Nobody could find the parent anywhere."""
        with traced_event("a"):
            assert injected() == {}

    def test_leaves_headers_alone_in_what_is_not_recorded(self, registry):
        """A publisher's own traffic belongs to no tree."""
        with traced_event("a"), suppressed():
            assert injected() == {}

    def test_counts_headers_that_cannot_be_written(self):
        """They never hurt the program."""
        with capture() as registry, traced_event("a"):
            inject(None)

        assert registry.health().errors == {"trace": {"inject": 1}}

    def test_raises_what_it_counts_when_strict(self, registry):
        """So that a test sees it."""
        with traced_event("a"), pytest.raises(TypeError):
            inject(None)


class TestTraces:
    def test_one_tree_has_one_trace(self, registry):
        """However deep it is sent from, through captures and pipelines, folded or not."""
        with traced_event("a"):
            found = {trace_in(injected())}
            registry.events()
            with pipeline("p"), capture(), traced_event("b"), network_op("h", 1) as op:
                found |= {trace_in(injected(op)), trace_in(step())}

        assert len(found) == 1

    def test_two_trees_have_two_traces(self, registry):
        """Even one after the other, under identifiers that are neighbours."""
        assert trace_in(step()) != trace_in(step())

    def test_an_operation_of_its_own_begins_a_trace(self, registry):
        """Where nothing encloses it, it is the outermost."""
        with network_op("h", 1) as op:
            first, again = injected(op), injected(op)

        assert first == again
        assert first["traceparent"].split("-")[2] == op.task_id

    def test_an_isolated_capture_begins_a_trace(self, registry):
        """Its events have no parent outside of it either."""
        with traced_event("a"):
            outside = trace_in(injected())
            with capture(isolated=True):
                assert trace_in(step()) != outside

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
    @pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
    def test_a_forked_child_goes_on_in_the_same_trace(self, registry):
        """Parent and child call the event around the fork the same."""
        with traced_event("a"):
            assert workers.in_fork(lambda: trace_in(step())) == trace_in(injected())

    def test_a_worker_goes_on_in_the_same_trace(self, registry):
        """What is sent from a process pool belongs to the tree of who asked for it."""
        with (
            ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
            traced_event("outer"),
            traced_event("inner"),
        ):
            there = pool.submit(propagate(workers.trace_headers)).result()
            assert trace_in(there) == trace_in(injected())


FORMS = {
    "a dict": {"traceparent": HEADER},
    "headers in another case": {"TraceParent": HEADER},
    "pairs of bytes, as ASGI has them": [(b"host", b"h"), (b"traceparent", HEADER.encode())],
    "an iterator of pairs": iter([("traceparent", HEADER)]),
    "the environment of WSGI": {"REQUEST_METHOD": "GET", "HTTP_TRACEPARENT": HEADER, "n": 1},
    "that of a process": {"PATH": "/bin", "TRACEPARENT": HEADER},
    "keys that are no names": {None: 1, 7: "x", "traceparent": HEADER},
    "with white space around it": {"traceparent": f" \t{HEADER} "},
}


class TestExtract:
    @pytest.mark.parametrize("headers", FORMS.values(), ids=FORMS)
    def test_gives_the_block_a_parent(self, registry, headers):
        """Whatever form the headers have."""
        with extract(headers) as parent:
            step()

        assert parent == PARENT
        assert registry.events()[0].parent_id == PARENT

    def test_takes_a_message_of_http_client(self, registry):
        """Its headers are no mapping."""
        message = Message()
        message["Traceparent"] = HEADER
        with extract(message) as parent:
            assert parent == PARENT

    def test_what_is_sent_on_is_of_the_same_trace(self, registry):
        """From everything that runs in the block, captures and pipelines included."""
        with extract({"traceparent": HEADER}):
            found = {trace_in(step())}
            with pipeline("p"), capture(), traced_event("a"), network_op("h", 1) as op:
                found |= {trace_in(step()), trace_in(injected(op))}
            with capture(), pipeline("q"):
                found |= {trace_in(step()), trace_in(injected())}

        assert found == {TRACE}

    def test_names_the_remote_parent_where_there_is_no_event(self, registry):
        """A message that is only handed on goes on under what sent it."""
        with extract({"traceparent": HEADER}):
            assert injected()["traceparent"] == HEADER

    def test_holds_in_what_is_started_from_it(self, registry):
        """Threads through `propagate`, and tasks."""

        async def task():
            found.append(step())

        async def main():
            await asyncio.create_task(task())

        found = []
        with extract({"traceparent": HEADER}):
            in_thread(propagate(lambda: found.append(step())))
            asyncio.run(main())

        assert [trace_in(headers) for headers in found] == [TRACE, TRACE]
        assert [event.parent_id for event in registry.events()] == [PARENT, PARENT]

    def test_holds_in_a_task_that_outlives_the_events_around_it(self, registry):
        """They have been folded, and know no more what was around them."""

        async def main():
            gate = asyncio.Event()

            async def late():
                await gate.wait()
                return step()

            with traced_event("a"), traced_event("b"), traced_event("c"):
                task = asyncio.create_task(late())
            registry.events()
            gate.set()
            return await task

        with extract({"traceparent": HEADER}):
            assert trace_in(asyncio.run(main())) == TRACE

    def test_goes_along_to_another_process(self, registry):
        """A call that is sent to a pool from the block has the same parent and trace there."""
        with extract({"traceparent": HEADER}):
            sent = pickle.loads(pickle.dumps(propagate(step)))
        parcel = sent()

        assert trace_in(parcel._result) == TRACE
        assert pickle.loads(pickle.dumps(parcel)) == parcel._result
        assert registry.events()[0].parent_id == PARENT

    def test_is_over_after_the_block(self, registry):
        """What follows has the parent that it would have had."""
        with traced_event("a") as event:
            with extract({"traceparent": HEADER}):
                step()
            step()

        assert [each.parent_id for each in registry.events("step")] == [PARENT, event.task_id]

    def test_the_inner_block_wins(self, registry):
        """And the outer one goes on after it."""
        other = f"00-{'1' * 32}-{'2' * 16}-01"
        with extract({"traceparent": HEADER}):
            with extract({"traceparent": other}):
                inner = step()
            outer = step()

        assert (trace_in(inner), trace_in(outer)) == ("1" * 32, TRACE)
        assert [event.parent_id for event in registry.events()] == ["2" * 16, PARENT]

    def test_the_same_parent_again_changes_nothing(self, registry):
        """As in a handler under a middleware: the event of the request stays in between."""
        block = extract({"traceparent": HEADER})
        with block, traced_event("request") as request:
            with block:
                step()
            step()

        parents = [event.parent_id for event in registry.events("step")]
        assert parents == [request.task_id, request.task_id]

    def test_the_event_around_it_stays_the_current_one(self, registry):
        """A consumer of messages still says things about itself."""
        with traced_event("consume") as event, extract({"traceparent": HEADER}):
            assert current_event().task_id == event.task_id

    def test_holds_for_a_capture_that_begins_in_it(self):
        """Also where nothing was recorded around it, in the pipeline that was."""
        with pipeline("p"), extract({"traceparent": HEADER}), capture() as registry:
            assert trace_in(step()) == TRACE

        [event] = registry.events()
        assert (event.parent_id, event.pipeline_id) == (PARENT, "p")

    def test_follows_the_switch_of_the_process(self):
        """A block that began while nothing was recorded."""
        with extract({"traceparent": HEADER}):
            registry = switch_on(Registry(strict=True))
            headers = step()
            switch_off(registry)
            assert injected() == {}

        assert (registry.events()[0].parent_id, trace_in(headers)) == (PARENT, TRACE)

    def test_records_nothing_where_nothing_is_to_be_recorded(self):
        """A publisher's own traffic stays nobody's event, whoever switches what on."""
        with suppressed(), extract({"traceparent": HEADER}):
            registry = switch_on(Registry(strict=True))
            assert step() == {}
            switch_off(registry)

        assert registry.events() == []

    def test_works_in_the_registry_of_the_process(self, process):
        """In any thread."""

        def serve():
            with extract({"traceparent": HEADER}):
                step()

        in_thread(serve)
        assert process.events()[0].parent_id == PARENT

    @pytest.mark.parametrize("headers", [None, {}, [], {"host": "h"}, {"traceparent": None}])
    def test_without_a_parent_it_is_a_plain_block(self, registry, headers):
        """What is in it runs under what it would have."""
        with traced_event("a") as event, extract(headers) as parent:
            step()

        assert parent is None
        assert registry.events("step")[0].parent_id == event.task_id

    def test_counts_what_are_no_headers(self):
        """They never hurt the program."""
        with capture() as registry, extract(42) as parent:
            assert parent is None

        assert registry.health().errors == {"trace": {"extract": 1}}

    def test_raises_what_it_counts_when_strict(self, registry):
        """So that a test sees it."""
        with pytest.raises(TypeError):
            extract(42)


def test_loads_nothing_that_nobody_asked_for():
    """Neither OpenTelemetry, which is not needed for any of it, nor anything with the facade."""
    program = """
import sys
import volnux.telemetry as telemetry
assert "volnux.telemetry.propagation" not in sys.modules
with telemetry.capture(), telemetry.traced_event("a"):
    headers = {}
    telemetry.inject(headers)
    with telemetry.extract(headers), telemetry.extract():
        pass
telemetry.WSGIMiddleware(print), telemetry.ASGIMiddleware(print)
print(len(headers), [name for name in sys.modules if name.startswith("opentelemetry")])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.split(b"\n")[0].strip() == b"2 []"
