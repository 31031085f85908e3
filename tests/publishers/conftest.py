"""Records to publish, and servers to publish them to."""

from __future__ import annotations

import pytest

from tests.publishers.scripted import Scripted, all_created
from tests.services.fixtures import (  # noqa: F401  # fixtures
    collector,
    elasticsearch,
    elasticsearch8,
    elasticsearch_tls,
    prometheus,
    prometheus_tls,
    promtool,
    pushgateway,
)
from volnux.telemetry import Attempt, EventMetrics, NetworkMetrics

#: 2026-01-02 23:59:59.5 UTC.
LATE = 1_767_398_399.5


@pytest.fixture
def server():
    """A server that takes every document, unless its script says otherwise."""
    yield from Scripted(all_created).running()


@pytest.fixture
def event():
    """The record of an event that failed at its second attempt."""
    return EventMetrics(
        event_name="load",
        task_id="00000000000000ab",
        parent_id="00000000000000aa",
        pipeline_id="nightly",
        process_id=7,
        thread_id=8,
        start_time=LATE,
        end_time=LATE + 1,
        duration=1.000000001,
        status="failed",
        error="no such file",
        error_type="FileNotFoundError",
        retry_count=1,
        attempts=(
            Attempt(number=1, outcome="failed", error_type="OSError", duration=0.25, backoff=0.5),
            Attempt(number=2, outcome="failed", error_type="FileNotFoundError", duration=0.25),
        ),
        attributes={"path": "/data", "rows": 3, "nested": {"a": [1, 2]}},
    )


@pytest.fixture
def operation():
    """The record of a network operation."""
    return NetworkMetrics(
        host="db.internal",
        port=5432,
        operation="query",
        task_id="00000000000000ac",
        process_id=7,
        start_time=LATE,
        end_time=LATE + 0.25,
        latency=0.25,
        time_to_first_byte=0.125,
        bytes_sent=10,
        bytes_received=2_000,
    )
