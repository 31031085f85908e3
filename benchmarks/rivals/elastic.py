"""Elastic APM, inside a transaction, with a transport that keeps what it is given."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import elasticapm
from elasticapm.traces import execution_context
from elasticapm.transport.base import Transport

from benchmarks.rivals import Base, Seen

SPANS: list[dict[str, Any]] = []


class Keep(Transport):
    """Keeps spans, sends nothing."""

    def queue(self, event_type: str, data: Any, flush: bool = False) -> None:
        """Keep a span."""
        if event_type == "span":
            SPANS.append(data)

    def start_thread(self, pid: int | None = None) -> None:
        """Start none."""


class Subject(Base):
    """Finished spans of the open transaction."""

    def __init__(self) -> None:
        self.client = elasticapm.Client(
            service_name="conformance",
            transport_class=f"{__name__}.Keep",
            cloud_provider="none",
            metrics_interval="0s",
            central_config=False,
            span_compression_enabled=False,
            exit_span_min_duration="0ms",
        )
        self.transaction: Any = None

    def trace(self, thing: Any, name: str = "step") -> Any:
        """Decorate with `capture_span`."""
        return elasticapm.capture_span(name)(thing)

    def trace_async(self, thing: Any, name: str = "step") -> Any:
        """Decorate with `async_capture_span`."""
        return elasticapm.async_capture_span(name)(thing)

    def block(self, name: str) -> Any:
        """Open a span."""
        return elasticapm.capture_span(name)

    def finished(self) -> list[Seen]:
        """Return the kept spans and forget them."""
        spans, SPANS[:] = SPANS[:], []
        return [
            Seen(
                span["name"],
                span["duration"] / 1e3,
                span["outcome"],
                span["id"],
                None if span["parent_id"] == self.transaction.id else span["parent_id"],
                span["outcome"] == "failure",
            )
            for span in spans
        ]

    def current(self) -> Any:
        """Return the identifier of the current span."""
        span = execution_context.get_span()
        return None if span is None else span.id

    @contextlib.contextmanager
    def session(self) -> Iterator[None]:
        """Open a transaction: outside one nothing is recorded."""
        self.transaction = self.client.begin_transaction("probe")
        try:
            yield
        finally:
            self.client.end_transaction("probe", "success")
