"""Entries as lines of JSON and back, quickly: what a spool keeps."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from volnux.telemetry._ids import show_id
from volnux.telemetry._raw import (
    END,
    EXTRA,
    FIRST,
    ID,
    LATER,
    PARENT,
    PLAIN_OP,
    RECEIVED,
    SCOPE,
    SENT,
    SITE,
    START,
    THREAD,
    Adopted,
    identify,
)
from volnux.telemetry._records import EventMetrics, NetworkMetrics
from volnux.telemetry._render import record_of
from volnux.telemetry._stamps import micros_to_iso
from volnux.telemetry._traces import trace_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from volnux.telemetry._raw import Raw

_encode = json.JSONEncoder(separators=(",", ":")).encode


def lines_of(raws: Sequence[Raw]) -> list[str]:
    """Return a line for each finished entry: what `to_dict` of its record gives, without what is as ever."""
    heads: dict[tuple[int, int], str] = {}
    lines = []
    for raw in raws:
        extra = raw[EXTRA]
        if extra is None:
            plain = _plain_event
        elif extra is PLAIN_OP and len(raw) <= LATER:
            plain = _plain_operation
        else:  # it has more to say
            lines.append(_line_of(record_of(raw)))
            continue
        key = id(raw[SITE]), id(raw[SCOPE])
        head = heads.get(key)
        if head is None:
            head = heads[key] = _head_of(raw)
        lines.append(plain(head, raw) if head else _line_of(record_of(raw)))
    return lines


def entry_of(line: str) -> Raw:
    """Return a finished entry with the record that a line was made of.

    Raises:
        ValueError, KeyError, TypeError: the line is none of `lines_of`.
    """
    data = json.loads(line)
    network = data["kind"] == "network"
    record = (NetworkMetrics if network else EventMetrics).from_dict(data)
    return [None, None, 0, 0, 0, 0, Adopted(record, network=network), False, 0]


def _line_of(record: EventMetrics | NetworkMetrics) -> str:
    defaults = record._defaults
    return _encode(
        {
            key: value
            for key, value in record.to_dict().items()
            if key not in defaults or value != defaults[key]
        }
    )


def _head_of(raw: Raw) -> str:
    """Return what the lines of all plain entries of a site in a scope begin with; "" where they differ."""
    scope, site = raw[SCOPE], raw[SITE]
    head: dict[str, Any] = {"kind": "network" if site.network else "event"}
    if site.network:
        head.update(host=site.host, port=site.port, operation=site.operation)
    else:
        head["event_name"] = site.name
    head["process_id"] = os.getpid()
    if scope.pipeline is not None:
        head["pipeline_id"] = scope.pipeline
    attributes = {**(scope.attributes or {}), **site.attributes(scope.registries[0])}
    if attributes:
        head["attributes"] = attributes
    return _encode(head)[:-1] if len(attributes) <= site.max_attributes() else ""


def _plain_event(head: str, raw: Raw) -> str:
    """Return the line of an event that completed and has nothing more to say."""
    start, end, duration = _times(raw)
    return (
        f'{head},{_place(raw)}"thread_id":{raw[THREAD]},{start}{end}"duration":{duration!r},'
        f'"attempts":[{{"number":1,"outcome":"completed","duration":{duration!r}}}]}}'
    )


def _plain_operation(head: str, raw: Raw) -> str:
    """Return the line of an operation that completed and has nothing more to say."""
    start, end, latency = _times(raw)
    first = raw[FIRST]
    waited = "" if first is None else f'"time_to_first_byte":{max(0, first - raw[START]) / 1e9!r},'
    return (
        f'{head},{_place(raw)}{waited}"bytes_sent":{raw[SENT]},"bytes_received":{raw[RECEIVED]},'
        f'{start}{end}"latency":{latency!r}}}'
    )


def _place(raw: Raw) -> str:
    parent: Any = raw[PARENT]
    if parent.__class__ is list:  # the root of a scope
        parent = parent[ID]
    above = f'"parent_id":"{show_id(parent)}",' if parent else ""
    return f'"task_id":"{identify(raw):016x}",{above}"trace_id":"{trace_of(raw).trace_id}",'


def _times(raw: Raw) -> tuple[str, str, float]:
    start = raw[SCOPE].anchor.wall_ns(raw[START]) // 1_000
    lasted = max(0, raw[END] - raw[START])
    end = micros_to_iso(start + lasted // 1_000)
    return f'"start_time":"{micros_to_iso(start)}",', f'"end_time":"{end}",', lasted / 1e9
