"""`volnux run`: telemetry on, the program, and the report when it has ended."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from volnux._way_home import go_home, is_bound_for_home, run_prefix
from volnux.cli._children import (
    FOLDER,
    PATIENCE,
    Household,
    Mark,
    states,
    unreported,
)
from volnux.cli._program import execute
from volnux.cli._report import Source, build

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

    from volnux.cli._report import Report
    from volnux.telemetry import Registry


@dataclass(frozen=True)
class Run:
    """What `volnux run` was asked to do; calling it does it.

    Attributes:
        target: a script, or a module's name if `module`.
        args: what belongs to the program.
        module: whether `target` is a module's name.
        out: the file for all records, or None.
        slow: seconds that an event has to last to be shown as slow.
        render: writes the report to a stream; None for no report.
    """

    target: str
    args: tuple[str, ...]
    module: bool
    out: str | None
    slow: float
    render: Callable[[Report, TextIO], None] | None

    def __call__(self) -> int:
        """Run the program; what it raises comes out as raised.

        The report is written when the process ends, after all that the program has registered for
        that moment.
        """
        outer = os.environ.get(FOLDER)
        folder = os.environ[FOLDER] = tempfile.mkdtemp(prefix=run_prefix())
        session = _Session(self, sys.stderr, folder, outer)
        session.household = Household(folder, self.out, session.finish)
        session.household.watch()
        session.household.heed()
        try:
            execute(self.target, self.args, module=self.module)
        except BaseException as error:
            session.failed = not isinstance(error, SystemExit) or bool(error.code)
            raise
        return 0


class _Session:
    """From the start of the program to its report."""

    household: Household
    failed = False

    def __init__(self, run: Run, stream: TextIO, folder: str, outer: str | None) -> None:
        self._run = run
        self._stream = stream
        self._folder = folder
        self._outer = outer
        self._started = time.time()
        self._clock = time.perf_counter()
        self._finished = False

    def finish(self) -> None:
        """Write the report and clean up, once."""
        if self._finished:
            return
        self._finished = True
        wall = time.perf_counter() - self._clock
        try:
            self._report(wall)
        except OSError:  # nobody reads standard error any more
            pass
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _report(self, wall: float) -> None:
        monitor, registry = self.household.monitor, self.household.registry
        # Closed before the children's records come in: their own processes have published them.
        monitor.close(timeout=PATIENCE)
        publishers = monitor.health().publishers
        processes, missing = self._collect(registry)
        if self._run.render is None or self._stream.closed:
            return
        source = Source(
            program=self._run.target,
            records=registry.health().finished,
            processes=processes,
            unreported=missing,
            start=self._started,
            end=self._started + wall,
            wall=wall,
            failed=self.failed,
        )
        report = build(registry, source, slow=self._run.slow, publishers=publishers)
        _flush(sys.stdout)
        self._run.render(report, self._stream)
        _flush(self._stream)

    def _collect(self, registry: Registry) -> tuple[int, int]:
        """Add what the other processes have left, and hand all of it on; how many left it or did not."""
        is_on_its_way = False
        try:
            processes, missing = 1, unreported(self._folder)
            for state in states(self._folder):
                registry.merge(state["registry"])
                processes += state["processes"]
                missing += state["unreported"]
            if self._outer is not None:
                ours = {
                    "processes": processes,
                    "unreported": missing,
                    "registry": registry.export(),
                }
                is_on_its_way = _leave(self._outer, ours) and is_bound_for_home(self._outer)
        finally:
            if not is_on_its_way:
                go_home(registry)
        return processes, missing


def _leave(outer: str, state: dict[str, Any]) -> bool:
    """Leave what a whole run has recorded for the run that it is part of; whether it is there."""
    try:
        Mark(outer).save(state)
    except OSError:  # that run is over
        return False
    return True


def _flush(stream: Any) -> None:
    try:
        stream.flush()
    except (AttributeError, OSError, ValueError):  # closed, or not a stream at all
        pass
