"""Records as spans and metrics of OpenTelemetry, to whatever receives OTLP over HTTP."""

from __future__ import annotations

import os
from itertools import compress
from typing import TYPE_CHECKING

from volnux.telemetry._brief import brief_of
from volnux.telemetry._fork import on_fork
from volnux.telemetry._publisher import MetricsPublisher, require
from volnux.telemetry._records import NetworkMetrics
from volnux.telemetry.errors import PublishError
from volnux.telemetry.formats._otlp_answers import Taken, meaning
from volnux.telemetry.formats._otlp_pushing import Pushing
from volnux.telemetry.formats._otlp_resource import attributes_of, resource_of, scope_of
from volnux.telemetry.formats._otlp_sending import Sending
from volnux.telemetry.formats._otlp_settings import (
    SIGNALS,
    TIMEOUT,
    check_positive,
    interval_of,
    target,
)
from volnux.telemetry.formats._otlp_tally import Tally
from volnux.telemetry.formats._otlp_traces import Spans, request_of
from volnux.telemetry.formats._prometheus import BOUNDS, checked_bounds
from volnux.telemetry.formats._together import Call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any, Literal

    from volnux.telemetry._brief import Brief
    from volnux.telemetry._publisher import Record, Verdict
    from volnux.telemetry._records import EventMetrics
    from volnux.telemetry.formats._otlp_metrics import Point
    from volnux.telemetry.formats._otlp_settings import Target

#: Spans in one request, and requests under way at once.
SPANS, REQUESTS = 1_000, 4

_PROTO = "opentelemetry.proto"


class OTLPPublisher(MetricsPublisher):
    """Sends each record as a span, and the running totals of all as metrics, by OTLP over HTTP.

    Spans of one tree are one trace. The metrics are those that `PrometheusPublisher` serves, and a back end like
    Prometheus gives them the same names. They are cumulative, and pushed every `interval` seconds, at a flush and at
    the end: a push that is lost is made up for by the next. Every process counts and sends for itself.

    What is not given as an argument is taken from the variables that OpenTelemetry's exporters read.

    Args:
        endpoint: the address of the receiver, before `/v1/traces`; "http://localhost:4318" by default.
        headers: sent with every request, such as those that prove who one is.
        protocol: "http/protobuf", the only one there is.
        signals: "metrics", "traces" or both.
        interval: seconds between two pushes of metrics; 60 by default.
        service_name: what the traces and metrics are of.
        resource_attributes: what else is the same for all of them.
        compression: "gzip" or "none"; gzip by default, but none to this machine.
        ca_certs: a file with the certificates of the authorities to trust; those of requests by default.
        certfile, keyfile: the certificate to show, and its key.
        timeout: seconds that a request may take; 10 by default.
        max_request_bytes: what one request may hold, before it is compressed; halved where a server says that it
            is too much.
        buckets: upper bounds of the durations' buckets, in seconds, ascending.
        max_names: how many events, and how many operations, are counted by name; what exceeds it is
            counted together, as `__other__`.

    Attributes:
        signals: those that are sent.

    Raises:
        MissingDependencyError: a package is not installed: pip install "volnux[otlp]".
        TypeError, ValueError: an argument is none of those above, or credentials would go to another
            machine in the clear.
    """

    batch_size: int = 2 * SPANS * REQUESTS  # so that the next is ready when one has been answered
    #: What to do where a back end lets nobody in.
    _hint = "give credentials in headers=, or in OTEL_EXPORTER_OTLP_HEADERS"
    _extra = "otlp"

    def __init__(
        self,
        endpoint: str | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        protocol: Literal["http/protobuf"] = "http/protobuf",
        signals: Sequence[str] = ("metrics", "traces"),
        interval: float | None = None,
        service_name: str | None = None,
        resource_attributes: Mapping[str, Any] | None = None,
        compression: Literal["gzip", "none"] | None = None,
        ca_certs: str | os.PathLike[str] | None = None,
        certfile: str | os.PathLike[str] | None = None,
        keyfile: str | os.PathLike[str] | None = None,
        timeout: float | None = None,
        max_request_bytes: int = 4 << 20,
        buckets: Sequence[float] = BOUNDS,
        max_names: int = 500,
    ) -> None:
        if protocol != "http/protobuf":
            raise ValueError(
                f'protocol is "http/protobuf", not {protocol!r}: collectors listen for it at port 4318'
            )
        self._library = require("requests", self._extra)
        self._service = require(f"{_PROTO}.collector.trace.v1.trace_service_pb2", self._extra)
        self._messages = [
            require(f"{_PROTO}.{name}_pb2", self._extra)
            for name in (
                "metrics.v1.metrics",
                "common.v1.common",
                "collector.metrics.v1.metrics_service",
            )
        ]
        self.signals: tuple[str, ...] = _checked_signals(signals)
        self.refusal: str | None = None
        check_positive("max_request_bytes", max_request_bytes)
        self._limit = max_request_bytes
        self._interval = interval_of(interval)
        self._bounds = checked_bounds(buckets)
        self._max_names = max_names
        self._attributes = attributes_of(service_name, resource_attributes)
        self._how: dict[str, Any] = {
            "timeout": timeout,
            "compression": compression,
            "ca_certs": ca_certs,
            "certfile": certfile,
            "keyfile": keyfile,
        }
        self._targets = self._known_targets(endpoint, headers)
        self._timeout = max(
            [one.timeout for one in self._targets.values()], default=timeout or TIMEOUT
        )
        self._health: Callable[[], Any] | None = None
        self._is_closed = False
        self._begin(is_child=False)
        on_fork(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({sorted({one.url for one in self._targets.values()})})"

    def _known_targets(
        self, endpoint: str | None, headers: Mapping[str, str] | None
    ) -> dict[str, Target]:
        return {
            signal: target(signal, endpoint=endpoint, headers=headers, **self._how)
            for signal in self.signals
        }

    def _begin(self, *, is_child: bool) -> None:
        """Be a process of its own, which has counted nothing, and has connections of its own."""
        self._sending = Sending(self._library, REQUESTS + 1)
        self._resource = resource_of(self._attributes, is_child=is_child)
        self._scope = scope_of()
        self._spans = Spans(os.getpid())
        self._tally = Tally(self._messages, self._bounds, self._max_names)
        self._pushing = Pushing(
            self._push,
            self._sending.close,
            interval=self._interval,
            patience=2 * self._timeout,
            name=self.name,
        )

    def _after_fork(self) -> None:
        self._begin(is_child=True)

    def _target(self, signal: str) -> Target:
        """Return where a signal goes; raise a `PublishError` as long as that is not known."""
        return self._targets[signal]

    # -- publishing ------------------------------------------------------------------------------

    def watch(self, health: Callable[[], Any]) -> None:
        """Push a monitor's health as well: what is in flight, and what was dropped."""
        self._health = health

    def publish_event_metrics(self, metrics: EventMetrics) -> None:
        """Publish one event."""
        self._publish_one(metrics)

    def publish_network_metrics(self, metrics: dict[str, Any]) -> None:
        """Publish one network operation."""
        self._publish_one(NetworkMetrics.from_dict(metrics))

    def _publish_one(self, record: Record) -> None:
        if "reject" in (self.publish_batch([record]) or ()):
            raise PublishError(self.refusal or "a span was refused", permanent=True)

    def publish_batch(self, records: Sequence[Record]) -> Sequence[Verdict] | None:
        """Count several records, and send their spans.

        Returns:
            A verdict on the span of each; None where only metrics are sent, and all are counted.

        Raises:
            PublishError: none of the spans could be sent.
        """
        if "metrics" in self.signals:
            self._pushing.begin()  # in this context, in which nothing is recorded
        briefs = list(map(brief_of, records))
        verdicts = self._publish_spans(records, briefs) if "traces" in self.signals else None
        if "metrics" in self.signals:
            self._count(records, briefs, verdicts)
        return verdicts

    def _count(
        self,
        records: Sequence[Record],
        briefs: Sequence[Brief | None],
        verdicts: Sequence[Verdict] | None,
    ) -> None:
        """Count those that do not come again: see `Tally`."""
        if verdicts is not None and "retry" in verdicts:
            final = [verdict != "retry" for verdict in verdicts]
            records, briefs = list(compress(records, final)), list(compress(briefs, final))
        self._tally.count(records, briefs)

    def _publish_spans(
        self, records: Sequence[Record], briefs: Sequence[Brief | None]
    ) -> list[Verdict]:
        place = self._target("traces")
        patience = 2 * place.timeout
        sent: list[tuple[int, Call[list[Verdict]]]] = []
        for spans in self._requests(map(self._spans.of, records, briefs)):
            if len(sent) >= REQUESTS:
                sent[-REQUESTS][1].wait(patience)
            call = Call(self._send, place, spans)
            sent.append((len(spans), call))
            call.begin()
        verdicts: list[Verdict] = []
        error: PublishError | None = None
        for count, call in sent:
            try:
                verdicts += call.result(patience)
            except PublishError as outage:
                error = error or outage
                verdicts += ["retry"] * count
            except TimeoutError:  # that of a connection begins anew with every byte that comes
                error = error or PublishError(f"no answer within {patience} s")
                verdicts += ["retry"] * count
                self._sending.close()
        if error is not None and verdicts.count("retry") == len(verdicts):
            raise error
        return verdicts

    def _requests(self, found: Iterable[bytes]) -> Iterator[list[bytes]]:
        """Give spans, as many at a time as one request should hold."""
        spans: list[bytes] = []
        size = 0
        for span in found:
            if spans and (size + len(span) > self._limit or len(spans) == SPANS):
                yield spans
                spans, size = [], 0
            spans.append(span)
            size += len(span)
        yield spans

    def _send(self, place: Target, spans: list[bytes]) -> list[Verdict]:
        body = request_of(self._resource, self._scope, spans)
        taken = self._post(place, body, len(spans), place.timeout)
        if taken.is_too_large and len(spans) > 1:
            self._limit = max(1, min(self._limit, sum(map(len, spans))) // 2)
            middle = len(spans) // 2
            first = self._send(place, spans[:middle])
            try:
                return [*first, *self._send(place, spans[middle:])]
            except PublishError:  # the first half has arrived, and must not come twice
                return [*first, *["retry"] * (len(spans) - middle)]  # type: ignore[list-item]
        if taken.refused:
            self.refusal = taken.why or "no reason was given"
        # An answer says how many it left out, and never which: their number is right, and none comes again.
        return [*["reject"] * taken.refused, *["ok"] * (len(spans) - taken.refused)]  # type: ignore[list-item]

    def _post(self, place: Target, body: bytes, count: int, timeout: float) -> Taken:
        answer = self._sending.post(place, body, timeout)
        return meaning(answer, count, self._service, self._hint, place.secrets())

    # -- metrics ---------------------------------------------------------------------------------

    def flush(self, timeout: float | None = None) -> bool:
        """Push the metrics.

        Raises:
            PublishError: they could not be pushed.
        """
        if self._tally.is_begun and not self._is_closed:
            self._pushing.now(timeout)
        return True

    def close(self, timeout: float | None = None) -> None:
        """Push the metrics for the last time, and close the connections.

        Raises:
            PublishError: they could not be pushed.
        """
        if self._is_closed:
            return
        self._is_closed = True
        self._pushing.end()
        try:
            if self._tally.is_begun:
                self._pushing.now(timeout, at_any_rate=True)
        finally:
            self._sending.close()

    def _push(self, timeout: float) -> None:
        """Push the totals as they are now: what was not pushed in time never is, but the next state."""
        place = self._target("metrics")
        points = self._tally.points(None if self._health is None else self._health())
        taken = self._send_points(place, points, timeout) if points else Taken()
        if taken.refused:
            raise PublishError(
                f"{taken.refused} of {len(points)} points of metrics were refused: {taken.why}",
                permanent=True,
            )

    def _send_points(self, place: Target, points: list[Point], timeout: float) -> Taken:
        body = self._tally.request(self._resource, self._scope, points)
        if len(points) == 1 or len(body) <= self._limit:
            taken = self._post(place, body, len(points), timeout)
            if len(points) == 1 or not taken.is_too_large:
                return taken
            self._limit = max(1, min(self._limit, len(body)) // 2)
        middle = len(points) // 2
        first = self._send_points(place, points[:middle], timeout)
        second = self._send_points(place, points[middle:], timeout)
        return Taken(first.refused + second.refused, second.why or first.why)


def _checked_signals(signals: Sequence[str]) -> tuple[str, ...]:
    found = tuple(dict.fromkeys((signals,) if isinstance(signals, str) else signals))
    if not found or not set(found) <= set(SIGNALS):
        raise ValueError(f'signals are "metrics" and "traces", not {signals!r}')
    return found
