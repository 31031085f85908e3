"""Which trace an entry belongs to: what all records of one tree share, in whatever process.

A tree that began here has a trace made of the identifier of its outermost event, so that a fork or
whoever knows that identifier makes the same one. An entry that is folded knows of its parent only the
identifier; where the parent is not the outermost event, that identifier knows where the tree began. A
tree that goes on from elsewhere has its trace in two places that survive all that happens to entries:
the identifier of the parent elsewhere, and the scope of what runs under it.
"""

from __future__ import annotations

from volnux.telemetry._raw import _PARTS, Scope, identify

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from volnux.telemetry._raw import Raw

#: The flag of W3C Trace Context by which others keep what belongs to a trace.
SAMPLED = 1
_BITS = (1 << 64) - 1
_STEP = 0x9E3779B97F4A7C15


class Trace:
    """What goes along with a tree from process to process, as W3C Trace Context has it.

    Attributes:
        trace_id: 32 hexadecimal digits, not all of them zero.
        flags: the trace flags, of which 1 is "sampled".
        state: the members of `tracestate` that are not ours, separated by commas.
    """

    __slots__ = ("flags", "state", "trace_id")

    def __init__(self, trace_id: str, flags: int = SAMPLED, state: str = "") -> None:
        self.trace_id = trace_id
        self.flags = flags
        self.state = state


class Elsewhere(int):
    """The identifier of a parent in another process, which knows its trace. It pickles with that."""

    trace: Trace

    def __new__(cls, number: int, trace: Trace) -> Elsewhere:
        made = super().__new__(cls, number)
        made.trace = trace
        return made

    def __getnewargs__(self) -> tuple[int, Trace]:  # type: ignore[override]  # of a subclass with more
        return int(self), self.trace


class Inside(int):
    """The identifier of an event with something around it, which knows where its tree began. It pickles as a number.

    Attributes:
        begun: the identifier of the outermost event, or the trace.
    """

    begun: int | Trace

    def __reduce__(self) -> tuple[type[int], tuple[int]]:
        return int, (int(self),)


class Continued(Scope):
    """A scope whose entries belong to a trace: also those that no longer know what is around them.

    Attributes:
        trace: their trace.
        origin: the parent elsewhere that they go on from; 0 for none.
    """

    __slots__ = ("origin", "trace")

    trace: Trace
    origin: int

    def derive(self, **changes: Any) -> Scope:
        """Return a scope like this one but for some parts, in the same trace."""
        return within(super().derive(**changes), self.trace, self.origin)


def within(scope: Scope, trace: Trace, origin: int = 0) -> Continued:
    """Return a scope like this one whose entries belong to a trace; see `Continued`."""
    made = Continued(**{name: getattr(scope, name) for name in _PARTS})
    made.trace, made.origin = trace, origin
    return made


def trace_of(raw: Raw) -> Trace:
    """Return the trace of an entry, or of the root of a scope that has an event or a parent."""
    begun = _begun_by(raw)
    return _made_of(begun) if isinstance(begun, int) else begun


def number_of(parent: Raw) -> int:
    """Return the identifier of an event for those under it that are folded, by which their trace is found."""
    number: int = parent[8] or identify(parent)
    if type(number) is not int or type(parent[1]) is Continued:
        return number
    above = parent[2]
    kind = type(above)  # mostly folded before
    begun = above.begun if kind is Inside else above if kind is int and above else _begun_by(parent)
    if begun != number:
        parent[8] = number = Inside(number)  # for the others under it
        number.begun = begun
    return number


def _begun_by(raw: Raw) -> int | Trace:
    """Return the identifier of the outermost event around an entry, or the trace that it knows."""
    here: Any = raw
    outermost = raw
    while type(here) is list:
        scope, parent = here[1], here[8]
        if type(scope) is Continued:
            return scope.trace
        if here[0] is not None:
            if type(parent) is Inside:
                return parent.begun
            outermost, here = here, here[2]
        else:  # a root, which may begin a trace of its own around the events that go on
            here = parent if here[6] is None or type(parent) is Elsewhere else here[6]
    if type(here) is Elsewhere:
        return here.trace
    if type(here) is Inside:
        return here.begun
    return here if here and isinstance(here, int) else identify(outermost)


def _made_of(number: int) -> Trace:
    """Return the trace of a tree whose outermost event has this identifier.

    Others sample by the digits, so they must look random. They do by SplitMix64, which gives different
    numbers different ones, and never only zeros.
    """
    first = number + _STEP
    return Trace(f"{_mixed(first & _BITS):016x}{_mixed((first + _STEP) & _BITS):016x}")


def _mixed(number: int) -> int:
    number = ((number ^ number >> 30) * 0xBF58476D1CE4E5B9) & _BITS
    number = ((number ^ number >> 27) * 0x94D049BB133111EB) & _BITS
    return number ^ number >> 31
