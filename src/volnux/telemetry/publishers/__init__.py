"""Back ends: one file each, loaded when it is asked for. What it needs beyond the standard library loads when it is made."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from volnux.telemetry.publishers._composite import CompositePublisher
    from volnux.telemetry.publishers._console import ConsolePublisher
    from volnux.telemetry.publishers._elasticsearch import ElasticsearchPublisher
    from volnux.telemetry.publishers._grafana import GrafanaCloudPublisher
    from volnux.telemetry.publishers._jsonlines import JSONLinesPublisher
    from volnux.telemetry.publishers._otlp import OTLPPublisher
    from volnux.telemetry.publishers._prometheus import PrometheusPublisher
    from volnux.telemetry.publishers._reading import read_jsonlines

__all__ = [
    "CompositePublisher",
    "ConsolePublisher",
    "ElasticsearchPublisher",
    "GrafanaCloudPublisher",
    "JSONLinesPublisher",
    "OTLPPublisher",
    "PrometheusPublisher",
    "read_jsonlines",
]

_FILES = {
    "CompositePublisher": "_composite",
    "ConsolePublisher": "_console",
    "ElasticsearchPublisher": "_elasticsearch",
    "GrafanaCloudPublisher": "_grafana",
    "JSONLinesPublisher": "_jsonlines",
    "OTLPPublisher": "_otlp",
    "PrometheusPublisher": "_prometheus",
    "read_jsonlines": "_reading",
}


def __getattr__(name: str) -> object:
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found: object = getattr(import_module(f"{__name__}.{_FILES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return __all__
