"""Five hundred forks of a process that records and delivers, at moments that nobody has chosen."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")

PROGRAM = """
    import json, os, sys, threading, time
    from array import array
    from collections import Counter
    from volnux.telemetry import MetricsPublisher, Registry, monitor_events, traced_event

    FORKS, OWN = 500, 3
    sys.setswitchinterval(0.0002)  # more moments to fork at, and less time to wait for them

    class Taking(MetricsPublisher):
        def __init__(self):
            self.ids, self.names = array("Q"), Counter()
        def publish_batch(self, records):
            self.ids.extend(int(record.task_id, 16) for record in records)
            self.names.update(record.event_name for record in records)
        publish_event_metrics = publish_network_metrics = lambda self, metrics: None

    publisher = Taking()
    registry = Registry(capacity=100)
    room = {"queue_items": 1_000_000, "queue_bytes": 1 << 40}
    monitor = monitor_events([publisher], registry=registry, interval=0.001, **room)
    (delivery,) = monitor._deliveries
    done, recorded = threading.Event(), [0, 0]

    def counts():
        found = monitor.health().publishers["Taking"]
        dropped = sum(found["dropped"].values())
        assert found["accepted"] == found["delivered"] + dropped + found["pending"], found
        return found

    def record(place):
        while not done.is_set():
            for _ in range(200):
                with traced_event("parent"):
                    pass
            recorded[place] += 200
            while delivery._queue.pending > 20_000:  # a full queue is another day's trouble
                time.sleep(0.001)

    def hold():
        while not done.is_set():
            with delivery._queue._lock:
                time.sleep(0.002)

    def child():
        publisher.ids, publisher.names = array("Q"), Counter()
        before = counts()["accepted"]
        for _ in range(OWN):
            with traced_event("child"):
                pass
        is_flushed = monitor.flush(timeout=10)
        answer = (before, is_flushed, dict(publisher.names), counts()["delivered"])
        return answer == (0, True, {"child": OWN}, OWN)

    work = (record, 0), (record, 1), (hold,)
    threads = [threading.Thread(target=target, args=args) for target, *args in work]
    for thread in threads:
        thread.start()
    children, ends = set(), []
    def reap(most):
        deadline = time.monotonic() + 30
        while len(children) > most:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid:
                children.remove(pid)
                ends.append(os.waitstatus_to_exitcode(status))
            elif time.monotonic() > deadline:
                for pid in children:
                    os.kill(pid, 9)
                sys.exit(f"{len(children)} children hang")
            else:
                time.sleep(0.0005)
    for _ in range(FORKS):
        pid = os.fork()
        if not pid:
            status = 1
            try:
                status = 0 if child() else 2
            finally:
                os._exit(status)
        children.add(pid)
        counts()
        reap(7)
    reap(0)
    done.set()
    for thread in threads:
        thread.join()
    is_closed = monitor.close(timeout=30)
    found = counts()
    print(json.dumps({
        "ends": sorted(set(ends)), "children": len(ends), "closed": is_closed,
        "recorded": sum(recorded), "counts": found,
        "distinct": len(set(publisher.ids)), "names": publisher.names,
    }))
"""


def test_no_child_hangs_and_the_parent_counts_each_record_once():
    """While threads record and deliver at full speed, and one holds the lock of the queue most of the time."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(PROGRAM)],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    recorded = found["recorded"]
    assert (found["ends"], found["children"], found["closed"]) == ([0], 500, True)
    assert recorded > 0
    assert found["counts"]["accepted"] == found["counts"]["delivered"] == recorded
    assert (found["counts"]["dropped"], found["counts"]["pending"]) == ({}, 0)
    assert (found["distinct"], found["names"]) == (recorded, {"parent": recorded})
