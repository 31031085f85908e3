"""volnux with its four back ends attached, all to real servers: those that `python -m tests.services up` names."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from benchmarks.contenders import _work
from benchmarks.contenders.volnux import instrumented
from volnux.telemetry import (
    ElasticsearchPublisher,
    GrafanaCloudPublisher,
    OTLPPublisher,
    PrometheusPublisher,
    current_registry,
    monitor_events,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


def cases() -> Mapping[str, _work.Run]:
    """Traced calls; what is pending is delivered before the next round."""
    elasticsearch = os.environ["VOLNUX_TEST_ELASTICSEARCH_URL"]
    collector = os.environ[
        "VOLNUX_TEST_OTLP_URL"
    ]  # stands for Grafana Cloud as well, which speaks the same
    index = f"volnux-benchmark-{uuid4().hex[:8]}"
    grafana = GrafanaCloudPublisher("key", "org", endpoint=collector, instance_id="1")
    publishers = [
        ElasticsearchPublisher(elasticsearch, index),
        PrometheusPublisher(port=0),
        OTLPPublisher(collector),
        grafana,
    ]
    monitor = monitor_events(publishers)
    run = instrumented(lambda: current_registry().fold())["call"]

    def prepare() -> None:
        monitor.flush(120)
        current_registry().clear()

    def account() -> dict[str, Any]:
        monitor.flush(120)
        found = list(monitor.health().publishers.values())
        return {
            "accepted": sum(counts["accepted"] for counts in found),
            "dropped": sum(sum(counts["dropped"].values()) for counts in found),
        }

    return {"call": _work.Prepared(run, prepare, account)}
