"""What should not happen in a test that passes: what never ended, what nobody saw fail, what strayed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_volnux._text import errors, listed, tree
from volnux._text import some
from volnux._tree import name_of
from volnux.telemetry import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_volnux._facts import Facts
    from volnux._tree import Record
    from volnux.telemetry import EventMetrics


class LintWarning(pytest.PytestWarning):
    """A test passed, and what happened inside it is not as it should be."""


def lint(
    facts: Facts,
    running: Sequence[Record],
    strays: Mapping[str, str],
    allowed: Sequence[str],
) -> list[tuple[str, list[Record]]]:
    """Return what is wrong with a test that passed: a sentence each, and the records to blame.

    Args:
        facts: what happened in the test.
        running: what it has begun and not ended, but for its fixtures, which still have to.
        strays: by `task_id`, how and where something ended on another thread than it began on.
        allowed: globs of events that may fail.
    """
    found = [
        _running(running),
        _strayed(facts, strays),
        _exhausted(facts, allowed),
        _failed(facts, allowed),
    ]
    return [one for one in found if one[1]]


def text_of(found: Sequence[tuple[str, list[Record]]], facts: Facts) -> str:
    """Return the text of a failure."""
    blamed = [record for _, records in found for record in records]
    return "\n".join(
        [
            *(sentence for sentence, _ in found),
            "",
            *tree(facts, blamed, indent=""),
            "",
            "to allow it: @pytest.mark.volnux(lint=False)",
        ]
    )


def _running(records: Sequence[Record]) -> tuple[str, list[Record]]:
    return f"{len(records)} never ended: {_names(records)}", [*records]


def _strayed(facts: Facts, strays: Mapping[str, str]) -> tuple[str, list[Record]]:
    found = [record for record in facts.records() if record.task_id in strays] if strays else []
    they = "it" if len(found) == 1 else "they"
    names = listed(f"{name_of(record)} ({strays[record.task_id]})" for record in found)
    return f"{len(found)} ended on another thread than {they} began on: {names}", found


def _exhausted(facts: Facts, allowed: Sequence[str]) -> tuple[str, list[Record]]:
    """Return events that went well although a call in them was retried in vain."""
    found: list[Record] = [
        event
        for event in facts.events
        if event.status == Status.COMPLETED and _gave_up(event) and event not in _of(facts, allowed)
    ]
    return (
        f"{_events(found)} retried in vain, and went on as if nothing was: {_names(found)}",
        found,
    )


def _gave_up(event: EventMetrics) -> bool:
    """Return whether the last attempt of a retried call in it failed."""
    attempts = event.attempts
    if not event.retry_count or len(attempts) < 2:
        return False
    ends = [
        attempt
        for attempt, following in zip(attempts, (*attempts[1:], None), strict=True)
        if following is None or following.number == 1
    ]
    return any(attempt.number > 1 and attempt.outcome == Status.FAILED for attempt in ends)


def _failed(facts: Facts, allowed: Sequence[str]) -> tuple[str, list[Record]]:
    found = facts.failed_for_good(allowed)
    return f"{len(found)} failed, and the test passed: {errors(found)}", found


def _of(facts: Facts, names: Sequence[str]) -> Sequence[EventMetrics]:
    return facts.named(names) if names else ()


def _events(records: Sequence[Record]) -> str:
    return some(len(records), "event")


def _names(records: Iterable[Record]) -> str:
    return listed(name_of(record) for record in records)
