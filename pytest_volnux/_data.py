"""The report of a run as plain data, which all its forms are made from."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final

from volnux._tree import place_of

if TYPE_CHECKING:
    from pytest_volnux._settings import Settings
    from pytest_volnux._tally import Notable, Tally
    from volnux.telemetry import Registry

SCHEMA: Final = "volnux.pytest/1"


def data_of(settings: Settings, tally: Tally) -> dict[str, Any]:
    """Return what a report says. Times are seconds; lists are in the order they are shown in."""
    registry = tally.tests
    retries = registry.retry_stats()
    return {
        "schema": SCHEMA,
        "slow_seconds": settings.slow,
        "top": settings.top,
        "tests": len(tally.nodeids),
        "failed": tally.failed,
        "excused": tally.excused,
        "slow": tally.slow,
        "events": _events_of(registry),
        "hosts": _hosts_of(registry),
        "retries": {key: number for key, number in retries.to_dict().items() if key != "by_event"},
        "slowest": [_notable(one) for one in tally.slowest],
        "failures": [_notable(one) for one in tally.failures],
        "fixtures": [_group(name, group) for name, group in tally.fixtures.items()],
        "orphans": [_group(name, group) for name, group in tally.orphans.items()],
        "outside": _events_of(tally.outside),
    }


def _events_of(registry: Registry) -> list[dict[str, Any]]:
    stats = registry.event_stats()
    return [
        {"name": name, **stats[name].to_dict()}
        for name in sorted(stats, key=lambda name: (-stats[name].total, name))
    ]


def _hosts_of(registry: Registry) -> list[dict[str, Any]]:
    hosts: dict[str, dict[str, Any]] = {}
    for (host, port, _), stats in registry.network_stats().items():
        place = place_of(host, port)
        mine = hosts.setdefault(
            place,
            {
                "host": place,
                "count": 0,
                "failed": 0,
                "bytes_sent": 0,
                "bytes_received": 0,
                "total": 0.0,
                "max": 0.0,
            },
        )
        for key in ("count", "failed", "bytes_sent", "bytes_received", "total"):
            mine[key] += getattr(stats, key)
        mine["max"] = max(mine["max"], stats.max)
    return sorted(hosts.values(), key=lambda one: (-one["total"], one["host"]))


def _notable(one: Notable) -> dict[str, Any]:
    return {
        "where": one.where,
        "phase": one.phase,
        "name": one.name,
        "seconds": one.seconds,
        "error_type": one.error_type,
        "error": one.error,
    }


def _group(name: str, registry: Registry) -> dict[str, Any]:
    return {"name": name, "events": _events_of(registry), "hosts": _hosts_of(registry)}


def to_json(data: dict[str, Any]) -> str:
    """Return the report as a JSON document."""
    from volnux.telemetry._stamps import to_iso

    whole = {
        **data,
        "slowest": data["slowest"][: data["top"]],
        "generated_at": to_iso(time.time()),
    }
    return json.dumps(whole, indent=1) + "\n"
