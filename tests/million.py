"""A million records at full speed while the back end is dead, in a process of its own: what that does to its memory.

Run by tests/test_million.py; `python -m tests.million [RECORDS] [plain|heavy]` prints the same as JSON.
"""

from __future__ import annotations

import json
import resource
import sys
import time

from volnux.telemetry import MetricsPublisher, monitor_events, traced_event

MIB = 1 << 20


class Dead(MetricsPublisher):
    """A back end that is away."""

    def publish_batch(self, records):
        raise ConnectionRefusedError(111, "refused")

    publish_event_metrics = publish_network_metrics = publish_batch


@traced_event("step")
def plain(number):
    """Do nothing."""


def heavy(number):
    """Leave a record with a text of its own."""
    with traced_event("step") as event:
        event.set_attribute("note", f"{number:01000}")


STEPS = {"plain": plain, "heavy": heavy}


def peak():
    """The most memory that this process has had so far, in bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main(records=1_000_000, kind="plain"):
    """Record so many events; return what became of them and of the memory."""
    step = STEPS[kind]
    monitor = monitor_events([Dead()])
    step(0)
    monitor.flush(timeout=0)
    before, peaks = peak(), []
    begun = time.perf_counter()
    for number in range(records - 1):
        step(number)
        if number % (records // 100) == 0:
            counts = monitor.health().publishers["Dead"]
            dropped = sum(counts["dropped"].values())
            assert counts["accepted"] == counts["delivered"] + dropped + counts["pending"], counts
            peaks.append(peak() - before)
    seconds = time.perf_counter() - begun
    monitor.flush(timeout=0)
    counts = monitor.health().publishers["Dead"]
    grown = peak() - before
    monitor.close(timeout=0)
    return {
        "counts": counts,
        "seconds": seconds,
        "grown": grown,
        # What the last four fifths of the records have added: nothing, once everything is full.
        "grown_later": grown - peaks[20],
    }


if __name__ == "__main__":
    number, *kind = sys.argv[1:] or ("1_000_000",)
    sys.stdout.write(json.dumps(main(int(number), *kind)) + "\n")
