"""What happened: finished, frozen accounts of events and network operations."""

from __future__ import annotations

from volnux.telemetry._frozen import Frozen
from volnux.telemetry._stamps import from_iso, to_iso

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class Status:
    """The outcomes an event or a network operation can have, as the strings that records carry."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


def unshared(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy that has no list or dict in common with the original, at no great cost for flat ones."""
    copy = dict(attributes)
    for key, value in attributes.items():
        if type(value) is list or type(value) is dict:
            copy[key] = _copy_of(value)
    return copy


def _copy_of(value: Any) -> Any:
    if type(value) is list:
        return list(map(_copy_of, value))
    return unshared(value) if type(value) is dict else value


class Attempt(Frozen):
    """One try of an event that retries, or of a retried call in it.

    Attributes:
        number: 1 for the first. An event with several retried calls has the attempts of one after
            those of the other, and each call's begin with 1 again.
        outcome: "failed" for one that was retried or whose result was not good enough; else how the
            attempt ended, or the status of its event.
        error_type: the name of the exception's class, or None.
        error: its text, bounded and redacted, or None.
        duration: seconds of work in this attempt.
        backoff: seconds waited after it before the next one; 0.0 for the last, unless the wait was
            broken off.
    """

    __slots__ = ()
    _fields = ("number", "outcome", "error_type", "error", "duration", "backoff")
    _defaults = {"error_type": None, "error": None, "duration": 0.0, "backoff": 0.0}
    number: int
    outcome: str
    error_type: str | None
    error: str | None
    duration: float
    backoff: float

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            number: int,
            outcome: str,
            error_type: str | None = None,
            error: str | None = None,
            duration: float = 0.0,
            backoff: float = 0.0,
        ) -> None: ...

    def to_dict(self) -> dict[str, Any]:
        """Return the attempt as plain data."""
        return self._as_dict()


class EventMetrics(Frozen):
    """The account of one event: one execution of a traced step.

    Immutable and safe to share between threads. Built by the registry, or by keyword in tests.

    Attributes:
        event_name: the name of the step.
        task_id: 16 hexadecimal digits, unique across processes, the same at every delivery.
        parent_id: the `task_id` of the enclosing event, or None.
        trace_id: 32 hexadecimal digits, the same in all of its tree (W3C Trace Context), or None.
        pipeline_id: the name given to the enclosing `pipeline`, or None.
        process_id, thread_id: where it began.
        start_time, end_time: seconds since the epoch, UTC; `end_time` is None while running.
        duration: seconds on the monotonic clock; its age so far while running.
        status: "running", "completed", "failed" or "cancelled".
        error: the text of the exception, bounded and redacted; only where the error arose.
        error_type: the name of the exception's class, also on the events it passed through.
        error_origin: the `task_id` of the event where the error arose, if that is another one.
        retry_count: attempts after the first, of each retried call in it.
        attempts: every `Attempt`, at least one; the latest 100 of an event with more.
        attributes: what the program said about it; plain data, bounded and redacted.
        active_time: for generators, seconds spent in the producer; else None.
        items: for generators, how many were yielded; else None.
        time_to_first_item: for generators that yielded, seconds until the first; else None.
    """

    __slots__ = ()
    _fields = (
        "event_name",
        "task_id",
        "parent_id",
        "trace_id",
        "pipeline_id",
        "process_id",
        "thread_id",
        "start_time",
        "end_time",
        "duration",
        "status",
        "error",
        "error_type",
        "error_origin",
        "retry_count",
        "attempts",
        "attributes",
        "active_time",
        "items",
        "time_to_first_item",
    )
    _defaults = {
        "parent_id": None,
        "trace_id": None,
        "pipeline_id": None,
        "process_id": 0,
        "thread_id": 0,
        "start_time": 0.0,
        "end_time": None,
        "duration": 0.0,
        "status": "completed",
        "error": None,
        "error_type": None,
        "error_origin": None,
        "retry_count": 0,
        "attempts": (),
        "attributes": {},
        "active_time": None,
        "items": None,
        "time_to_first_item": None,
    }
    event_name: str
    task_id: str
    parent_id: str | None
    trace_id: str | None
    pipeline_id: str | None
    process_id: int
    thread_id: int
    start_time: float
    end_time: float | None
    duration: float
    status: str
    error: str | None
    error_type: str | None
    error_origin: str | None
    retry_count: int
    attempts: tuple[Attempt, ...]
    attributes: Mapping[str, Any]
    active_time: float | None
    items: int | None
    time_to_first_item: float | None

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            event_name: str,
            task_id: str,
            parent_id: str | None = None,
            trace_id: str | None = None,
            pipeline_id: str | None = None,
            process_id: int = 0,
            thread_id: int = 0,
            start_time: float = 0.0,
            end_time: float | None = None,
            duration: float = 0.0,
            status: str = "completed",
            error: str | None = None,
            error_type: str | None = None,
            error_origin: str | None = None,
            retry_count: int = 0,
            attempts: tuple[Attempt, ...] = (),
            attributes: Mapping[str, Any] = {},
            active_time: float | None = None,
            items: int | None = None,
            time_to_first_item: float | None = None,
        ) -> None: ...

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON-ready data, one shape for files, back ends and reports.

        Keys are `kind` ("event") and the fields; stamps are ISO-8601 in UTC with microseconds,
        durations are seconds, attempts are dicts.
        """
        data = {"kind": "event", **self._to_show()}
        data["start_time"] = to_iso(data["start_time"])
        data["end_time"] = None if data["end_time"] is None else to_iso(data["end_time"])
        data["attempts"] = [attempt.to_dict() for attempt in data["attempts"]]
        data["attributes"] = unshared(data["attributes"])
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> EventMetrics:
        """Return the record whose `to_dict` gave this data.

        Raises:
            KeyError, TypeError, ValueError: the data has another shape.
        """
        fields = _fields_of(cls, data)
        fields["attempts"] = tuple(Attempt(**attempt) for attempt in fields.get("attempts") or ())
        return cls(**fields)


class NetworkMetrics(Frozen):
    """The account of one network operation: one exchange with a host and port.

    Immutable and safe to share between threads. Built by the registry, or by keyword in tests.

    Attributes:
        host, port, operation: with whom, and what was done; `port` may be None.
        task_id, parent_id, trace_id, pipeline_id, process_id: as in `EventMetrics`; the parent is the event
            it ran under.
        start_time, end_time: seconds since the epoch, UTC; `end_time` is None while running.
        latency: seconds from start to end on the monotonic clock; its age so far while running.
        time_to_first_byte: seconds until the first byte was received, or None.
        bytes_sent, bytes_received: as counted, also up to a failure.
        status, error, error_type: as in `EventMetrics`.
        attributes: what the program said about it; plain data, bounded and redacted.
    """

    __slots__ = ()
    _fields = (
        "host",
        "task_id",
        "port",
        "operation",
        "parent_id",
        "trace_id",
        "pipeline_id",
        "process_id",
        "start_time",
        "end_time",
        "latency",
        "time_to_first_byte",
        "bytes_sent",
        "bytes_received",
        "status",
        "error",
        "error_type",
        "attributes",
    )
    _defaults = {
        "port": None,
        "operation": "exchange",
        "parent_id": None,
        "trace_id": None,
        "pipeline_id": None,
        "process_id": 0,
        "start_time": 0.0,
        "end_time": None,
        "latency": 0.0,
        "time_to_first_byte": None,
        "bytes_sent": 0,
        "bytes_received": 0,
        "status": "completed",
        "error": None,
        "error_type": None,
        "attributes": {},
    }
    host: str
    task_id: str
    port: int | None
    operation: str
    parent_id: str | None
    trace_id: str | None
    pipeline_id: str | None
    process_id: int
    start_time: float
    end_time: float | None
    latency: float
    time_to_first_byte: float | None
    bytes_sent: int
    bytes_received: int
    status: str
    error: str | None
    error_type: str | None
    attributes: Mapping[str, Any]

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            host: str,
            task_id: str,
            port: int | None = None,
            operation: str = "exchange",
            parent_id: str | None = None,
            trace_id: str | None = None,
            pipeline_id: str | None = None,
            process_id: int = 0,
            start_time: float = 0.0,
            end_time: float | None = None,
            latency: float = 0.0,
            time_to_first_byte: float | None = None,
            bytes_sent: int = 0,
            bytes_received: int = 0,
            status: str = "completed",
            error: str | None = None,
            error_type: str | None = None,
            attributes: Mapping[str, Any] = {},
        ) -> None: ...

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON-ready data: what `publish_network_metrics` gets.

        Keys are `kind` ("network") and the fields; stamps as in `EventMetrics`, times are seconds.
        """
        data = {"kind": "network", **self._to_show()}
        data["start_time"] = to_iso(data["start_time"])
        data["end_time"] = None if data["end_time"] is None else to_iso(data["end_time"])
        data["attributes"] = unshared(data["attributes"])
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> NetworkMetrics:
        """Return the record whose `to_dict` gave this data.

        Raises:
            KeyError, TypeError, ValueError: the data has another shape.
        """
        return cls(**_fields_of(cls, data))


def _fields_of(cls: type[Frozen], data: Mapping[str, Any]) -> dict[str, Any]:
    # A newer volnux may have written keys that are unknown here.
    fields = {name: data[name] for name in cls._fields if name in data}
    for stamp in ("start_time", "end_time"):
        if fields.get(stamp) is not None:
            fields[stamp] = from_iso(fields[stamp])
    return fields
