"""What happened again: retries and their errors, and what ran more often than it should."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from pytest_volnux._facts import matches
from pytest_volnux._text import listed
from volnux._tree import name_of
from volnux.telemetry import EventMetrics

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_volnux._facts import Facts
    from volnux._tree import Record


class Repeat(NamedTuple):
    """The same event or operation, several times in one event.

    Attributes:
        said: that in words.
        records: all of it.
        times: how often it ran, in each attempt if what it ran in was retried.
    """

    said: str
    records: list[Record]
    times: int


def repeats(facts: Facts, glob: str, most: int) -> list[Repeat]:
    """Return what ran more often than that in one event; the test itself counts as one."""
    groups: dict[tuple[str | None, str], list[Record]] = {}
    for record in facts.records():
        if matches(name_of(record), [glob]):
            groups.setdefault((record.parent_id, name_of(record)), []).append(record)
    found = []
    for (_, name), records in groups.items():
        around = next(iter([*facts.path(records[0])][1:]), None)
        tries = 1 + around.retry_count if isinstance(around, EventMetrics) else 1
        if len(records) > most * tries:
            where = "the test" if around is None else name_of(around)
            said = f"{name} x{len(records)} in {where}{_places(facts, records)}"
            found.append(Repeat(said, records, -(-len(records) // tries)))
    return found


def _places(facts: Facts, records: Iterable[Record]) -> str:
    """Return the lines of the program that began them: ` (shop.py:31)`."""
    found = [facts.places[it.task_id] for it in records if it.task_id in facts.places]
    lines = dict.fromkeys(f"{os.path.relpath(path)}:{line}" for path, line in found)
    return f" ({listed(lines, 3)})" if lines else ""


def retries_of(event: EventMetrics, error_type: str | None = None) -> int:
    """Return how often an event was retried; after errors of one type only, if that is given."""
    if error_type is None:
        return event.retry_count
    return sum(error == error_type for error in _errors(event))


def errors_of(events: Iterable[EventMetrics]) -> str:
    """Return what events were retried after: ` after TimeoutError`, ` after OSError x1, TimeoutError x2`."""
    counts: dict[str, int] = {}
    for event in events:
        for error in _errors(event):
            counts[error] = counts.get(error, 0) + 1
    if len(counts) < 2:
        return f" after {next(iter(counts))}" if counts else ""
    return " after " + ", ".join(f"{error} x{count}" for error, count in sorted(counts.items()))


def _errors(event: EventMetrics) -> Iterator[str]:
    """Yield the error of each attempt that was retried: the last of each call was not any more."""
    for attempt, following in zip(event.attempts, event.attempts[1:], strict=False):
        if following.number > attempt.number and attempt.error_type:
            yield attempt.error_type
