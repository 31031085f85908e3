"""What ``queries`` runs in a process of its own: ``python -m benchmarks._query_probes PROBE ARGUMENTS``."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable
from contextlib import suppress
from time import process_time_ns
from typing import Any

from volnux import telemetry
from volnux.telemetry import Registry, capture, network_op, record_retry, traced_event
from volnux.telemetry.testing import FakeClock

Query = Callable[[Registry], Any]
KEPT = 10_000
QUERIES: dict[str, Query] = {
    "get_metrics()": lambda registry: telemetry.get_metrics(registry=registry),
    "get_failed_events()": lambda registry: telemetry.get_failed_events(registry=registry),
    "get_slow_events()": lambda registry: telemetry.get_slow_events(registry=registry),
    "get_retry_stats()": lambda registry: telemetry.get_retry_stats(registry=registry),
    "get_failed_network_ops()": lambda registry: telemetry.get_failed_network_ops(
        registry=registry
    ),
    "get_slow_network_ops()": lambda registry: telemetry.get_slow_network_ops(registry=registry),
    "get_event_stats()": lambda registry: telemetry.get_event_stats(registry=registry),
    "get_network_stats()": lambda registry: telemetry.get_network_stats(registry=registry),
    "health()": lambda registry: telemetry.health(registry=registry),
    "Registry.events()": lambda registry: registry.events(),
    'Registry.events(status="failed")': lambda registry: registry.events(status="failed"),
    'Registry.events(name="step 7")': lambda registry: registry.events(name="step 7"),
    "Registry.network_ops()": lambda registry: registry.network_ops(),
    'Registry.network_ops(host="host-7")': lambda registry: registry.network_ops(host="host-7"),
}
TOTALS = ("get_event_stats()", "get_retry_stats()", "health()")


def full(rounds: str) -> dict[str, dict[str, float]]:
    """Milliseconds of each query, first and repeated, and how much it found."""
    answers: dict[str, dict[str, float]] = {}
    for _ in range(int(rounds)):
        for name, query in QUERIES.items():
            registry = _filled(KEPT)
            first, found = _timed(query, registry)
            again, _ = _timed(query, registry)
            best = answers.setdefault(name, {"first": first, "again": again, "found": found})
            best["first"] = min(best["first"], first)
            best["again"] = min(best["again"], again)
    return answers


def totals(few: str, many: str, rounds: str) -> dict[str, dict[str, float]]:
    """Milliseconds of the queries over totals after few and after many events."""
    small, large = _filled(int(few), ops=False), _filled(int(many), ops=False)
    answers = {}
    for name in TOTALS:
        pairs = [
            (_timed(QUERIES[name], small)[0], _timed(QUERIES[name], large)[0])
            for _ in range(10 * int(rounds))
        ]
        answers[name] = {
            "few": min(pair[0] for pair in pairs),
            "many": min(pair[1] for pair in pairs),
        }
    return answers


def _filled(count: int, *, ops: bool = True) -> Registry:
    clock = FakeClock()
    with capture(isolated=True, clock=clock) as registry:
        for number in range(count):
            _event(clock, number)
            if ops:
                _op(clock, number)
        registry.fold()
    return registry


def _event(clock: FakeClock, number: int) -> None:
    with suppress(ValueError), traced_event(f"step {number % 20}"):
        clock.advance(2.0 if number % 10 == 5 else 0.001 * (1 + number % 7))
        if number % 10 == 3:
            record_retry(TimeoutError("too late"), 0.5)
        if number % 10 == 7:
            raise ValueError("no such value")


def _op(clock: FakeClock, number: int) -> None:
    with suppress(ConnectionError), network_op(f"host-{number % 20}", 443, "GET") as op:
        clock.advance(2.0 if number % 10 == 5 else 0.001 * (1 + number % 7))
        op.sent(100)
        op.received(2000)
        if number % 10 == 7:
            raise ConnectionError("reset by peer")


def _timed(query: Query, registry: Registry) -> tuple[float, float]:
    gc.collect()
    start = process_time_ns()
    answer = query(registry)
    elapsed = (process_time_ns() - start) / 1e6
    return elapsed, len(answer) if hasattr(answer, "__len__") else 1


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](*sys.argv[2:])))
