"""The report of a run in Markdown, as code hosts show it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pytest_volnux._tables import tables_of
from volnux._text import some

if TYPE_CHECKING:
    from pytest_volnux._tables import Table

#: What would end a cell, or begin something else in it.
_SPECIAL: Final = str.maketrans({"|": "\\|", "`": "\\`", "<": "&lt;", "*": "\\*", "_": "\\_"})


def to_markdown(data: dict[str, Any]) -> str:
    """Return the report as a section of Markdown."""
    tables = list(tables_of(data))
    lines = [f"## volnux: what happened inside {some(data['tests'], 'test')}", ""]
    if not tables:
        lines += ["Nothing was recorded.", ""]
    for table in tables:
        lines += _lines(table)
    return "\n".join(lines)


def _lines(table: Table) -> list[str]:
    texts = len(table.head) - table.tail
    rule = [
        ":---" if place < table.left or place >= texts else "---:"
        for place in range(len(table.head))
    ]
    lines = [f"### {table.title}", "", _row(table.head), _row(tuple(rule))]
    lines += [_row(tuple(cell.translate(_SPECIAL) for cell in row)) for row in table.rows]
    if table.more:
        lines += ["", f"and {table.more:,} more"]
    if table.note:
        lines += ["", table.note]
    return [*lines, ""]


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"
