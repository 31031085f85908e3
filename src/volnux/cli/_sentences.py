"""What the report says in words, for every format that people read."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from volnux import _text
from volnux.telemetry import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from volnux._tree import Node
    from volnux.cli._report import Report


def headline(report: Report) -> str:
    """Return the first line."""
    source = report.source
    if source.program is not None:
        return f"volnux run: {_text.visible(source.program)}"
    files = source.files
    named = ", ".join(map(_text.visible, files)) if len(files) <= 2 else f"{len(files):,} files"
    return f"volnux report: {named}"


def summary(report: Report) -> list[str]:
    """Return how much was recorded, by how many processes, and when."""
    source = report.source
    if not source.records:
        lines = ["nothing was recorded"]
        if os.environ.get("VOLNUX_TELEMETRY"):
            lines.append(f"VOLNUX_TELEMETRY is {_text.visible(os.environ['VOLNUX_TELEMETRY'])}")
        elif source.program is not None and not source.failed:
            lines.append(
                "mark steps with @traced_event and exchanges with `with network_op(host, port)`"
            )
        return lines
    events = sum(row.stats.count for row in report.events)
    ops = sum(row.stats.count for row in report.network)
    failed = sum(row.stats.failed for row in report.events)
    errors = sum(row.stats.failed for row in report.network)
    parts = [_some_failed(events, "event", failed), _some_failed(ops, "network operation", errors)]
    if not ops:
        parts.pop()
    if report.name is not None:
        parts.append(
            f"of {_text.some(source.records, 'record')}, matching {_text.visible(report.name)}"
        )
    when = [f"{_text.seconds(source.wall)} in all"]
    if source.processes > 1:
        when.insert(0, _text.some(source.processes, "process", "processes"))
    if source.start is not None and source.end is not None:
        when.append(_text.span(source.start, source.end))
    return [" · ".join(parts), " · ".join(when)]


def _some_failed(number: int, noun: str, failed: int) -> str:
    text = _text.some(number, noun)
    return f"{text}, {_text.count(failed)} failed" if failed else text


def facts(node: Node, parent: Node | None = None) -> Iterator[tuple[str, bool]]:
    """Yield what there is to say of a record beside its name, and whether it is bad news.

    Attributes that its parent has as well are said there.
    """
    known = {} if parent is None else parent.attributes
    if node.status == Status.FAILED:
        kind = f" {_text.visible(node.error_type)}" if node.error_type else ""
        yield f"failed{kind}", True
    elif node.status != Status.COMPLETED:
        yield node.status, False
    if node.attempts > 1:
        yield f"{node.attempts:,} attempts", False
    if node.sent or node.received:
        yield f"{_text.size(node.sent)} sent, {_text.size(node.received)} received", False
    for key, value in node.attributes.items():
        if key in known and known[key] == value:
            continue
        yield f"{_text.visible(key)}={_text.value(value)}", False


def more(node: Node) -> str:
    """Return how much is left out in a record that matters, or nothing."""
    return f"… {_text.count(node.more)} more" if node.more and node.matters else ""


def above(node: Node) -> str:
    """Return what is left out above the root of a tree, or nothing."""
    if node.above:
        return f"… in {_text.some(node.above, 'more level')}"
    return "… in an event that is not kept" if node.lost else ""


def health_lines(report: Report) -> list[tuple[str, bool]]:
    """Return what keeps the report from being whole, and whether each is bad news."""
    health, source = report.health, report.source
    lines: list[tuple[str, bool]] = []
    if health.in_flight:
        lines.append((f"{_text.count(health.in_flight)} still running at the end", False))
    if health.evicted:
        kept = health.finished - health.evicted
        details = f"{_text.count(kept)} of {_text.some(health.finished, 'record')}"
        lines.append((f"details are of {details}; totals are of all", False))
    if source.unreported:
        what = _text.some(source.unreported, "process", "processes")
        lines.append((f"{what} did not report: killed, or still running", True))
    missing = health.remote.get("missing", 0)
    if missing:
        sent = health.remote.get("sent", 0)
        lines.append(
            (
                f"{_text.count(missing)} of {_text.some(sent, 'call')} to other processes did not report",
                True,
            )
        )
    for name, numbers in sorted(report.publishers.items()):
        lines += _publisher_lines(_text.visible(name), numbers)
    for stage, reasons in sorted(health.errors.items()):
        for reason, count in sorted(reasons.items()):
            lines.append(
                (
                    f"{_text.visible(stage)}: {_text.visible(reason)} {_text.count(count)} times",
                    True,
                )
            )
    return lines


def _publisher_lines(name: str, numbers: dict[str, object]) -> Iterator[tuple[str, bool]]:
    dropped = numbers.get("dropped")
    if isinstance(dropped, dict):
        for reason, count in sorted(dropped.items()):
            yield f"{name}: {_text.some(count, 'record')} dropped ({_text.visible(reason)})", True
    pending = numbers.get("pending")
    if isinstance(pending, int) and pending:
        yield f"{name}: {_text.some(pending, 'record')} not delivered", True
