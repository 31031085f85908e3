"""What there is to say of an event that simply completed, without making its record.

A back end that is given hundreds of thousands of records would spend most of its time on making them.
"""

from __future__ import annotations

from volnux.telemetry._raw import END, EXTRA, PARENT, SCOPE, SITE, START, THREAD, Extra, identify
from volnux.telemetry._records import EventMetrics, Status
from volnux.telemetry._render import _attributes
from volnux.telemetry._traces import _STEP, _begun_by, _mixed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NamedTuple

    from volnux.telemetry._publisher import Record
    from volnux.telemetry._raw import Raw

    class Brief(NamedTuple):
        """What `brief_of` gives, which is a plain tuple: naming it takes longer than making it.

        Attributes:
            name: of the event.
            number, parent: its identifier and that of the event around it, 0 for none, as 64 bits.
            trace: the identifier of its trace, as 16 bytes.
            start: microseconds since the epoch.
            lasted: nanoseconds.
            thread: where it began.
            pipeline: the name given to that, or None.
            attributes: what the program said about it.
        """

        name: str
        number: int
        parent: int
        trace: bytes
        start: int
        lasted: int
        thread: int
        pipeline: str | None
        attributes: dict[str, Any]


_BITS = 64
_WORD = (1 << _BITS) - 1
#: Traces that are kept.
_MOST = 64
_traces: dict[int, bytes] = {}


def brief_of(record: Record) -> Brief | None:
    """Return what the record of an event says that has completed and has nothing unusual to say; else None."""
    if type(record) is not EventMetrics:
        return None
    try:
        raw = record._raw
    except AttributeError:  # one that was made of its fields
        return None
    extra = raw[EXTRA]
    if raw[END] is None or (extra is not None and _is_unusual(extra)):
        return None
    parent = _parent_of(raw)
    begun = _begun_by(raw)
    if parent is None or not isinstance(begun, int):
        return None
    scope = raw[SCOPE]
    return (  # type: ignore[return-value]  # see there
        raw[SITE].name,
        identify(raw),
        parent,
        _traces.get(begun) or _trace(begun),
        scope.anchor.wall_ns(raw[START]) // 1_000,
        max(0, raw[END] - raw[START]),
        raw[THREAD],
        scope.pipeline,
        _attributes(raw),
    )


def _is_unusual(extra: Any) -> bool:
    return (
        type(extra) is not Extra
        or extra.status != Status.COMPLETED
        or extra.error_type is not None
        or extra.error is not None
        or extra.retry_count > 0
        or bool(extra.tries)
        or bool(extra.origin)
        or extra.items is not None
    )


def _parent_of(raw: Raw) -> int | None:
    """Return the identifier of what is around an entry; 0 for nothing, None for one that is no number of 64 bits."""
    parent = raw[PARENT]
    if parent.__class__ is list:
        parent = parent[8] if parent[SITE] is None else identify(parent)
    if not parent:
        return 0
    return parent if isinstance(parent, int) and not parent >> _BITS else None


def _trace(begun: int) -> bytes:
    """Return the trace of a tree that begins with this event; the events of a tree mostly come together."""
    if len(_traces) >= _MOST:
        _traces.clear()
    first = begun + _STEP  # as `_traces` has it, without the digits
    number = _mixed(first & _WORD) << _BITS | _mixed((first + _STEP) & _WORD)
    found = _traces[begun] = number.to_bytes(16, "big")
    return found
