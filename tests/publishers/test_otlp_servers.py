"""`OTLPPublisher` and `GrafanaCloudPublisher` with real servers: the collector, and Prometheus by its OTLP receiver."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

import pytest

from tests.publishers.asking import Asking, record_some
from volnux.telemetry import (
    GrafanaCloudPublisher,
    OTLPPublisher,
    PrometheusPublisher,
    PublishError,
    Registry,
    monitor_events,
    network_op,
    pipeline,
    traced_event,
)

pytestmark = pytest.mark.extras
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def job():
    """A `service.name` that no other test has."""
    return f"test-{uuid4().hex[:12]}"


@pytest.fixture
def written(collector, job):
    """What the collector writes of the service from now on, in parts, when there are so many spans, and metrics, of it."""
    begun = collector.output.stat().st_size

    def wait(spans=1):
        deadline = time.monotonic() + 20
        while True:
            with collector.output.open("rb") as file:
                file.seek(begun)
                text = file.read().decode("utf-8", "replace")
            parts = re.split(r"^\S+\tinfo\t(?=Resource)", text, flags=re.MULTILINE)
            ours = [one for one in parts if f"service.name: Str({job})" in one]
            kinds = {one.partition(" ")[0] for one in ours}
            there = sum(one.count("\nSpan #") for one in ours)
            if there >= spans and kinds == {"ResourceSpans", "ResourceMetrics"}:
                return ours
            assert time.monotonic() < deadline, f"the collector has {kinds or 'nothing'} of {job}"
            time.sleep(0.1)

    return wait


class TestCollector:
    """The collector, which writes down what it has understood."""

    @staticmethod
    def spans(parts):
        """Each span's own lines, by its name."""
        found = {}
        for part in parts:
            if part.startswith("ResourceSpans"):
                for one in re.split(r"^Span #\d+$", part, flags=re.MULTILINE)[1:]:
                    found[re.search(r"^ +Name +: (.+)$", one, re.MULTILINE)[1]] = one
        return found

    @pytest.mark.parametrize("compression", ["none", "gzip"])
    def test_every_field_of_a_span(self, collector, job, written, compression):
        """As the collector itself shows what it has received."""
        publisher = OTLPPublisher(collector.url, service_name=job, compression=compression)
        registry = Registry()
        with monitor_events([publisher], registry=registry) as monitor:
            with pipeline("nightly"), traced_event("outer", attributes={"rows": 3, "ok": True}):
                with pytest.raises(ValueError, match="no"), traced_event("inner") as inner:
                    inner.retry(OSError("again"), delay=0.0)
                    raise ValueError("no")
                with network_op("db.internal", 5432, "query") as op:
                    op.sent(10)
                    op.set_attribute("nested", {"a": [1, 2.5, None, "x"], "big": 10**30})
            assert monitor.flush(timeout=20)
        found = self.spans(written())
        outer, inner = registry.events()[0], registry.events()[1]
        outer, inner = (outer, inner) if outer.event_name == "outer" else (inner, outer)
        (operation,) = registry.network_ops()
        assert set(found) == {"outer", "inner", "query"}
        for record in (outer, inner, operation):
            text = found[getattr(record, "event_name", "query")]
            said = dict(re.findall(r"^ +(\w[\w ]*?) +: (.*)$", text, re.MULTILINE))
            assert said["Trace ID"] == record.trace_id
            assert said["Parent ID"] == (record.parent_id or "")
            assert said["ID"] == record.task_id
            assert said["Start time"][:19] == record.to_dict()["start_time"][:19].replace("T", " ")
        attributes = {name: self.attributes(text) for name, text in found.items()}
        assert attributes["outer"].items() >= {
            ("rows", "Int(3)"),
            ("ok", "Bool(true)"),
            ("volnux.status", "Str(completed)"),
            ("volnux.pipeline_id", "Str(nightly)"),
        }
        assert attributes["query"]["server.address"] == "Str(db.internal)"
        assert attributes["query"]["server.port"] == "Int(5432)"
        nested = attributes["query"]["nested"]
        assert '"a":[1,2.5,null,"x"]' in nested
        assert f'"big":"{10**30}"' in nested
        assert "Kind           : Client" in found["query"]
        assert "Kind           : Internal" in found["outer"]
        assert "Status code    : Error" in found["inner"]
        assert "Status message : ValueError: no" in found["inner"]
        assert re.findall(r"-> Name: (\w+)", found["inner"]) == ["attempt", "attempt", "exception"]
        assert "exception.message: Str(no)" in found["inner"]

    @staticmethod
    def attributes(text):
        """The attributes of a span, as they are shown; those of its events are further down."""
        own = text.partition("Events:")[0]
        return dict(re.findall(r"^ +-> ([\w.]+): (.+)$", own, re.MULTILINE))

    def test_the_metrics(self, collector, job, written):
        """Names, units, kinds, numbers and examples."""
        publisher = OTLPPublisher(collector.url, service_name=job, interval=3600)
        with monitor_events([publisher], registry=Registry()) as monitor:
            record_some(monitor)
            parts = written()
        (metrics,) = [one for one in parts if one.startswith("ResourceMetrics")]
        names = dict(re.findall(r"-> Name: (volnux\S+)\n.*\n +-> Unit: (\S+)", metrics))
        assert names == {
            "volnux.event.duration": "s",
            "volnux.events": "{event}",
            "volnux.event.retries": "{retry}",
            "volnux.event.retries_exhausted": "{event}",
            "volnux.network.operation.duration": "s",
            "volnux.network.operations": "{operation}",
            "volnux.network.bytes": "By",
            "volnux.events.in_flight": "{event}",
            "volnux.telemetry.dropped": "{record}",
        }
        assert re.findall(r"Temporality: (\w+)", metrics) == ["Cumulative"] * 9
        assert "-> Trace ID: " in metrics
        assert "-> Span ID: " in metrics

    def test_all_of_very_many(self, collector, job, written):
        """Every span arrives once: 20,000 of them, in many requests at once."""
        publisher = OTLPPublisher(collector.url, service_name=job)
        with monitor_events([publisher], registry=Registry()) as monitor:
            for _ in range(20_000):
                with traced_event("step"):
                    pass
            assert monitor.flush(timeout=60)
            counts = monitor.health().publishers["OTLPPublisher"]
        assert (counts["delivered"], counts["dropped"]) == (20_000, {})
        parts = [one for one in written(spans=20_000) if one.startswith("ResourceSpans")]
        identifiers = re.findall(r"^ +ID +: (\w+)$", "".join(parts), re.MULTILINE)
        assert (len(identifiers), len(set(identifiers))) == (20_000, 20_000)


class TestPrometheus:
    """Prometheus, to which totals are pushed instead of being scraped."""

    def test_the_answers_are_what_was_recorded(self, prometheus, job):
        """Counts, quantiles, retries and bytes, asked for in PromQL."""
        asking = Asking(prometheus)
        publisher = OTLPPublisher(
            f"{prometheus.url}/api/v1/otlp", signals=("metrics",), service_name=job, interval=0.5
        )
        registry = Registry()
        with monitor_events([publisher], registry=registry) as monitor:
            record_some(monitor)
            stats = registry.event_stats()["load"]
            here = f'job="{job}"'
            asking.wait_for(f"volnux_events_total{{{here}}}")
            failed = f'volnux_events_total{{{here},event="load",status="failed"}}'
            assert asking.only(failed) == 1
            completed = f'sum(volnux_event_duration_seconds_count{{{here},status="completed"}})'
            assert asking.only(completed) == 100
            total = f"sum(volnux_event_duration_seconds_sum{{{here}}})"
            assert asking.only(total) == pytest.approx(stats.total)
            assert asking.only(f"volnux_event_retries_total{{{here}}}") == 10
            received = f'volnux_network_bytes_total{{{here},direction="received"}}'
            assert asking.only(received) == 2_000
            quantile = (
                "histogram_quantile(0.5, sum by (le) "
                f"(volnux_event_duration_seconds_bucket{{{here}}}))"
            )
            assert 0 < asking.only(quantile) <= 0.0001
            assert asking.only(f"volnux_events_in_flight{{{here}}}") == 0

    def test_the_names_are_those_of_a_scrape(self, prometheus, job):
        """Metric by metric and label by label, with the same values: one dashboard serves both."""
        asking = Asking(prometheus)
        scraped = PrometheusPublisher(port=0)
        pushed = OTLPPublisher(
            f"{prometheus.url}/api/v1/otlp", signals=("metrics",), service_name=f"{job}-pushed"
        )
        with monitor_events([scraped, pushed], registry=Registry(), queue_items=200) as monitor:
            record_some(monitor)
            with pytest.raises(ValueError, match="deep"), traced_event("deep"):
                raise ValueError("deep" * 10_000)
            assert monitor.flush(timeout=20)
            with prometheus.scraping(f"127.0.0.1:{scraped.port}", job=f"{job}-scraped"):
                asking.wait_for(f'volnux_events_total{{job="{job}-scraped",event="deep"}}')
                asking.wait_for(f'volnux_events_total{{job="{job}-pushed",event="deep"}}')
                series = {
                    way: self.series(asking, f'{{job="{job}-{way}",__name__=~"volnux.*"}}')
                    for way in ("scraped", "pushed")
                }
        assert series["scraped"] == series["pushed"]
        names = {dict(labels)["__name__"] for labels in series["pushed"]}
        assert names >= {"volnux_event_duration_seconds_bucket", "volnux_network_bytes_total"}

    @staticmethod
    def series(asking, selector):
        """Every sample without what tells the two apart; bounds are numbers, and written as either likes."""
        found = {}
        for labels, value in asking.ask(selector).items():
            kept = {name: one for name, one in labels if name not in ("job", "instance")}
            if "le" in kept:
                kept["le"] = float(kept["le"])
            assert tuple(sorted(kept.items())) not in found
            found[tuple(sorted(kept.items()))] = value
        return found

    def test_a_counter_rises_from_push_to_push(self, prometheus, job):
        """No reset is seen where there is none."""
        asking = Asking(prometheus)
        publisher = OTLPPublisher(
            f"{prometheus.url}/api/v1/otlp", signals="metrics", service_name=job
        )
        with monitor_events([publisher], registry=Registry()) as monitor:
            for _ in range(3):
                with traced_event("load"):
                    pass
                assert monitor.flush(timeout=20)
                time.sleep(0.01)
        here = f'volnux_events_total{{job="{job}",status="completed"}}'
        asking.wait_for(here)
        assert asking.only(here) == 3
        assert asking.only(f"resets({here}[5m])") == 0

    def test_forked_workers_add_up(self, prometheus, job):
        """Each is an instance of its own, and none stands in for another."""
        publisher = OTLPPublisher(
            f"{prometheus.url}/api/v1/otlp", signals="metrics", service_name=job
        )
        with monitor_events([publisher], registry=Registry()) as monitor:
            with traced_event("load"):
                pass
            assert monitor.flush(timeout=20)
            children = []
            for _ in range(3):
                child = os.fork()
                if not child:
                    code = 1
                    try:
                        for _ in range(5):
                            with traced_event("load"):
                                pass
                        code = 0 if monitor.flush(timeout=20) else 2
                    finally:
                        os._exit(code)
                children.append(child)
            assert [os.waitstatus_to_exitcode(os.waitpid(one, 0)[1]) for one in children] == [0] * 3
        asking = Asking(prometheus)
        here = f'volnux_events_total{{job="{job}",status="completed"}}'
        asking.wait_for(here)
        assert sorted(asking.ask(here).values()) == [1, 5, 5, 5]
        assert asking.only(f"sum({here})") == 16

    def test_spans_are_refused_there(self, prometheus, job):
        """It takes metrics only: the spans are counted as rejected, and the metrics arrive."""
        publisher = OTLPPublisher(f"{prometheus.url}/api/v1/otlp", service_name=job)
        with monitor_events([publisher], registry=Registry()) as monitor:
            with traced_event("load"):
                pass
            assert monitor.flush(timeout=20)
            counts = monitor.health().publishers["OTLPPublisher"]
        assert counts["dropped"] == {"rejected": 1}
        assert "404" in publisher.refusal
        Asking(prometheus).wait_for(f'volnux_events_total{{job="{job}"}}')


class TestGrafanaCloud:
    """Prometheus by HTTPS with Basic auth, which stands in for the gateway of Grafana Cloud."""

    @staticmethod
    def publisher(server, **more):
        """A publisher to it, which is told where it is."""
        given = {
            "api_key": server.password,
            "endpoint": f"{server.url}/api/v1/otlp",
            "instance_id": int(server.user),
            "signals": ("metrics",),
            "ca_certs": server.ca,
        }
        return GrafanaCloudPublisher(org_slug="myorg", **{**given, **more})

    def test_metrics_arrive(self, prometheus_tls, job):
        """With the number and the token as user and password."""
        publisher = self.publisher(prometheus_tls, service_name=job)
        with monitor_events([publisher], registry=Registry()) as monitor:
            record_some(monitor)
        asking = Asking(prometheus_tls)
        asking.wait_for(f'volnux_events_total{{job="{job}"}}')
        assert asking.only(f'sum(volnux_events_total{{job="{job}"}})') == 101

    def test_a_token_that_is_wrong(self, prometheus_tls, caplog):
        """The log says what to look at, and shows none of it."""
        publisher = self.publisher(prometheus_tls, api_key="a-token", interval=0.01)
        with monitor_events([publisher], registry=Registry()) as monitor:
            with traced_event("load"):
                pass
            assert not monitor.flush(timeout=20)
            with pytest.raises(PublishError, match=r"401.*OpenTelemetry card|wait"):
                publisher.flush(timeout=5)
        assert "a-token" not in caplog.text

    def test_a_certificate_that_nobody_vouches_for(self, prometheus_tls):
        """Nothing is sent there."""
        publisher = self.publisher(prometheus_tls, ca_certs=None)
        with monitor_events([publisher], registry=Registry()) as monitor:
            with traced_event("load"):
                pass
            assert not monitor.flush(timeout=20)


@pytest.mark.parametrize("page", ["otlp.md", "grafana.md"])
def test_what_the_documentation_says_runs_as_written(collector, page, job, written, tmp_path):
    """With the address of the collector, and a name that no other test has."""
    text = (ROOT / "docs" / page).read_text("utf-8")
    program = re.search(r"```python\n(.+?)```", text, re.DOTALL)[1]
    program = program.replace("http://localhost:4318", collector.url)
    start = ""
    if page == "grafana.md":
        start = (
            "import os\n"
            f"os.environ['OTEL_EXPORTER_OTLP_ENDPOINT'] = {collector.url!r}\n"
            "os.environ['OTEL_EXPORTER_OTLP_HEADERS'] = 'Authorization=Basic%20eA=='\n"
        )
    (tmp_path / "page.py").write_text(start + program.replace('"nightly-etl"', repr(job)), "utf-8")
    command = [sys.executable, "-W", "error", "page.py"]
    done = subprocess.run(command, cwd=tmp_path, check=True, timeout=60, capture_output=True)
    assert done.stdout.split() == [b"1"]
    assert written()
