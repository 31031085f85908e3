"""What libraries of metrics have in common: totals in a prometheus registry, no records."""

from __future__ import annotations

from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry

from benchmarks.rivals import Base, Seen


class Metrics(Base):
    """Tells what has been added to a histogram since the last time."""

    has_current = False
    collector: CollectorRegistry = REGISTRY

    def __init__(self, duration: str, calls: str | None = None) -> None:
        self.duration = duration
        self.calls = calls
        self.before: dict[Any, float] = {}

    def finished(self) -> list[Seen]:
        """Return one record per series that grew, one per call."""
        now = self._read()
        grown = {key: value - self.before.get(key, 0.0) for key, value in now.items()}
        self.before = now
        counted = f"{self.duration}_count"
        seconds = sum(value for (name, *_), value in grown.items() if name.endswith("_sum"))
        count = sum(value for (name, *_), value in grown.items() if name == counted)
        if not count:
            return []
        outcome = self._outcome(grown)
        return [Seen("step", seconds / count, outcome, error=outcome == "error")] * int(count)

    def _outcome(self, grown: dict[Any, float]) -> str:
        results = {
            dict(labels).get("result", "")
            for (name, labels), value in grown.items()
            if name == self.calls and value
        }
        return "/".join(sorted(results)) or "no outcome"

    def _read(self) -> dict[Any, float]:
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for metric in self.collector.collect()
            for sample in metric.samples
            if sample.name.startswith(self.duration) or sample.name == self.calls
        }
