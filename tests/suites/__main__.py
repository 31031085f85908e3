"""``python -m tests.suites [requests urllib3 httpx aiohttp]``: the libraries' own tests, with volnux recording.

For each library: its newest source distribution comes from the registry, into a cache folder
(``VOLNUX_SUITES_CACHE``, else ``~/.cache/volnux-suites``); an environment is made with what its tests need; and
pytest runs them there twice, with the same options: bare, where volnux cannot even be imported, and with a
plugin (``inside/volnux_active.py``) that does ``monitor_events()`` and ``instrument("all")`` before the tests'
conftest is imported. Outcomes are compared test by test. Where they differ, the files concerned are run again
in both modes, to tell flaky tests from broken ones.

Nothing is left out but what a suite's own configuration leaves out, and that is counted. A test that needs the
Internet fails both ways. With ``--offline`` (Linux, as root) suites run in a network of their own, in which the
machine reaches nothing but itself. Run it once at a time: libraries are unpacked afresh each time.

``python -m tests.suites plugin [LIBRARY…]`` does likewise with volnux's pytest plugin; see its ``--help``.

The exit status is 1 if a test that passed bare fails with volnux, if a run did not come to its end, or if
nothing was recorded.
"""

from __future__ import annotations

import argparse
import json
import platform
import signal
import sys
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.suites import _compare, _environments, _page, _plugin, _plugin_page, _sources
from tests.suites._libraries import LIBRARIES, chosen
from tests.suites._runs import PASSED, Suite, say

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tests.suites._libraries import Library
    from tests.suites._runs import Run


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the suites that were asked for, or show what an earlier run has saved."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["plugin"]:
        return _under_plugin(arguments[1:])
    options = _parser().parse_args(arguments)
    # Whoever ends this ends the run that is under way as well.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    results = _results(options, _run)
    text = _page.markdown(results) if options.markdown else _page.plain(results)
    print(text)
    return 1 if any(map(_is_bad, results["libraries"])) else 0


def _under_plugin(arguments: Sequence[str]) -> int:
    options = _plugin.parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    results = _results(options, _plugin.run)
    print(_plugin_page.markdown(results))
    return 1 if any(map(_plugin.is_bad, results["libraries"])) else 0


def _results(
    options: argparse.Namespace, run: Callable[[argparse.Namespace], list[dict[str, Any]]]
) -> dict[str, Any]:
    """Return what a run comes to, or what earlier ones have saved."""
    if options.saved:
        saved = [json.loads(file.read_text("utf-8")) for file in options.saved]
        results = {**saved[0], "libraries": [one for each in saved for one in each["libraries"]]}
    else:
        results = {
            "schema": "volnux.suites/1",
            "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
            "python": f"{platform.python_implementation()} {platform.python_version()}",
            "machine": f"{platform.system()} {platform.machine()}",
            "is_alone": options.offline,
            "libraries": run(options),
        }
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    return results


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m tests.suites",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("libraries", nargs="*", metavar="LIBRARY", help=", ".join(LIBRARIES))
    parser.add_argument("--json", type=Path, metavar="FILE", help="save the results")
    parser.add_argument("--markdown", action="store_true", help="print the page docs/suites.md")
    parser.add_argument(
        "--saved", type=Path, nargs="+", metavar="FILE", help="show what --json saved, run nothing"
    )
    parser.add_argument(
        "--keep", action="store_true", help="keep environments, trees and logs for the next time"
    )
    parser.add_argument(
        "--offline", action="store_true", help="no network but the loopback (Linux, as root)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often what differs is repeated")
    parser.add_argument(
        "--limit", type=float, default=1800.0, help="seconds that one run of a suite may take"
    )
    return parser


def _run(options: argparse.Namespace) -> list[dict[str, Any]]:
    names = chosen(options.libraries, LIBRARIES)
    with _environments.copied_volnux() as volnux:
        return [_result(LIBRARIES[name], volnux, options) for name in names]


def _result(library: Library, volnux: Path, options: argparse.Namespace) -> dict[str, Any]:
    found: dict[str, Any] = {"name": library.name, "remark": library.remark}
    try:
        say(f"{library.name}: getting its source distribution …")
        source = _sources.fetch(library)
        found["version"] = source.version
        if not source.has_tests:
            return found | {"problem": "its source distribution has no tests"}
        say(f"{library.name} {source.version}: making its environment …")
        python = _environments.make(library, source)
    except RuntimeError as error:
        return found | {"problem": f"could not be set up: {error}"}
    suite = Suite(library, python, source, volnux, limit=options.limit, is_alone=options.offline)
    found |= _compared(suite, options.rounds)
    if not options.keep:
        _environments.forget(source)
    return found


def _compared(suite: Suite, rounds: int) -> dict[str, Any]:
    say("  bare …")
    bare = suite.run(is_active=False)
    say(f"  bare: {bare.counts()}, {bare.seconds:.0f} s; active …")
    active = suite.run(is_active=True)
    say(f"  active: {active.counts()}, {active.seconds:.0f} s")
    found = _compare.differences(bare, active)
    if found:
        _compare.settle(suite, found, rounds)
    runs = {"bare": bare, "active": active}
    empty = {"operations": 0, "in_flight": 0, "errors": {}, "tests": {}}
    return {
        "before": bare.counts(),
        "after": active.counts(),
        "deselected": len(active.deselected),
        "seconds": [bare.seconds, active.seconds],
        "stopped": [_why(mode, run) for mode, run in runs.items() if not run.is_whole],
        "recorded": active.recorded or empty,
        "differences": [one.to_dict() for one in found],
        "failing": _failing(bare, active),
        "skipped": _skipped(active),
    }


def _why(mode: str, run: Run) -> str:
    if run.status is None:
        return f"The {mode} run was stopped: it took too long."
    return f"The {mode} run ended with pytest's status {run.status}, before its end."


def _failing(bare: Run, active: Run) -> list[str]:
    return [
        test
        for test, outcome in bare.outcomes.items()
        if outcome.word in ("failed", "error") and active.word(test) != PASSED
    ]


def _skipped(run: Run) -> dict[str, int]:
    reasons = (one.text for one in run.outcomes.values() if one.word == "skipped")
    return dict(Counter(reasons).most_common())


def _is_bad(result: Mapping[str, Any]) -> bool:
    if "before" not in result:
        return "could not" in result["problem"]
    return bool(
        any(one["is_ours"] for one in result["differences"])
        or result["stopped"]
        or not result["recorded"]["operations"]
    )


if __name__ == "__main__":
    sys.exit(main())
