"""Bytes per kept record, and whether memory stays flat however many events pass."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from benchmarks import _environments
from benchmarks._result import Measured, Result, not_installed
from benchmarks.contenders import CONTENDERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

KEPT = 10_000
FEW, MANY = 100_000, 10_000_000
BYTES = 500.0
FLAT = 1.03
OURS = {
    "event": "one kept event",
    "attributes": "one kept event with three attributes",
    "failed": "one kept event that failed, with its text",
    "network": "one kept network operation",
}
PEERS = {"floor": "hand-written floor: one tuple", "otel_span": "OpenTelemetry: one span in memory"}


def measure(
    *,
    many: int = MANY,
    rounds: int = 3,
    pythons: Mapping[str, str] | None = None,
    peers: Iterable[str] = tuple(PEERS),
) -> Result:
    """Fill a registry under tracemalloc, and watch the resident set while events pass.

    Each figure is taken in a process of its own and is the least of *rounds*.
    """
    rows = [_kept(kind, what, rounds) for kind, what in OURS.items()]
    resident = _probe("resident", FEW, many)
    growth = resident["after_many"] / resident["after_few"]
    note = f"{resident['after_few'] / 2**20:.2f} MiB after {FEW:,}, {resident['after_many'] / 2**20:.2f} MiB after {many:,}"
    rows.append(Measured(f"resident set, {FEW:,} to {many:,} events", growth, "x", FLAT, note=note))
    rows.append(_resident_record())
    beside, missing = [], []
    for name in peers:
        contender = CONTENDERS[name]
        python = _environments.interpreter(contender.environment, name, pythons)
        answer = _probe(f"peer_{name}", KEPT, python=python)
        if "missing" in answer:
            missing.append(name)
        else:
            beside.append([PEERS[name], f"{answer['bytes'] / KEPT:,.0f}"])
    return Result(
        "memory",
        "Memory",
        f"`tracemalloc` over {KEPT:,} kept records, and the resident set of a process that traces and folds in "
        "batches of 10,000.",
        rows,
        ["peers", "bytes"],
        beside,
        not_installed(missing),
    )


def _kept(kind: str, what: str, rounds: int) -> Measured:
    taken = [_probe("kept", kind, KEPT) for _ in range(rounds)]
    traced = min(answer["bytes"] for answer in taken) / KEPT
    looked_at = min(answer["bytes_after_query"] for answer in taken) / KEPT
    note = f"{looked_at:,.0f} after every record was looked at"
    return Measured(
        what, traced, "bytes", BYTES if kind in ("event", "network") else None, note=note
    )


def _resident_record() -> Measured:
    count = 20 * KEPT
    grown = _probe("resident_kept", count)["bytes"] / count
    return Measured(f"one kept event, by the resident set of {count:,}", grown, "bytes", BYTES)


def _probe(what: str, *arguments: object, python: str = sys.executable) -> dict[str, float]:
    command = [python, "-m", "benchmarks._memory_probes", what, *map(str, arguments)]
    environment = _environments.child_environment()
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout)  # type: ignore[no-any-return]
