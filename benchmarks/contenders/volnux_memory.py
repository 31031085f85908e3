"""volnux with a publisher that keeps the records it gets in lists, emptied before each round."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.contenders import _work
from benchmarks.contenders.volnux import instrumented
from volnux.telemetry import current_registry, monitor_events
from volnux.telemetry.testing import RecordingPublisher

if TYPE_CHECKING:
    from collections.abc import Mapping

    from volnux.telemetry import Monitor


def account(monitor: Monitor) -> dict[str, Any]:
    """Tell what has become of the records so far."""
    monitor.flush(60)
    [counts] = monitor.health().publishers.values()
    return {"accepted": counts["accepted"], "dropped": sum(counts["dropped"].values())}


def cases() -> Mapping[str, _work.Run]:
    """Traced calls; what is delivered after the timed section is forgotten before the next."""
    publisher = RecordingPublisher()
    monitor = monitor_events([publisher])
    run = instrumented(lambda: current_registry().fold())["call"]

    def prepare() -> None:
        monitor.flush(30)
        publisher.events.clear()
        current_registry().clear()

    return {"call": _work.Prepared(run, prepare, lambda: account(monitor))}
