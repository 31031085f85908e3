"""What one traced step costs the code that takes it, as a multiple of the hand-written floor."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

from benchmarks import _rounds
from benchmarks._result import Measured, Result, not_installed, number
from benchmarks.contenders import CONTENDERS, PEERS

if TYPE_CHECKING:
    from collections.abc import Mapping

CALLS = 100_000


class Row(NamedTuple):
    """A kind of step; ``over`` names the bare case that is taken off."""

    case: str
    what: str
    target: float | None = None
    over: str | None = None
    contender: str = "volnux"


TOTAL = 3.0 if sys.version_info < (3, 11) else 2.5
ROWS = (
    Row("call", "traced call", TOTAL),
    Row("call", "traced call, in capture()", None, None, "volnux_capture"),
    Row("call", "traced call, off: added to the call", 0.35, "call", "volnux_off"),
    Row("method", "traced method"),
    Row("nested", "traced call, three deep, each"),
    Row("error", "traced call that raises: added", None, "error"),
    Row("coroutine", "traced coroutine: added to the await", 3.0, "coroutine"),
    Row("generator", "traced generator: added per item", 1.5, "generator"),
    Row("async_generator", "traced async generator: added per item", None, "async_generator"),
    Row("with", "with traced_event(...)"),
    Row("attributes", "with traced_event(...), two attributes set"),
    Row("network", "with network_op(...), bytes counted", 4.0),
    Row("coroutine", "traced coroutine, off: added", None, "coroutine", "volnux_off"),
    Row("generator", "traced generator, off: added per item", None, "generator", "volnux_off"),
    Row("with", "with traced_event(...), off", None, None, "volnux_off"),
    Row("network", "with network_op(...), off", None, None, "volnux_off"),
)
CASES = {row.case: f"processor:{row.case}" for row in ROWS}
PEER_CASES = (
    "call",
    "nested",
    "error",
    "coroutine",
    "generator",
    "async_generator",
    "with",
    "attributes",
)
OURS = ("floor", "bare", "volnux", "volnux_off", "volnux_capture")
SPAN_RATIO = 10.0


def measure(
    *,
    calls: int = CALLS,
    rounds: int = _rounds.ROUNDS,
    pythons: Mapping[str, str] | None = None,
    peers: tuple[str, ...] = PEERS,
) -> Result:
    """Run every contender and compare."""
    figures = _rounds.interleaved(
        [*OURS, *peers], CASES, calls=calls, rounds=rounds, pythons=pythons
    )
    figures.require(OURS)
    rows = [_measured(figures, row) for row in ROWS]
    if "otel_span" in figures:
        slower = figures["otel_span"]["call"] / figures["volnux"]["call"]
        rows.insert(
            1,
            Measured(
                "an OpenTelemetry span, against the traced call", slower, "x ours", SPAN_RATIO, True
            ),
        )
    return Result(
        "overhead",
        "Cost of a step",
        f"Processor nanoseconds, all threads of the process, and multiples of the floor; {calls:,} calls a round (fewer "
        f"for slow peers and slow rows), least of {rounds} interleaved rounds, garbage collector on. Folding, collecting "
        "or flushing is inside the timed section.",
        rows,
        ["x floor", "volnux", *(CONTENDERS[name].title for name in peers)],
        [_beside(figures, case, peers) for case in PEER_CASES],
        not_installed(name for name in figures.missing),
        figures.versions,
    )


def _measured(figures: _rounds.Figures, row: Row) -> Measured:
    cost = figures[row.contender][row.case] - (figures["bare"][row.over] if row.over else 0)
    unit = figures.unit
    detail = f"{cost:,.0f} ns; floor {unit:,.0f} ns"
    return Measured(row.what, cost / unit, target=row.target, note=detail)


def _beside(figures: _rounds.Figures, case: str, peers: tuple[str, ...]) -> list[str]:
    """Multiples of the floor, bare cost taken off where the row above takes it off."""
    row = next(row for row in ROWS if row.case == case)
    bare = figures["bare"][row.over] if row.over else 0
    cells = []
    for name in ("volnux", *peers):
        cost = figures.get(name, {}).get(case)
        if name in figures.missing:
            cells.append("not installed")
        else:
            cells.append("-" if cost is None else number((cost - bare) / figures.unit))
    return [row.what, *cells]
