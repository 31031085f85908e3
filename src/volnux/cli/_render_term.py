"""The report for a terminal; plain text where there is none."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from volnux import _text
from volnux.cli._columns import event_table, network_table, retry_table
from volnux.cli._sentences import above, facts, headline, health_lines, more, summary
from volnux.telemetry import Status

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

    from volnux._tree import Node
    from volnux.cli._columns import Table
    from volnux.cli._report import Failure, Report

#: Narrower than this, numbers would no longer fit.
NARROWEST: Final = 60
#: Columns that are left out where there is no room, in this order.
_SPARE: Final = ("p90", "share", "p50", "cancelled")
_ASCII: Final = str.maketrans({
    "µ": "u", "·": "-", "…": "~", "→": ">", "│": "|", "├": "|", "└": "`", "─": "-", "✗": "!",
})  # fmt: skip
_STYLES: Final = {Status.FAILED: "red", Status.CANCELLED: "yellow", Status.RUNNING: "cyan"}


def render(report: Report, stream: TextIO) -> None:
    """Write the report to a stream: with colour if it is a terminal or FORCE_COLOR says so."""
    _Page(stream).report(report)


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to the caller: rich would end the process."""
        raise BrokenPipeError


class _Page:
    """Lines of text that fit the width of a stream."""

    def __init__(self, stream: TextIO) -> None:
        self._console = _Console(
            file=stream, highlight=False, emoji=False, markup=False, soft_wrap=True
        )
        self.width = max(NARROWEST, _columns() or self._console.width)
        self._encoding = getattr(stream, "encoding", None) or "utf-8"
        try:
            "µ·…→│├└─✗".encode(self._encoding)
        except (LookupError, UnicodeError):
            self._ascii = True
        else:
            self._ascii = False

    def report(self, report: Report) -> None:
        """Write everything there is to say; sections without content are left out."""
        self.line(Text(headline(report), "bold"))
        for sentence in summary(report):
            for part in self.parts(sentence):
                self.line(Text("  " + part))
        self.table(event_table(report))
        self.failures(report)
        self.slow(report)
        self.table(network_table(report))
        self.table(retry_table(report))
        health = health_lines(report)
        if health:
            self.title("HEALTH", "")
        for text, bad in health:
            self.line(Text("  " + text, "yellow" if bad else ""))

    def line(self, text: Text) -> None:
        """Write one line, cut to the width."""
        text.rstrip()
        if cell_len(text.plain) > self.width:
            text.truncate(self.width - 1)
            text.append("…", text.style)
        if self._ascii:
            plain = text.plain.translate(_ASCII).encode(self._encoding, "backslashreplace")
            text.plain = plain.decode(self._encoding)
        self._console.print(text, no_wrap=True, overflow="ignore", crop=False)

    def parts(self, sentence: str) -> list[str]:
        """Return a sentence, or its parts where it is too long for one line."""
        return [sentence] if cell_len(sentence) + 2 <= self.width else sentence.split(" · ")

    def title(self, name: str, remark: str) -> None:
        """Begin a section."""
        self.line(Text())
        self.line(Text.assemble((name, "bold"), ("  " + remark, "dim") if remark else ""))

    def table(self, table: Table) -> None:
        """Write a section of numbers; a name too long for its column has a line for itself."""
        if not table.rows:
            return
        table = self._fitting(table)
        widths = [max(map(cell_len, texts)) for texts in zip(*table.texts(), strict=True)]
        gap, room = self._gap(table, widths)
        longest = max(cell_len(row.cells[0]) for row in table.rows)
        widths[0] = min(max(longest, len(table.title)), max(room, len(table.title)))
        self.line(Text())
        self._row(
            (table.title, *table.heads[1:]), widths, gap, ["bold", *["dim"] * (len(widths) - 1)]
        )
        for row in table.rows:
            styles = ["red" if bad else "" for bad in row.bad]
            self._row(row.cells, widths, gap, styles, indent="  ")
        if table.remark:
            self.line(Text("  " + table.remark, "dim"))

    def _fitting(self, table: Table) -> Table:
        """Return the table without what can be spared, as far as the width asks for it."""
        for head in _SPARE:
            widths = [max(map(cell_len, texts)) for texts in zip(*table.texts(), strict=True)]
            if len(table.title) + 2 + sum(widths[1:]) + len(widths) - 1 <= self.width:
                break
            table = table.without(head)
        return table

    def _gap(self, table: Table, widths: Sequence[int]) -> tuple[int, int]:
        """Return the space between columns and the room for names: wide, unless names need it."""
        columns = len(widths) - 1
        wide, narrow = (self.width - sum(widths[1:]) - gap * columns - 2 for gap in (2, 1))
        fits = [
            sum(cell_len(row.cells[0]) <= room for row in table.rows) for room in (wide, narrow)
        ]
        return (2, wide) if wide >= len(table.title) and fits[0] == fits[1] else (1, narrow)

    def _row(
        self,
        cells: Sequence[str],
        widths: Sequence[int],
        gap: int,
        styles: Sequence[str],
        indent: str = "",
    ) -> None:
        room = widths[0] + 2 - len(indent)
        text = Text(indent)
        if cell_len(cells[0]) > room:
            self.line(text.append(cells[0], styles[0]))
            text = Text(indent).append(" " * room)
        else:
            text.append(set_cell_size(cells[0], room), styles[0])
        for cell, width, style in zip(cells[1:], widths[1:], styles[1:], strict=True):
            text.append(" " * (gap + width - cell_len(cell))).append(cell, style)
        self.line(text)

    def failures(self, report: Report) -> None:
        """Write what failed, each kind of failure with the tree of its latest."""
        if not report.failures:
            return
        hidden = report.failure_count - sum(failure.count for failure in report.failures)
        self.title("FAILED", f"{_text.some(hidden, 'more failure')} not shown" if hidden else "")
        for place, failure in enumerate(report.failures):
            if place:
                self.line(Text())
            self._failure(failure)

    def _failure(self, failure: Failure) -> None:
        head = Text.assemble("  ", (_text.visible(failure.name), "bold red"))
        if failure.error_type:
            head.append(f"  {_text.visible(failure.error_type)}", "red")
        if failure.count > 1:
            head.append(f"  {failure.count:,} times, the latest:", "dim")
        self.line(head)
        self.tree(failure.tree)

    def slow(self, report: Report) -> None:
        """Write what was slow, in its trees."""
        if not report.slow:
            return
        shown = sum(map(_matter, report.slow))
        rest = report.slow_count - shown
        remark = f"longer than {_text.seconds(report.slow_after)}"
        self.title("SLOWEST", f"{remark}; {rest:,} more not shown" if rest else remark)
        for tree in report.slow:
            self.tree(tree, errors=False)

    def tree(self, root: Node, *, errors: bool = True) -> None:
        """Write a record and what is in it, one line each, and the texts of errors."""
        remark = above(root)
        if remark:
            self.line(Text(f"{'':>11}{remark}", "dim"))
        self._branch(root, "", "", errors=errors)

    def _branch(
        self, node: Node, lead: str, below: str, *, errors: bool, parent: Node | None = None
    ) -> None:
        style = _STYLES.get(node.status, "bold" if node.matters else "")
        text = Text.assemble(f"{_text.seconds(node.duration):>9}  ", (lead, "dim"))
        text.append(_text.visible(node.name), style)
        for fact, bad in facts(node, parent):
            text.append("  ").append(fact, "red" if bad else "dim")
        self.line(text)
        if node.error and errors:
            self._error(node, below)
        last = len(node.children) - 1
        for place, child in enumerate(node.children):
            end = place == last and not more(node)
            corner, bar = ("└─ ", "   ") if end else ("├─ ", "│  ")
            self._branch(child, below + corner, below + bar, errors=errors, parent=node)
        if more(node):
            self.line(Text(f"{'':>11}{below}└─ {more(node)}", "dim"))

    def _error(self, node: Node, below: str) -> None:
        bar = "│  " if node.children or more(node) else "   "
        lead = f"{'':>11}{below}{bar}"
        room = max(20, self.width - len(lead))
        text = Text(_text.visible(node.error or ""), "red")
        lines = text.wrap(self._console, room)
        if len(lines) > 3:
            lines[2].append(" …")
        for line in lines[:3]:
            self.line(Text.assemble((lead, "dim"), line))


def _matter(tree: Node) -> int:
    return tree.matters + sum(map(_matter, tree.children))


def _columns() -> int | None:
    text = os.environ.get("COLUMNS", "")
    return int(text) if text.isdecimal() and int(text) else None
