"""Whoever takes part in a measurement: one module each, imported only in a process of its own.

A contender's module has ``cases()``: case name -> ``run(n)``, which does the work *n* times and ends
with whatever makes the result complete (a fold, a flush), so that no cost hides behind the clock.
"""

from __future__ import annotations

from typing import NamedTuple


class Contender(NamedTuple):
    """One column of the table, and how to get it."""

    name: str
    title: str
    requires: tuple[str, ...] = ()
    """Distributions to install; several contenders that agree share an environment."""
    environment: str = ""
    """Name of the environment it runs in; empty means the interpreter that runs the benchmark."""
    scale: float = 1.0
    """Fraction of the calls it is asked for, so that slow ones do not take all day."""


_HTTP = (
    "aiohttp",
    "httpx",
    "opentelemetry-instrumentation-aiohttp-client",
    "opentelemetry-instrumentation-httpx",
    "opentelemetry-instrumentation-requests",
    "opentelemetry-instrumentation-urllib3",
    "opentelemetry-sdk",
    "requests",
    "urllib3",
)

CONTENDERS = {
    contender.name: contender
    for contender in (
        Contender("floor", "hand-written floor"),
        Contender("bare", "bare call"),
        Contender("volnux", "volnux"),
        Contender("volnux_off", "volnux, off"),
        Contender("volnux_capture", "volnux in capture()"),
        Contender("volnux_memory", "volnux, in-memory publisher"),
        Contender("volnux_jsonlines", "volnux, JSON-lines publisher"),
        Contender("volnux_spool", "volnux, in-memory publisher behind a spool"),
        Contender("volnux_four", "volnux, all four back ends on real servers"),
        Contender("wrapt", "wrapt pass-through", ("wrapt",), "main"),
        Contender("prometheus", "prometheus_client timer", ("prometheus-client",), "main", 0.3),
        Contender("autometrics", "autometrics", ("autometrics",), "autometrics", 0.1),
        Contender("otel_metric", "OpenTelemetry metric", ("opentelemetry-sdk",), "main", 0.1),
        Contender("otel_span", "OpenTelemetry span", ("opentelemetry-sdk",), "main", 0.05),
        Contender("http_bare", "bare client", _HTTP, "network"),
        Contender("http_volnux", "volnux", _HTTP, "network"),
        Contender("http_otel", "OpenTelemetry", _HTTP, "network"),
        Contender("logfire", "logfire", ("logfire",), "main", 0.02),
        Contender("pytest", "pytest alone", ("pytest", "wrapt"), "pytest"),
        Contender(
            "pytest_durations",
            "pytest-durations",
            ("pytest", "pytest-durations; python_version >= '3.11'"),
            "pytest-durations",
        ),
    )
}
PEERS = ("wrapt", "prometheus", "autometrics", "otel_metric", "otel_span", "logfire")
