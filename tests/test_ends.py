"""The end of a process whose queue is full, and the end by SIGTERM."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FULL = """
    import sys, threading, time
    from volnux.telemetry import MetricsPublisher, monitor_events, traced_event

    class Slow(MetricsPublisher):
        taken = 0
        def publish_batch(self, records):
            opened.wait()
            time.sleep(float(sys.argv[1]))
            Slow.taken += len(records)
        def publish_event_metrics(self, metrics): pass
        publish_network_metrics = publish_event_metrics
        def close(self, timeout=None):
            print(Slow.taken, flush=True)

    opened = threading.Event()
    monitor = monitor_events([Slow()], queue_items=50_000)
    @traced_event
    def step(): pass
    for _ in range(60_000):
        step()
    monitor.flush(timeout=0)
    counts = monitor.health().publishers["Slow"]
    assert counts["accepted"] == counts["delivered"] + sum(counts["dropped"].values()) + counts["pending"]
    print(counts["pending"], flush=True)
    opened.set()
"""


def ending(pause, monkeypatch):
    """What was pending in a full queue, what arrived, what was said to be lost, and how long the end took."""
    monkeypatch.setenv("VOLNUX_EXIT_TIMEOUT", "2")
    begun = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(FULL), str(pause)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        pending = int(process.stdout.readline())
        begun = time.monotonic()
        out, err = process.communicate(timeout=60)
    lost = re.search(r"lost (\d+) records", err)
    return pending, out, int(lost[1]) if lost else 0, time.monotonic() - begun


def test_a_full_queue_is_delivered_at_the_end(monkeypatch):
    """Where the back end is quick enough, all of it."""
    pending, out, lost, _ = ending(0, monkeypatch)
    assert (pending, int(out), lost) == (50_000, 50_000, 0)


def test_a_full_queue_delays_the_end_no_longer_than_its_deadline(monkeypatch):
    """What did not arrive by then is counted and told."""
    pending, _, lost, seconds = ending(0.05, monkeypatch)
    assert pending == 50_000
    # In two seconds, with a pause after each batch of 256.
    assert 50_000 - 60 * 256 < lost < 50_000
    assert seconds < 2 + 3


TERMINATED = """
import signal, sys, time
from volnux.telemetry import JSONLinesPublisher, monitor_events, traced_event
monitor_events([JSONLinesPublisher(sys.argv[1])], interval=3600)
{handler}
with traced_event("work"):
    pass
print("ready", flush=True)
while True:
    time.sleep(60)
"""


def terminated(handler, path):
    """The exit status of a program that is terminated, and the names of the events that have arrived."""
    with subprocess.Popen(
        [sys.executable, "-c", TERMINATED.format(handler=handler), str(path)],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        process.wait(timeout=30)
    text = path.read_text("utf-8") if path.exists() else ""
    return process.returncode, re.findall(r'"event_name":\s*"(\w+)"', text)


@pytest.mark.skipif(sys.platform == "win32", reason="SIGTERM is none there")
class TestTerminated:
    """SIGTERM ends Python without a word to anybody; docs/publishing.md says what to do."""

    def test_what_waits_is_lost_where_nothing_is_done(self, tmp_path):
        """As with any program: no `finally`, no `atexit`."""
        assert terminated("", tmp_path / "a") == (-signal.SIGTERM, [])

    def test_what_the_page_says_delivers_it(self, tmp_path):
        """A handler that raises SystemExit makes an ordinary end of it."""
        page = (ROOT / "docs/publishing.md").read_text("utf-8")
        (line,) = re.findall(r"^signal\.signal\(signal\.SIGTERM, .*$", page, re.MULTILINE)
        status, names = terminated(line, tmp_path / "a")
        assert (status, names) == (128 + signal.SIGTERM, ["work"])
