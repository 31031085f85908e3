"""What a scripted server has received by OTLP, read by OpenTelemetry's own messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.publishers.scripted import Answer

if TYPE_CHECKING:
    from tests.publishers.scripted import Request, Scripted

PROTOBUF = {"Content-Type": "application/x-protobuf"}


def taken(request: Request) -> Answer:
    """Everything is taken."""
    return Answer(200, b"", PROTOBUF)


def left_out(number: int, words: str = "no room") -> Answer:
    """All but so many items are taken."""
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = number
    answer.partial_success.error_message = words
    same = ExportMetricsServiceResponse.FromString(answer.SerializeToString())
    assert same.partial_success.rejected_data_points == number
    return Answer(200, answer.SerializeToString(), PROTOBUF)


def value_of(value: Any) -> Any:
    """An `AnyValue` as Python has it."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [value_of(one) for one in value.array_value.values]
    if kind == "kvlist_value":
        return {one.key: value_of(one.value) for one in value.kvlist_value.values}
    return None if kind is None else getattr(value, kind)


def attributes_of(thing: Any) -> dict[str, Any]:
    """The attributes of a span, an event, a resource or a point; no key may stand twice."""
    found = {one.key: value_of(one.value) for one in thing.attributes}
    assert len(found) == len(thing.attributes)
    return found


def traces(server: Scripted) -> list[Any]:
    """The requests with spans, decoded."""
    found = [one.body for one in server.requests if one.path.endswith("/v1/traces")]
    return [ExportTraceServiceRequest.FromString(body) for body in found]


def spans_in(request: Any) -> list[Any]:
    """The spans of one request."""
    (resource,) = request.resource_spans
    (scope,) = resource.scope_spans
    return list(scope.spans)


def spans(server: Scripted) -> list[Any]:
    """All spans that have come."""
    return [span for request in traces(server) for span in spans_in(request)]


def pushes(server: Scripted) -> list[Any]:
    """The requests with metrics, decoded."""
    found = [one.body for one in server.requests if one.path.endswith("/v1/metrics")]
    return [ExportMetricsServiceRequest.FromString(body) for body in found]


def points_in(request: Any) -> dict[str, dict[tuple[str, ...], Any]]:
    """The points of one push, by the name of their metric and the values of their labels."""
    (resource,) = request.resource_metrics
    (scope,) = resource.scope_metrics
    found: dict[str, dict[tuple[str, ...], Any]] = {}
    for metric in scope.metrics:
        assert metric.name not in found
        points = getattr(metric, metric.WhichOneof("data")).data_points
        found[metric.name] = {tuple(attributes_of(one).values()): one for one in points}
        assert len(found[metric.name]) == len(points)
    return found


def counts(request: Any, name: str = "volnux.events") -> dict[tuple[str, ...], int]:
    """The numbers of a push's counter, by labels, without those at 0."""
    points = points_in(request).get(name, {})
    return {labels: one.as_int for labels, one in points.items() if one.as_int}
