"""What happened, as a person reads it: a tree of events with what is wrong marked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from volnux._text import seconds, size, visible
from volnux._tree import name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from pytest_volnux._facts import Facts
    from volnux._tree import Node, Record

#: Lines of a tree at most, and records up to which it shows all of them.
LINES: Final = 40
ALL: Final = 200
_WIDTH: Final = 110


def tree(facts: Facts, marked: Sequence[Record] = (), *, indent: str = "  ") -> list[str]:
    """Return the lines of what happened, oldest first; what is marked has a `>` before it."""
    records = facts.records()
    if not records:
        return []
    shown = records if len(records) <= ALL else marked[:LINES] or records[:LINES]
    place = {record.task_id: number for number, record in enumerate(records)}
    trees = facts.forest.trees(shown, by_time=True)
    trees.sort(key=lambda node: (node.start, place[node.task_id]))
    wanted = {record.task_id for record in marked}
    lines = [line for root in trees for line in _lines(root, wanted, 0)]
    if len(lines) > LINES:
        lines = _shortened(lines)
    rest = len(records) - len(shown)
    if rest:
        lines.append(f"  and {rest:,} more records")
    if facts.missing:
        lines.append(f"  and {facts.missing:,} records before them that were not kept")
    return [indent + line for line in lines]


def _shortened(lines: list[str]) -> list[str]:
    """Leave out lines that are not marked, from the end, and say how many."""
    dear = {number for number, line in enumerate(lines) if line.startswith(">")}
    keep = sorted(dear)[:LINES]
    room = LINES - len(keep)
    keep = sorted({*keep, *[number for number in range(len(lines)) if number not in dear][:room]})
    shown = [lines[number] for number in keep]
    return [*shown, f"  and {len(lines) - len(shown):,} more lines"]


def _lines(node: Node, wanted: Collection[str], level: int) -> Iterator[str]:
    mark = "> " if node.task_id in wanted else "  "
    line = mark + "  " * level + _line(node)
    yield line if len(line) <= _WIDTH else line[: _WIDTH - 1] + "…"
    for child in node.children:
        yield from _lines(child, wanted, level + 1)
    if node.more:
        yield f"  {'  ' * (level + 1)}({node.more:,} more inside)"


def _line(node: Node) -> str:
    parts = [visible(node.name), seconds(node.duration)]
    if node.status != "completed":
        parts.append(node.status)
    if node.attempts > 1:
        parts.append(f"{node.attempts} attempts")
    if node.kind == "network":
        parts.append(f"{size(node.sent)} sent, {size(node.received)} received")
    if node.error_type:
        error = f"{node.error_type}: {visible(node.error)}" if node.error else node.error_type
        parts.append(error)
    return "  ".join(parts)


def errors(records: Iterable[Record]) -> str:
    """Return what failed, and by which errors: `parse (ValueError)`."""
    return listed(
        f"{name_of(it)} ({it.error_type})" if it.error_type else name_of(it) for it in records
    )


def apart(value: float, limit: float, say: Callable[[Any], str]) -> tuple[str, str]:
    """Return what a value and its limit are, in more digits where they look the same otherwise."""
    if say(value) != say(limit):
        return say(value), say(limit)
    unit = "s" if say(0) == "0s" else " B"
    return f"{value:,.12g}{unit}", f"{limit:,.12g}{unit}"


def rounded_up(duration: float) -> float:
    """Return seconds of few digits that are not less."""
    return float(f"{duration * 1.05:.2g}")


def listed(names: Iterable[str], limit: int = 6) -> str:
    """Return a list with a bound: `a, b and 3 more`."""
    found = list(dict.fromkeys(names))
    rest = f" and {len(found) - limit} more" if len(found) > limit else ""
    return ", ".join(visible(name) for name in found[:limit]) + rest
