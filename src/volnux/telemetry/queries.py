"""What one can ask of a registry. Functions over its view; none of them changes it."""

from __future__ import annotations

import os

from volnux.telemetry._raw import END, START
from volnux.telemetry._records import NetworkMetrics, Status
from volnux.telemetry._scope import current_registry
from volnux.telemetry._stamps import to_iso
from volnux.telemetry._switch import SWITCH, is_disabled
from volnux.telemetry.errors import TelemetryWarning

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from volnux.telemetry._records import EventMetrics
    from volnux.telemetry._registry import Record, Registry
    from volnux.telemetry._totals import EventStats, Health, NetworkStats, RetryStats

SCHEMA = "volnux.telemetry/1"
_warned: list[bool] = []


def _asked(registry: Registry | None) -> Registry:
    if registry is not None:
        return registry
    if not SWITCH.used and not _warned:
        import warnings

        _warned.append(True)
        why = (
            "VOLNUX_TELEMETRY switches telemetry off, so nothing was recorded: unset the variable"
            if is_disabled()
            else "telemetry has not been switched on, so nothing was recorded: call monitor_events() "
            "before the work, or run it inside `with capture()`"
        )
        warnings.warn(why, TelemetryWarning, stacklevel=3)
    return current_registry()


def get_metrics(registry: Registry | None = None, limit: int = 20) -> str:
    """Return a summary of everything recorded as JSON text.

    Keys: `schema` ("volnux.telemetry/1"), `generated_at` (ISO-8601, UTC), `process_id`,
    `event_stats` (by name), `network_stats` (a list), `retry_stats`, `events` and `network_ops`
    (the latest records, oldest first), `health`. Numbers are numbers; durations are seconds.

    Args:
        registry: whose; the current one by default.
        limit: the most records to list of each kind.
    """
    import json
    import time

    registry = _asked(registry)
    data = {
        "schema": SCHEMA,
        "generated_at": to_iso(time.time()),
        "process_id": os.getpid(),
        "event_stats": {name: one.to_dict() for name, one in registry.event_stats().items()},
        "network_stats": [
            {"host": host, "port": port, "operation": operation, **stats.to_dict()}
            for (host, port, operation), stats in registry.network_stats().items()
        ],
        "retry_stats": registry.retry_stats().to_dict(),
        "events": [record.to_dict() for record in _latest(registry, limit, network=False)],
        "network_ops": [record.to_dict() for record in _latest(registry, limit, network=True)],
        "health": registry.health().to_dict(),
    }
    return json.dumps(data, allow_nan=False)


def _latest(registry: Registry, limit: int, *, network: bool) -> list[Record]:
    if limit <= 0:
        return []
    finished, running = registry.entries(network=network)
    # Those that ended last stand last; ordering all ten thousand of them would take too long.
    return registry.in_order(finished[-limit:], running)[-limit:]


def get_failed_events(registry: Registry | None = None) -> list[EventMetrics]:
    """Return the kept events that failed, oldest first."""
    return _asked(registry).events(status=Status.FAILED)


def get_slow_events(
    threshold_seconds: float = 1.0, registry: Registry | None = None
) -> list[EventMetrics]:
    """Return the kept events that took strictly longer than a threshold, slowest first.

    Events in flight count by their age.
    """
    return _slow(_asked(registry), threshold_seconds, network=False)


def get_failed_network_ops(registry: Registry | None = None) -> list[NetworkMetrics]:
    """Return the kept network operations that failed, oldest first."""
    return _asked(registry).network_ops(status=Status.FAILED)


def get_slow_network_ops(
    threshold_seconds: float = 1.0, registry: Registry | None = None
) -> list[NetworkMetrics]:
    """Return the kept network operations that took strictly longer than a threshold, slowest first.

    Operations in flight count by their age.
    """
    return _slow(_asked(registry), threshold_seconds, network=True)


def _slow(registry: Registry, threshold_seconds: float, *, network: bool) -> list[Any]:
    finished, running = registry.entries(network=network)
    # Compared as records show it: the threshold in nanoseconds would not be what was meant.
    slow = [raw for raw in finished if (raw[END] - raw[START]) / 1e9 > threshold_seconds]
    slow.sort(key=lambda raw: raw[3] - raw[5])
    still = [one for one in registry.records([], running) if _seconds(one) > threshold_seconds]
    if not still:
        return registry.records(slow, [])
    return sorted(registry.records(slow, []) + still, key=_seconds, reverse=True)


def _seconds(record: Any) -> float:
    seconds: float = record.latency if isinstance(record, NetworkMetrics) else record.duration
    return seconds


def get_retry_stats(registry: Registry | None = None) -> RetryStats:
    """Return what retrying came to, over all finished events."""
    return _asked(registry).retry_stats()


def get_event_stats(registry: Registry | None = None) -> dict[str, EventStats]:
    """Return the exact totals of finished events by name."""
    return _asked(registry).event_stats()


def get_network_stats(
    registry: Registry | None = None,
) -> dict[tuple[str, int | None, str], NetworkStats]:
    """Return the exact totals of finished network operations by host, port and operation."""
    return _asked(registry).network_stats()


def health(registry: Registry | None = None) -> Health:
    """Return what was recorded, lost and swallowed. `Monitor.health()` adds the publishers."""
    return _asked(registry).health()
