"""The report as Markdown: for a pull request, a wiki, a mail."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from volnux import _text
from volnux.cli._columns import event_table, network_table, retry_table
from volnux.cli._sentences import above, facts, headline, health_lines, more, summary

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

    from volnux._tree import Node
    from volnux.cli._columns import Table
    from volnux.cli._report import Report

_SPECIAL = re.compile(r"([\\`*_\[\]<>|~#&])")


def render(report: Report, stream: TextIO) -> None:
    """Write the report to a stream as GitHub-flavoured Markdown."""
    stream.write("\n".join(_lines(report)) + "\n")


def _lines(report: Report) -> Iterator[str]:
    yield f"# {_escaped(headline(report))}"
    yield ""
    for sentence in summary(report):
        yield _escaped(sentence) + "  "
    yield from _table("Events", event_table(report))
    if report.failures:
        yield from ("", "## Failed")
    for failure in report.failures:
        kind = f": {_escaped(_text.visible(failure.error_type))}" if failure.error_type else ""
        times = f", {failure.count:,} times, the latest" if failure.count > 1 else ""
        yield from ("", f"**{_escaped(_text.visible(failure.name))}**{kind}{times}")
        yield from _tree(failure.tree)
    if report.slow:
        yield from ("", f"## Slowest, longer than {_text.seconds(report.slow_after)}")
    for tree in report.slow:
        yield from _tree(tree)
    yield from _table("Network", network_table(report))
    yield from _table("Retries", retry_table(report))
    health = health_lines(report)
    if health:
        yield from ("", "## Health", "")
    for text, _ in health:
        yield f"- {_escaped(text)}"


def _table(title: str, table: Table) -> Iterator[str]:
    if not table.rows:
        return
    yield from ("", f"## {title}", "")
    yield "| " + " | ".join(table.heads) + " |"
    yield "| --- |" + " ---: |" * (len(table.heads) - 1)
    for row in table.rows:
        yield "| " + " | ".join(_escaped(cell) for cell in row.cells) + " |"
    if table.remark:
        yield from ("", _escaped(table.remark))


def _tree(root: Node) -> Iterator[str]:
    yield ""
    remark = above(root)
    if remark:
        yield from (f"*{_escaped(remark)}*", "")
    yield from _branch(root, "")


def _branch(node: Node, indent: str, parent: Node | None = None) -> Iterator[str]:
    said = "".join(f", {_escaped(fact)}" for fact, _ in facts(node, parent))
    yield f"{indent}- {_text.seconds(node.duration)} **{_escaped(_text.visible(node.name))}**{said}"
    if node.error:
        yield f"{indent}  {_escaped(_text.visible(node.error))}"
    for child in node.children:
        yield from _branch(child, indent + "  ", node)
    if more(node):
        yield f"{indent}  - {more(node)}"


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", text)
