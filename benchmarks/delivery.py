"""What an attached publisher adds to the traced call, in the thread that calls."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from benchmarks import _rounds
from benchmarks._result import Measured, Result
from benchmarks.contenders import CONTENDERS

if TYPE_CHECKING:
    from collections.abc import Mapping

CALLS = 100_000
TARGET = 30.0
#: Where the back ends are that are attached all at once.
SERVERS = ("VOLNUX_TEST_ELASTICSEARCH_URL", "VOLNUX_TEST_OTLP_URL")
OURS = ("volnux_memory", "volnux_jsonlines", "volnux_spool")


def measure(
    *, calls: int = CALLS, rounds: int = _rounds.ROUNDS, pythons: Mapping[str, str] | None = None
) -> Result:
    """Run the traced call with no publisher, an in-memory one and a JSON-lines file."""
    with_servers = all(map(os.environ.get, SERVERS))
    ours = (*OURS, "volnux_four") if with_servers else OURS
    names = ("floor", "volnux", *ours)
    rows = {"call": "own_thread:call"}
    figures = _rounds.interleaved(names, rows, calls=calls, rounds=rounds, pythons=pythons)
    figures.require(names)
    return Result(
        "delivery-overhead",
        "Delivery",
        f"{calls:,} traced calls a round, least of {rounds} interleaved rounds; processor time of the calling thread "
        "(`time.thread_time_ns`), folds inside, the file on a local disk.",
        [
            Measured(
                CONTENDERS[name].title,
                _added(figures, name),
                "% added",
                TARGET,
                note=_account(figures, name),
            )
            for name in ours
        ],
        ["", "processor ns a call, caller", "wall ns a call, all threads"],
        [_row(figures, name, calls) for name in names],
        []
        if with_servers
        else [f"The back ends are left out: {' and '.join(SERVERS)} are not set"],
        versions=figures.versions,
    )


def _added(figures: _rounds.Figures, name: str) -> float:
    return 100 * (figures[name]["call"] / figures["volnux"]["call"] - 1)


def _account(figures: _rounds.Figures, name: str) -> str:
    last = figures.answers[name, "call"][-1]
    return f"{last['accepted']:,} records accepted in all, {last['dropped']:,} dropped"


def _row(figures: _rounds.Figures, name: str, calls: int) -> list[str]:
    wall = min(answer["wall"] for answer in figures.answers[name, "call"]) / calls
    return [CONTENDERS[name].title, f"{figures[name]['call']:,.0f}", f"{wall:,.0f}"]
