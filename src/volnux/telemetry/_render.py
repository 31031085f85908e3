"""From entries to records: the frozen account is made when somebody looks at it."""

from __future__ import annotations

import os
from itertools import islice, repeat

from volnux.telemetry._ids import show_id
from volnux.telemetry._raw import (
    END,
    EXTRA,
    FIRST,
    ID,
    LATE,
    LATER,
    MAX_ATTEMPTS,
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
from volnux.telemetry._records import Attempt, EventMetrics, NetworkMetrics, Status, unshared
from volnux.telemetry._traces import trace_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from volnux.telemetry._raw import Extra, Raw, Try

#: What a plain entry is taken to weigh in a queue, in bytes: measured, list and numbers together.
PLAIN_WEIGHT = 400
#: Stands in `LATE` of an ended entry whose surplus attributes have been counted: no matter how often it is looked at.
COUNTED = "counted"
#: Makes the attributes of an exchange of what it left with its entry.
_later: Callable[..., dict[str, Any]] = dict


def find_later_by(find: Callable[..., dict[str, Any]]) -> None:
    """Say what makes the attributes of an exchange: it is given what stands in `LATER`."""
    global _later  # noqa: PLW0603  # there is one
    _later = find


def record_of(raw: Raw) -> EventMetrics | NetworkMetrics:
    """Return the record of one finished entry; its fields are rendered at the first look."""
    extra = raw[EXTRA]
    if type(extra) is Adopted:
        return extra.record  # type: ignore[no-any-return]  # typed where it was made
    kind: Any = NetworkMetrics if raw[SITE].network else EventMetrics
    record = kind.__new__(kind)
    record._raw = raw
    return record  # type: ignore[no-any-return]  # one of the two


def records_of_kind(kind: Any, raws: list[Raw]) -> list[Any]:
    """Return the records of finished entries, all of one kind and none adopted, in bulk."""
    # Ten thousand of them have to be there within a query's 5 ms.
    records = list(map(kind.__new__, repeat(kind, len(raws))))
    for record, raw in zip(records, raws):  # noqa: B905  # as many
        record._raw = raw
    return records


def running_record(raw: Raw) -> EventMetrics | NetworkMetrics:
    """Return what can be said now of an entry in flight; its duration is its age."""
    now = raw[SCOPE].now()
    if raw[SITE].network:
        return NetworkMetrics._of(_op_fields(raw, now))
    return EventMetrics._of(_event_fields(raw, now))


def weight_of(raw: Raw) -> int:
    """Return an estimate of the bytes that an entry occupies."""
    extra = raw[EXTRA]
    if type(extra) is Adopted:
        return 4 * PLAIN_WEIGHT
    own: int = raw[SITE].weight + (weigh(raw[LATER]) if len(raw) > LATER else 0)
    if extra is None or extra is PLAIN_OP:
        return PLAIN_WEIGHT + own
    weight = 2 * PLAIN_WEIGHT + len(extra.error or "") + own
    if extra.attributes:
        weight += weigh(extra.attributes)
    if not extra.network:
        weight += 200 * (len(extra.retries or ()) + len(extra.tries or ()))
    return weight


def weigh(value: Any) -> int:
    """Return an estimate of the bytes of plain, bounded data."""
    if isinstance(value, (str, bytes)):
        return 60 + len(value)
    if isinstance(value, dict):
        return 200 + sum(weigh(key) + weigh(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return 60 + sum(map(weigh, value))
    return 30


def _parent_of(raw: Raw) -> str | None:
    parent = raw[PARENT]
    if parent.__class__ is list:
        parent = parent[ID] if parent[SITE] is None else identify(parent)
    return show_id(parent)


def _attributes(raw: Raw) -> dict[str, Any]:
    scope, site, extra = raw[SCOPE], raw[SITE], raw[EXTRA]
    shared = scope.attributes or {}
    given: dict[str, Any] = site.attributes(scope.registries[0])
    own = (None if extra is None else extra.attributes) or {}
    if len(raw) > LATER:
        own = {**_found_later(raw), **own}
    if not shared and not own:
        return unshared(given)
    joined = {**shared, **given, **own}
    most = site.max_attributes()
    if len(joined) > most:
        _count_surplus(raw)
        nearest = islice({**own, **given, **shared}, most)
        joined = {key: joined[key] for key in nearest}
    return unshared(joined)


def _found_later(raw: Raw) -> dict[str, Any]:
    later: Any = raw[LATER]
    if later.__class__ is tuple:  # whoever comes at the same time finds the same
        later = raw[LATER] = _later(*later)
    return later or {}


def _count_surplus(raw: Raw) -> None:
    if raw[END] is not None and raw[LATE] is not COUNTED:
        raw[LATE] = COUNTED
        raw[SCOPE].registries[0].count_error("bounds", "attributes")


def _times(raw: Raw, now: int | None) -> tuple[float, float | None, int]:
    """Return when it began and ended, in seconds since the epoch, and the nanoseconds it lasted."""
    start = raw[SCOPE].anchor.wall_ns(raw[START]) // 1_000
    lasted = max(0, (raw[END] if now is None else now) - raw[START])
    # The wall clock is read at one end only: it may jump, and an event cannot end first.
    end = None if now is not None else (start + lasted // 1_000) / 1e6
    return start / 1e6, end, lasted


def _outcome(extra: Any, now: int | None) -> tuple[str, str | None, str | None]:
    """Return status, error type and error text."""
    if now is not None:
        return Status.RUNNING, None, None
    if extra is None:
        return Status.COMPLETED, None, None
    return extra.status, extra.error_type, extra.error


# Both give the fields in the order that the records have.


def _event_fields(raw: Raw, now: int | None = None) -> dict[str, Any]:
    extra: Extra | None = raw[EXTRA]
    start, end, lasted = _times(raw, now)
    outcome = _outcome(extra, now)
    stream = extra is not None and extra.items is not None
    return {
        "event_name": raw[SITE].name,
        "task_id": show_id(identify(raw)),
        "parent_id": _parent_of(raw),
        "trace_id": trace_of(raw).trace_id,
        "pipeline_id": raw[SCOPE].pipeline,
        "process_id": os.getpid(),
        "thread_id": raw[THREAD],
        "start_time": start,
        "end_time": end,
        "duration": lasted / 1e9,
        "status": outcome[0],
        "error": outcome[2],
        "error_type": outcome[1],
        "error_origin": None if extra is None else show_id(extra.origin),
        "retry_count": 0 if extra is None else extra.retry_count,
        "attempts": _attempts(raw, outcome, now),
        "attributes": _attributes(raw),
        "active_time": extra.active / 1e9 if extra is not None and stream else None,
        "items": extra.items if extra is not None and stream else None,
        "time_to_first_item": (
            None if extra is None or not stream or extra.first is None else extra.first / 1e9
        ),
    }


def _op_fields(raw: Raw, now: int | None = None) -> dict[str, Any]:
    site, first = raw[SITE], raw[FIRST]
    start, end, lasted = _times(raw, now)
    status, error_type, error = _outcome(raw[EXTRA], now)
    return {
        "host": site.host,
        "task_id": show_id(identify(raw)),
        "port": site.port,
        "operation": site.operation,
        "parent_id": _parent_of(raw),
        "trace_id": trace_of(raw).trace_id,
        "pipeline_id": raw[SCOPE].pipeline,
        "process_id": os.getpid(),
        "start_time": start,
        "end_time": end,
        "latency": lasted / 1e9,
        "time_to_first_byte": None if first is None else max(0, first - raw[START]) / 1e9,
        "bytes_sent": raw[SENT],
        "bytes_received": raw[RECEIVED],
        "status": status,
        "error": error,
        "error_type": error_type,
        "attributes": _attributes(raw),
    }


def _attempt(number: int, outcome: tuple[Any, ...], work: int, backoff: int) -> Attempt:
    status, error_type, error = outcome
    return Attempt._of(
        {
            "number": number,
            "outcome": status,
            "error_type": error_type,
            "error": error,
            "duration": max(0, work) / 1e9,
            "backoff": max(0, backoff) / 1e9,
        }
    )


def _attempts(raw: Raw, outcome: tuple[Any, ...], now: int | None) -> tuple[Attempt, ...]:
    extra: Extra | None = raw[EXTRA]
    end: int = raw[END] if now is None else now
    if extra is None or not extra.tries:
        return _own_attempts(raw, outcome, end)
    # Calls that ran at once are told apart by their order: each with all of its attempts.
    told = sorted(extra.tries, key=_call_of)
    attempts = tuple(_told_attempt(one, outcome, end) for one in told)
    if not extra.retries:
        return attempts
    return (*_own_attempts(raw, outcome, end), *attempts)[-MAX_ATTEMPTS:]


def _call_of(one: Try) -> int:
    return one.call


def _told_attempt(one: Try, outcome: tuple[Any, ...], end: int) -> Attempt:
    stopped = end if one.stopped is None else one.stopped
    waited = 0 if one.until is None else min(one.until, end) - stopped
    if one.status is not None:
        outcome = (one.status, one.error_type, one.error)
    return _attempt(one.number, outcome, stopped - one.begun, waited)


def _own_attempts(raw: Raw, outcome: tuple[Any, ...], end: int) -> tuple[Attempt, ...]:
    extra: Extra | None = raw[EXTRA]
    begun: int = raw[START]
    attempts: list[Attempt] = []
    number = 1
    if extra is not None and extra.retries:
        number += extra.retry_count - extra.told - len(extra.retries)
        begun = begun if extra.resumed is None else extra.resumed
        retries = tuple(extra.retries)
        stops = (*(retry[0] for retry in retries[1:]), end)
        for (stopped, kind, error, delay), limit in zip(retries, stops, strict=True):
            # A wait that was cut short was no longer than what came next left of it.
            waited = max(0, min(delay, limit - stopped))
            failed = (Status.FAILED, kind, error)
            attempts.append(_attempt(number, failed, stopped - begun, waited))
            begun = stopped + waited
            number += 1
    attempts.append(_attempt(number, outcome, end - begun, 0))
    return tuple(attempts)


EventMetrics._render = staticmethod(_event_fields)
NetworkMetrics._render = staticmethod(_op_fields)


def records_of(raws: Iterable[Raw]) -> list[EventMetrics | NetworkMetrics]:
    """Return the records of finished entries of both kinds, in their order."""
    return [record_of(raw) for raw in raws]
