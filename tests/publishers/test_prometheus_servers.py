"""`PrometheusPublisher` and real servers: what PromQL answers is what was recorded."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from urllib.request import urlopen
from uuid import uuid4

import pytest

from tests.publishers.asking import Asking, record_some
from volnux.telemetry import PrometheusPublisher, Registry, monitor_events

pytestmark = pytest.mark.extras
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def job():
    """A `job` that no other test has."""
    return f"test-{uuid4().hex[:12]}"


def test_a_real_prometheus_scrapes_what_was_recorded(prometheus, job):
    """Counts, quantiles, retries and bytes, asked for in PromQL."""
    publisher = PrometheusPublisher(port=0)
    registry = Registry()
    with monitor_events([publisher], registry=registry) as monitor:
        record_some(monitor)
        stats = registry.event_stats()["load"]
        with prometheus.scraping(f"127.0.0.1:{publisher.port}", job=job):
            asking = Asking(prometheus)
            asking.wait_for(f'volnux_events_total{{job="{job}"}}')
            here = f'job="{job}"'
            failed = f'volnux_events_total{{{here},event="load",status="failed"}}'
            assert asking.only(failed) == 1
            completed = f'sum(volnux_event_duration_seconds_count{{{here},status="completed"}})'
            assert asking.only(completed) == 100
            total = f"sum(volnux_event_duration_seconds_sum{{{here}}})"
            assert asking.only(total) == pytest.approx(stats.total)
            assert asking.only(f"volnux_event_retries_total{{{here}}}") == 10
            received = f'volnux_network_bytes_total{{{here},direction="received"}}'
            assert asking.only(received) == 2_000
            quantile = f"histogram_quantile(0.5, sum by (le) (volnux_event_duration_seconds_bucket{{{here}}}))"
            assert 0 < asking.only(quantile) <= 0.0001
            assert asking.only(f"volnux_events_in_flight{{{here}}}") == 0


def test_promtool_finds_nothing_to_say(promtool):
    """Names, units and help texts follow the rules of Prometheus."""
    publisher = PrometheusPublisher(port=0)
    with monitor_events([publisher], registry=Registry(), queue_items=1) as monitor:
        record_some(monitor)
        with urlopen(f"http://127.0.0.1:{publisher.port}/metrics", timeout=10) as answer:
            text = answer.read()
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_the_end_of_a_batch_job_is_at_a_real_pushgateway(pushgateway, job):
    """With its totals, under its name."""
    publisher = PrometheusPublisher(port=None, push_gateway=pushgateway.url, job=job)
    with monitor_events([publisher], registry=Registry()) as monitor:
        record_some(monitor)
    with urlopen(f"{pushgateway.url}/metrics", timeout=10) as answer:
        lines = [line for line in answer.read().decode().splitlines() if f'job="{job}"' in line]
    counts = [line for line in lines if line.startswith("volnux_events_total") and "load" in line]
    assert sorted(line.rpartition(" ")[2] for line in counts) == ["0", "1", "100"]


def test_workers_of_gunicorn_are_counted_in_its_master(tmp_path):
    """A publisher made in the master serves what all workers record, a killed one's too."""
    (tmp_path / "app.py").write_text(
        textwrap.dedent(
            """
            import os, signal
            from volnux.telemetry import traced_event
            def app(environ, start_response):
                with traced_event("request"):
                    pass
                start_response("200 OK", [])
                return [str(os.getpid()).encode()]
            """
        )
    )
    (tmp_path / "settings.py").write_text(
        textwrap.dedent(
            """
            from volnux.telemetry import PrometheusPublisher, monitor_events
            bind, workers, loglevel = "127.0.0.1:0", 3, "info"
            def when_ready(server):
                publisher = PrometheusPublisher(port=0)
                server.monitor = monitor_events([publisher], interval=0.05)
                print("at", server.LISTENERS[0].getsockname()[1], publisher.port, flush=True)
            def post_worker_init(worker):
                print("ready", worker.pid, flush=True)
            """
        )
    )
    command = [sys.executable, "-m", "gunicorn", "-c", "settings.py", "app:app"]
    master = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    too_long = threading.Timer(60, master.kill)  # after which it has nothing more to say
    too_long.start()
    try:
        said = map(str.split, master.stdout)
        _, port, metrics = next(words for words in said if words[0] == "at")
        seen = set()
        for number in range(60):
            with urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
                seen.add(int(answer.read()))
            if number == 30:
                count(metrics, 31)
                subprocess.run(["kill", "-9", str(max(seen))], check=True)
        count(metrics, 60)
        assert len(seen) > 1
        # A worker that is told to end before it listens to signals never hears of it.
        for _ in range(3 + 1):
            next(words for words in said if words[0] == "ready")
    finally:
        too_long.cancel()
        master.terminate()
        master.communicate(timeout=30)


def count(port, wanted):
    """Wait until so many requests are counted at a port."""
    deadline = time.monotonic() + 20
    while True:
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        found = [
            line.rpartition(" ")[2]
            for line in text.splitlines()
            if line.startswith('volnux_events_total{event="request",status="completed"}')
        ]
        if found == [f"{wanted}.0"]:
            return
        assert time.monotonic() < deadline, f"{found} of {wanted} requests are counted"
        time.sleep(0.1)
