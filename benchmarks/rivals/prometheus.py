"""prometheus_client: one histogram."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, Histogram

from benchmarks.rivals._metrics import Metrics


class Subject(Metrics):
    """Observations of the histogram."""

    def __init__(self) -> None:
        super().__init__("step_seconds")
        self.collector = CollectorRegistry()
        self.histogram = Histogram("step_seconds", "time spent", registry=self.collector)

    def trace(self, thing: Any, name: str = "step") -> Any:
        """Decorate with the timer."""
        return self.histogram.time()(thing)
