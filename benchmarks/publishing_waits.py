"""How long a thread that records has to wait while another one scrapes many series."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from volnux.telemetry import (
    EventMetrics,
    PrometheusPublisher,
    Registry,
    monitor_events,
    traced_event,
)
from volnux.telemetry.formats._prometheus import BOUNDS, OUTCOMES

if TYPE_CHECKING:
    from typing import Any

#: Names of events, each of which has completed and failed: so many histograms.
NAMES = 500
#: Seconds between two calls: a program that has something to do now and then, as those that serve have.
PAUSE = 0.0005
SCRAPES = 10
#: Milliseconds that recording may wait for a scrape.
TARGET = 1.0


class Waits(NamedTuple):
    """What a thread that records has waited for, in milliseconds.

    Attributes:
        longest, usual: the longest wait, and the one that 99 of 100 do not exceed.
        share: how many of them were longer than `TARGET`.
    """

    longest: float
    usual: float
    share: float


def series() -> tuple[Any, Any, PrometheusPublisher]:
    """Return a registry with our series and one with prometheus_client's equal ones, and what filled ours."""
    from prometheus_client import CollectorRegistry, Counter, Histogram

    ours, theirs = CollectorRegistry(), CollectorRegistry()
    publisher = PrometheusPublisher(port=None, registry=ours)
    durations = Histogram("seconds", "x", ["event", "status"], buckets=BOUNDS, registry=theirs)
    events = Counter("events", "x", ["event", "status"], registry=theirs)
    retries = Counter("retries", "x", ["event"], registry=theirs)
    for number in range(NAMES):
        name = f"step {number}"
        retries.labels(name)
        for status in OUTCOMES:
            events.labels(name, status)
        for status in OUTCOMES[:2]:
            record = EventMetrics(event_name=name, task_id="1", status=status, duration=0.1)
            publisher.publish_event_metrics(record)
            durations.labels(name, status).observe(0.1)
            events.labels(name, status).inc()
    return ours, theirs, publisher


def measure(rounds: int = 3) -> dict[str, Waits]:
    """Return the waits without a scrape, while ours goes on and while prometheus_client's does; best of some rounds."""
    ours, theirs, publisher = series()
    registries = {"none": None, "ours": ours, "theirs": theirs}
    with monitor_events([publisher], registry=Registry()) as monitor:
        found: dict[str, list[Waits]] = {name: [] for name in registries}
        for _ in range(rounds):
            for name, registry in registries.items():
                found[name].append(_waits(registry))
                monitor.flush(timeout=60)
    return {name: min(waits) for name, waits in found.items()}


def locked(scrapes: int = 100) -> float:
    """Return the milliseconds, at most, for which a scrape keeps records from being counted."""
    ours, _, publisher = series()
    record = EventMetrics(event_name="step 1", task_id="1", duration=0.1)
    longest = 0.0
    for _ in range(scrapes):
        begun = time.perf_counter()
        publisher._accumulator.totals()
        longest = max(longest, time.perf_counter() - begun)
        publisher.publish_event_metrics(record)
    publisher.close()
    del ours
    return 1e3 * longest


@traced_event
def _step() -> None:
    pass


def _waits(registry: Any) -> Waits:
    """Record in one thread and scrape in this one; without a registry, for as long as ten scrapes may take."""
    from prometheus_client import generate_latest

    done = threading.Event()
    waits: list[int] = []

    def record() -> None:
        clock = time.perf_counter_ns
        while not done.is_set():
            begun = clock()
            time.sleep(PAUSE)
            _step()
            waits.append(clock() - begun - int(1e9 * PAUSE))

    thread = threading.Thread(target=record)
    thread.start()
    for _ in range(SCRAPES):
        if registry is None:
            time.sleep(0.1)
        else:
            generate_latest(registry)
    done.set()
    thread.join()
    waits.sort()
    long = sum(wait > 1e6 * TARGET for wait in waits)
    return Waits(waits[-1] / 1e6, waits[-1 - len(waits) // 100] / 1e6, long / len(waits))
