"""How an assert of the fixture fails: what it says of what was asked for, and of what was there."""

from __future__ import annotations

from difflib import get_close_matches
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, NoReturn

from pytest_volnux._text import listed, tree
from volnux._tree import name_of
from volnux.telemetry._budget import check_limit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_volnux._facts import Facts
    from volnux._tree import Record
    from volnux.telemetry import EventMetrics

#: An attribute of errors whose text shows what happened: nobody needs to see it twice.
SHOWN: Final = "shows_what_happened"


def check_numbers(**given: float | None) -> None:
    """See whether the numbers that an assert was given make sense; those in seconds need not be whole.

    Raises:
        ValueError: one does not; the text names it.
    """
    for name, value in given.items():
        if value is not None:
            check_limit(name, value, whole="seconds" not in name)


def fail(what: str, facts: Facts, marked: Sequence[Record], allow: str = "") -> NoReturn:
    """Raise an `AssertionError` that says what is wrong, and shows what happened.

    Args:
        what: what is wrong, in a line.
        facts: what happened.
        marked: the records to blame.
        allow: what would let it pass.
    """
    __tracebackhide__ = True
    lines = [what, "", *tree(facts, marked, indent="")]
    if allow:
        lines += ["", f"to allow it: {allow}"]
    error = AssertionError("\n".join(lines).rstrip())
    setattr(error, SHOWN, True)
    raise error


def near(name: str, facts: Facts) -> str:
    """Return what to say where no event has a name: the nearest one, and which there were."""
    names = {event.event_name for event in facts.events}
    found = get_close_matches(name, sorted(names), 1, 0.6)
    return f"; did you mean {found[0]!r}? {facts.seen()}" if found else f"; {facts.seen()}"


def in_order(facts: Facts) -> str:
    """Return the names of events as they began; those of the same name in a row once."""
    runs = [(name, len(list(run))) for name, run in groupby(it.event_name for it in facts.events)]
    return listed((f"{name} x{often}" if often > 1 else name for name, often in runs), 12)


def described(name: str, status: str | None, attributes: Mapping[str, Any] | None) -> str:
    """Return what was asked for, in words."""
    parts = [repr(name)]
    if status is not None:
        parts.append(f"that is {status}")
    if attributes:
        parts.append("with " + ", ".join(f"{key}={value!r}" for key, value in attributes.items()))
    return " ".join(parts)


def ways_of(events: Sequence[EventMetrics], attributes: Mapping[str, Any] | None) -> str:
    """Return how these events are, in what was asked about."""
    ways = (
        " ".join([it.status, *(f"{key}={it.attributes.get(key)!r}" for key in attributes or {})])
        for it in events
    )
    return listed(ways)


def has_attributes(event: EventMetrics, attributes: Mapping[str, Any]) -> bool:
    """Return whether an event has these attributes, among others."""
    return all(
        key in event.attributes and event.attributes[key] == value
        for key, value in attributes.items()
    )


def events_around(facts: Facts, records: Sequence[Record]) -> list[str]:
    """Return by which event's name each record is known: its own, or that around an operation."""
    found = []
    for record in records:
        names = [name_of(it) for it in facts.path(record) if hasattr(it, "event_name")]
        found.append(names[0] if names else name_of(record))
    return found


def arguments(names: Iterable[str]) -> str:
    """Return names as the arguments of a call."""
    return ", ".join(map(repr, names))
