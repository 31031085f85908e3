"""The tables of the report as texts: columns in which nothing happened are left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from volnux import _text
from volnux._tree import place_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from volnux.cli._report import Report


@dataclass(frozen=True)
class Row:
    """One row: its texts, and which of them are bad news."""

    cells: tuple[str, ...]
    bad: tuple[bool, ...]


@dataclass(frozen=True)
class Table:
    """A section of numbers; the first column is a name, the others are right-aligned."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[Row, ...]
    remark: str = ""

    def texts(self) -> list[tuple[str, ...]]:
        """Return the heads and the rows."""
        return [self.heads, *(row.cells for row in self.rows)]

    def without(self, head: str) -> Table:
        """Return the table without the column of this head."""
        kept = [place for place, one in enumerate(self.heads) if one != head]
        rows = (
            Row(tuple(row.cells[n] for n in kept), tuple(row.bad[n] for n in kept))
            for row in self.rows
        )
        heads = tuple(self.heads[n] for n in kept)
        remark = self.remark if head != "share" else ""
        return Table(self.title, heads, tuple(rows), remark)


@dataclass(frozen=True)
class _Column:
    """A column: its head, its number in the data, how that is shown.

    `rare` ones are left out where nothing happened, and `bad` ones are bad news where it did.
    """

    head: str
    key: str
    form: Callable[[Any], str] = _text.count
    rare: bool = False
    bad: bool = False

    def shows(self, things: Iterable[Mapping[str, Any]]) -> bool:
        """Return whether there is anything to show."""
        return not self.rare or any(thing[self.key] for thing in things)

    def cell(self, thing: Mapping[str, Any]) -> str:
        """Return the text for one row; a dash for none."""
        return self.form(thing[self.key]) if thing[self.key] or self.form is _SECONDS else "-"


_SECONDS: Final = _text.seconds
_EVENTS: Final = (
    _Column("count", "count"),
    _Column("failed", "failed", rare=True, bad=True),
    _Column("cancelled", "cancelled", rare=True),
    _Column("retries", "retries", rare=True),
    *(_Column(key, key, _SECONDS) for key in ("p50", "p90", "p99", "max", "total")),
    _Column("share", "share", _text.share),
)
_NETWORK: Final = (
    _Column("ops", "count"),
    _Column("errors", "failed", rare=True, bad=True),
    _Column("cancelled", "cancelled", rare=True),
    *(_Column(key, key, _SECONDS) for key in ("p50", "p99", "max")),
    _Column("sent", "bytes_sent", _text.size),
    _Column("received", "bytes_received", _text.size),
)
_RETRIES: Final = (
    _Column("retries", "total_retries"),
    _Column("attempts", "total_attempts"),
    _Column("retried", "retried_events"),
    _Column("recovered", "recovered"),
    _Column("exhausted", "exhausted", bad=True),
)


def event_table(report: Report) -> Table:
    """Return the totals by event."""
    things = [
        {**row.stats.to_dict(), "name": row.name, "share": row.share} for row in report.events
    ]
    parallel = any(round(row.share, 2) > 1 for row in report.events)
    remark = "share above 100%: several ran at once" if parallel else ""
    return _table("EVENTS", "event", _EVENTS, things, remark)


def network_table(report: Report) -> Table:
    """Return the totals by exchange."""
    things = [
        {**row.stats.to_dict(), "name": f"{place_of(row.host, row.port)} {row.operation}"}
        for row in report.network
    ]
    return _table("NETWORK", "host and operation", _NETWORK, things)


def retry_table(report: Report) -> Table:
    """Return what retrying came to, where it did not help first."""
    order = sorted(
        report.retries.by_event.items(),
        key=lambda item: (-item[1]["exhausted"], -item[1]["total_retries"], item[0]),
    )
    things = [{**numbers, "name": name} for name, numbers in order]
    return _table("RETRIES", "event", _RETRIES, things)


def _table(
    title: str,
    first: str,
    columns: Sequence[_Column],
    things: Sequence[Mapping[str, Any]],
    remark: str = "",
) -> Table:
    shown = [column for column in columns if column.shows(things)]
    rows = [
        Row(
            (_text.visible(thing["name"]), *(column.cell(thing) for column in shown)),
            (False, *(column.bad and thing[column.key] > 0 for column in shown)),
        )
        for thing in things
    ]
    return Table(title, (first, *(column.head for column in shown)), tuple(rows), remark)
