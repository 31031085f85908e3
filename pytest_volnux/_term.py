"""The report of a run in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_volnux._tables import tables_of
from volnux._text import some

if TYPE_CHECKING:
    from collections.abc import Container

    import pytest

    from pytest_volnux._tables import Table

#: Columns of text are no wider, unless the terminal is wide.
_TEXT = 60


def write(data: dict[str, Any], terminal: pytest.TerminalReporter) -> None:
    """Write it, or nothing if nothing was recorded."""
    tables = list(tables_of(data))
    if tables:
        terminal.write_sep("=", f"volnux: what happened inside {some(data['tests'], 'test')}")
        for table in tables:
            _write(table, terminal)


def write_worst(
    data: dict[str, Any], over: Container[str], terminal: pytest.TerminalReporter
) -> None:
    """Write what there is too much of: what "failed", what was "slow"."""
    slow = [one for one in data["slowest"] if one["seconds"] > data["slow_seconds"]]
    titles = {"failed": "failed", "slowest": "slow"}
    for table in tables_of({**data, "slowest": slow}):
        if titles.get(table.title) in over:
            _write(table, terminal)


def _write(table: Table, terminal: pytest.TerminalReporter) -> None:
    texts = len(table.head) - table.tail
    rows = [table.head, *table.rows]
    widths = [min(_TEXT, max(len(row[place]) for row in rows)) for place in range(len(table.head))]

    def line(row: tuple[str, ...]) -> str:
        cells = [
            _cut(cell, width).ljust(width)
            if place < table.left or place >= texts
            else _cut(cell, width).rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(cells).rstrip()

    terminal.write_line("")
    terminal.write_line(table.title, bold=True)
    terminal.write_line("  " + line(table.head))
    for row in table.rows:
        terminal.write_line("  " + line(row), red=table.title == "failed")
    if table.more:
        terminal.write_line(f"  and {table.more:,} more")
    if table.note:
        terminal.write_line(f"  {table.note}")


def _cut(text: str, width: int) -> str:
    """Shorten a text in the middle: both a test's file and its name matter."""
    if len(text) <= width:
        return text
    half = (width - 1) // 2
    return f"{text[:half]}…{text[len(text) - (width - 1 - half) :]}"
