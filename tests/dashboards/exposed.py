"""What a publisher really exports: the names that dashboards and alerts may use."""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from tests.dashboards.workload import recording
from volnux.telemetry import PrometheusPublisher

#: What Prometheus adds to each sample.
TARGET = {"job", "instance"}


@cache
def exported() -> dict[str, set[str]]:
    """The labels of each metric that a `PrometheusPublisher` serves, and those of the target."""
    publisher = PrometheusPublisher(port=0)
    with (
        recording(publisher),
        urlopen(f"http://127.0.0.1:{publisher.port}/metrics", timeout=10) as answer,
    ):
        text = answer.read().decode()
    found = defaultdict(set)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name] |= {*sample.labels, *TARGET}
    return dict(found)


@cache
def counters() -> set[str]:
    """Those of them that only grow."""
    return {name for name in exported() if name.endswith(("_total", "_bucket", "_sum", "_count"))}
