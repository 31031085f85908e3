"""``python -m benchmarks``: measure, print, keep, check."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import (
    _environments,
    _page,
    delivery,
    imports,
    memory,
    network,
    network_sockets,
    overhead,
    plugin,
    publishing,
    queries,
    threads,
)
from benchmarks._machine import describe
from benchmarks.contenders import CONTENDERS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks._result import Result

BENCHMARKS: dict[str, Callable[..., Result]] = {
    "overhead": overhead.measure,
    "memory": memory.measure,
    "threads": threads.measure,
    "queries": queries.measure,
    "import": imports.measure,
    "delivery-overhead": delivery.measure,
    "delivery": publishing.measure,
    "network": network.measure,
    "sockets": network_sockets.measure,
    "pytest": plugin.measure,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; the exit status is 0 unless ``--check`` finds a target missed."""
    options = _parser().parse_args(arguments)
    if options.benchmark == "setup":
        return _setup()
    runs = (
        _page.joined([json.loads(file.read_text()) for file in options.files])
        if options.benchmark == "page"
        else [_run(options)]
    )
    if options.json:
        options.json.write_text(json.dumps(runs[0], indent=1) + "\n")
    print(
        _page.markdown(runs)
        if options.markdown or options.benchmark == "page"
        else _page.plain(runs[0])
    )
    return 1 if options.check and _page.missed(runs) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    names = [*BENCHMARKS, "all", "page", "setup"]
    parser.add_argument(
        "benchmark",
        choices=names,
        help="`all` runs every one; `page` puts saved runs together; "
        "`setup` installs the peers into environments of their own, in a cache folder",
    )
    parser.add_argument(
        "files",
        nargs="*",
        type=Path,
        help="for `page`: what --json saved, one column for each Python",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="save the figures")
    parser.add_argument(
        "--markdown", action="store_true", help="print the page for docs/benchmarks.md"
    )
    parser.add_argument("--rounds", type=int, help="rounds to take the least of")
    parser.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="interpreter of a contender or of an environment (main, autometrics)",
    )
    parser.add_argument(
        "--only-ours", action="store_true", help="volnux and the floor, without the peers"
    )
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    return parser


def _run(options: argparse.Namespace) -> dict[str, Any]:
    pythons = dict(pair.split("=", 1) for pair in options.python)
    results = []
    described = describe()
    for name in BENCHMARKS if options.benchmark == "all" else [options.benchmark]:
        print(f"measuring {name} …", file=sys.stderr)
        settings: dict[str, Any] = {"rounds": options.rounds} if options.rounds else {}
        if name not in ("queries", "delivery-overhead", "delivery", "sockets"):
            settings["pythons"] = pythons
            if options.only_ours:
                settings["peers"] = ()
        results.append(BENCHMARKS[name](**settings).to_dict())
    return {"schema": "volnux.benchmarks/1", **described, "results": results}


def _setup() -> int:
    wanted: dict[str, set[str]] = {}
    for contender in CONTENDERS.values():
        if contender.environment:
            wanted.setdefault(contender.environment, set()).update(contender.requires)
    for environment, distributions in wanted.items():
        print(f"{environment}: {' '.join(sorted(distributions))}", file=sys.stderr)
        _environments.make(environment, distributions)
    return 0


if __name__ == "__main__":
    sys.exit(main())
