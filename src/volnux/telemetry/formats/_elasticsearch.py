"""Records as documents of Elasticsearch: their own flat fields, those of ECS that fit exactly, and the mapping.

A field of ECS that says nothing new, such as `error.message`, is an alias in the mapping. Field names of ECS: https://www.elastic.co/docs/reference/ecs/ecs-event.
"""

from __future__ import annotations

from json import JSONEncoder
from json.encoder import encode_basestring as quoted
from typing import TYPE_CHECKING

from volnux.telemetry._records import EventMetrics, Status
from volnux.telemetry._stamps import to_iso

if TYPE_CHECKING:
    from typing import Any

    from volnux.telemetry._records import NetworkMetrics

#: Of the mapping below; raised with each change of it.
VERSION = 1
#: The template must win over those that come with Elasticsearch (priority 100 to 200).
PRIORITY = 500

_encode = JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_OUTCOMES = {Status.COMPLETED: "success", Status.FAILED: "failure"}

# Text is indexed whole: a term may have 32,766 bytes, a character up to four of them.
_KEYWORD = {"type": "keyword", "ignore_above": 8191}
_TEXT = {**_KEYWORD, "fields": {"text": {"type": "text"}}}
_LONG = {"type": "long"}
_DOUBLE = {"type": "double"}
_DATE = {"type": "date_nanos"}
_FREE = {"type": "flattened", "ignore_above": 8191}

_FIELDS: dict[str, Any] = {
    **dict.fromkeys(("@timestamp", "start_time", "end_time"), _DATE),
    **dict.fromkeys(("event_name", "task_id", "parent_id", "trace_id", "pipeline_id"), _KEYWORD),
    **dict.fromkeys(("status", "error_type", "error_origin", "host", "operation"), _KEYWORD),
    **dict.fromkeys(("event.action", "event.dataset", "event.kind", "event.outcome"), _KEYWORD),
    **dict.fromkeys(("duration", "active_time", "time_to_first_item"), _DOUBLE),
    **dict.fromkeys(("latency", "time_to_first_byte"), _DOUBLE),
    **dict.fromkeys(("process_id", "thread_id", "retry_count", "items"), _LONG),
    **dict.fromkeys(("port", "bytes_sent", "bytes_received"), _LONG),
    **dict.fromkeys(("event.duration", "network.bytes"), _LONG),
    "service.name": _KEYWORD,
    "error": _TEXT,
    "attempts": _FREE,
    "attributes": _FREE,
    # What ECS only calls otherwise.
    **{
        name: {"type": "alias", "path": path}
        for name, path in (
            ("error.message", "error"),
            ("error.type", "error_type"),
            ("event.start", "start_time"),
            ("event.end", "end_time"),
            ("process.pid", "process_id"),
            ("trace.id", "trace_id"),
            ("span.id", "task_id"),
            ("server.address", "host"),
            ("server.port", "port"),
            ("source.bytes", "bytes_sent"),
            ("destination.bytes", "bytes_received"),
        )
    },
}


def index_template(prefix: str, *, is_data_stream: bool) -> dict[str, Any]:
    """Return the index template for what is written under a prefix."""
    ending = "" if is_data_stream else "-*"
    template: dict[str, Any] = {
        "index_patterns": [f"{prefix}-{kind}{ending}" for kind in ("event", "network")],
        "priority": PRIORITY,
        "version": VERSION,
        "_meta": {"managed_by": "volnux", "description": "records of volnux.telemetry"},
        # Without objects, so that `error` and `error.message` may stand side by side.
        "template": {
            "mappings": {"dynamic": False, "subobjects": False, "properties": _FIELDS},
        },
    }
    if is_data_stream:
        template["data_stream"] = {}
    return template


def document_id(task_id: str, start_time: float) -> str:
    """Return the `_id` of a record's document: the same whenever, and however often, it is sent."""
    return f"{task_id}-{round(start_time * 1e6):x}"


def bulk_lines(
    record: EventMetrics | NetworkMetrics, prefix: str, service: str | None, *, is_data_stream: bool
) -> bytes:
    """Return the two lines of a bulk request that create a record's document.

    Its index is named by the day, in UTC, on which the record ended: sent again, it finds itself there.
    What a record does not say is left out, and so is the only attempt of what was tried once.
    """
    data = record._to_show()
    begun = to_iso(data["start_time"])
    ended = begun if data["end_time"] is None else to_iso(data["end_time"])
    source = {name: value for name, value in data.items() if value is not None and value != {}}
    source["@timestamp"] = source["end_time"] = ended
    source["start_time"] = begun
    if type(record) is EventMetrics:
        kind, name, seconds = "event", data["event_name"], data["duration"]
        source.pop("attempts", None)
        if len(data["attempts"]) > 1:
            source["attempts"] = [attempt.to_dict() for attempt in data["attempts"]]
    else:
        kind, name, seconds = "network", data["operation"], data["latency"]
        source["network.bytes"] = data["bytes_sent"] + data["bytes_received"]
    source["event.kind"] = "event"
    source["event.dataset"] = f"volnux.{kind}"
    source["event.action"] = name
    source["event.outcome"] = _OUTCOMES.get(data["status"], "unknown")
    source["event.duration"] = round(seconds * 1e9)
    if service is not None:
        source["service.name"] = service
    index = f"{prefix}-{kind}"
    if not is_data_stream:
        index = f"{index}-{ended[:10].replace('-', '.')}"
    # A data stream without its template would become an index.
    demand = ',"require_data_stream":true' if is_data_stream else ""
    known = quoted(document_id(data["task_id"], data["start_time"]))
    action = f'{{"create":{{"_index":"{index}","_id":{known}{demand}}}}}'
    return f"{action}\n{_encode(source)}\n".encode("utf-8", "replace")
