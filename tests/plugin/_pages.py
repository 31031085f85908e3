"""Reports of runs that never were, to make HTML pages of."""

from __future__ import annotations

from typing import Any


def event(name: str, **changes: Any) -> dict[str, Any]:
    """What was recorded under one name: four times, in a quarter of a second each."""
    return {
        "name": name,
        "count": 4,
        "failed": 0,
        "cancelled": 0,
        "retries": 0,
        "min": 0.125,
        "max": 0.5,
        "mean": 0.25,
        "total": 1.0,
        "p50": 0.25,
        "p90": 0.375,
        "p95": 0.375,
        "p99": 0.5,
        **changes,
    }


def host(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "host": name,
        "count": 2,
        "failed": 0,
        "bytes_sent": 100,
        "bytes_received": 2048,
        "total": 0.5,
        "max": 0.375,
        **changes,
    }


def notable(where: str, name: str, **changes: Any) -> dict[str, Any]:
    return {
        "where": where,
        "phase": "call",
        "name": name,
        "seconds": 0.5,
        "error_type": None,
        "error": None,
        **changes,
    }


def report(**changes: Any) -> dict[str, Any]:
    """The data of a report; of a run that recorded nothing, but for what is given."""
    return {
        "schema": "volnux.pytest/1",
        "slow_seconds": 1.0,
        "top": 10,
        "tests": 2,
        "failed": len(changes.get("failures", ())),
        "excused": 0,
        "slow": 0,
        "events": [],
        "hosts": [],
        "retries": {
            "total_retries": 0,
            "total_attempts": 0,
            "retried_events": 0,
            "recovered": 0,
            "exhausted": 0,
        },
        "slowest": [],
        "failures": [],
        "fixtures": [],
        "orphans": [],
        "outside": [],
        **changes,
    }


def everywhere(text: str) -> dict[str, Any]:
    """A report that has a text wherever programs can put one."""
    group = {"name": text, "events": [event(text)], "hosts": [host(text)]}
    one = notable(text, text, error_type=text, error=text)
    return report(
        events=[event(text)],
        hosts=[host(text)],
        slowest=[one],
        failures=[one],
        fixtures=[group],
        orphans=[group],
        outside=[event(text)],
    )
