"""The report as one JSON document, schema "volnux.report/1".

Numbers are numbers, durations are seconds, sizes are bytes, stamps are ISO-8601 in UTC. A key may
be added without a new schema number; none changes its meaning or goes.

    schema          "volnux.report/1"
    generated_at    when the report was made
    source          program (null for a report on files), files, records, processes, unreported
                    (processes that never told), start, end, wall_seconds, errors and notes (texts
                    on files)
    slow_after      seconds that a record has to last to be slow
    name            the pattern that names had to match, or null
    events          [{name, count, failed, cancelled, retries, min, max, mean, total, p50, p90, p95,
                    p99, share}], largest total first; share is total over wall time
    slow            {count, trees}: how many kept records are slow, and the slowest of them
    failures        {count, groups}: how many kept records are where an error arose, and groups of
                    them [{name, error_type, error, count, tree}], the most frequent first; error
                    and tree are the latest's
    network         [{host, port, operation, count, failed, cancelled, bytes_sent, bytes_received,
                    min, max, mean, total, p50, p90, p95, p99}], most failed first
    retries         {total_retries, total_attempts, retried_events, recovered, exhausted, by_event}
    health          {started, finished, in_flight, evicted, errors, publishers, remote}

A tree is {kind ("event" or "network"), name, task_id, process_id, status, start, duration, error,
error_type, attempts, bytes_sent, bytes_received, attributes, matters (whether the tree is shown for
its sake), children (trees), more (kept children not shown), above (levels above not shown), lost
(whether its parent is not kept)}.
"""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import TextIO

    from volnux._tree import Node
    from volnux.cli._report import Report, Source

SCHEMA = "volnux.report/1"


def render(report: Report, stream: TextIO) -> None:
    """Write the report to a stream as JSON with an indent of two."""
    json.dump(to_dict(report), stream, indent=2, allow_nan=False)
    stream.write("\n")


def to_dict(report: Report) -> dict[str, Any]:
    """Return the report as JSON-ready data."""
    return {
        "schema": SCHEMA,
        "generated_at": _stamp(datetime.now(timezone.utc).timestamp()),
        "source": _source(report.source),
        "slow_after": report.slow_after,
        "name": report.name,
        "events": [
            {"name": row.name, **row.stats.to_dict(), "share": row.share} for row in report.events
        ],
        "slow": {"count": report.slow_count, "trees": [_tree(tree) for tree in report.slow]},
        "failures": {
            "count": report.failure_count,
            "groups": [
                {
                    "name": failure.name,
                    "error_type": failure.error_type,
                    "error": failure.error,
                    "count": failure.count,
                    "tree": _tree(failure.tree),
                }
                for failure in report.failures
            ],
        },
        "network": [
            {
                "host": row.host,
                "port": row.port,
                "operation": row.operation,
                **row.stats.to_dict(),
            }
            for row in report.network
        ],
        "retries": report.retries.to_dict(),
        "health": {**report.health.to_dict(), "publishers": dict(report.publishers)},
    }


def _source(source: Source) -> dict[str, Any]:
    return {
        "program": source.program,
        "files": list(source.files),
        "records": source.records,
        "processes": source.processes,
        "unreported": source.unreported,
        "start": None if source.start is None else _stamp(source.start),
        "end": None if source.end is None else _stamp(source.end),
        "wall_seconds": source.wall,
        "errors": list(source.errors),
        "notes": list(source.notes),
    }


def _tree(node: Node) -> dict[str, Any]:
    return {
        "kind": node.kind,
        "name": node.name,
        "task_id": node.task_id,
        "process_id": node.process_id,
        "status": node.status,
        "start": _stamp(node.start),
        "duration": node.duration,
        "error": node.error,
        "error_type": node.error_type,
        "attempts": node.attempts,
        "bytes_sent": node.sent,
        "bytes_received": node.received,
        "attributes": dict(node.attributes),
        "matters": node.matters,
        "children": [_tree(child) for child in node.children],
        "more": node.more,
        "above": node.above,
        "lost": node.lost,
    }


def _stamp(seconds: float) -> str:
    stamp = datetime.fromtimestamp(seconds, timezone.utc)
    return stamp.isoformat(timespec="microseconds").replace("+00:00", "Z")
