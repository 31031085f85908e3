"""Back ends: one file each. What a back end needs beyond the standard library loads when it is made."""

from __future__ import annotations

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
