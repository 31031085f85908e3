"""Runs as text: one for a terminal, several for the page in the documentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from benchmarks import _table
from benchmarks._result import Result

if TYPE_CHECKING:
    from collections.abc import Sequence

Run = Mapping[str, Any]
HEAD = """\
# Benchmarks

Written by the program: `python -m benchmarks all --json FILE` on each Python, then
`python -m benchmarks page FILE… > docs/benchmarks.md`, with the files that are in `benchmarks/figures`. Of
several files of one Python the last that has a benchmark counts. Do not edit by hand. **Compiled** is volnux with
the compiled part of its hot path, which comes with every build that finds a C compiler; else all is Python, as with
`VOLNUX_NO_EXTENSIONS=1`.

The **floor** is what a careful person writes by hand for one function: a closure that sets and resets a
`ContextVar`, reads `perf_counter_ns` twice and appends a tuple to a bounded deque. Nothing less records
nesting, time and outcome. Figures are multiples of it within one run: every contender lives in a process
of its own, rounds are interleaved, and the least counts. Nanoseconds differ between machines; ratios
mostly do not, but a busy machine costs volnux more than the floor, because it touches more memory: a load
well above the number of cores adds 10 to 20 %. Peers do different jobs: wrapt records nothing, metrics keep no single records and no tree.

Python 3.10 lacks the specialising interpreter that came with 3.11: the traced call is given 3.00 there, and
a with-block with two method calls, none of which does anything, costs the floor already.
"""


def plain(run: Run) -> str:
    """One run for a terminal."""
    parts = [f"{run['date']}  {run['python']}  {run['machine']}"]
    results = map(Result.from_dict, run["results"])
    parts += [f"== {it.title} ==\n{it.explanation}\n\n{it.text()}{_versions(it)}" for it in results]
    return "\n\n".join(parts)


def markdown(runs: Sequence[Run]) -> str:
    """The page: targets on every Python first, then each run in full."""
    where = {(run["machine"], run["date"]) for run in runs}
    machine, date = f"Machine: {runs[0]['machine']}.", f"Date: {runs[0]['date']}."
    said = f"{machine} {date}" if len(where) == 1 else "Machine and date stand above each run."
    parts = [HEAD, f"{said}\n", _targets(runs)]
    for run in runs:
        parts.append(f"## {run['python']}\n\n{_where(run)}\n")
        for result in map(Result.from_dict, run["results"]):
            said = result.explanation + (f" Measured {result.where}." if result.where else "")
            text = result.text(_table.markdown)
            parts.append(f"### {result.title}\n\n{said}\n\n{text}{_versions(result)}\n")
    return "\n".join(parts).rstrip()


def joined(runs: Sequence[Run]) -> list[Run]:
    """One run for each Python: what was measured later takes the place of what was measured before.

    Date and machine are those of the first; what was measured elsewhere, or at another time, says so.
    """
    found: dict[str, dict[str, Any]] = {}
    for run in runs:
        first = found.setdefault(run["python"], {**run, "results": []})
        results = {it["title"]: it for it in first["results"]}
        where = "" if _where(run) == _where(first) else _where(run)
        results |= {it["title"]: {**it, "where": where} for it in run["results"]}
        first["results"] = [*results.values()]
    return [*found.values()]


def _where(run: Run) -> str:
    busy = f", load {run['load']}" if "load" in run else ""
    return f"{run.get('date')}, {run.get('machine')}{busy}"


def missed(runs: Sequence[Run]) -> list[str]:
    """Every row of every run that does not reach its target."""
    return [
        f"{run['python']}: {row.what}"
        for run in runs
        for result in map(Result.from_dict, run["results"])
        for row in result.rows
        if row.met is False
    ]


def _targets(runs: Sequence[Run]) -> str:
    table: dict[str, list[str]] = {}
    for column, run in enumerate(runs):
        for result in map(Result.from_dict, run["results"]):
            for row in result.rows:
                if row.target is None:
                    continue
                cells = table.setdefault(
                    f"{result.title}: {row.what}", [row.cells()[2]] + ["-"] * len(runs)
                )
                cells[column + 1] = row.cells()[1] + ("" if row.met else " **missed**")
    header = [
        "what it must reach",
        "target",
        *(run["python"].split(maxsplit=1)[-1] for run in runs),
    ]
    rows = [[what, *cells] for what, cells in table.items()]
    return "## Targets\n\n" + _table.markdown(header, rows) + "\n"


def _versions(result: Result) -> str:
    if not result.versions:
        return ""
    return "\n\nVersions: " + ", ".join(
        f"{name} {version}" for name, version in sorted(result.versions.items())
    )
