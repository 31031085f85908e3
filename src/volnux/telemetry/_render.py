"""From entries to records: the frozen account is made when somebody looks at it."""

from __future__ import annotations

import os
from itertools import repeat

from volnux.telemetry._ids import show_id
from volnux.telemetry._raw import (
    END,
    EXTRA,
    FIRST,
    ID,
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
from volnux.telemetry._records import Attempt, EventMetrics, NetworkMetrics, Status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Iterable
    from typing import Any

    from volnux.telemetry._raw import (
        Extra,
        OpExtra,
        Raw,
    )
else:
    from _collections import deque  # without the rest of collections

#: What a plain entry is taken to weigh in a queue, in bytes: measured, list and numbers together.
PLAIN_WEIGHT = 400

# C-level pieces: a registry hands out ten thousand records within a query's 5 ms.
_new_event = EventMetrics.__new__
_new_op = NetworkMetrics.__new__
_set_fill = EventMetrics._fill.__set__  # type: ignore[attr-defined]  # the slot's descriptor


def record_of(raw: Raw) -> EventMetrics | NetworkMetrics:
    """Return the record of one finished entry; its fields are filled in at the first look."""
    extra = raw[EXTRA]
    if type(extra) is Adopted:
        return extra.record  # type: ignore[no-any-return]  # typed where it was made
    record: EventMetrics | NetworkMetrics
    if raw[SITE].network:
        record = NetworkMetrics.__new__(NetworkMetrics)
        _set_fill(record, (_op_fields, raw))
    else:
        record = EventMetrics.__new__(EventMetrics)
        _set_fill(record, (_event_fields, raw))
    return record


def event_records(raws: list[Raw]) -> list[EventMetrics]:
    """Return the records of finished events, in bulk."""
    records = list(map(_new_event, repeat(EventMetrics, len(raws))))
    deque(map(_set_fill, records, zip(repeat(_event_fields), raws, strict=False)), maxlen=0)
    return records


def op_records(raws: list[Raw]) -> list[NetworkMetrics]:
    """Return the records of finished network operations, in bulk."""
    records = list(map(_new_op, repeat(NetworkMetrics, len(raws))))
    deque(map(_set_fill, records, zip(repeat(_op_fields), raws, strict=False)), maxlen=0)
    return records


def running_record(raw: Raw) -> EventMetrics | NetworkMetrics:
    """Return what can be said now of an entry in flight; its duration is its age."""
    now = raw[SCOPE].now()
    if raw[SITE].network:
        return NetworkMetrics(**_op_fields(raw, now))
    return EventMetrics(**_event_fields(raw, now))


def weight_of(raw: Raw) -> int:
    """Return an estimate of the bytes that an entry occupies."""
    extra = raw[EXTRA]
    if extra is None or extra is PLAIN_OP:
        return PLAIN_WEIGHT
    if type(extra) is Adopted:
        return 4 * PLAIN_WEIGHT
    weight = 2 * PLAIN_WEIGHT + len(extra.error or "")
    if extra.attributes:
        weight += weigh(extra.attributes)
    if not extra.network and extra.retries:
        weight += 200 * len(extra.retries)
    return weight


def weigh(value: Any) -> int:
    """Return an estimate of the bytes of plain, bounded data."""
    if isinstance(value, str):
        return 60 + len(value)
    if isinstance(value, dict):
        return 200 + sum(weigh(key) + weigh(item) for key, item in value.items())
    if isinstance(value, list):
        return 60 + sum(map(weigh, value))
    return 30


def _parent_of(raw: Raw) -> str | None:
    parent = raw[PARENT]
    if parent.__class__ is list:
        parent = parent[ID] if parent[SITE] is None else identify(parent)
    return show_id(parent)


def _common_fields(raw: Raw, now: int | None) -> dict[str, Any]:
    scope = raw[SCOPE]
    start = scope.anchor.wall_ns(raw[START]) // 1_000
    end = now if now is not None else raw[END]
    lasted = max(0, end - raw[START])
    extra = raw[EXTRA]
    given = [raw[SITE].attributes()]
    if scope.attributes:
        given.insert(0, scope.attributes)
    if extra is not None and extra.attributes:
        given.append(extra.attributes)
    attributes: dict[str, Any] = {}
    for mapping in given:
        attributes.update(mapping)
    return {
        "task_id": show_id(identify(raw)),
        "parent_id": _parent_of(raw),
        "pipeline_id": scope.pipeline,
        "process_id": os.getpid(),
        "start_time": start / 1e6,
        # The wall clock is read at one end only: it may jump, and an event cannot end first.
        "end_time": None if now is not None else (start + lasted // 1_000) / 1e6,
        "duration": lasted / 1e9,
        "attributes": attributes,
    }


def _outcome(extra: Extra | OpExtra | None, now: int | None) -> dict[str, Any]:
    if now is not None:
        return {"status": Status.RUNNING, "error": None, "error_type": None}
    if extra is None:
        return {"status": Status.COMPLETED, "error": None, "error_type": None}
    return {"status": extra.status, "error": extra.error, "error_type": extra.error_type}


def _event_fields(raw: Raw, now: int | None = None) -> dict[str, Any]:
    extra: Extra | None = raw[EXTRA]
    fields = {**_common_fields(raw, now), **_outcome(extra, now)}
    fields["event_name"] = raw[SITE].name
    fields["thread_id"] = raw[THREAD]
    fields["attempts"] = _attempts(raw, fields, now)
    fields.update(
        error_origin=None, retry_count=0, active_time=None, items=None, time_to_first_item=None
    )
    if extra is not None:
        fields["retry_count"] = extra.retry_count
        fields["error_origin"] = show_id(extra.origin)
        if extra.items is not None:
            fields["active_time"] = extra.active / 1e9
            fields["items"] = extra.items
            fields["time_to_first_item"] = None if extra.first is None else extra.first / 1e9
    return fields


def _op_fields(raw: Raw, now: int | None = None) -> dict[str, Any]:
    site = raw[SITE]
    fields = {**_common_fields(raw, now), **_outcome(raw[EXTRA], now)}
    fields["latency"] = fields.pop("duration")
    fields["host"] = site.host
    fields["port"] = site.port
    fields["operation"] = site.operation
    fields["bytes_sent"] = raw[SENT]
    fields["bytes_received"] = raw[RECEIVED]
    first = raw[FIRST]
    fields["time_to_first_byte"] = None if first is None else max(0, first - raw[START]) / 1e9
    return fields


def _attempts(raw: Raw, fields: dict[str, Any], now: int | None) -> tuple[Attempt, ...]:
    extra: Extra | None = raw[EXTRA]
    begun: int = raw[START]
    end: int = now if now is not None else raw[END]
    attempts: list[Attempt] = []
    number = 1
    if extra is not None and extra.retries:
        number += extra.retry_count - len(extra.retries)
        begun = begun if extra.resumed is None else extra.resumed
        for stopped, error_type, error, delay in tuple(extra.retries):
            attempts.append(
                Attempt(
                    number=number,
                    outcome=Status.FAILED,
                    error_type=error_type,
                    error=error,
                    duration=max(0, stopped - begun) / 1e9,
                    # An event that ends while it waits has waited no longer than that.
                    backoff=max(0, min(delay, end - stopped)) / 1e9,
                )
            )
            begun = stopped + delay
            number += 1
    attempts.append(
        Attempt(
            number=number,
            outcome=fields["status"],
            error_type=fields["error_type"],
            error=fields["error"],
            duration=max(0, end - begun) / 1e9,
            backoff=0.0,
        )
    )
    return tuple(attempts)


def records_of(raws: Iterable[Raw]) -> list[EventMetrics | NetworkMetrics]:
    """Return the records of finished entries of both kinds, in their order."""
    return [record_of(raw) for raw in raws]
