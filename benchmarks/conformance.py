"""``python -m benchmarks.conformance``: the same questions asked of volnux and of its rivals.

Each library answers in a process of its own; those that disagree about versions, in an environment of
their own (``python -m benchmarks.conformance setup`` makes them). Prints the page for
docs/conformance.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import _environments, _table
from benchmarks._machine import describe
from benchmarks.rivals import RIVALS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HEAD = """\
# Conformance

Written by the program: `python -m benchmarks.conformance setup` once, then
`python -m benchmarks.conformance > docs/conformance.md`. Do not edit by hand.

The same questions, asked of volnux and of other libraries on {python}, {date}. Every library is set up
as its documentation says, keeps what it records in memory and sends nothing; Sentry (default integrations
off, but for threads) and Elastic run inside a transaction, without which they record nothing; logfire
gets `allow_generator=True` where it asks for it. That is all we can say: where only volnux passes, it means
that no Python library *we ran* does, in the versions below and with these settings. `tests/test_conformance*.py`
asserts the volnux column, and more, on a fake clock for every supported Python.

How to read it:

- `~0`: timed as about nothing, because the work runs after the wrapper returned.
- An exception's name: using the library that way raises it.
- `never current`: the generator's span is not current in its own code, so there is nothing to leak.
- `n/a`: a library of metrics knows no current span.
- `UNSET`, `ok`, `ERROR`, `internal_error`, `success`, `failure`, …: the outcome, in the library's own word.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Set the environments up, or ask everybody and print the page."""
    options = _parser().parse_args(arguments)
    if options.what == "setup":
        return _setup()
    pythons = dict(pair.split("=", 1) for pair in options.python)
    results = {name: _ask(name, pythons) for name in RIVALS}
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    print(page(results))
    return 0


def page(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The answers as Markdown: a row a question, a column a library."""
    questions = results["volnux"]["answers"]
    rows = [
        [question, *(_cell(results[name], question) for name in RIVALS)] for question in questions
    ]
    header = ["case", *(rival.title for rival in RIVALS.values())]
    versions = ["version", *(_version(results[name]) for name in RIVALS)]
    return HEAD.format_map(describe()) + "\n" + _table.markdown(header, [versions, *rows], "---")


def _cell(result: Mapping[str, Any], question: str) -> str:
    return str(result.get("answers", {}).get(question, "not run"))


def _version(result: Mapping[str, Any]) -> str:
    if "missing" in result:
        return "not installed"
    return ", ".join(result["versions"].values()) or "this repository"


def _ask(name: str, pythons: Mapping[str, str]) -> dict[str, Any]:
    print(f"asking {name} …", file=sys.stderr)
    rival = RIVALS[name]
    done = subprocess.run(
        [
            _environments.interpreter(rival.environment, name, pythons),
            "-m",
            "benchmarks._probes",
            name,
        ],
        env=_environments.child_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
        text=True,
    )
    if done.returncode or not done.stdout:
        return {"missing": f"the probe ended with status {done.returncode}"}
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def _setup() -> int:
    wanted: dict[str, list[str]] = {}
    for rival in RIVALS.values():
        if rival.environment:
            wanted.setdefault(rival.environment, []).extend(rival.distributions)
    for environment, distributions in wanted.items():
        print(f"{environment}: {' '.join(distributions)}", file=sys.stderr)
        _environments.make(environment, distributions)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks.conformance", description=__doc__)
    parser.add_argument("what", nargs="?", choices=["probe", "setup"], default="probe")
    parser.add_argument("--json", type=Path, metavar="FILE", help="save the answers")
    parser.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="interpreter of a library or of an environment",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
