"""What the pytest plugin costs: installed and unused, and under ``--volnux-report``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter_ns
from typing import TYPE_CHECKING, NamedTuple

from benchmarks import _environments
from benchmarks._result import Measured, Result, not_installed
from benchmarks.contenders import CONTENDERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ROUNDS = 9
TESTS, MANY, EVENTS, COPIES, TURNS = 2_000, 20_000, 20, 20, 2
START_UP, UNUSED, REPORTING, GROWTH = 1.0, 0.5, 5.0, 5.0
PEERS = ("pytest_durations",)
PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider")
REPORT, OFF = ("--volnux-report",), ("-p", "no:volnux")
PEER_REPORT, PEER_OFF = ("--pytest-durations=10",), ("-p", "no:pytest-durations")

EMPTY = """\
def test_{number}():
    pass
"""
STEP = """\
from volnux.telemetry import traced_event

@traced_event
def step(number):
    return number
"""
WORKING = """
def test_{number}():
    for number in range({events}):
        step(number)
    for _ in range({work}):
        pass
"""


class Run(NamedTuple):
    """What one run of pytest took: milliseconds, and bytes at the most."""

    processor: float
    wall: float
    peak: int


class Way(NamedTuple):
    """A way to run pytest: an interpreter, the distributions that it finds, and options."""

    python: str
    distributions: tuple[str, ...]
    options: tuple[str, ...] = ()


class Difference(NamedTuple):
    """What was added to a run, in milliseconds."""

    added: float
    base: float
    note: str = ""

    def share(self, parts: int) -> Difference:
        """What each of several parts has added."""
        note = f"; of {parts}, which added {self.added:.1f}"
        return Difference(self.added / parts, self.base, note)

    @property
    def percent(self) -> float:
        """How much more that is."""
        return 100 * self.added / self.base

    def and_(self, other: Difference) -> Difference:
        """That, and what another part of the run takes besides."""
        return Difference(self.added + other.added, self.base + other.base)

    def text(self) -> str:
        """All that is known of it."""
        return f"{self.added:.1f} ms added to {self.base:,.0f}{self.note}"


def measure(
    *,
    rounds: int = ROUNDS,
    pythons: Mapping[str, str] | None = None,
    peers: Iterable[str] = PEERS,
) -> Result:
    """Run generated suites by turns.

    What starts, starts in a process of its own; thousands of tests run in one. A start of pytest takes a
    hundred times as long as the plugin adds, and does not take the same twice: so it is measured with
    many copies of the plugin, each under a name of its own, beside as many plugins that do nothing.
    """
    python = _python("pytest", pythons)
    with tempfile.TemporaryDirectory() as name:
        suites = _Suites(Path(name), python)
        files = suites.distribute()
        unused = Way(python, ("other", "volnux"))
        asked = unused._replace(options=REPORT)
        nothing, copied, listed = (Way(python, (name,)) for name in ("nothing", "copy", "list"))
        one, empty = suites.write("one", EMPTY, 1), suites.write("empty", EMPTY, TESTS)
        working = suites.write("working", WORKING, TESTS, STEP)
        few, many = (
            suites.write(f"many_{tests}", WORKING.replace("{work}", "0"), tests, STEP)
            for tests in (TESTS, MANY)
        )
        there = {peer: _python(peer, pythons) for peer in peers}
        missing = [peer for peer, found in there.items() if not _has(found, peer)]
        started = suites.compare(one, [nothing, copied, listed], 10 * rounds)
        both = [
            unused._replace(python=found) for peer, found in there.items() if peer not in missing
        ]
        beside = [(*OFF, *PEER_OFF), (*PEER_OFF, *REPORT), (*OFF, *PEER_REPORT)][: 2 + len(both)]
        alone = suites.compare_inside(empty, [*both, unused][0], beside, rounds)
        first = suites.write("first", WORKING, 1, STEP)
        loading = suites.compare(first, [unused, asked], 10 * rounds)[0]
        reporting = suites.compare_inside(working, unused, [(), REPORT], rounds)[0]
        rows = [
            _row("installed, unused: start-up", started[0].share(COPIES), START_UP, "ms"),
            _row(
                f"installed: pytest's own look at a list of {files} files",
                started[1].share(COPIES),
                unit="ms",
            ),
            _row(
                f"installed, unused: {TESTS:,} empty tests",
                *suites.compare_inside(empty, unused, [OFF, ()], rounds),
                UNUSED,
            ),
            _row(
                f"--volnux-report: {TESTS:,} tests of 1 ms with {EVENTS} events each, and its start",
                reporting.and_(loading),
                REPORTING,
            ),
            _alone(alone),
            _memory(suites, (unused, asked), few, many),
        ]
    return Result(
        "pytest",
        "Pytest plugin",
        f"Runs of pytest, by turns; byte code is cached. Of the start: {COPIES} copies of the plugin, each under a name of its "
        "own, beside as many plugins that do nothing, and the part of one; processor time of whole processes, which an "
        "eighth of them did not need. Of thousands of tests: all ways by turns in one process, where modules are loaded "
        "already, and so in several; of each stretch from one hook to the next (a test is one), the least that it took counts. "
        f"A test of 1 ms counts in a loop for so long, and calls {EVENTS} traced functions besides: all that is added counts, "
        "recording included.",
        rows,
        [f"{TESTS:,} empty tests", "added to each"],
        [
            [title, f"{it.added / TESTS * 1e3:.1f} µs"]
            for title, it in zip(("volnux", "pytest-durations"), alone, strict=False)
        ],
        not_installed(missing),
    )


def _python(name: str, pythons: Mapping[str, str] | None) -> str:
    return _environments.interpreter(CONTENDERS[name].environment, name, pythons)


def _has(python: str, module: str) -> bool:
    command = [python, "-c", f"import {module}"]
    return not subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode


class _Suites:
    """Generated suites in a folder, and how they are run."""

    def __init__(self, folder: Path, python: str) -> None:
        self._folder, self._python = folder, python
        self._work = _loops_of_a_millisecond(python)
        self._environment = {
            **_environments.child_environment(),
            "PYTHONPYCACHEPREFIX": str(folder / "byte-code"),
        }

    def write(self, name: str, test: str, tests: int, head: str = "") -> Path:
        """Write a suite, a hundred tests in a file."""
        suite = self._folder / name
        suite.mkdir()
        for first in range(0, tests, 100):
            bodies = [
                test.format(number=number, events=EVENTS, work=self._work)
                for number in range(first, min(tests, first + 100))
            ]
            (suite / f"test_{first}.py").write_text(head + "\n\n".join(bodies), "utf-8")
        return suite

    def distribute(self) -> int:
        """Have distributions with plugins: volnux as a wheel has it, another's, and many of a kind.

        Returns:
            How many files volnux lists.
        """
        roots = [Path(path) for path in _environments.search_path().split(os.pathsep)]
        files = [
            path.relative_to(root).as_posix()
            for root, package in zip(roots, ("pytest_volnux", "volnux"), strict=True)
            for path in sorted((root / package).rglob("*.py"))
        ]
        text = (roots[0] / "pytest_volnux/__init__.py").read_text("utf-8")
        self._distribute("volnux", "volnux", files)
        self._distribute("other", "other", [], "")
        for number in range(COPIES):
            name = f"volnu{chr(ord('a') + number)}"
            module = f"pytest_{name}/__init__.py"
            self._distribute("nothing", name, [], "")
            self._distribute("list", name, files, "")
            self._distribute("copy", name, [module], text.replace("volnux", name))
        return len(files)

    def _distribute(
        self, folder: str, name: str, files: Sequence[str], text: str | None = None
    ) -> None:
        """Have a distribution in a folder, with a plugin of that text unless it is elsewhere."""
        info = self._folder / "distributions" / folder / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[pytest11]\n{name} = pytest_{name}\n")
        (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))
        if text is not None:
            module = info.parent / f"pytest_{name}"
            module.mkdir()
            (module / "__init__.py").write_text(text, "utf-8")

    def run(self, suite: Path, way: Way) -> Run:
        """Run a suite once."""
        command = [way.python, *PYTEST, *way.options, suite.name]
        start = perf_counter_ns()
        with subprocess.Popen(
            command,
            cwd=self._folder,
            env=self._environ(way),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process:
            said = b"" if process.stdout is None else process.stdout.read()
            _, status, usage = os.wait4(process.pid, 0)
            wall = (perf_counter_ns() - start) / 1e6
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(
                f"{' '.join(command)} ended with {process.returncode}: {said.decode()[-2_000:]}"
            )
        unit = 1 if sys.platform == "darwin" else 1024
        return Run((usage.ru_utime + usage.ru_stime) * 1e3, wall, usage.ru_maxrss * unit)

    def compare_inside(
        self, suite: Path, way: Way, options: Sequence[tuple[str, ...]], processes: int
    ) -> list[Difference]:
        """Run a suite by turns in one process, and in others; return what all but the first options add.

        One would not do: where its memory lies makes it faster or slower, and not every way alike.
        """
        probe = str(Path(__file__).with_name("_pytest_probe.py"))
        command = [way.python, probe, suite.name, str(TURNS), json.dumps(options)]
        least: list[list[int]] = []
        for _ in range(processes):
            done = subprocess.run(
                command,
                cwd=self._folder,
                env=self._environ(way),
                stdout=subprocess.PIPE,
                check=True,
            )
            found = json.loads(done.stdout)
            least = [[*map(min, *both)] for both in zip(least or found, found, strict=True)]
        base, *others = (sum(taken) / 1e6 for taken in least)
        return [Difference(taken - base, base) for taken in others]

    def _environ(self, way: Way) -> dict[str, str]:
        folders = [str(self._folder / "distributions" / name) for name in way.distributions]
        path = [_environments.search_path(), *folders]
        return {**self._environment, "PYTHONPATH": os.pathsep.join(path)}

    def compare(self, suite: Path, ways: Sequence[Way], rounds: int) -> list[Difference]:
        """Run a suite in each of several ways by turns; return what all but the first add to it."""
        runs: list[list[Run]] = [[] for _ in ways]
        for turn in range(-1, rounds):
            # Every other turn the other way round: what comes after another run may be faster.
            for way, taken in [*zip(ways, runs, strict=True)][:: 1 if turn % 2 else -1]:
                run = self.run(suite, way)
                if turn >= 0:
                    taken.append(run)
        return [_difference(runs[0], others) for others in runs[1:]]


def _loops_of_a_millisecond(python: str) -> int:
    """Return how often a loop goes round in a millisecond, at the best of times."""
    script = (
        "from time import perf_counter\n"
        "def once():\n"
        "    start = perf_counter()\n"
        "    for _ in range(100_000):\n"
        "        pass\n"
        "    return perf_counter() - start\n"
        "print(min(once() for _ in range(100)))"
    )
    best = subprocess.run([python, "-c", script], check=True, stdout=subprocess.PIPE, text=True)
    return int(100_000 * 1e-3 / float(best.stdout))


def _difference(without: Sequence[Run], having: Sequence[Run]) -> Difference:
    least, most = (_low([run.processor for run in runs]) for runs in (without, having))
    wall_least, wall_most = (_low([run.wall for run in runs]) for runs in (without, having))
    wall = wall_most - wall_least
    note = f"; on the wall clock {wall:.1f} to {wall_least:,.0f}, {100 * wall / wall_least:.1f} %"
    return Difference(most - least, least, note)


def _low(values: Sequence[float]) -> float:
    """Return the least of few; of many, where an eighth is less, as some have luck with addresses."""
    return sorted(values)[len(values) // 8]


def _row(
    what: str, found: Difference, target: float | None = None, unit: str = "% added"
) -> Measured:
    value = found.added if unit == "ms" else found.percent
    return Measured(what, value, unit, target, note=found.text())


def _alone(found: Sequence[Difference]) -> Measured:
    ours, *theirs = found
    what = f"--volnux-report: {TESTS:,} empty tests"
    if not theirs:
        return Measured(what, ours.percent, "% added", note=ours.text())
    note = f"{ours.added:.1f} ms against {theirs[0].added:.1f}"
    return Measured(
        f"{what}, against pytest-durations", ours.added / theirs[0].added, "x", 1.0, note=note
    )


def _memory(suites: _Suites, ways: tuple[Way, Way], few: Path, many: Path) -> Measured:
    """Return what the report needs more for many tests than for few, beyond what pytest does."""
    peaks = [
        [min(suites.run(suite, way).peak for _ in range(3)) for way in ways]
        for suite in (few, many)
    ]
    added = [(asked - unused) / 2**20 for unused, asked in peaks]
    what = (
        f"--volnux-report: memory for {MANY:,} tests of {EVENTS} events beyond that for {TESTS:,}"
    )
    note = f"{added[0]:.1f} MiB added to {TESTS:,} tests, {added[1]:.1f} to {MANY:,}"
    return Measured(what, added[1] - added[0], "MiB", GROWTH, note=note)
