"""The dashboard of Kibana: which questions it answers, from the documents of `ElasticsearchPublisher`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from _kibana import chart, dashboard, data_view, donut, number, table
from _lens import count, dates, last, latest, percentile, ranges, terms, total

if TYPE_CHECKING:
    from _lens import Part

#: The `index_prefix` of a publisher that was not told another.
PREFIX = "volnux-telemetry"
RED = "#BD271E"

FAILED = "status: failed"
#: An error passes through the events around it: this is the event where it arose.
ARISEN = "status: failed and not error_origin: *"
BOUNDS: dict[str, tuple[float, float | None]] = {
    "under 1 ms": (0.0, 0.001),
    "1 to 10 ms": (0.001, 0.01),
    "10 to 100 ms": (0.01, 0.1),
    "100 ms to 1 s": (0.1, 1.0),
    "1 to 10 s": (1.0, 10.0),
    "10 s to 1 min": (10.0, 60.0),
    "1 min and more": (60.0, None),
}
SECONDS = {
    "id": "duration",
    "params": {
        "inputFormat": "seconds",
        "outputFormat": "humanizePrecise",
        "outputPrecision": 2,
        "useShortSuffix": True,
    },
}
BYTES = {"id": "bytes", "params": {}}
FORMATS = {
    "event": dict.fromkeys(("duration", "active_time", "time_to_first_item"), SECONDS),
    "network": {
        **dict.fromkeys(("latency", "time_to_first_byte"), SECONDS),
        **dict.fromkeys(("bytes_sent", "bytes_received", "network.bytes"), BYTES),
    },
}


def _quantiles(field: str) -> dict[str, Part]:
    return {f"p{share}": percentile(field, share, f"p{share}") for share in (50, 90, 99)}


def _overview(events: str, network: str) -> list[Part]:
    return [
        number("Events", "How many events have ended.", events, count("events")),
        number(
            "Failed events",
            "How many of them have failed.",
            events,
            count("failed"),
            color=RED,
            query=FAILED,
        ),
        number(
            "Duration, p99",
            "99 of 100 events took no longer.",
            events,
            percentile("duration", 99, "p99"),
        ),
        number("Retries", "Attempts after the first.", events, total("retry_count", "retries")),
        number(
            "Network operations",
            "How many network operations have ended.",
            network,
            count("operations"),
        ),
        number(
            "Failed operations",
            "How many of them have failed.",
            network,
            count("failed"),
            color=RED,
            query=FAILED,
        ),
    ]


def _events(events: str) -> list[Part]:
    return [
        chart(
            "Event duration distribution",
            "How many events took how long, by outcome.",
            events,
            "bar_stacked",
            {
                "duration": ranges("duration", "duration", BOUNDS),
                "status": terms("status", "status", "count", 3),
                "count": count("events"),
            },
            split="status",
        ),
        donut(
            "Status breakdown",
            "How events ended: completed, failed or cancelled.",
            events,
            {"status": terms("status", "status", "count", 3), "count": count("events")},
            size="8x12",
        ),
        chart(
            "Status over time",
            "How events ended, and when.",
            events,
            "bar_stacked",
            {
                "status": terms("status", "status", "count", 3),
                "ended": dates(),
                "count": count("events"),
            },
            split="status",
            size="16x12",
        ),
        chart(
            "Event duration over time",
            "Half of the events take no longer than p50, 99 of 100 no longer than p99.",
            events,
            "line",
            {"ended": dates(), **_quantiles("duration")},
        ),
        table(
            "Events by name",
            "How often each event ended and failed, how long it took, how often it was tried again.",
            events,
            {
                "event": terms("event_name", "event", "count", 50),
                "count": count("count"),
                "failed": count("failed", FAILED),
                "p50": percentile("duration", 50, "p50"),
                "p99": percentile("duration", 99, "p99"),
                "time": total("duration", "time in all"),
                "retries": total("retry_count", "retries"),
            },
            sort="count",
        ),
    ]


def _network(network: str) -> list[Part]:
    return [
        chart(
            "Network latency over time",
            "Half of the network operations take no longer than p50, 99 of 100 no longer than p99.",
            network,
            "line",
            {"ended": dates(), **_quantiles("latency")},
        ),
        chart(
            "Bytes by host",
            "What was sent to each host, and received from it.",
            network,
            "bar_horizontal_stacked",
            {
                "host": terms("host", "host", "received"),
                "sent": total("bytes_sent", "sent"),
                "received": total("bytes_received", "received"),
            },
        ),
        table(
            "Network performance by host",
            "How many operations each host was asked for, how many failed, how long they took.",
            network,
            {
                "host": terms("host", "host", "count", 20),
                "operation": terms("operation", "operation", "count", 10),
                "count": count("count"),
                "failed": count("failed", FAILED),
                "p50": percentile("latency", 50, "p50"),
                "p99": percentile("latency", 99, "p99"),
                "sent": total("bytes_sent", "sent"),
                "received": total("bytes_received", "received"),
            },
            sort="count",
        ),
        chart(
            "Bytes over time",
            "What was sent and received, by the time at which operations ended.",
            network,
            "area_stacked",
            {
                "ended": dates(),
                "sent": total("bytes_sent", "sent"),
                "received": total("bytes_received", "received"),
            },
        ),
    ]


def _errors(events: str, network: str) -> list[Part]:
    return [
        chart(
            "Errors by type",
            "Which errors events failed with, each counted once, where it arose.",
            events,
            "bar_horizontal",
            {"type": terms("error_type", "error type", "count"), "count": count("failures")},
            size="16x12",
            query=ARISEN,
        ),
        chart(
            "Errors over time",
            "Which errors events failed with, and when.",
            events,
            "bar_stacked",
            {
                "type": terms("error_type", "error type", "count"),
                "ended": dates(),
                "count": count("failures"),
            },
            split="type",
            size="16x12",
            query=ARISEN,
        ),
        chart(
            "Network errors by type",
            "Which errors network operations failed with.",
            network,
            "bar_horizontal",
            {"type": terms("error_type", "error type", "count"), "count": count("failures")},
            size="16x12",
            query=FAILED,
        ),
        table(
            "Recent failures",
            "The latest events that failed, each where its error arose.",
            events,
            {
                "task": terms("task_id", "task", "ended", 50),
                "ended": latest("ended"),
                "event": last("event_name", "event"),
                "type": last("error_type", "error type"),
                "error": last("error", "error"),
                "duration": last("duration", "duration", "number"),
                "retries": last("retry_count", "retries", "number"),
            },
            sort="ended",
            size="48x14",
            query=ARISEN,
        ),
    ]


def _retries(events: str) -> list[Part]:
    return [
        chart(
            "Retries by event",
            "Attempts after the first, of each event.",
            events,
            "bar_horizontal",
            {
                "event": terms("event_name", "event", "retries"),
                "retries": total("retry_count", "retries"),
            },
            size="16x12",
            query="retry_count > 0",
        ),
        chart(
            "Retries needed",
            "How many executions needed how many retries.",
            events,
            "bar",
            {
                "needed": terms("retry_count", "retries", "count", 10, "number"),
                "count": count("executions"),
            },
            size="16x12",
            query="retry_count > 0",
        ),
        table(
            "Whether retries helped",
            "How many executions that were tried again completed in the end, and how many gave up.",
            events,
            {
                "event": terms("event_name", "event", "count", 20),
                "count": count("tried again"),
                "recovered": count("recovered", "status: completed"),
                "exhausted": count("gave up", FAILED),
            },
            sort="count",
            size="16x12",
            query="retry_count > 0",
        ),
    ]


def kibana_objects(prefix: str = PREFIX) -> list[Part]:
    """Return the data views and the dashboard, in the order in which they are imported.

    Args:
        prefix: the `index_prefix` of the publisher.
    """
    events, network = f"{prefix}-event", f"{prefix}-network"
    panels = [
        *_overview(events, network),
        *_events(events),
        *_network(network),
        *_errors(events, network),
        *_retries(events),
    ]
    return [
        # Daily indices and data streams alike.
        data_view(events, f"{events}*", f"{prefix}: events", FORMATS["event"]),
        data_view(network, f"{network}*", f"{prefix}: network operations", FORMATS["network"]),
        dashboard(
            prefix,
            f"{prefix}",
            "Events, errors, retries and network operations of programs that record with volnux.",
            panels,
        ),
    ]
