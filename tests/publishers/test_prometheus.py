"""`PrometheusPublisher`: what it counts, and how it is served."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as strict

from tests.publishers.scripted import Answer, Scripted
from volnux.telemetry import (
    Attempt,
    EventMetrics,
    NetworkMetrics,
    PrometheusPublisher,
    PublishError,
    Registry,
    monitor_events,
    traced_event,
)
from volnux.telemetry.formats._prometheus import REASONS, Accumulator, observation

pytestmark = pytest.mark.extras
ROOT = Path(__file__).parent.parent.parent
OPEN_METRICS = "application/openmetrics-text; version=1.0.0"


@pytest.fixture
def publisher():
    """A publisher at any free port."""
    publisher = PrometheusPublisher(port=0)
    yield publisher
    publisher.close()


def scraped(publisher, accept=OPEN_METRICS):
    """What a scrape of it gets."""
    request = Request(f"http://127.0.0.1:{publisher.port}/metrics", headers={"Accept": accept})
    with urlopen(request, timeout=10) as answer:
        return answer.read().decode()


def samples(publisher):
    """Every sample by its name and labels, read by the strict parser of OpenMetrics."""
    return {
        (sample.name, *sorted(sample.labels.items())): sample
        for family in strict(scraped(publisher))
        for sample in family.samples
    }


def value(publisher, name, /, **labels):
    """One sample's value; None if there is none."""
    found = samples(publisher).get((name, *sorted(labels.items())))
    return None if found is None else found.value


def event(name="load", status="completed", seconds=0.2, task="00000000000000ab", **more):
    """The record of an event."""
    return EventMetrics(
        event_name=name, task_id=task, status=status, duration=seconds, end_time=1.7e9, **more
    )


def operation(name="GET /", status="completed", **more):
    """The record of a network operation."""
    return NetworkMetrics(host="h", task_id="1", operation=name, status=status, **more)


class TestCounts:
    """What a scrape sees."""

    def test_durations_by_name_and_status(self, publisher):
        """Buckets are cumulative, and their bounds belong to them."""
        publisher.publish_batch([event(seconds=one) for one in (0.1, 0.2, 0.25, 4000.0)])
        labels = {"event": "load", "status": "completed"}
        name = "volnux_event_duration_seconds"
        counts = {
            bound: value(publisher, f"{name}_bucket", le=bound, **labels)
            for bound in ("0.05", "0.1", "0.25", "3600.0", "+Inf")
        }
        assert counts == {"0.05": 0, "0.1": 1, "0.25": 3, "3600.0": 3, "+Inf": 4}
        assert value(publisher, f"{name}_count", **labels) == 4
        assert value(publisher, f"{name}_sum", **labels) == pytest.approx(4000.55)

    def test_retries_and_outcomes(self, publisher):
        """A name has every outcome from the first record on, at 0, or its first failure would be missed."""
        publisher.publish_batch([event(retry_count=2), event(status="failed")])
        found = {
            status: value(publisher, "volnux_events_total", event="load", status=status)
            for status in ("completed", "failed", "cancelled")
        }
        assert found == {"completed": 1, "failed": 1, "cancelled": 0}
        assert value(publisher, "volnux_event_retries_total", event="load") == 2

    @given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 10)), max_size=30))
    def test_totals_that_were_looked_at_stay(self, steps):
        """Whatever is counted afterwards: each state has what was counted until then."""
        accumulator = Accumulator((0.1, 1.0), 10)
        states = []
        for name, seconds in steps:
            accumulator.add([observation(event(name=name, seconds=seconds))])
            states.append(accumulator.totals())
        for count, state in enumerate(states, 1):
            assert sum(state.events.values()) == count
            for name in {name for name, _ in steps[:count]}:
                own = [seconds for one, seconds in steps[:count] if one == name]
                durations = state.event_durations[name, "completed"]
                assert sum(durations.counts) == len(own)
                assert durations.total == pytest.approx(sum(own))

    def test_retries_in_vain(self, publisher):
        """Events that failed though they were tried again, and those that got over a call that had."""

        def attempts(*outcomes):
            return tuple(Attempt(number=number, outcome=one) for number, one in outcomes)

        publisher.publish_batch(
            [
                event(retry_count=1),
                event(status="failed"),
                event(retry_count=1, attempts=attempts((1, "failed"), (2, "completed"))),
                event(retry_count=1, status="cancelled", attempts=attempts((1, "failed"))),
            ]
        )
        assert value(publisher, "volnux_event_retries_exhausted_total", event="load") == 0
        gave_up = attempts((1, "failed"), (2, "failed"), (1, "failed"), (2, "completed"))
        publisher.publish_batch(
            [event(retry_count=1, status="failed"), event(retry_count=2, attempts=gave_up)]
        )
        assert value(publisher, "volnux_event_retries_exhausted_total", event="load") == 2

    def test_what_was_dropped_begins_at_0(self, publisher):
        """For every reason, or the first records that are dropped would be missed."""
        with monitor_events([publisher], registry=Registry()):
            found = [
                (one.labels["reason"], one.value)
                for one in samples(publisher).values()
                if one.name == "volnux_telemetry_dropped_total"
            ]
        assert found == [(reason, 0) for reason in REASONS]

    def test_network_operations(self, publisher):
        """By operation, and bytes by direction; no host and no port."""
        publisher.publish_network_metrics(
            operation(latency=0.3, bytes_sent=10, bytes_received=20).to_dict()
        )
        publisher.publish_batch([operation(status="failed", bytes_sent=1)])
        labels = {"operation": "GET /"}
        sent = value(publisher, "volnux_network_bytes_total", direction="sent", **labels)
        received = value(publisher, "volnux_network_bytes_total", direction="received", **labels)
        failed = value(publisher, "volnux_network_operations_total", outcome="failed", **labels)
        assert (sent, received, failed) == (11, 20, 1)
        assert 'host="' not in scraped(publisher)

    def test_an_exemplar_leads_to_the_record(self, publisher):
        """In OpenMetrics only; the last record of each bucket."""
        publisher.publish_batch([event(task="00000000000000aa"), event()])
        found = [one.exemplar for one in samples(publisher).values() if one.exemplar]
        assert [(one.labels, one.value) for one in found] == [
            ({"task_id": "00000000000000ab"}, 0.2)
        ]
        assert "task_id" not in scraped(publisher, accept="text/plain")
        publisher.publish_event_metrics(event(seconds=9.0, trace_id="0" * 31 + "1"))
        found = [one.exemplar.labels for one in samples(publisher).values() if one.exemplar]
        assert {"trace_id": "0" * 31 + "1", "task_id": "00000000000000ab"} in found

    def test_more_names_than_may_be(self):
        """What exceeds the limit is counted together."""
        publisher = PrometheusPublisher(port=0, max_names=2)
        publisher.publish_batch([event(name=str(number)) for number in range(5)])
        publisher.publish_batch([operation(name=str(number)) for number in range(5)])
        found = {
            name: value(publisher, "volnux_events_total", event=name, status="completed")
            for name in ("0", "1", "2", "__other__")
        }
        publisher.close()
        assert found == {"0": 1, "1": 1, "2": None, "__other__": 3}

    def test_names_with_anything_in_them(self, publisher):
        """Quotes, backslashes and line feeds arrive as they are."""
        odd = 'a "quoted" \\ name\nof two lines'
        publisher.publish_event_metrics(event(name=odd))
        assert value(publisher, "volnux_events_total", event=odd, status="completed") == 1

    def test_buckets_of_ones_own(self):
        """In seconds; infinity is there without being asked for."""
        publisher = PrometheusPublisher(port=0, buckets=[1, 2, float("inf")])
        publisher.publish_event_metrics(event(seconds=1.5))
        bounds = [dict(key[1:])["le"] for key in samples(publisher) if key[0].endswith("_bucket")]
        publisher.close()
        assert bounds == ["1.0", "2.0", "+Inf"]

    def test_how_telemetry_itself_goes(self, publisher):
        """What is in flight, dropped and swallowed, as the monitor's health has it."""
        registry = Registry()
        with monitor_events(
            [publisher], registry=registry, queue_items=1, interval=3600
        ) as monitor:
            with traced_event("outer"):
                assert value(publisher, "volnux_events_in_flight") == 1
                for _ in range(3):
                    with traced_event("inner"):
                        pass
            monitor.flush(timeout=10)
            assert value(publisher, "volnux_events_in_flight") == 0
            reasons = {"publisher": "PrometheusPublisher", "reason": "queue_full"}
            dropped = monitor.health().publishers["PrometheusPublisher"]["dropped"]["queue_full"]
            assert dropped > 0
            assert value(publisher, "volnux_telemetry_dropped_total", **reasons) == dropped
            registry.count_error("bounds", "text")
            said = value(publisher, "volnux_telemetry_errors_total", stage="bounds", reason="text")
            assert said == 1


def test_a_scrape_sees_one_state(publisher):
    """While records come in by the thousand, count, sum and buckets belong to the same ones."""
    stop = threading.Event()

    def publish():
        while not stop.is_set():
            publisher.publish_batch([event(seconds=0.5)] * 100)

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        for _ in range(20):
            found = samples(publisher)
            labels = (("event", "load"), ("status", "completed"))
            name = "volnux_event_duration_seconds"
            if (f"{name}_count", *labels) not in found:
                continue
            count = found[(f"{name}_count", *labels)].value
            assert count % 100 == 0
            assert found[(f"{name}_sum", *labels)].value == count / 2
            assert found[("volnux_events_total", *labels)].value == count
    finally:
        stop.set()
        thread.join()


class TestServing:
    """Ports, registries and TLS."""

    def test_the_requirement_runs_as_written(self, tmp_path):
        """Also at port 9090, where Prometheus itself would be; here at one that is free."""
        text = (ROOT / "docs/telemetry.rst").read_text("utf-8")
        blocks = re.findall(r"code-block:: python\n\n((?: +[^\n]*\n|\n)+)", text)
        (block,) = [one for one in blocks if "PrometheusPublisher(port=9090)" in one]
        program = textwrap.dedent(block).replace("9090", "0")
        check = (
            "from urllib.request import urlopen\nfrom volnux.telemetry import *\n"
            + program
            + (
                "\nurl = f'http://127.0.0.1:{prometheus_publisher.port}/metrics'"
                "\nassert b'volnux_events' in urlopen(url).read()\n"
            )
        )
        (tmp_path / "page.py").write_text(check, "utf-8")
        subprocess.run([sys.executable, "page.py"], cwd=tmp_path, check=True, timeout=60)

    def test_a_port_that_is_taken(self):
        """The message says what to do."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(OSError, match=f"cannot listen at 127.0.0.1:{port}.*another port="):
                PrometheusPublisher(port=port)

    def test_closing_frees_the_port(self, publisher):
        """At once; closing again does nothing."""
        publisher.close()
        publisher.close()
        with pytest.raises(URLError):
            scraped(publisher)
        again = PrometheusPublisher(port=publisher.port)
        again.close()

    def test_two_at_once(self, publisher):
        """Each has a registry of its own."""
        other = PrometheusPublisher(port=0)
        other.publish_event_metrics(event())
        assert value(publisher, "volnux_events_total", event="load", status="completed") is None
        other.close()

    def test_in_a_registry_of_ones_own(self):
        """Next to other metrics of the program, and gone from there when it is closed."""
        registry = CollectorRegistry()
        publisher = PrometheusPublisher(port=None, registry=registry)
        publisher.publish_event_metrics(event())
        labels = {"event": "load", "status": "completed"}
        assert registry.get_sample_value("volnux_events_total", labels) == 1
        assert repr(publisher) == "PrometheusPublisher(port=None)"
        publisher.close()
        assert registry.get_sample_value("volnux_events_total", labels) is None

    def test_by_https(self, tmp_path):
        """With a certificate, and to those that have one, if that is asked for."""
        authority = trustme.CA()
        certificate, client = authority.issue_cert("127.0.0.1"), authority.issue_cert("me")
        paths = {name: tmp_path / name for name in ("cert", "key", "ca", "client")}
        certificate.cert_chain_pems[0].write_to_path(paths["cert"])
        certificate.private_key_pem.write_to_path(paths["key"])
        authority.cert_pem.write_to_path(paths["ca"])
        client.private_key_and_cert_chain_pem.write_to_path(paths["client"])
        publisher = PrometheusPublisher(
            port=0, certfile=paths["cert"], keyfile=paths["key"], client_cafile=paths["ca"]
        )
        url = f"https://127.0.0.1:{publisher.port}/metrics"
        context = ssl.create_default_context(cafile=paths["ca"])
        with pytest.raises((OSError, HTTPError)):
            urlopen(url, context=context, timeout=10).read()
        context.load_cert_chain(paths["client"])
        with urlopen(url, context=context, timeout=10) as answer:
            assert b"volnux_events" in answer.read()
        publisher.close()

    @pytest.mark.parametrize(
        "arguments",
        [
            {"buckets": []},
            {"buckets": [2, 1]},
            {"buckets": [1, 1]},
            {"buckets": [0, 1]},
            {"push_gateway": "localhost:9091"},
            {"certfile": "a"},
            {"client_cafile": "a"},
        ],
    )
    def test_arguments_that_make_no_sense(self, arguments):
        """A set-up mistake raises at once."""
        with pytest.raises(ValueError, match=r"buckets|job=|HTTPS"):
            PrometheusPublisher(port=None, **arguments)


class TestForks:
    """Workers that are forked from the process that serves."""

    def test_are_counted_with_it(self, publisher):
        """Each child sends what it has recorded to where it is scraped."""
        with monitor_events([publisher], registry=Registry()) as monitor:
            for _ in range(5):
                child = os.fork()
                if not child:
                    for _ in range(300):
                        with traced_event("work"):
                            pass
                    os._exit(0 if monitor.flush(timeout=20) else 1)
                assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            labels = {"event": "work", "status": "completed"}
            assert value(publisher, "volnux_events_total", **labels) == 1_500

    def test_a_killed_one_loses_only_what_it_had_not_sent(self, publisher):
        """What has arrived is whole, and the others go on."""
        with monitor_events([publisher], registry=Registry()) as monitor:
            child = os.fork()
            if not child:
                with traced_event("work"):
                    pass
                monitor.flush(timeout=20)
                with traced_event("lost"):
                    os.kill(os.getpid(), signal.SIGKILL)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
            labels = {"status": "completed"}
            assert value(publisher, "volnux_events_total", event="work", **labels) == 1
            assert value(publisher, "volnux_events_total", event="lost", **labels) is None

    def test_do_not_keep_the_port(self, publisher):
        """A child that outlives the parent's publisher is not in the way of the next one."""
        ours, theirs = os.pipe()
        ready, is_there = os.pipe()
        child = os.fork()
        if not child:
            os.close(theirs)
            os.write(is_there, b"x")
            os.read(ours, 1)
            os._exit(0)
        os.read(ready, 1)
        publisher.close()
        again = PrometheusPublisher(port=publisher.port)
        again.close()
        os.close(theirs)
        os.waitpid(child, 0)
        for end in (ours, ready, is_there):
            os.close(end)

    def test_of_a_parent_that_is_gone_keep_what_they_have(self, publisher):
        """It is an outage: the records wait."""
        answer, report = os.pipe()
        child = os.fork()
        if not child:
            publisher._relay._writing.settimeout(0.1)
            os.read(answer, 1)
            status = 1
            try:
                publisher.publish_batch([event()])
            except PublishError:
                status = 0
            os._exit(status)
        publisher.close()
        os.write(report, b"x")
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        os.close(answer)
        os.close(report)

    def test_many_at_once_send_more_than_a_message_holds(self, publisher):
        """Long names make large messages, which are sent in parts."""
        long = [event(name=f"{number}" + "x" * 500) for number in range(1_000)]
        child = os.fork()
        if not child:
            os._exit(0 if set(publisher.publish_batch(long)) == {"ok"} else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        publisher._relay.close()
        publisher._relay = None
        totals = publisher._accumulator.totals()
        assert sum(totals.events.values()) == 1_000

    def test_what_has_been_sent_is_not_sent_again(self, publisher, monkeypatch):
        """Where the parent stops reading in the middle, only the rest comes again: totals are never doubled."""
        long = [event(name=f"{number}" + "x" * 500) for number in range(1_000)]
        sent = []

        class Stuck:
            def send(self, message):
                if sent:
                    raise TimeoutError
                sent.append(message)

        monkeypatch.setattr(publisher, "_owner", 0)  # as in a child
        monkeypatch.setattr(publisher._relay, "_writing", Stuck())
        verdicts = publisher.publish_batch(long)
        count = len(json.loads(sent[0]))
        assert 0 < count < 1_000
        assert verdicts == ["ok"] * count + ["retry"] * (1_000 - count)
        with pytest.raises(PublishError):
            publisher.publish_batch(long[count:])
        monkeypatch.undo()

    def test_an_item_that_is_larger_than_a_message_is_its_own_fault(self, publisher, monkeypatch):
        """It is no outage, and keeps no other waiting for ever."""
        monkeypatch.setattr(publisher, "_owner", 0)
        with pytest.raises(ValueError, match="larger"):
            publisher.publish_batch([event(name="x" * 70_000), event()])
        monkeypatch.undo()


class TestPushing:
    """The end of a batch job, at a Pushgateway."""

    def test_a_push_at_the_end(self):
        """The totals of the job, under its name."""
        server = Scripted(lambda request: Answer(202))
        running = server.running()
        next(running)
        publisher = PrometheusPublisher(
            port=None, push_gateway=server.place, job="nightly", grouping_key={"region": "eu"}
        )
        with monitor_events([publisher], registry=Registry()), traced_event("work"):
            pass
        next(running, None)
        (request,) = server.requests
        assert request.path == "/metrics/job/nightly/region/eu"
        assert b'volnux_events_total{event="work",status="completed"} 1.0' in request.body

    def test_a_gateway_that_is_away(self):
        """The job ends all the same, and health says why nothing arrived."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            place = f"127.0.0.1:{listening.getsockname()[1]}"
        registry = Registry()
        publisher = PrometheusPublisher(port=None, push_gateway=place, job="nightly")
        with monitor_events([publisher], registry=registry), traced_event("work"):
            pass
        assert registry.health().errors["publish"] == {"PublishError": 1}
