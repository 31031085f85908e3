"""One contender in a process of its own: ``python -m benchmarks._worker NAME``.

Reads one JSON request a line, answers one JSON line each. What a contender prints goes to stderr.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
from importlib.metadata import version
from typing import IO, TYPE_CHECKING, Any

from benchmarks import _measures
from benchmarks.contenders import CONTENDERS

if TYPE_CHECKING:
    from collections.abc import Callable


def main(name: str) -> None:
    """Serve requests until the coordinator closes the pipe."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    measure = _measure(answers, name)
    if measure is None:
        return
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = measure(request)
        except Exception as error:  # noqa: BLE001  # the coordinator reports it
            answer = {"failure": f"{type(error).__name__}: {error}"}
        _say(answers, answer)


def _measure(answers: IO[str], name: str) -> Callable[[dict[str, Any]], dict[str, Any]] | None:
    try:
        cases = importlib.import_module(f"benchmarks.contenders.{name}").cases()
    except ImportError as error:
        _say(answers, {"missing": str(error)})
        return None
    _say(answers, {"cases": sorted(cases), "versions": _versions(name)})

    def measure(request: dict[str, Any]) -> dict[str, Any]:
        run, n = cases[request["case"]], request["n"]
        getattr(run, "prepare", _nothing)()
        gc.collect()
        answer = getattr(_measures, request["measure"])(run, n)
        return answer | getattr(run, "account", dict)()  # type: ignore[no-any-return]

    return measure


def _nothing() -> None:
    """Most cases need no preparation."""


def _versions(name: str) -> dict[str, str]:
    return {it: version(it) for it in CONTENDERS[name].requires}


def _say(answers: IO[str], answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
