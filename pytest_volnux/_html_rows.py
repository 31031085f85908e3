"""The tables of the HTML report: their columns, and their rows as a browser without scripts shows them.

`report_rows.js` builds the same rows from the same data, element by element.
"""

from __future__ import annotations

import re
from html import escape
from math import log
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from volnux._text import count, seconds, size, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    #: A row, and those that belong under it.
    Tree = tuple[dict[str, Any], Sequence[dict[str, Any]]]


#: After these, and where a word in CamelCase begins, a name goes on in the next line where it is too long for one.
_FOLDS: Final = re.compile(r"(?<=[/_.,:\[-])(?=[^/_.,:\[-])|(?<=[a-z0-9])(?=[A-Z])")
#: Percent of a bar that can be seen as one; less is a speck.
_LEAST: Final = 0.5


class Column(NamedTuple):
    """A column.

    Attributes:
        key: of the row's values; empty where it shows several of them.
        label: its heading.
        kind: how values are shown: name, where, text, error, count, seconds, size, total or range.
        about: what the heading means, where it does not say that by itself.
    """

    key: str
    label: str
    kind: str
    about: str = ""


class Section(NamedTuple):
    """A table, and what stands around it.

    Attributes:
        key: of the report's data.
        title: what it shows.
        about: what it shows, in a sentence.
        empty: what is said instead of a table without rows.
        columns: from left to right.
        order: the column that the data is ordered by.
        falls: whether from the largest to the smallest.
    """

    key: str
    title: str
    about: str
    empty: str
    columns: tuple[Column, ...]
    order: str
    falls: bool = True

    @property
    def is_tree(self) -> bool:
        """Whether rows have others under them."""
        return self.key in {"fixtures", "orphans"}


_TIMES: Final = (
    Column("p50", "p50", "seconds", "half of them took no longer"),
    Column("p95", "p95", "seconds", "95 of 100 took no longer"),
    Column("max", "max", "seconds", "the longest"),
)
_RANGE: Final = Column("", "min to max", "range")
_DRAWN: Final = (
    "Lines reach from the shortest to the longest, on a logarithmic scale; thick from p50 to p95."
)
_TOTAL: Final = Column(
    "total", "total", "total", "all of them together, what they wait for included"
)
_COUNTS: Final = (
    Column("count", "count", "count"),
    Column("failed", "failed", "count"),
    Column("retries", "retries", "count"),
)
_EVENT: Final = Column("name", "event", "name")
_EVENTS: Final = (_EVENT, *_COUNTS, *_TIMES, _RANGE, _TOTAL)

SECTIONS: Final = (
    Section(
        "events",
        "Events",
        f"What the tests did, by name. {_DRAWN}",
        "No event was recorded inside a test.",
        _EVENTS,
        "total",
    ),
    Section(
        "slowest",
        "Slowest",
        "The single events that took longest, wherever they were recorded.",
        "Nothing was recorded.",
        (
            _EVENT,
            Column("where", "in", "where"),
            Column("error_type", "failed with", "text"),
            Column("seconds", "took", "total"),
        ),
        "seconds",
    ),
    Section(
        "failures",
        "Failed",
        "Where something went wrong first; what failed only because of that is left out.",
        "Nothing failed.",
        (
            _EVENT,
            Column("error", "error", "error"),
            Column("where", "in", "where"),
            Column("seconds", "took", "seconds"),
        ),
        "where",
        falls=False,
    ),
    Section(
        "hosts",
        "Hosts",
        "Whom the tests spoke to.",
        "No network operation was recorded inside a test.",
        (
            Column("host", "host", "name"),
            Column("count", "operations", "count"),
            Column("failed", "failed", "count"),
            Column("bytes_sent", "sent", "size"),
            Column("bytes_received", "received", "size"),
            Column("max", "max", "seconds", "the longest"),
            _TOTAL,
        ),
        "total",
    ),
    Section(
        "fixtures",
        "Shared fixtures",
        "What fixtures did that several tests share; it is in the numbers of no test.",
        "No fixture that tests share recorded anything.",
        (Column("name", "fixture", "name"), *_EVENTS[1:]),
        "name",
        falls=False,
    ),
    Section(
        "orphans",
        "After their test",
        "What threads and tasks did that a test left behind, after it had ended.",
        "Nothing went on after its test had ended.",
        (Column("name", "left by", "where"), *_EVENTS[1:]),
        "name",
        falls=False,
    ),
    Section(
        "outside",
        "Outside of tests",
        "What was recorded while no test ran: imports, collection, hooks.",
        "Nothing was recorded outside of tests.",
        _EVENTS,
        "total",
    ),
)


def trees_of(section: Section, data: dict[str, Any]) -> list[Tree]:
    """Return the rows of a section, all of them."""
    if not section.is_tree:
        return [(row, ()) for row in data[section.key]]
    return [_group(one) for one in data[section.key]]


def _group(one: dict[str, Any]) -> Tree:
    rows = [*one["events"], *({**host, "name": host["host"]} for host in one["hosts"])]
    events = one["events"] or one["hosts"]
    whole = {key: sum(it.get(key, 0) for it in events) for key in ("count", "failed", "retries")}
    total = sum(it["total"] for it in events)
    longest = max((it["max"] for it in events), default=0.0)
    return {"name": one["name"], **whole, "max": longest, "total": total}, rows


class Scale:
    """What the numbers of a table are drawn by.

    Args:
        section: the table.
        trees: its rows, all of them.
        slow: what takes longer is slow, in seconds.
    """

    def __init__(self, section: Section, trees: Iterable[Tree], slow: float) -> None:
        rows = [it for row, under in trees for it in (row, *under)]
        self.slow = slow
        self._most = max((it.get("total", it.get("seconds", 0.0)) for it in rows), default=0.0)
        timed = [it for it in rows if it.get("min", 0.0) > 0.0]
        self._least = min((it["min"] for it in timed), default=0.0)
        self._longest = max((it["max"] for it in timed), default=0.0)

    def share(self, value: float) -> str:
        """Return what part of the largest total a total is, in percent."""
        percent = 100 * value / self._most if self._most else 0.0
        return f"{percent:.1f}" if percent >= _LEAST else "0.0"

    def place(self, value: float) -> float:
        """Return where a duration is between the shortest of all and the longest, in percent."""
        if not 0.0 < self._least < self._longest:
            return 0.0
        return 100 * log(max(value, self._least) / self._least) / log(self._longest / self._least)


def rows_html(section: Section, trees: Iterable[Tree], scale: Scale) -> str:
    """Return rows as HTML: with those under them, each tree is a body of its own."""
    if section.is_tree:
        return "".join(
            f"<tbody>{_row(section, row, scale, 'group')}"
            f"{''.join(_row(section, it, scale, 'under') for it in under)}</tbody>"
            for row, under in trees
        )
    return f"<tbody>{''.join(_row(section, row, scale, '') for row, _ in trees)}</tbody>"


def _row(section: Section, row: dict[str, Any], scale: Scale, level: str) -> str:
    first, *others = section.columns
    cells = "".join(_cell(column, row, scale) for column in others)
    opened = f'<tr class="{level}">' if level else "<tr>"
    return f"{opened}{_head(first, row, level)}{cells}</tr>"


def _head(column: Column, row: dict[str, Any], level: str) -> str:
    kind, value = column.kind, row[column.key]
    if level == "under":
        kind = "network" if "host" in row else "name"
    scope = "rowgroup" if level == "group" else "row"
    return f'<th scope="{scope}" class="{kind}">{_text(kind, value)}</th>'


def _cell(column: Column, row: dict[str, Any], scale: Scale) -> str:
    kind, value = column.kind, row.get(column.key)
    if kind == "where" and row.get("phase") in {"setup", "teardown"}:
        return f'<td class="where">{_text(kind, value)} ({row["phase"]})</td>'
    if kind in {"where", "text"}:
        return f'<td class="{kind}">{"" if value is None else _text(kind, value)}</td>'
    if kind == "error":
        return f'<td class="error">{_error(row)}</td>'
    if kind == "range":
        return f'<td class="range">{_range(row, scale)}</td>'
    if value is None:
        return f'<td class="{kind}"></td>'
    return f'<td class="{kind}{_mark(column, value, scale)}">{_number(kind, value, scale)}</td>'


def _mark(column: Column, value: float, scale: Scale) -> str:
    if not value:
        return " zero"
    if column.key == "failed":
        return " bad"
    if column.key in {"p50", "p95", "max", "seconds"} and value > scale.slow:
        return " slow"
    return ""


def _number(kind: str, value: float, scale: Scale) -> str:
    if kind == "count":
        return count(int(value))
    if kind == "size":
        return size(int(value))
    if kind == "seconds":
        return seconds(value)
    return f"{seconds(value)}{_bar(scale.share(value))}"


def _bar(share: str) -> str:
    return (
        '<svg class="bar" aria-hidden="true" width="100%" height="3">'
        f'<rect width="{share}%" height="3"></rect></svg>'
    )


def _range(row: dict[str, Any], scale: Scale) -> str:
    if row.get("min") is None:
        return ""
    low, mid, high, end = (scale.place(row[key]) for key in ("min", "p50", "p95", "max"))
    return (
        '<svg class="spread" role="img" width="100%" height="12">'
        f"<title>{seconds(row['min'])} to {seconds(row['max'])}</title>"
        f'<line x1="{low:.1f}%" x2="{end:.1f}%" y1="6" y2="6"></line>'
        f'<line class="most" x1="{mid:.1f}%" x2="{high:.1f}%" y1="6" y2="6"></line>'
        f'<circle cx="{end:.1f}%" cy="6" r="2"></circle></svg>'
    )


def _text(kind: str, value: Any) -> str:
    shown = visible(value)
    if kind == "where" and "::" in shown:
        file, _, test = shown.partition("::")
        return f'<span class="file">{_foldable(file)}::</span><wbr>{_foldable(test)}'
    return _foldable(shown)


def _foldable(text: str) -> str:
    """Return a text that a browser may break where people would."""
    return "<wbr>".join(escape(part) for part in _FOLDS.split(text) if part)


def _error(row: dict[str, Any]) -> str:
    text = row["error"]
    parts = f"<b>{escape(visible(row['error_type'] or 'failed'))}</b>"
    return f"{parts} {escape(visible(text))}" if text else parts
