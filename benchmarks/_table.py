"""Plain and Markdown tables from lists of text."""

from __future__ import annotations

from collections.abc import Sequence

Row = Sequence[str]


def plain(header: Row, rows: Sequence[Row]) -> str:
    """Columns padded with blanks: text to the left, figures to the right."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = [
        "  ".join(
            _cell(cell, width, i) for i, (cell, width) in enumerate(zip(row, widths, strict=False))
        )
        for row in rows
    ]
    first = "  ".join(
        _cell(cell, width, i) for i, (cell, width) in enumerate(zip(header, widths, strict=False))
    )
    return "\n".join(line.rstrip() for line in [first, "-" * len(first), *lines])


def markdown(header: Row, rows: Sequence[Row], column: str = "---:") -> str:
    """A pipe table; figures to the right, or columns as told."""
    rule = ["---", *[column] * (len(header) - 1)]
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in [header, *rows]]
    escaped.insert(1, rule)
    return "\n".join("| " + " | ".join(row) + " |" for row in escaped)


def _cell(cell: str, width: int, column: int) -> str:
    return cell.ljust(width) if column == 0 else cell.rjust(width)
