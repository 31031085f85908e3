"""Telemetry that people can assert on: events, network operations, retries, and where they go.

An *event* is one execution of a traced step: it has a start, an end and an outcome. A *network
operation* is one exchange with a host and port. Both become *records* in a *registry*, which answers
questions and hands them to *publishers*. Nothing is recorded until `monitor_events()`, or inside
`with capture()`.
"""

from __future__ import annotations

from volnux.telemetry._budget import Budget
from volnux.telemetry._clock import Clock, SystemClock
from volnux.telemetry._current import Event, current_event, record_retry
from volnux.telemetry._events import traced_event
from volnux.telemetry._monitor import Monitor, monitor_events
from volnux.telemetry._network import NetworkOp, network_op
from volnux.telemetry._publisher import MetricsPublisher
from volnux.telemetry._records import Attempt, EventMetrics, NetworkMetrics, Status
from volnux.telemetry._registry import Registry
from volnux.telemetry._remote import propagate
from volnux.telemetry._scope import capture, current_registry, pipeline
from volnux.telemetry._totals import EventStats, Health, NetworkStats, RetryStats
from volnux.telemetry.errors import (
    MissingDependencyError,
    PublishError,
    TelemetryError,
    TelemetryWarning,
)
from volnux.telemetry.queries import (
    get_event_stats,
    get_failed_events,
    get_failed_network_ops,
    get_metrics,
    get_network_stats,
    get_retry_stats,
    get_slow_events,
    get_slow_network_ops,
    health,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from volnux.telemetry._asgi import ASGIMiddleware
    from volnux.telemetry._redaction import Redactor, set_redactor
    from volnux.telemetry._wsgi import WSGIMiddleware
    from volnux.telemetry.clients._asyncio import (
        traced_open_connection,
        traced_open_unix_connection,
        traced_streams,
    )
    from volnux.telemetry.clients._instruments import (
        instrument,
        traced_client,
        uninstrument,
        untrace,
    )
    from volnux.telemetry.clients._protocols import traced_protocol
    from volnux.telemetry.clients._traced_socket import traced_socket
    from volnux.telemetry.propagation import extract, inject
    from volnux.telemetry.publishers import (
        CompositePublisher,
        ConsolePublisher,
        ElasticsearchPublisher,
        GrafanaCloudPublisher,
        JSONLinesPublisher,
        OTLPPublisher,
        PrometheusPublisher,
        read_jsonlines,
    )

__all__ = [
    "ASGIMiddleware",
    "Attempt",
    "Budget",
    "Clock",
    "CompositePublisher",
    "ConsolePublisher",
    "ElasticsearchPublisher",
    "Event",
    "EventMetrics",
    "EventStats",
    "GrafanaCloudPublisher",
    "Health",
    "JSONLinesPublisher",
    "MetricsPublisher",
    "MissingDependencyError",
    "Monitor",
    "NetworkMetrics",
    "NetworkOp",
    "NetworkStats",
    "OTLPPublisher",
    "PrometheusPublisher",
    "PublishError",
    "Redactor",
    "Registry",
    "RetryStats",
    "Status",
    "SystemClock",
    "TelemetryError",
    "TelemetryWarning",
    "WSGIMiddleware",
    "capture",
    "current_event",
    "current_registry",
    "extract",
    "get_event_stats",
    "get_failed_events",
    "get_failed_network_ops",
    "get_metrics",
    "get_network_stats",
    "get_retry_stats",
    "get_slow_events",
    "get_slow_network_ops",
    "health",
    "inject",
    "instrument",
    "monitor_events",
    "network_op",
    "pipeline",
    "propagate",
    "read_jsonlines",
    "record_retry",
    "set_redactor",
    "traced_client",
    "traced_event",
    "traced_open_connection",
    "traced_open_unix_connection",
    "traced_protocol",
    "traced_socket",
    "traced_streams",
    "uninstrument",
    "untrace",
]

# What not every program needs is loaded when it is first asked for.
_LATER = {
    "ASGIMiddleware": "_asgi",
    "CompositePublisher": "publishers",
    "ConsolePublisher": "publishers",
    "ElasticsearchPublisher": "publishers",
    "GrafanaCloudPublisher": "publishers",
    "JSONLinesPublisher": "publishers",
    "OTLPPublisher": "publishers",
    "PrometheusPublisher": "publishers",
    "Redactor": "_redaction",
    "WSGIMiddleware": "_wsgi",
    "extract": "propagation",
    "inject": "propagation",
    "instrument": "clients._instruments",
    "read_jsonlines": "publishers",
    "set_redactor": "_redaction",
    "traced_client": "clients._instruments",
    "traced_open_connection": "clients._asyncio",
    "traced_open_unix_connection": "clients._asyncio",
    "traced_protocol": "clients._protocols",
    "traced_socket": "clients._traced_socket",
    "traced_streams": "clients._asyncio",
    "uninstrument": "clients._instruments",
    "untrace": "clients._instruments",
}


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found: object = getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return __all__


def _come_home() -> None:
    import os

    home = os.environ.get("VOLNUX_TEST_HOME")
    if home:
        from volnux.telemetry._home import join

        join(home)


_come_home()


def _tell() -> None:
    import sys

    arrival = sys.modules.get("volnux._arrival")
    if arrival is not None:
        arrival.tell()


_tell()
