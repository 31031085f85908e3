"""How long an answer takes from a full registry, and whether totals care how much has passed."""

from __future__ import annotations

import json
import subprocess
import sys

from benchmarks import _environments
from benchmarks._result import Measured, Result

KEPT = 10_000
FEW, MANY = 100_000, 1_000_000
MILLISECONDS = 5.0
INDEPENDENT = 1.2


def measure(*, rounds: int = 5, many: int = MANY) -> Result:
    """Ask everything there is to ask, of a registry nobody has asked yet and of one somebody has."""
    answer = _probe("full", rounds)
    rows = []
    for name, asked in answer.items():
        note = f"asked again: {asked['again']:.2f} ms; {asked['found']:,} found"
        rows.append(Measured(name, asked["first"], "ms", MILLISECONDS, note=note))
    for name, times in _probe("totals", FEW, many, rounds).items():
        note = f"{times['few']:.3f} ms after {FEW:,}, {times['many']:.3f} ms after {many:,}"
        rows.append(
            Measured(
                f"{name}, {FEW:,} to {many:,} events passed",
                times["many"] / times["few"],
                "x",
                INDEPENDENT,
                note=note,
            )
        )
    return Result(
        "queries",
        "Queries",
        f"{KEPT:,} events and {KEPT:,} network operations kept, of 20 names and 20 hosts; one in ten failed, one in "
        f"ten took longer than a second, one in ten was retried; folded before. Processor time, least of {rounds} fresh registries.",
        rows,
    )


def _probe(what: str, *arguments: object) -> dict[str, dict[str, float]]:
    command = [sys.executable, "-m", "benchmarks._query_probes", what, *map(str, arguments)]
    done = subprocess.run(
        command,
        env=_environments.child_environment(),
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return json.loads(done.stdout)  # type: ignore[no-any-return]
