"""A program that records and delivers with a spool until somebody kills it, and who does so.

python -m tests.spooling FOLDER SINK RUN       the program; SINK is a file, or "URL PREFIX" of Elasticsearch
python -m tests.spooling kill RUNS URL         kills it so often, and looks into the Elasticsearch at URL
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from volnux.telemetry import ElasticsearchPublisher, MetricsPublisher, monitor_events, traced_event
from volnux.telemetry._spool_file import file_name

#: Seconds after which a program that nobody has killed ends by itself.
LONGEST = 20.0


class Sink(MetricsPublisher):
    """Appends a line for each record; what it has returned from is in the file."""

    name = "Sink"
    batch_size = 64

    def __init__(self, path):
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def publish_event_metrics(self, metrics):
        raise AssertionError("it takes batches")

    publish_network_metrics = publish_event_metrics

    def publish_batch(self, records):
        lines = "".join(f"{r.attributes['run']} {r.attributes['number']}\n" for r in records)
        os.write(self._file, lines.encode())


def publisher_to(sink):
    """The publisher that a sink needs, under a name that says nothing of it."""
    if " " not in sink:
        return Sink(sink)
    url, prefix = sink.split()
    publisher = ElasticsearchPublisher([url], prefix)
    type(publisher).name = "Sink"
    return publisher


def main(folder, sink, run):
    """Record as long as it may, saying how many have been accepted."""
    monitor = monitor_events([publisher_to(sink)], spool=folder, interval=0.02, spool_age=3_600)
    until = time.monotonic() + LONGEST
    number = 0
    while time.monotonic() < until:
        for _ in range(50):
            with traced_event("step", attributes={"run": run, "number": number}):
                number += 1
        accepted = monitor.health().publishers["Sink"]["accepted"]
        os.write(1, f"{accepted}\n".encode())
        time.sleep(0.002)


def left(folder):
    """What a spool holds, read without volnux: pairs of run and number."""
    path = Path(folder) / file_name("Sink")
    if not path.exists():
        return []
    found = []
    with closing(sqlite3.connect(path)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'chunks'").fetchone():
            return []  # killed before it was made
        for undone, text in connection.execute("SELECT undone, lines FROM chunks ORDER BY id"):
            lines = text.split("\n")
            for place in json.loads(undone) if undone else range(len(lines)):
                attributes = json.loads(lines[place])["attributes"]
                found.append((attributes["run"], attributes["number"]))
    return found


def kill_at_random(folder, sink, runs, seed, delivered):
    """Start the program so many times and kill it; return who was accepted, as pairs of run and number.

    Args:
        folder, sink: as the program has them.
        runs: how many times.
        seed: of the moments.
        delivered: says what the sink has, as pairs.
    """
    moments = random.Random(seed)
    accepted = set()
    for run in range(runs):
        before = len(left(folder))
        program = subprocess.Popen(
            [sys.executable, "-m", "tests.spooling", str(folder), sink, str(run)],
            stdout=subprocess.PIPE,
        )
        try:
            program.stdout.readline()  # it is at work
            time.sleep(moments.uniform(0, 0.3))
        finally:
            program.send_signal(signal.SIGKILL)
            said = program.communicate()[0].decode().split("\n")
        counts = [int(line) for line in said[:-1] if line]
        own = max(0, counts[-1] - before) if counts else 0
        accepted |= {(run, number) for number in range(own)}
        missing = accepted - set(left(folder)) - set(delivered())
        assert not missing, f"run {run}: {len(missing)} lost, such as {min(missing)}"
    return accepted


def deliver_rest(folder, sink):
    """Start once more in this process, and wait until everything has been delivered."""
    with monitor_events([publisher_to(sink)], spool=folder, interval=0.02) as monitor:
        until = time.monotonic() + 30
        while left(folder) and time.monotonic() < until:
            monitor.flush(5)
        return monitor.health().publishers["Sink"]


def documents(url, prefix):
    """What Elasticsearch has, as pairs of run and number, each as often as it is there."""
    from elasticsearch import Elasticsearch, helpers

    with Elasticsearch(url) as client:
        if not client.indices.exists(index=f"{prefix}-event-*", allow_no_indices=False):
            return []
        client.indices.refresh(index=f"{prefix}-*")
        found = helpers.scan(client, index=f"{prefix}-event-*", size=5_000)
        attributes = [hit["_source"]["attributes"] for hit in found]
    return [(one["run"], one["number"]) for one in attributes]


def kill_before_elasticsearch(folder, url, prefix, runs, seed):
    """Kill it at random moments; return how many records were accepted, and how many documents there are.

    Raises:
        AssertionError: one was lost, or is there twice.
    """
    sink = f"{url} {prefix}"
    accepted = kill_at_random(folder, sink, runs, seed, lambda: documents(url, prefix))
    deliver_rest(folder, sink)
    found = documents(url, prefix)
    assert left(folder) == []
    assert accepted <= set(found)
    assert len(found) == len(set(found))
    return len(accepted), len(found)


def main_of_kills(runs, url):
    """Say what came of it."""
    prefix = f"volnux-kills-{os.getpid()}"
    with tempfile.TemporaryDirectory() as folder:
        accepted, found = kill_before_elasticsearch(folder, url, prefix, runs, seed=runs)
    said = f"{runs} kills: {accepted} accepted, {found} documents, none lost, none twice\n"
    sys.stdout.write(said)


if __name__ == "__main__":
    if sys.argv[1] == "kill":
        main_of_kills(int(sys.argv[2]), sys.argv[3])
    else:
        main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
