"""``python -m tests.suites plugin [requests httpx flask structlog anyio]``: the same under volnux's pytest plugin.

Each library's suite runs bare, then with ``--volnux-report``, some of the library's functions decorated and its
operations recorded (``inside/volnux_decorated.py``), then so in two processes (``-n2``). Outcomes are compared
test by test, and what the plugin reports with the calls that are counted besides. The page
``docs/suites-plugin.md`` is printed.

The exit status is 1 if a test that passed bare fails with the plugin, if a run did not come to its end, or if
the report and the count differ.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.suites import _compare, _environments, _sources
from tests.suites._libraries import UNDER_PLUGIN, chosen
from tests.suites._runs import Suite, say

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.suites._libraries import Library
    from tests.suites._runs import Run

ACTIVE = (
    "-p",
    "volnux_decorated",
    "--volnux-report",
    "--volnux-report=json:{folder}/report.json",
    "--volnux-report=junit",
)


def parser() -> argparse.ArgumentParser:
    """Return what can be asked for."""
    made = argparse.ArgumentParser(
        "python -m tests.suites plugin",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("libraries", nargs="*", metavar="LIBRARY", help=", ".join(UNDER_PLUGIN))
    made.add_argument("--json", type=Path, metavar="FILE", help="save the results")
    made.add_argument(
        "--saved", type=Path, nargs="+", metavar="FILE", help="show what --json saved, run nothing"
    )
    made.add_argument("--keep", action="store_true", help="keep environments, trees and logs")
    made.add_argument("--offline", action="store_true", help="no network but the loopback")
    made.add_argument("--rounds", type=int, default=2, help="how often what differs is repeated")
    made.add_argument("--limit", type=float, default=600.0, help="seconds that one run may take")
    return made


def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Run the suites that were asked for."""
    names = chosen(options.libraries, UNDER_PLUGIN)
    with _environments.copied_volnux() as volnux:
        return [_result(UNDER_PLUGIN[name], volnux, options) for name in names]


def is_bad(result: dict[str, Any]) -> bool:
    """Return whether something is wrong with volnux."""
    return bool(
        result["stopped"]
        or any(one["is_ours"] for one in result["differences"])
        or any(one.get("reported") != one.get("counted") for one in _runs_of(result))
        or _is_misplaced(result)
        or not result["with"]["reported"]
    )


def _is_misplaced(result: dict[str, Any]) -> bool:
    """Return whether tests have others' events, or miss some that are not said to be outside."""
    for mode, tests in result["misplaced"].items():
        missing = [counted - reported for counted, reported in tests.values()]
        outside = result[mode].get("outside", 0)
        if any(number < 0 for number in missing) or sum(missing) != outside:
            return True
    return False


def _runs_of(result: dict[str, Any]) -> list[dict[str, Any]]:
    return [result[mode] for mode in ("with", "with_n2") if mode in result]


def _result(library: Library, volnux: Path, options: argparse.Namespace) -> dict[str, Any]:
    say(f"{library.name}: making its environment …")
    source = _sources.fetch(library)
    python = _environments.make(library, source)
    suite = Suite(
        library,
        python,
        source,
        volnux,
        limit=options.limit,
        is_alone=options.offline,
        active=ACTIVE,
    )
    runs = {
        "bare": _told("bare", suite.run(is_active=False)),
        "with": _told("with the plugin", suite.run(is_active=True)),
    }
    if library.is_parallel:
        run = suite.run(is_active=True, options=("-n2",))
        runs["with_n2"] = _told("with the plugin, -n2", run)
    differences = _compare.differences(runs["bare"], runs["with"])
    if differences:
        _compare.settle(suite, differences, options.rounds)
    apart = _compare.differences(runs["with"], runs.get("with_n2", runs["with"]))
    if apart:
        runs["bare_n2"] = _told("bare, -n2", suite.run(is_active=False, options=("-n2",)))
    found = {
        "name": library.name,
        "version": source.version,
        "remark": library.remark,
        "stopped": [mode for mode, run in runs.items() if not run.is_whole],
        "differences": [one.to_dict() for one in differences],
        "failing": [test for test in runs["bare"].outcomes if _has_failed(runs["bare"].word(test))],
        "differs_n2": [
            (one.test, one.before, one.after, runs["bare_n2"].word(one.test)) for one in apart
        ],
        "misplaced": {
            mode: _misplaced(run) for mode, run in runs.items() if mode.startswith("with")
        },
        **{mode: _numbers(run) for mode, run in runs.items()},
    }
    if not options.keep:
        _environments.forget(source)
    return found


def _told(mode: str, run: Run) -> Run:
    say(f"  {mode}: {run.counts()}, status {run.status}, {run.seconds:.1f} s")
    return run


def _has_failed(word: str) -> bool:
    return word in ("failed", "error", "unfinished")


def _numbers(run: Run) -> dict[str, Any]:
    """Return what came of a run, what its report says, and what was counted."""
    counts = run.counts()
    found: dict[str, Any] = {
        "tests": len(run.outcomes),
        "passed": counts.get("passed", 0),
        "failed": sum(number for word, number in counts.items() if _has_failed(word)),
        "seconds": run.seconds,
    }
    assert run.folder is not None
    file = run.folder / "report.json"
    if file.is_file():
        report = json.loads(file.read_text("utf-8"))
        found |= _of(report)
        found["counted"] = sum(sum(part["calls"].values()) for part in _counted(run))
    return found


def _of(report: dict[str, Any]) -> dict[str, Any]:
    parts = {
        "in_tests": [report],
        "in_fixtures": report["fixtures"],
        "in_orphans": report["orphans"],
        "outside": [{"events": report["outside"], "hosts": []}],
    }
    events = {
        key: sum(it["count"] for one in value for it in one["events"])
        for key, value in parts.items()
    }
    hosts = [it for part in parts.values() for one in part for it in one["hosts"]]
    return {
        **events,
        "reported": sum(events.values()),
        "operations": sum(it["count"] for it in hosts),
        "tests_with": report["tests"],
        "failures": report["failed"],
    }


def _counted(run: Run) -> Iterable[dict[str, Any]]:
    assert run.folder is not None
    for file in run.folder.glob("decorated-*.json"):
        yield json.loads(file.read_text("utf-8"))


def _misplaced(run: Run) -> dict[str, list[int]]:
    """Return the tests of which the report has another number than was counted while they ran."""
    counted, reported = Counter[str](), Counter[str]()
    for part in _counted(run):
        counted.update(part["calls"])
        reported.update({test: numbers[0] for test, numbers in part["reported"].items()})
    return {
        test: [counted[test], reported[test]]
        for test in sorted(counted | reported)
        if counted[test] != reported[test]
    }
