"""The dashboard of Grafana: which questions it answers, and by which queries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from _grafana import (
    OUTCOME_COLORS,
    dashboard,
    datasource_variable,
    heatmap,
    label_variable,
    row,
    stat,
    target,
    timeseries,
)

if TYPE_CHECKING:
    from _grafana import Panel

QUANTILES = (("p50", "0.5"), ("p90", "0.9"), ("p99", "0.99"))

#: What the choices at the top leave of a metric.
PROCESSES = 'job=~"$job", instance=~"$instance"'
EVENTS = f'{PROCESSES}, event=~"$event"'


def rate(metric: str, chosen: str, *more: str) -> str:
    """Return how fast a counter grows, a second."""
    return f"rate({metric}{{{', '.join([chosen, *more])}}}[$__rate_interval])"


def total(metric: str, chosen: str, *more: str, by: str = "") -> str:
    """Return how fast counters grow together, in groups."""
    return f"sum{f' by ({by})' if by else ''} ({rate(metric, chosen, *more)})"


def ratio(part: str, whole: str) -> str:
    """Return how much of a whole a part is."""
    return f"{part} / {whole}"


def quantile(share: str, metric: str, chosen: str, by: str = "") -> str:
    """Return the duration that a share of all did not exceed."""
    groups = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, {total(f'{metric}_bucket', chosen, by=groups)})"


def spread(metric: str, chosen: str) -> str:
    """Return how many durations fell into each bucket."""
    return f"sum by (le) (increase({metric}_bucket{{{chosen}}}[$__rate_interval]))"


def quantiles(metric: str, chosen: str) -> list[Panel]:
    """Return the queries of several quantiles."""
    return [
        target(quantile(share, metric, chosen), name, exemplar=True) for name, share in QUANTILES
    ]


FAILED = 'status="failed"'
DURATION = "volnux_event_duration_seconds"
EVERY_EVENT = total("volnux_events_total", EVENTS)
EVERY_EVENT_BY_NAME = total("volnux_events_total", EVENTS, by="event")

OVERVIEW = [
    row("Overview"),
    stat(
        "Events",
        "Events that end in a second, whatever their outcome.",
        target(EVERY_EVENT, "events"),
        "cps",
    ),
    stat(
        "Failed events",
        "How many of the events that end have failed.",
        target(ratio(total("volnux_events_total", EVENTS, FAILED), EVERY_EVENT), "failed"),
        "percentunit",
        limits=(0.01, 0.05),
    ),
    stat(
        "Duration, p99",
        "99 of 100 events take no longer.",
        target(quantile("0.99", DURATION, EVENTS), "p99", exemplar=True),
        "s",
    ),
    stat(
        "Retries",
        "Attempts after the first, in a second.",
        target(total("volnux_event_retries_total", EVENTS), "retries"),
        "cps",
    ),
    stat(
        "In flight",
        "Events and network operations that have begun and not ended, right now.",
        target(f"sum (volnux_events_in_flight{{{PROCESSES}}})", "in flight"),
        "short",
    ),
    stat(
        "Records dropped",
        "Records that a publisher was not given or would not take, in the time shown. Their events are missing there.",
        target(
            f"sum (increase(volnux_telemetry_dropped_total{{{PROCESSES}}}[$__range]))",
            "dropped",
            instant=True,
        ),
        "short",
        limits=(1,),
        empty="0",
    ),
]

ABOUT_EVENTS = [
    row("Events"),
    timeseries(
        "Rate by event",
        "How often each event ends in a second.",
        [target(EVERY_EVENT_BY_NAME, "{{event}}")],
        "cps",
    ),
    timeseries(
        "Rate by outcome",
        "How often events end in a second: completed, failed, or cancelled.",
        [target(total("volnux_events_total", EVENTS, by="status"), "{{status}}")],
        "cps",
        stacked=True,
        colors=OUTCOME_COLORS,
    ),
    timeseries(
        "Duration by quantile",
        "How long events take: half of them no longer than p50, 99 of 100 no longer than p99. "
        "Choose an event above to see that one alone.",
        quantiles(DURATION, EVENTS),
        "s",
    ),
    heatmap(
        "Duration, spread",
        "How many events took how long: the darker, the more. Two bands are two kinds of work.",
        spread(DURATION, EVENTS),
    ),
    timeseries(
        "Duration by event, p99",
        "99 of 100 executions of each event take no longer.",
        [target(quantile("0.99", DURATION, EVENTS, by="event"), "{{event}}", exemplar=True)],
        "s",
    ),
    timeseries(
        "Time spent by event",
        "Seconds that the executions of each event take together, in a second: how many of them run "
        "at once on average. An event contains those that it calls.",
        [target(total(f"{DURATION}_sum", EVENTS, by="event"), "{{event}}")],
        "short",
    ),
    timeseries(
        "Failures by event",
        "How often each event fails in a second. A failure is counted for every event that it passes through.",
        [target(total("volnux_events_total", EVENTS, FAILED, by="event"), "{{event}}")],
        "cps",
    ),
    timeseries(
        "Failed share by event",
        "How many of the executions of each event have failed.",
        [
            target(
                ratio(
                    total("volnux_events_total", EVENTS, FAILED, by="event"), EVERY_EVENT_BY_NAME
                ),
                "{{event}}",
            )
        ],
        "percentunit",
    ),
    timeseries(
        "Retries by event",
        "Attempts after the first, and executions for which they were in vain, in a second.",
        [
            target(total("volnux_event_retries_total", EVENTS, by="event"), "{{event}}"),
            target(
                total("volnux_event_retries_exhausted_total", EVENTS, by="event"),
                "{{event}}, in vain",
            ),
        ],
        "cps",
    ),
    timeseries(
        "Retries per execution",
        "Attempts after the first that an execution of each event needs, on average.",
        [
            target(
                ratio(total("volnux_event_retries_total", EVENTS, by="event"), EVERY_EVENT_BY_NAME),
                "{{event}}",
            )
        ],
        "short",
    ),
]

LATENCY = "volnux_network_operation_duration_seconds"
BROKEN = 'outcome="failed"'
OPERATIONS_BY_NAME = total("volnux_network_operations_total", PROCESSES, by="operation")

ABOUT_THE_NETWORK = [
    row("Network"),
    timeseries(
        "Operations",
        "How often network operations of each kind end in a second, by outcome.",
        [
            target(
                total("volnux_network_operations_total", PROCESSES, by="operation, outcome"),
                "{{operation}} {{outcome}}",
            )
        ],
        "ops",
    ),
    timeseries(
        "Failed share by operation",
        "How many of the network operations of each kind have failed.",
        [
            target(
                ratio(
                    total("volnux_network_operations_total", PROCESSES, BROKEN, by="operation"),
                    OPERATIONS_BY_NAME,
                ),
                "{{operation}}",
            )
        ],
        "percentunit",
    ),
    timeseries(
        "Latency by quantile",
        "How long network operations take, to the end of the answer.",
        quantiles(LATENCY, PROCESSES),
        "s",
    ),
    heatmap(
        "Latency, spread",
        "How many network operations took how long: the darker, the more.",
        spread(LATENCY, PROCESSES),
    ),
    timeseries(
        "Latency by operation, p99",
        "99 of 100 network operations of each kind take no longer.",
        [
            target(
                quantile("0.99", LATENCY, PROCESSES, by="operation"),
                "{{operation}}",
                exemplar=True,
            )
        ],
        "s",
    ),
    timeseries(
        "Throughput",
        "Bytes that go to hosts and come from them, in a second.",
        [target(total("volnux_network_bytes_total", PROCESSES, by="direction"), "{{direction}}")],
        "Bps",
    ),
    timeseries(
        "Sent by operation",
        "Bytes that network operations of each kind send, in a second.",
        [
            target(
                total("volnux_network_bytes_total", PROCESSES, 'direction="sent"', by="operation"),
                "{{operation}}",
            )
        ],
        "Bps",
    ),
    timeseries(
        "Received by operation",
        "Bytes that network operations of each kind receive, in a second.",
        [
            target(
                total(
                    "volnux_network_bytes_total", PROCESSES, 'direction="received"', by="operation"
                ),
                "{{operation}}",
            )
        ],
        "Bps",
    ),
]

ABOUT_TELEMETRY = [
    row("Telemetry itself"),
    timeseries(
        "In flight by process",
        "Events and network operations that have begun and not ended. What only grows is never ended.",
        [
            target(
                f"sum by (job, instance) (volnux_events_in_flight{{{PROCESSES}}})",
                "{{job}} {{instance}}",
            )
        ],
        "short",
        size="6x8",
    ),
    timeseries(
        "Processes that report",
        "How many processes of each job say how they are.",
        [
            target(
                f"count by (job) (volnux_events_in_flight{{{PROCESSES}}})",
                "{{job}}",
            )
        ],
        "short",
        size="6x8",
    ),
    timeseries(
        "Dropped by publisher",
        "Records that a publisher was not given, or would not take, in a second, and why.",
        [
            target(
                total("volnux_telemetry_dropped_total", PROCESSES, by="publisher, reason") + " > 0",
                "{{publisher}} {{reason}}",
            )
        ],
        "cps",
        size="6x8",
    ),
    timeseries(
        "Errors and cuts",
        "What went wrong inside volnux, or was cut because it was too long, in a second.",
        [
            target(
                total("volnux_telemetry_errors_total", PROCESSES, by="stage, reason"),
                "{{stage}} {{reason}}",
            )
        ],
        "cps",
        size="6x8",
    ),
]

VARIABLES = [
    datasource_variable(),
    label_variable("job", "label_values(volnux_events_in_flight, job)"),
    label_variable("instance", 'label_values(volnux_events_in_flight{job=~"$job"}, instance)'),
    label_variable("event", f"label_values(volnux_events_total{{{PROCESSES}}}, event)"),
]


def grafana_dashboard() -> Panel:
    """Return the dashboard of what `PrometheusPublisher` and `OTLPPublisher` publish."""
    return dashboard(
        "volnux-telemetry",
        "volnux telemetry",
        "Events, retries and network operations of programs that record with volnux.",
        VARIABLES,
        [*OVERVIEW, *ABOUT_EVENTS, *ABOUT_THE_NETWORK, *ABOUT_TELEMETRY],
    )
