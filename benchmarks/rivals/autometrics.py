"""autometrics with its prometheus tracker."""

from __future__ import annotations

from typing import Any

from autometrics import autometrics, init

from benchmarks.rivals._metrics import Metrics


class Subject(Metrics):
    """Calls and durations in prometheus_client's default registry."""

    def __init__(self) -> None:
        super().__init__("function_calls_duration_seconds", "function_calls_total")
        init(tracker="prometheus", service_name="conformance")

    def trace(self, thing: Any, name: str = "step") -> Any:
        """Decorate with `autometrics`."""
        return autometrics(thing)
