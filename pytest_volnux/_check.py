"""Whether a test kept to its budget, and the text that says how it did not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_volnux._again import errors_of
from pytest_volnux._facts import bytes_of
from pytest_volnux._text import errors, listed, rounded_up, tree
from volnux._text import seconds, size, some
from volnux._tree import name_of, place_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pytest_volnux._budgets import Allowance
    from pytest_volnux._facts import Facts
    from volnux._tree import Record
    from volnux.telemetry import Budget, EventMetrics, NetworkMetrics


class Broken(NamedTuple):
    """A broken limit.

    Attributes:
        limit: what it is, as it was written.
        was: what was instead.
        records: those to blame.
        key, allow: the key of the marker, and the value for it that would allow this.
        glob: the events that it is a limit of; None for the whole test.
    """

    limit: str
    was: str
    records: list[Record]
    key: str
    allow: Any
    glob: str | None = None


def check(allowance: Allowance, facts: Facts, allowed: Sequence[str] = ()) -> str | None:
    """Return what is wrong, as the text of a failure; None if nothing is.

    Args:
        allowance: what may happen at most.
        facts: what happened.
        allowed: globs of more events that may fail.
    """
    allowance = replace(allowance, allow_failed=(*allowance.allow_failed, *allowed))
    broken = list(_broken(allowance, facts))
    if not broken:
        return None
    blamed = [record for one in broken for record in one.records]
    limits = ", ".join(one.limit.partition("=")[0] for one in broken)
    width = max(len(one.limit) for one in broken)
    return "\n".join(
        [
            f"over budget: {limits}",
            *(f"  {one.limit:{width}}  {one.was}" for one in broken),
            "",
            *tree(facts, blamed, indent=""),
            "",
            f"to allow it: @pytest.mark.volnux({_allowing(broken)})",
        ]
    )


def _allowing(broken: Sequence[Broken]) -> str:
    """Return the arguments of a marker that would allow all of it."""
    allowed: dict[str, Any] = {}
    events: dict[str, dict[str, Any]] = {}
    for one in broken:
        if one.glob is not None and one.key != "allow_failed":
            events.setdefault(one.glob, {})[one.key] = one.allow
        elif one.key in allowed and isinstance(one.allow, list):
            allowed[one.key] = sorted({*allowed[one.key], *one.allow})
        else:
            allowed[one.key] = one.allow
    if events:
        allowed["events"] = events
    return ", ".join(f"{key}={value!r}" for key, value in allowed.items())


def _broken(allowance: Allowance, facts: Facts) -> Iterator[Broken]:
    may_fail = allowance.allow_failed
    yield from _limits(allowance.whole, facts, facts.events, facts.ops, may_fail)
    if allowance.hosts is not None:
        strangers = facts.strangers(allowance.hosts)
        if strangers:
            found = listed(place_of(op.host, op.port) for op in strangers)
            hosts = sorted({*allowance.hosts, *(op.host for op in strangers)})
            was = f"{some(len(strangers), 'operation')} with {found}"
            limit = f"hosts={list(allowance.hosts)}"
            yield Broken(limit, was, list(strangers), "hosts", hosts)
    for glob, budget in allowance.events.items():
        events, ops = facts.named([glob]), facts.inside([glob])
        for one in _limits(budget, facts, events, ops, may_fail):
            yield one._replace(limit=f"{glob}: {one.limit}", glob=glob)


def _limits(
    budget: Budget,
    facts: Facts,
    events: Sequence[EventMetrics],
    ops: Sequence[NetworkMetrics],
    allowed: Sequence[str],
) -> Iterator[Broken]:
    checks: dict[str, Callable[[], tuple[float, str, list[Record], Any] | None]] = {
        "max_failed": lambda: _failed(facts, events, ops, allowed),
        "max_seconds": lambda: _longest(events, budget.max_seconds or 0.0),
        "max_retries": lambda: _retries(events),
        "max_bytes": lambda: _bytes(ops),
        "max_calls": lambda: _calls(events),
    }
    for name, limit in budget.limits().items():
        found = checks[name]()
        if found is not None and found[0] > limit:
            number, was, records, allow = found
            key = "allow_failed" if isinstance(allow, list) else name
            yield Broken(f"{name}={limit}", was, records, key, allow or number)


def _failed(
    facts: Facts,
    events: Sequence[EventMetrics],
    ops: Sequence[NetworkMetrics],
    allowed: Sequence[str],
) -> tuple[float, str, list[Record], Any]:
    counted = {event.task_id for event in events} | {op.task_id for op in ops}
    failed = [
        record
        for record in facts.failed_for_good(allowed)
        if any(it.task_id in counted for it in facts.path(record))
    ]
    # The nearest marker wins: what may fail already has to stand in it, too.
    names = sorted({*allowed, *(_event_of(facts, record) for record in failed)})
    was = f"{len(failed)} failed: {errors(failed)}"
    return len(failed), was, failed, names


def _event_of(facts: Facts, record: Record) -> str:
    """Return the name of the event that a failure is known by: its own, or that around an operation."""
    for it in facts.path(record):
        if hasattr(it, "event_name"):
            return str(it.event_name)
    return name_of(record)


def _longest(
    events: Sequence[EventMetrics], limit: float
) -> tuple[float, str, list[Record], Any] | None:
    slow = [event for event in events if event.duration > limit]
    if not slow:
        return None
    longest = max(slow, key=lambda event: event.duration)
    more = f", and {len(slow) - 1} more too long" if len(slow) > 1 else ""
    was = f"{longest.event_name} took {seconds(longest.duration)}{more}"
    return longest.duration, was, list(slow), rounded_up(longest.duration)


def _retries(events: Sequence[EventMetrics]) -> tuple[float, str, list[Record], Any]:
    retried = [event for event in events if event.retry_count]
    number = sum(event.retry_count for event in retried)
    names = listed(event.event_name for event in retried)
    was = f"{some(number, 'retry', 'retries')} of {names}{errors_of(retried)}"
    return number, was, list(retried), None


def _bytes(ops: Sequence[NetworkMetrics]) -> tuple[float, str, list[Record], Any]:
    number = bytes_of(ops)
    sent = sum(op.bytes_sent for op in ops)
    was = f"{size(sent)} sent, {size(number - sent)} received, in {some(len(ops), 'operation')}"
    return number, was, list(ops), None


def _calls(events: Sequence[EventMetrics]) -> tuple[float, str, list[Record], Any]:
    names = listed(event.event_name for event in events)
    return len(events), f"{some(len(events), 'event')}: {names}", list(events), None
