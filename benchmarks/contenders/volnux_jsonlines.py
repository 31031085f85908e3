"""volnux writing every record to a file of JSON lines."""

from __future__ import annotations

import atexit
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.contenders import _work
from benchmarks.contenders.volnux import instrumented
from benchmarks.contenders.volnux_memory import account
from volnux.telemetry import JSONLinesPublisher, current_registry, monitor_events

if TYPE_CHECKING:
    from collections.abc import Mapping


def cases() -> Mapping[str, _work.Run]:
    """Traced calls; what is pending is written before the next round."""
    folder = tempfile.TemporaryDirectory(prefix="volnux-bench-")
    atexit.register(folder.cleanup)
    monitor = monitor_events([JSONLinesPublisher(Path(folder.name) / "records.jsonl")])
    run = instrumented(lambda: current_registry().fold())["call"]

    def prepare() -> None:
        monitor.flush(30)
        current_registry().clear()

    return {"call": _work.Prepared(run, prepare, lambda: account(monitor))}
