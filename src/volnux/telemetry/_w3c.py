"""W3C Trace Context: how `traceparent` and `tracestate` are read and written.

By https://www.w3.org/TR/trace-context-2/. Our own member of `tracestate`, `volnux=`, names the operation
that a request is part of. `traceparent` cannot always: where OpenTelemetry traces too, it names the
span of that, and a service in between that knows nothing of volnux puts in its own.
"""

from __future__ import annotations

import re
import sys

from volnux.telemetry._guard import PROCESS
from volnux.telemetry._scope import enclosing_id
from volnux.telemetry._switch import SWITCH
from volnux.telemetry._traces import SAMPLED, Elsewhere, Trace, trace_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, TypeAlias

    from volnux.telemetry._raw import Raw

    Headers: TypeAlias = Mapping[Any, Any] | Iterable[tuple[Any, Any]]

TRACEPARENT = "traceparent"
TRACESTATE = "tracestate"
KEY = "volnux"

#: Characters that a header may have; what is longer is nobody's trace.
LONGEST = 4_096
#: Characters and members of a `tracestate` that are sent: what the specification asks to be carried.
MAX_STATE = 512
MAX_MEMBERS = 32
_RANDOM = 2
#: By name, also as a CGI variable, which is how WSGI has them.
_NAMES = {
    TRACEPARENT: TRACEPARENT,
    TRACESTATE: TRACESTATE,
    "http_traceparent": TRACEPARENT,
    "http_tracestate": TRACESTATE,
}
_LENGTHS = set(map(len, _NAMES))
_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_MEMBER = re.compile(
    r"[a-z0-9][a-z0-9_*/@-]{0,255}"
    r"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)
_OURS = re.compile(rf"{KEY}=([0-9a-f]{{16}})")


def parent_in(headers: Headers) -> Elsewhere | None:
    """Return the parent that headers name, with its trace; None if they name none that is valid."""
    found = _trace_headers(headers)
    # One sender sends one; of two, nobody knows which is true.
    if len(found[TRACEPARENT]) != 1:
        return None
    said = _PARENT.fullmatch(found[TRACEPARENT][0].strip(" \t"))
    if said is None:
        return None
    version, trace_id, parent, flags, more = said.groups()
    if version == "ff" or (version == "00" and more is not None):
        return None
    number = int(parent, 16)
    if not number or not int(trace_id, 16):
        return None
    # Of a version that is yet to come, "sampled" is what will mean the same.
    known = SAMPLED | _RANDOM if version == "00" else SAMPLED
    state, ours = split_state(",".join(found[TRACESTATE]))
    return Elsewhere(ours or number, Trace(trace_id, int(flags, 16) & known, state))


def _trace_headers(headers: Headers) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {TRACEPARENT: [], TRACESTATE: []}
    items = getattr(headers, "items", None)
    for key, value in headers if items is None else items():
        if isinstance(key, (str, bytes)) and len(key) in _LENGTHS:
            name = _NAMES.get(_text_of(key).lower())
            if name is not None:
                text = _text_of(value)
                found[name].append(text if len(text) <= LONGEST else "")
    return found


def _text_of(value: object) -> str:
    if isinstance(value, (bytes, bytearray)):
        return value.decode("latin-1")
    return value if isinstance(value, str) else ""


def split_state(text: str) -> tuple[str, int]:
    """Return the members of a `tracestate` that are not ours, and what ours says; ("", 0) if invalid."""
    members = [member.strip(" \t") for member in text.split(",")]
    members = [member for member in members if member]
    if len(members) > MAX_MEMBERS or not all(map(_MEMBER.fullmatch, members)):
        return "", 0
    ours = [found for found in map(_OURS.fullmatch, members) if found is not None]
    others = [member for member in members if not member.startswith(f"{KEY}=")]
    return ",".join(others), int(ours[0][1], 16) if ours else 0


def headers_at(raw: Raw) -> list[tuple[str, str]]:
    """Return the headers that make an entry the parent of what they ask for; `traceparent` is first.

    Where a span of OpenTelemetry is current, `traceparent` is its own, so that its tree stays whole,
    and ours goes by `tracestate`. Empty where nothing is recorded, or there is no parent.

    Args:
        raw: an event, an operation, or whatever else is current.
    """
    if not SWITCH.on or raw[1] is None:
        return []
    ours = enclosing_id(raw)
    span = current_span()
    if span is not None:
        return _written(span.trace, span, ours)
    return _written(trace_of(raw), ours, ours) if ours and isinstance(ours, int) else []


def _written(trace: Trace, parent: int, ours: int | str) -> list[tuple[str, str]]:
    """Return the headers of a trace, with the parent for all that trace, and the one for ours if not 0."""
    traceparent = f"00-{trace.trace_id}-{parent:016x}-{trace.flags:02x}"
    state = [f"{KEY}={ours:016x}"] if ours and isinstance(ours, int) else []
    room = MAX_STATE - sum(map(len, state))
    for member in trace.state.split(",") if trace.state else ():
        room -= len(member) + 1
        if room < 0 or len(state) == MAX_MEMBERS:
            break  # the newest are first
        state.append(member)
    found = [(TRACEPARENT, traceparent)]
    return [*found, (TRACESTATE, ",".join(state))] if state else found


def current_span() -> Elsewhere | None:
    """Return the current span of OpenTelemetry, where the program has loaded that; else None."""
    trace = sys.modules.get("opentelemetry.trace")
    get_current_span = getattr(trace, "get_current_span", None)
    if get_current_span is None:
        return None
    try:
        context = get_current_span().get_span_context()
        if not context.is_valid:
            return None
        state, _ = split_state(context.trace_state.to_header())
        flags = int(context.trace_flags) & 0xFF
        return Elsewhere(context.span_id, Trace(f"{context.trace_id:032x}", flags, state))
    except Exception:  # noqa: BLE001  # whatever stands there for OpenTelemetry
        PROCESS.add("trace", "opentelemetry")
        return None
