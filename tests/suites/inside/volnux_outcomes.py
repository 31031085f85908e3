"""A pytest plugin: writes what becomes of each test, line by line, so that a run that is stopped says so far.

It runs inside of a library's own suite, bare and active, and imports nothing of volnux.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

FOLDER = Path(os.environ["SUITES_FOLDER"])
#: The name of this process in file names: "main", or a worker's of pytest-xdist.
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "main")


def write(**line: Any) -> None:
    """Add a line to this process's file."""
    with (FOLDER / f"outcomes-{WORKER}.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def _why(report: pytest.CollectReport | pytest.TestReport) -> str:
    """Return what a test that did not pass has to say."""
    if report.passed:
        return ""
    if report.skipped and isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    return report.longreprtext


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Write one phase of a test. What a worker reports, the main process does, too."""
    if WORKER != "main":
        return
    outcome: str = report.outcome
    if hasattr(report, "wasxfail"):
        outcome = "xfailed" if report.skipped else "xpassed"
    write(test=report.nodeid, when=report.when, outcome=outcome, text=_why(report))


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Write that a file cannot be collected, or is skipped as a whole."""
    if WORKER == "main" and not report.passed:
        write(test=report.nodeid, when="collect", outcome=report.outcome, text=_why(report))


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    """Write what the suite's own configuration leaves out."""
    write(deselected=[item.nodeid for item in items])
