"""Whether threads queue behind one another: calls per second of eight at once, against one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import _rounds
from benchmarks._measures import THREADS
from benchmarks._result import Measured, Result, not_installed, number
from benchmarks.contenders import CONTENDERS, PEERS

if TYPE_CHECKING:
    from collections.abc import Mapping

CALLS = 200_000
#: More than elsewhere: which core a thread is woken on differs from round to round.
ROUNDS = 15
ROWS = {"one": "one_thread:call", "eight": "eight_threads:call"}
TARGET = 0.9


def measure(
    *,
    calls: int = CALLS,
    rounds: int = ROUNDS,
    pythons: Mapping[str, str] | None = None,
    peers: tuple[str, ...] = PEERS,
) -> Result:
    """Run the traced call in one thread and in eight."""
    names = ("floor", "bare", "volnux", *peers)
    figures = _rounds.interleaved(names, ROWS, calls=calls, rounds=rounds, pythons=pythons)
    figures.require(("floor", "bare", "volnux"))
    wall, processor = _kept(figures, "volnux"), _kept_of_processor(figures, "volnux")
    note = f"{wall:.2f} on the wall clock, {processor:.2f} in processor time: the lower counts"
    return Result(
        "threads",
        "Threads",
        f"The same {calls:,} traced calls (fewer for slow peers) by one thread and by {THREADS} that start together; "
        f"least of {rounds} interleaved rounds, folds inside.",
        [
            Measured(
                f"{THREADS} threads: calls per second in all, against one",
                min(wall, processor),
                "x",
                TARGET,
                True,
                note,
            )
        ],
        ["", "one thread, calls/s", f"{THREADS} threads, calls/s", "kept", "in processor time"],
        [_row(figures, name) for name in names],
        not_installed(figures.missing),
        figures.versions,
    )


def _kept(figures: _rounds.Figures, name: str) -> float:
    return figures[name]["one"] / figures[name]["eight"]


def _kept_of_processor(figures: _rounds.Figures, name: str) -> float:
    # A loaded machine gives eight threads a larger share than one, which flatters the wall clock.
    one, eight = (min(it["processor"] for it in figures.answers[name, row]) for row in ROWS)
    return float(one / eight)


def _row(figures: _rounds.Figures, name: str) -> list[str]:
    title = CONTENDERS[name].title
    if name in figures.missing:
        return [title, "not installed", "", "", ""]
    rates = [number(1e9 / figures[name][row]) for row in ROWS]
    return [
        title,
        *rates,
        f"{_kept(figures, name):.2f} x",
        f"{_kept_of_processor(figures, name):.2f} x",
    ]
