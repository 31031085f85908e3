"""What ``import volnux.telemetry`` costs over bare Python, and which modules it loads."""

from __future__ import annotations

import os
import subprocess
import sys
from time import perf_counter_ns
from typing import TYPE_CHECKING

from benchmarks import _environments
from benchmarks._result import Measured, Result, not_installed
from benchmarks.contenders import CONTENDERS

if TYPE_CHECKING:
    from collections.abc import Mapping

ROUNDS = 40
MILLISECONDS = 15.0
OURS = "import volnux.telemetry"
PEERS = {
    "wrapt": "import wrapt",
    "prometheus": "import prometheus_client",
    "autometrics": "import autometrics",
    "otel_span": "import opentelemetry.sdk.trace.export",
    "logfire": "import logfire",
}


def measure(*, rounds: int = ROUNDS, pythons: Mapping[str, str] | None = None) -> Result:
    """Start interpreters turn and turn about, with and without the import."""
    isolated = _least([sys.executable, "-I", "-S"], ["pass", OURS], rounds)
    with_site = _least([sys.executable, "-I"], ["pass", OURS], rounds)
    rows = [
        _row("over bare Python, without site (-I -S)", isolated, MILLISECONDS),
        _row("over bare Python, with site (-I)", with_site),
        Measured("modules loaded", float(len(loaded())), ""),
    ]
    peers, missing = [], []
    for name, statement in PEERS.items():
        python = _environments.interpreter(CONTENDERS[name].environment, name, pythons)
        if subprocess.run(
            [python, "-I", "-c", statement], stderr=subprocess.DEVNULL, check=False
        ).returncode:
            missing.append(name)
            continue
        bare, loading = _least([python, "-I"], ["pass", statement], max(3, rounds // 4))
        peers.append([statement, f"{loading - bare:.1f} ms"])
    return Result(
        "import",
        "Import",
        f"Wall time of a whole process with the import less one without, each the least of {rounds}, started turn and "
        "turn about, byte code cached.",
        rows,
        ["peers, with site", "over bare Python"],
        peers,
        [*not_installed(missing), "-X importtime, own microseconds: " + ", ".join(loaded())],
    )


def loaded() -> list[str]:
    """Modules that the import loads beyond those of a bare interpreter, with their own microseconds."""
    bare = {name for name, _ in _import_times("pass")}
    times = [(name, own) for name, own in _import_times(OURS) if name not in bare]
    return [f"{name} {own}" for name, own in sorted(times, key=lambda pair: -pair[1])]


def _row(what: str, times: list[float], target: float | None = None) -> Measured:
    return Measured(
        what, times[1] - times[0], "ms", target, note=f"{times[1]:.1f} ms less {times[0]:.1f} ms"
    )


def _least(command: list[str], statements: list[str], rounds: int) -> list[float]:
    scripts = [_script(statement) for statement in statements]
    least = [float("inf")] * len(scripts)
    for turn in range(-1, rounds):
        for i, script in enumerate(scripts):
            start = perf_counter_ns()
            subprocess.run([*command, "-c", script], check=True, stderr=subprocess.DEVNULL)
            if turn >= 0:
                least[i] = min(least[i], (perf_counter_ns() - start) / 1e6)
    return least


def _script(statement: str) -> str:
    # Isolated interpreters ignore PYTHONPATH.
    return (
        f"import sys; sys.path[:0] = {_environments.search_path().split(os.pathsep)!r}; {statement}"
    )


def _import_times(statement: str) -> list[tuple[str, int]]:
    command = [sys.executable, "-I", "-S", "-X", "importtime", "-c", _script(statement)]
    listing = subprocess.run(command, check=True, stderr=subprocess.PIPE, text=True).stderr
    lines = [
        line.split(":", 1)[1].split("|")
        for line in listing.splitlines()
        if line.startswith("import time:")
    ]
    return [(name.strip(), int(own)) for own, _, name in lines[1:]]
