"""One run of a suite, and what became of its tests."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.suites import _environments

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from tests.suites._libraries import Library
    from tests.suites._sources import Source

PASSED, MISSING, UNFINISHED = "passed", "missing", "unfinished"
#: Seconds that one test may take.
TEST_TIMEOUT = 120
#: A network in which this machine reaches nothing but itself; two addresses by which suites try out
#: timeouts, since nobody answers there, swallow what is sent to them.
ALONE = (
    "unshare",
    "--net",
    "sh",
    "-ec",
    'ip link set lo up; for to in 240.0.0.0/4 10.255.255.1; do ip route add "$to" dev lo; done; exec "$@"',
    "sh",
)


def say(text: str) -> None:
    """Print one line of progress."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201  # it talks to a person


@dataclass
class Outcome:
    """What became of one test: the word of its worst phase, and why."""

    word: str
    text: str = ""


@dataclass
class Run:
    """What one run of a suite came to.

    Attributes:
        outcomes: by node id.
        deselected: the tests that the suite's configuration leaves out.
        seconds: how long it took.
        status: pytest's exit status, or None if it took too long and was stopped.
        recorded: what volnux recorded, of an active run.
        folder: what it left.
    """

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    deselected: set[str] = field(default_factory=set)
    seconds: float = 0.0
    status: int | None = None
    recorded: dict[str, Any] = field(default_factory=dict)
    folder: Path | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it came to its end: pytest says 0 or 1 then."""
        return self.status in (0, 1)

    def word(self, test: str) -> str:
        """What became of a test; "missing" if nobody ever said."""
        found = self.outcomes.get(test)
        return found.word if found else MISSING

    def counts(self) -> dict[str, int]:
        """How many tests came to what."""
        return dict(Counter(outcome.word for outcome in self.outcomes.values()).most_common())


class Suite:
    """A library's suite, ready to be run in both modes.

    Args:
        active: what pytest is given besides in an active run; `{folder}` stands for the run's folder.
    """

    def __init__(
        self,
        library: Library,
        python: Path,
        source: Source,
        volnux: Path,
        *,
        limit: float,
        is_alone: bool,
        active: Sequence[str] = ("-p", "volnux_active"),
    ) -> None:
        self._library = library
        self._python = python
        self._source = source
        self._volnux = volnux
        self._limit = limit
        self._is_alone = is_alone
        self._active = active
        self._runs = 0

    def run(
        self, *, is_active: bool, files: Iterable[str] = (), options: Iterable[str] = ()
    ) -> Run:
        """Run the suite, or some files of it, as pytest does on the command line."""
        self._runs += 1
        mode = "active" if is_active else "bare"
        folder = self._source.runs / f"{self._runs}-{mode}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        command = [*ALONE] if self._is_alone else []
        command += [str(self._python), "-m", "pytest", "-p", "volnux_outcomes"]
        command += [it.format(folder=folder) for it in self._active if is_active]
        command += [f"--timeout={TEST_TIMEOUT}", *self._library.options, *options]
        command += [*files] or [self._library.tests]
        paths = [self._volnux] if is_active else []
        environment = _environments.variables(self._library, folder, *paths)
        start = time.monotonic()
        with (folder / "log").open("wb") as log:
            status = _bounded(
                command, self._limit, cwd=self._source.tree, env=environment, stdout=log
            )
        run = _read(folder)
        run.folder = folder
        run.status, run.seconds = status, time.monotonic() - start
        return run


def _bounded(command: list[str], limit: float, **settings: Any) -> int | None:
    """Run a command with all its children for so many seconds at most; None if it took longer."""
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        **settings,
    ) as process:
        try:
            return process.wait(limit)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                return None
            raise


def _read(folder: Path) -> Run:
    run = Run()
    for file in folder.glob("outcomes-*.jsonl"):
        for line in _lines(file):
            run.deselected.update(line.get("deselected", ()))
            if "test" in line:
                _take(run.outcomes, line)
    for file in folder.glob("active-*.json"):
        _add(run.recorded, json.loads(file.read_text("utf-8")))
    return run


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    for line in file.read_text("utf-8").splitlines():
        try:
            yield json.loads(line)
        except ValueError:  # the last one of a run that was stopped
            return


def _take(outcomes: dict[str, Outcome], line: dict[str, Any]) -> None:
    """Take one phase of a test: an error while it is set up or torn down outweighs the call."""
    test, when, word = line["test"], line["when"], line["outcome"]
    if when == "call" or word != PASSED:
        if word == "failed" and when != "call":
            word = "error"
        known = outcomes.get(test)
        if known is None or known.word in (UNFINISHED, PASSED):
            outcomes[test] = Outcome(word, line["text"])
    elif when == "setup":
        outcomes[test] = Outcome(UNFINISHED)


def _add(total: dict[str, Any], part: dict[str, Any]) -> None:
    for name, value in part.items():
        if isinstance(value, dict):
            _add(total.setdefault(name, {}), value)
        else:
            total[name] = total[name] + value if name in total else value
