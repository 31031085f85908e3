"""Sentry: default integrations off but the one for threads, inside a transaction, nothing sent."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import sentry_sdk
from sentry_sdk.integrations.threading import ThreadingIntegration
from sentry_sdk.transport import Transport

from benchmarks.rivals import Base, Seen


class Discard(Transport):
    """Sends nothing."""

    def capture_envelope(self, envelope: Any) -> None:
        """Drop it."""


class Subject(Base):
    """Spans of the open transaction."""

    def __init__(self) -> None:
        sentry_sdk.init(
            dsn="https://key@localhost/1",
            transport=Discard,
            traces_sample_rate=1.0,
            default_integrations=False,
            integrations=[ThreadingIntegration()],
        )
        self.transaction: Any = None
        self.told: set[str] = set()

    def trace(self, thing: Any, name: str = "step") -> Any:
        """Decorate with `sentry_sdk.trace`."""
        return sentry_sdk.trace(name=name)(thing)

    def block(self, name: str) -> Any:
        """Open a span."""
        return sentry_sdk.start_span(name=name)

    def finished(self) -> list[Seen]:
        """Return the spans of the transaction that have finished since the last time."""
        spans = self.transaction._span_recorder.spans  # nothing public shows them
        ended = [span for span in spans if span.timestamp and span.span_id not in self.told]
        self.told |= {span.span_id for span in ended}
        return [
            Seen(
                span.description or span.name,
                (span.timestamp - span.start_timestamp).total_seconds(),
                span.status or "ok",
                span.span_id,
                None if span.parent_span_id == self.transaction.span_id else span.parent_span_id,
                span.status == "internal_error",
            )
            for span in ended
        ]

    def current(self) -> Any:
        """Return the identifier of the current span, unless it is the transaction."""
        span = sentry_sdk.get_current_span()
        return None if span in (None, self.transaction) else span.span_id

    @contextlib.contextmanager
    def session(self) -> Iterator[None]:
        """Open a transaction: outside one nothing is recorded."""
        with sentry_sdk.isolation_scope(), sentry_sdk.start_transaction(name="probe") as opened:
            self.transaction = opened
            self.told = {opened.span_id}
            yield
