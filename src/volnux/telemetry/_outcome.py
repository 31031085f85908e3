"""How something ended: the slow path that only failures take."""

from __future__ import annotations

import sys

from volnux.telemetry._guard import note
from volnux.telemetry._ids import show_id
from volnux.telemetry._raw import PLAIN_OP, Extra, OpExtra, extra_of, identify, op_extra_of
from volnux.telemetry._records import Status
from volnux.telemetry._scope import enclosing_id
from volnux.telemetry._sites import redactor
from volnux.telemetry.errors import TelemetryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from volnux.telemetry._raw import Raw

#: The attribute that an exception carries while it passes through traced events.
MARK = "__volnux__"

#: For an event that fails where not even a function can be called any more.
OVERRUN = Extra()
OVERRUN.status = Status.FAILED
OVERRUN.error_type = "RecursionError"
OVERRUN.error = "maximum recursion depth exceeded"
OVERRUN_OP = OpExtra()
OVERRUN_OP.status = Status.FAILED
OVERRUN_OP.error_type = OVERRUN.error_type
OVERRUN_OP.error = OVERRUN.error


def status_of(error: BaseException) -> str:
    """Return "cancelled" for what asks to stop, "failed" for what went wrong."""
    kind = type(error)  # asked instead of the exception, whose own `__class__` may raise
    if issubclass(kind, Exception):
        return Status.FAILED
    if issubclass(kind, (KeyboardInterrupt, SystemExit, GeneratorExit)):
        return Status.CANCELLED
    # Asked of the module only if the program has loaded it: importing asyncio takes 50 ms.
    asyncio = sys.modules.get("asyncio.exceptions")
    if asyncio is not None and issubclass(kind, asyncio.CancelledError):
        return Status.CANCELLED
    trio = sys.modules.get("trio")
    if trio is not None and issubclass(kind, getattr(trio, "Cancelled", ())):
        return Status.CANCELLED
    inner = getattr(error, "exceptions", None)  # a BaseExceptionGroup of nothing but cancellations
    if isinstance(inner, tuple) and inner and all(map(_is_cancellation, inner)):
        return Status.CANCELLED
    return Status.FAILED


def _is_cancellation(error: object) -> bool:
    return isinstance(error, BaseException) and status_of(error) == Status.CANCELLED


def type_name(error: object) -> str:
    """Return the name of an exception's class as records carry it."""
    kind = error if issubclass(type(error), type) else type(error)
    # By way of `type`: a metaclass may say anything, or raise.
    name = type.__dict__["__qualname__"].__get__(kind)
    return redactor().name(name.rpartition("<locals>.")[2])


def fail(raw: Raw, parent: Raw, error: BaseException) -> None:
    """Write into an open event how it failed; sets everything but the end. Never raises, unless strict."""
    try:
        _describe(raw, parent, error)
    except (KeyboardInterrupt, SystemExit, TelemetryError):
        _end_at_once(raw)
        raise
    except BaseException:  # noqa: BLE001  # no stack is left, or no memory
        if raw[6] is None:
            raw[6] = OVERRUN
        elif raw[6].status == Status.COMPLETED:
            raw[6].status = Status.FAILED


def _end_at_once(raw: Raw) -> None:
    """End what a Ctrl-C, a signal or a strict registry keeps its instrument from ending."""
    extra = extra_of(raw) if raw[6] is None else op_extra_of(raw)
    if extra.status == Status.COMPLETED:
        extra.status = Status.FAILED
    raw[5] = raw[1].now()
    if raw[7]:
        raw[1].late(raw)


def _describe(raw: Raw, parent: Raw, error: BaseException) -> None:
    extra = extra_of(raw)
    extra.status = status_of(error)
    extra.error_type = type_name(error)
    mine = identify(raw)
    # An error that comes from a child of this event has been recorded there, once.
    origin, heading_for = _mark_of(error)
    if heading_for == show_id(mine):
        extra.origin = origin
    else:
        extra.error = redactor().error_text(error)
        origin = show_id(mine) or ""
    _mark(error, origin, show_id(enclosing_id(parent)))


#: Reads an exception's dict whatever its class overrides.
_dict_of: Callable[[BaseException], dict[str, Any]] = vars(BaseException)["__dict__"].__get__


def _mark_of(error: BaseException) -> tuple[str, str | None]:
    mark = _dict_of(error).get(MARK)
    return mark if type(mark) is tuple and len(mark) == 2 else ("", None)


def _mark(error: BaseException, origin: str, heading_for: str | None) -> None:
    # On the exception itself, since identities are reused and references would keep frames alive;
    # taken off again by the outermost event. Pickled along, it holds across processes as well.
    marks = _dict_of(error)
    if heading_for is None:
        marks.pop(MARK, None)
    else:
        marks[MARK] = (origin, heading_for)


def fail_op(raw: Raw, error: BaseException) -> None:
    """Write into an open network operation how it failed. Never raises, unless strict."""
    try:
        extra = op_extra_of(raw)
        extra.status = Status.FAILED
        extra.status = status_of(error)
        extra.error_type = type_name(error)
        extra.error = redactor().error_text(error)
    except (KeyboardInterrupt, SystemExit, TelemetryError):
        _end_at_once(raw)
        raise
    except BaseException:  # noqa: BLE001  # as above
        if raw[6] is PLAIN_OP:
            raw[6] = OVERRUN_OP


def note_in(raw: Raw, stage: str, reason: str, error: BaseException | None = None) -> None:
    """Count something swallowed in the registry of an entry; see `note`."""
    scope = raw[1]
    note(scope.registries[0] if scope is not None else None, stage, reason, error)
