"""The coordinator: workers side by side, one of them running at a time, rounds interleaved."""

from __future__ import annotations

import json
import subprocess
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from benchmarks import _environments
from benchmarks.contenders import CONTENDERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from benchmarks.contenders import Contender

ROUNDS = 7
WARM_UP = 2_000
SCALES = {"call": 1.0, "error": 0.1, "attributes": 0.1}
OTHERWISE = 0.3
"""Fraction of the calls that a case gets: the plain call, which targets are about, gets all."""


class Worker:
    """One contender's process; ``missing`` says why there is none."""

    def __init__(self, contender: Contender, python: str) -> None:
        self.contender = contender
        self.process = subprocess.Popen(
            [python, "-m", "benchmarks._worker", contender.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environments.child_environment(),
            text=True,
        )
        hello = self._answer()
        self.missing: str | None = hello.get("missing") or hello.get("failure")
        self.cases: list[str] = hello.get("cases", [])
        self.versions: dict[str, str] = hello.get("versions", {})

    def measure(self, measure: str, case: str, n: int) -> dict[str, Any]:
        """Run one round of *case*; raises RuntimeError when the contender failed at it."""
        requests = _open(self.process.stdin)
        requests.write(json.dumps({"case": case, "n": n, "measure": measure}) + "\n")
        requests.flush()
        answer = self._answer()
        if "failure" in answer:
            raise RuntimeError(f"{self.contender.name}, {case}: {answer['failure']}")
        return answer

    def close(self) -> None:
        """Let the process end."""
        _open(self.process.stdin).close()
        self.process.wait()
        _open(self.process.stdout).close()

    def _answer(self) -> dict[str, Any]:
        line = _open(self.process.stdout).readline()
        if not line:
            return {"failure": f"the worker ended with status {self.process.wait()}"}
        return json.loads(line)  # type: ignore[no-any-return]


def _open(pipe: IO[str] | None) -> IO[str]:
    if pipe is None:
        raise RuntimeError("a worker has pipes")
    return pipe


class Figures(dict[str, dict[str, float]]):
    """contender -> row -> least nanoseconds per operation, and who could not take part."""

    def __init__(self) -> None:
        super().__init__()
        self.missing: dict[str, str] = {}
        self.versions: dict[str, str] = {}
        self.answers: dict[tuple[str, str], list[dict[str, Any]]] = {}

    def note(self, name: str, row: str, n: int, answer: dict[str, Any]) -> None:
        """Keep the least of what was measured so far."""
        self.answers.setdefault((name, row), []).append(answer)
        least = self.setdefault(name, {})
        least[row] = min(least.get(row, float("inf")), answer["ns"] / n)

    def join(self, others: Figures) -> None:
        """Take in the rows of a run of other rows."""
        for name, least in others.items():
            self.setdefault(name, {}).update(least)
        self.missing.update(others.missing)
        self.versions.update(others.versions)
        self.answers.update(others.answers)

    @property
    def unit(self) -> float:
        """The least that the floor's plain call took beside any row: one unit for the whole run."""
        return min(self["floor"].values())

    def require(self, names: Iterable[str]) -> None:
        """Raise RuntimeError, with the reason, if one of our own contenders could not run."""
        for name in names:
            if name in self.missing:
                raise RuntimeError(f"{name} does not run: {self.missing[name]}")


class _Step(NamedTuple):
    row: str
    measure: str
    case: str


def interleaved(
    names: Iterable[str],
    rows: Mapping[str, str],
    *,
    calls: int,
    rounds: int = ROUNDS,
    processes: int = 1,
    warm_up: int = WARM_UP,
    pythons: Mapping[str, str] | None = None,
) -> Figures:
    """Measure every row of every contender *rounds* times, turn and turn about; the least counts.

    Args:
        names: Contenders; the floor's plain call is measured again beside every row.
        rows: Row name -> "measure:case", a function of ``_measures`` and a case of the contenders.
            A contender without that case skips the row.
        calls: Operations a round (less for contenders with a scale).
        rounds: How often in one process; one unrecorded turn comes first.
        processes: In how many processes of each contender, one after the other. Where a process has its code
            and data in memory is worth several percent.
        warm_up: Operations of the unrecorded turn, and the least of any.
        pythons: Interpreters chosen by hand.
    """
    figures = Figures()
    steps = [_Step(row, *plan.split(":")) for row, plan in rows.items()]
    for _ in range(processes):
        workers = list(_started(names, figures, pythons))
        try:
            for worker in workers:
                for step in steps:
                    _turn(worker, step, warm_up)
            for _ in range(rounds):
                for step in steps:
                    for worker in workers:
                        scale = worker.contender.scale * SCALES.get(step.case, OTHERWISE)
                        n = max(warm_up, int(calls * scale))
                        answer = _turn(worker, step, n)
                        if answer:
                            figures.note(worker.contender.name, step.row, n, answer)
        finally:
            for worker in workers:
                worker.close()
    return figures


def _started(
    names: Iterable[str], figures: Figures, pythons: Mapping[str, str] | None
) -> Iterator[Worker]:
    for name in names:
        contender = CONTENDERS[name]
        python = _environments.interpreter(contender.environment, name, pythons)
        worker = Worker(contender, python)
        figures.versions.update(worker.versions)
        if worker.missing is None:
            yield worker
        else:
            figures.missing[name] = worker.missing
            worker.close()


def _turn(worker: Worker, step: _Step, n: int) -> dict[str, Any]:
    # The floor's plain call is the unit of every row, so it is measured next to each.
    case = "call" if worker.contender.name == "floor" else step.case
    return worker.measure(step.measure, case, n) if case in worker.cases else {}
