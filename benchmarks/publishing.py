"""How fast records reach real back ends, beside what their own clients do with the same.

Elasticsearch is the one at ``VOLNUX_TEST_ELASTICSEARCH_URL``, as ``python -m tests.services up elasticsearch``
starts it; without that its row is left out. So is that of OTLP where no collector is installed.
"""

from __future__ import annotations

import json
import os
import threading
import time
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from benchmarks import publishing_otlp, publishing_spool, publishing_waits
from benchmarks._result import Measured, Result
from volnux.telemetry import (
    ElasticsearchPublisher,
    EventMetrics,
    Registry,
    monitor_events,
    traced_event,
)
from volnux.telemetry.formats._elasticsearch import bulk_lines
from volnux.telemetry.formats._prometheus import BOUNDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from volnux.telemetry._publisher import Record, Verdict

RECORDS = 200_000
#: Of what OpenTelemetry's processor and exporter bring to the collector.
OTLP_AT_LEAST = 4.0
#: Of `helpers.parallel_bulk`'s documents per second; of prometheus_client's time for a scrape.
AT_LEAST, AT_MOST = 0.8, 1.2
_BOTH = ("ours", "theirs")


def measure(*, records: int = RECORDS, rounds: int = 3) -> Result:
    """Deliver a full queue to Elasticsearch, and scrape many series; each beside its own client."""
    rows, remarks, peers = [], [], []
    versions = {"prometheus-client": version("prometheus-client")}
    url = os.environ.get("VOLNUX_TEST_ELASTICSEARCH_URL")
    if url is None:
        remarks.append("Elasticsearch: VOLNUX_TEST_ELASTICSEARCH_URL is not set")
    else:
        ours, theirs, note = _elasticsearch(url, records, rounds)
        what = f"Elasticsearch: {records:,} records from a full queue"
        rows.append(Measured(what, ours / theirs, "x", AT_LEAST, at_least=True, note=note))
        versions["elasticsearch"] = version("elasticsearch")
        peers.append(["documents a second", f"{ours:,.0f}", f"{theirs:,.0f} (parallel_bulk)"])
    found = publishing_otlp.measure(records, rounds)
    if isinstance(found, str):
        remarks.append(found)
    else:
        ours, theirs = found
        what = f"OTLP: {records:,} spans, from the call to the collector"
        note = "all are at the collector, by its own count"
        rows.append(Measured(what, ours / theirs, "x", OTLP_AT_LEAST, at_least=True, note=note))
        versions |= publishing_otlp.versions()
        peers.append(["spans a second", f"{ours:,.0f}", f"{theirs:,.0f} (opentelemetry-sdk)"])
    scrape, theirs = _scrape(rounds)
    what = f"a scrape of {2 * publishing_waits.NAMES:,} histograms of {len(BOUNDS)} buckets"
    rows.append(Measured(what, scrape / theirs, "x", AT_MOST, note=f"{1e3 * scrape:.0f} ms"))
    peers.append(["ms a scrape", f"{1e3 * scrape:.0f}", f"{1e3 * theirs:.0f} (prometheus_client)"])
    what = "for which such a scrape keeps records from being counted, at most"
    rows.append(Measured(what, publishing_waits.locked(), "ms", publishing_waits.TARGET))
    # That leaves Python's own lock, which threads hand over when they please.
    waits = publishing_waits.measure(rounds)
    peers.append(
        ["ms a call takes more meanwhile, longest", *(f"{waits[one].longest:.1f}" for one in _BOTH)]
    )
    peers.append(["99 of 100 no more than", *(f"{waits[one].usual:.2f}" for one in _BOTH)])
    remarks.append(
        f"Without any scrape a call takes up to {waits['none'].longest:.1f} ms more, "
        f"99 of 100 no more than {waits['none'].usual:.2f} ms."
    )
    spooled = publishing_spool.measure(records, rounds)
    what = "records a second accepted into a spool, its back end away"
    rows.append(Measured(what, spooled, "records/s", publishing_spool.TARGET, at_least=True))
    return Result(
        "delivery",
        "Publishing",
        f"Wall time, best of {rounds} alternating rounds. Elasticsearch runs on this machine; its client is given "
        "the same documents, made beforehand, and ours makes them of records. prometheus_client has the same series.",
        rows,
        ["", "volnux", "the library itself"],
        peers,
        remarks,
        versions,
    )


# --- Elasticsearch ----------------------------------------------------------------------------------


class _Gated(ElasticsearchPublisher):
    """Waits for the queue to be full."""

    gate = threading.Event()

    def publish_batch(self, records: Sequence[Record]) -> Sequence[Verdict]:
        self.gate.wait()
        return super().publish_batch(records)


def _elasticsearch(url: str, records: int, rounds: int) -> tuple[float, float, str]:
    """Return our documents per second, the client's own, and what the server has counted."""
    from elasticsearch import Elasticsearch

    client = Elasticsearch(url, request_timeout=60)
    prefix = f"volnux-benchmark-{uuid4().hex[:8]}"
    ElasticsearchPublisher(client=client, index_prefix=prefix).setup_templates()
    documents = list(_documents(records, prefix))
    ours, theirs, counted = [], [], 0
    for _ in range(rounds):
        ours.append(_ours(url, prefix, records))
        counted = _wiped(client, prefix)
        if counted != records:
            raise RuntimeError(f"{counted} documents are there of {records} that were accepted")
        theirs.append(_parallel_bulk(client, documents))
        _wiped(client, prefix)
    client.indices.delete_index_template(name=prefix)
    client.close()
    return max(ours), max(theirs), f"the server counted {counted:,}"


def _ours(url: str, prefix: str, records: int) -> float:
    _Gated.gate.clear()
    publisher = _Gated(url, prefix, request_timeout=60)
    registry = Registry(capacity=10)
    room = {"queue_items": records + 1, "queue_bytes": 1 << 40}
    with monitor_events([publisher], registry=registry, **room) as monitor:  # type: ignore[arg-type]

        @traced_event
        def step() -> None:
            pass

        for _ in range(records):
            step()
        registry.fold()

        def deliver() -> None:
            _Gated.gate.set()
            monitor.flush(timeout=600)

        return records / _seconds(deliver)


def _documents(records: int, prefix: str) -> Any:
    begun = time.time()
    for number in range(records):
        record = EventMetrics(
            event_name="step",
            task_id=f"{number:016x}",
            process_id=os.getpid(),
            thread_id=threading.get_ident(),
            start_time=begun,
            end_time=begun + 1e-6,
            duration=1e-6,
        )
        action, source = bulk_lines(record, prefix, None, is_data_stream=False).splitlines()
        known = json.loads(action)["create"]
        yield {"_op_type": "create", **known, "_source": json.loads(source)}


def _parallel_bulk(client: Any, documents: list[Any]) -> float:
    from elasticsearch.helpers import parallel_bulk

    return len(documents) / _seconds(lambda: [ok for ok, _ in parallel_bulk(client, documents)])


def _wiped(client: Any, prefix: str) -> int:
    client.indices.refresh(index=f"{prefix}-*")
    count: int = client.count(index=f"{prefix}-*")["count"]
    for index in client.indices.get(index=f"{prefix}-*"):
        client.indices.delete(index=index)
    return count


# --- Prometheus -------------------------------------------------------------------------------------


def _scrape(rounds: int) -> tuple[float, float]:
    """Return the seconds of a scrape, ours and prometheus_client's own."""
    from prometheus_client import generate_latest

    ours, theirs, publisher = publishing_waits.series()
    found = [
        (_seconds(lambda: generate_latest(ours)), _seconds(lambda: generate_latest(theirs)))
        for _ in range(3 * rounds)
    ]
    publisher.close()
    return min(one for one, _ in found), min(one for _, one in found)


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
