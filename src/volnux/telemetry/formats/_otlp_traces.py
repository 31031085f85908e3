"""Records as spans of OTLP, in bytes.

Keys of attributes: https://opentelemetry.io/docs/specs/semconv/, and `volnux.*` for what is ours alone.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from volnux.telemetry._records import NetworkMetrics, Status
from volnux.telemetry.formats._otlp_wire import (
    LAST,
    identifier,
    nanoseconds,
    pairs,
    part,
    text,
    trace_identifier,
    varint,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from volnux.telemetry._publisher import Record
    from volnux.telemetry._records import Attempt

INTERNAL, CLIENT = b"\x30\x01", b"\x30\x03"
#: How many encoded names, and how many encoded sets of attributes, are kept.
_MOST = 4_096
_OTHERS = (
    "error_origin",
    "active_time",
    "items",
    "time_to_first_item",
    "time_to_first_byte",
)

#: The keys of what `_plain` says of every event.
_PLAIN = {"volnux.status", "volnux.pipeline_id", "thread.id"}

_times = Struct("<BQBQ").pack
_moment = Struct("<BQ").pack


def request_of(resource: bytes, scope: bytes, spans: Iterable[bytes]) -> bytes:
    """Return an `ExportTraceServiceRequest`.

    Args:
        resource: a `Resource`, encoded.
        scope: an `InstrumentationScope`, encoded.
        spans: as `Spans.of` returns them.
    """
    inner = part(b"\x0a", scope) + b"".join(spans)
    return part(b"\x0a", part(b"\x0a", resource) + part(b"\x12", inner))


class Spans:
    """Makes spans of records, and keeps encoded what many of them have in common.

    Args:
        process_id: that of the resource; records of another process say so themselves.
    """

    def __init__(self, process_id: int) -> None:
        self._process_id = process_id
        self._heads: dict[tuple[bytes, str], bytes] = {}
        self._common: dict[tuple[Any, ...], bytes] = {}

    def of(self, record: Record, brief: Sequence[Any] | None = None) -> bytes:
        """Return the span of a record, as a field of `ScopeSpans`; sooner with what `brief_of` says of it."""
        if brief is not None and brief[-1].keys().isdisjoint(_PLAIN):
            return self._plain(brief)
        values = record._to_show()
        if type(record) is NetworkMetrics:
            kind, name, seconds = CLIENT, values["operation"], values["latency"]
        else:
            kind, name, seconds = INTERNAL, values["event_name"], values["duration"]
        begun, ended = _begun_and_ended(values["start_time"], seconds)
        task, parent = values["task_id"], values["parent_id"]
        found = [
            b"\x0a\x10",
            trace_identifier(values["trace_id"], task),
            b"\x12\x08",
            identifier(task, 8),
            self._head(kind, name),
            _times(0x39, begun, 0x41, ended),
        ]
        if parent is not None:
            found[4:4] = (b"\x22\x08", identifier(parent, 8))
        found.append(self._attributes(values, kind))
        if kind is INTERNAL and len(values["attempts"]) > 1:
            found += _attempts(values["attempts"], begun, ended)
        if values["status"] == Status.FAILED:
            found += _failure(values, ended)
        span = b"".join(found)
        return b"\x12" + varint(len(span)) + span

    def _plain(self, brief: Sequence[Any]) -> bytes:
        """Return what `of` would, of the same record."""
        name, number, parent, trace, start, lasted, thread, pipeline, attributes = brief
        common = self._common.get((thread, pipeline))
        if common is None:
            if len(self._common) >= _MOST:
                self._common.clear()
            shared = {"volnux.status": Status.COMPLETED, "volnux.pipeline_id": pipeline}
            if pipeline is None:
                del shared["volnux.pipeline_id"]
            made = pairs(b"\x4a", {**shared, "thread.id": thread})
            common = self._common[thread, pipeline] = made
        begun = start * 1_000
        span = b"".join(
            (
                b"\x0a\x10",
                trace,
                b"\x12\x08",
                number.to_bytes(8, "big"),
                b"\x22\x08" + parent.to_bytes(8, "big") if parent else b"",
                self._heads.get((INTERNAL, name)) or self._head(INTERNAL, name),
                _times(0x39, begun, 0x41, begun + lasted),
                pairs(b"\x4a", attributes) if attributes else b"",
                common,
            )
        )
        return b"\x12" + varint(len(span)) + span

    def _head(self, kind: bytes, name: str) -> bytes:
        head = self._heads.get((kind, name))
        if head is None:
            if len(self._heads) >= _MOST:
                self._heads.clear()
            head = self._heads[kind, name] = part(b"\x2a", text(name)) + kind
        return head

    def _attributes(self, values: dict[str, Any], kind: bytes) -> bytes:
        own: dict[str, Any] = values["attributes"]
        where = ("thread_id",) if kind is INTERNAL else ("host", "port")
        what = (kind, values["status"], values["pipeline_id"], values["process_id"])
        key = (*what, *[values[name] for name in where])
        common = self._common.get(key)
        if common is None:
            if len(self._common) >= _MOST:
                self._common.clear()
            common = self._common[key] = pairs(b"\x4a", self._shared(values, kind))
        others = list(_special(values, kind))
        if not own:
            return common + pairs(b"\x4a", others) if others else common
        shared = self._shared(values, kind)
        if own.keys().isdisjoint(shared) and not any(name in own for name, _ in others):
            return pairs(b"\x4a", own) + common + pairs(b"\x4a", others)
        # A key stands once, and what the program said is what it says.
        return pairs(b"\x4a", {**shared, **dict(others), **own})

    def _shared(self, values: dict[str, Any], kind: bytes) -> dict[str, Any]:
        """Return the attributes that many spans have in common."""
        found = {"volnux.status": values["status"]}
        if values["pipeline_id"] is not None:
            found["volnux.pipeline_id"] = values["pipeline_id"]
        if values["process_id"] != self._process_id:
            found["process.pid"] = values["process_id"]
        if kind is INTERNAL:
            found["thread.id"] = values["thread_id"]
        else:
            found["server.address"] = values["host"]
            if values["port"] is not None:
                found["server.port"] = values["port"]
        return found


def _begun_and_ended(start: float, seconds: float) -> tuple[int, int]:
    """Return both ends in nanoseconds: from the stamp, which has microseconds, and what a steady clock has measured."""
    begun = min(nanoseconds(start, 1e6) * 1_000, LAST)
    return begun, min(begun + nanoseconds(seconds), LAST)


def _special(values: dict[str, Any], kind: bytes) -> Iterable[tuple[str, Any]]:
    """Give the attributes that few spans have, or that differ in each."""
    if kind is CLIENT:
        yield "volnux.bytes_sent", values["bytes_sent"]
        yield "volnux.bytes_received", values["bytes_received"]
        if "http.request.method" in values["attributes"]:
            yield "network.protocol.name", "http"
    elif values["retry_count"]:
        yield "volnux.retry_count", values["retry_count"]
    for name in _OTHERS:
        if values.get(name) is not None:
            yield f"volnux.{name}", values[name]
    if values["status"] == Status.FAILED:
        yield "error.type", values["error_type"] or "_OTHER"
        return
    # `error.type`, or an event called "exception", would make a failure of it.
    for name in ("error_type", "error"):
        if values[name] is not None:
            yield f"volnux.{name}", values[name]


def _failure(values: dict[str, Any], ended: int) -> list[bytes]:
    """Return the status of a failed span, and the exception where it arose in this one."""
    kind, words = values["error_type"], values["error"]
    found = []
    if words is not None or (kind is not None and values.get("error_origin") is None):
        said = {"exception.type": kind, "exception.message": words}
        told = {name: one for name, one in said.items() if one is not None}
        found.append(_event("exception", ended, told.items()))
    message = ": ".join(one for one in (kind, words) if one)
    status = part(b"\x12", text(message)) if message else b""
    found.append(part(b"\x7a", status + b"\x18\x02"))
    return found


def _attempts(attempts: Sequence[Attempt], begun: int, ended: int) -> list[bytes]:
    """Return an event for each attempt, at the moment when it ended.

    They are laid end to end: from the beginning of the span on or, where the first ones were not kept, up to its end.
    """
    lengths = [(nanoseconds(one.duration), nanoseconds(one.backoff)) for one in attempts]
    now = begun
    if attempts[0].number > 1:
        now = max(begun, ended - sum(map(sum, lengths)))
    found = []
    for one, (worked, waited) in zip(attempts, lengths, strict=True):
        now = min(now + worked, ended)
        said: dict[str, Any] = {
            "volnux.attempt.number": one.number,
            "volnux.attempt.outcome": one.outcome,
            "volnux.attempt.duration": one.duration,
            "volnux.attempt.backoff": one.backoff,
        }
        if one.error_type is not None:
            said["error.type"] = one.error_type
        if one.error is not None:
            said["volnux.attempt.error"] = one.error
        found.append(_event("attempt", now, said.items()))
        now = min(now + waited, ended)
    return found


def _event(name: str, moment: int, attributes: Iterable[tuple[str, Any]]) -> bytes:
    told = _moment(0x09, moment) + part(b"\x12", text(name)) + pairs(b"\x1a", attributes)
    return part(b"\x5a", told)
