"""volnux with a publisher whose records wait on disk first."""

from __future__ import annotations

import atexit
import tempfile
from typing import TYPE_CHECKING

from benchmarks.contenders import _work
from benchmarks.contenders.volnux import instrumented
from benchmarks.contenders.volnux_memory import account
from volnux.telemetry import current_registry, monitor_events
from volnux.telemetry.testing import RecordingPublisher

if TYPE_CHECKING:
    from collections.abc import Mapping


def cases() -> Mapping[str, _work.Run]:
    """Traced calls; what is pending is delivered before the next round."""
    folder = tempfile.TemporaryDirectory(prefix="volnux-bench-")
    atexit.register(folder.cleanup)
    publisher = RecordingPublisher()
    monitor = monitor_events([publisher], spool=folder.name)
    run = instrumented(lambda: current_registry().fold())["call"]

    def prepare() -> None:
        monitor.flush(60)
        publisher.events.clear()
        current_registry().clear()

    return {"call": _work.Prepared(run, prepare, lambda: account(monitor))}
