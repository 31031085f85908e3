"""The tables of a report as texts, for a terminal and for Markdown alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from volnux._text import count, seconds, size, visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Table(NamedTuple):
    """A table.

    Attributes:
        title: what it shows.
        head: the names of its columns.
        left: how many of them hold text, before those that hold numbers.
        rows: its cells.
        more: how many rows are not shown.
        tail: how many text columns stand after the numbers.
        note: what else is to be said.
    """

    title: str
    head: tuple[str, ...]
    left: int
    rows: Sequence[tuple[str, ...]]
    more: int
    tail: int = 0
    note: str = ""


def tables_of(data: dict[str, Any]) -> Iterator[Table]:
    """Yield the tables that have something to say."""
    top = data["top"]
    if data["events"]:
        yield _events("events", data["events"], top)
    slowest = data["slowest"][:top]
    if slowest:
        rows = [(seconds(one["seconds"]), visible(one["name"]), where(one)) for one in slowest]
        yield Table("slowest", ("took", "event", "in"), 0, rows, 0, tail=2)
    if data["failures"]:
        shown = data["failures"][:top]
        rows = [(visible(one["name"]), error(one), where(one)) for one in shown]
        more = data["failed"] - len(shown)
        yield Table("failed", ("event", "error", "in"), 3, rows, more, note=_excused(data))
    if data["hosts"]:
        yield _hosts(data["hosts"], top)
    for key, title in (("fixtures", "shared fixtures"), ("orphans", "after their test had ended")):
        if data[key]:
            yield _groups(title, data[key], top)
    if data["outside"]:
        yield _events("outside of tests", data["outside"], top)


def _excused(data: dict[str, Any]) -> str:
    number: int = data["excused"]
    return f"not counted: {number:,} that may fail, or that a retry got over" if number else ""


def where(one: dict[str, Any]) -> str:
    """Return the test that something happened in, or what else it was, and the phase unless that is the call."""
    phase = f" ({one['phase']})" if one["phase"] in {"setup", "teardown"} else ""
    return visible(one["where"]) + phase


def _events(title: str, events: Sequence[dict[str, Any]], top: int) -> Table:
    rows = [
        (
            visible(one["name"]),
            count(one["count"]),
            count(one["failed"]),
            count(one["retries"]),
            seconds(one["p50"]),
            seconds(one["p95"]),
            seconds(one["max"]),
            seconds(one["total"]),
        )
        for one in events[:top]
    ]
    head = ("event", "count", "failed", "retries", "p50", "p95", "max", "total")
    return Table(title, head, 1, rows, max(0, len(events) - top))


def _hosts(hosts: Sequence[dict[str, Any]], top: int) -> Table:
    rows = [
        (
            visible(one["host"]),
            count(one["count"]),
            count(one["failed"]),
            size(one["bytes_sent"]),
            size(one["bytes_received"]),
            seconds(one["max"]),
        )
        for one in hosts[:top]
    ]
    head = ("host", "operations", "failed", "sent", "received", "max")
    return Table("hosts", head, 1, rows, max(0, len(hosts) - top))


def _groups(title: str, groups: Sequence[dict[str, Any]], top: int) -> Table:
    rows = []
    for group in groups[:top]:
        events = group["events"]
        rows.append(
            (
                visible(group["name"]),
                count(sum(one["count"] for one in events)),
                count(sum(one["failed"] for one in events)),
                seconds(sum(one["total"] for one in events)),
                count(sum(one["count"] for one in group["hosts"])),
            )
        )
    head = ("in", "events", "failed", "total", "network ops")
    return Table(title, head, 1, rows, max(0, len(groups) - top))


def error(one: dict[str, Any]) -> str:
    """Return what went wrong in something that failed."""
    kind, text = one["error_type"] or "failed", one["error"]
    return visible(f"{kind}: {text}" if text else kind)
