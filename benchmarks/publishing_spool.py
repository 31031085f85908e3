"""How fast records are accepted into a spool on disk, while the back end is away."""

from __future__ import annotations

import tempfile
import time
from typing import Any

from volnux.telemetry import Registry, monitor_events, traced_event
from volnux.telemetry.testing import FailingPublisher

#: Records a second.
TARGET = 50_000


def measure(records: int, rounds: int) -> float:
    """Return how many are accepted in a second, from the first traced call to the last one written."""
    return max(_run(records) for _ in range(rounds))


def _run(records: int) -> float:
    @traced_event
    def step() -> None:
        pass

    room: dict[str, Any] = {"queue_items": records + 1, "queue_bytes": 1 << 40}
    registry = Registry(capacity=10)
    with (
        tempfile.TemporaryDirectory(prefix="volnux-bench-") as folder,
        monitor_events([FailingPublisher()], registry=registry, spool=folder, **room) as monitor,
    ):
        begun = time.perf_counter()
        for _ in range(records):
            step()
        registry.fold()
        while monitor.health().publishers["FailingPublisher"]["accepted"] < records:
            time.sleep(0.001)
        seconds = time.perf_counter() - begun
        spooled = monitor.health().publishers["FailingPublisher"]["spooled"]
        if spooled != records:
            raise RuntimeError(f"{spooled} records are on disk of {records} that were accepted")
    return records / seconds
