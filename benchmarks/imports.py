"""What ``import volnux.telemetry`` costs over bare Python, and which modules it loads."""

from __future__ import annotations

import os
import subprocess
import sys
from time import perf_counter_ns
from typing import TYPE_CHECKING, NamedTuple

from benchmarks import _environments
from benchmarks._result import Measured, Result, not_installed
from benchmarks.contenders import CONTENDERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

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


def measure(
    *,
    rounds: int = ROUNDS,
    pythons: Mapping[str, str] | None = None,
    peers: Iterable[str] = tuple(PEERS),
) -> Result:
    """Start interpreters turn and turn about, with and without the import."""
    rows = [
        _row("over bare Python (-I)", _least([sys.executable, "-I"], OURS, rounds), MILLISECONDS),
        _row(
            "over bare Python without site (-I -S)",
            _least([sys.executable, "-I", "-S"], OURS, rounds),
        ),
        Measured("modules loaded", float(len(loaded())), ""),
    ]
    beside, missing = [], []
    for name in peers:
        statement = PEERS[name]
        python = _environments.interpreter(CONTENDERS[name].environment, name, pythons)
        try:
            times = _least([python, "-I"], statement, max(3, rounds // 5))
        except subprocess.CalledProcessError:
            missing.append(name)
        else:
            beside.append([statement, f"{times[1].processor - times[0].processor:.1f} ms"])
    return Result(
        "import",
        "Import",
        "Processor time of a whole process with the import less one without, each the least of "
        f"{rounds}, started turn and turn about, byte code cached.",
        rows,
        ["peers (-I)", "over bare Python"],
        beside,
        [*not_installed(missing), "-X importtime, own microseconds: " + ", ".join(loaded())],
    )


def loaded() -> list[str]:
    """Modules that the import loads beyond those of a bare interpreter, with own microseconds."""
    bare = {name for name, _ in _import_times("pass")}
    times = [(name, own) for name, own in _import_times(OURS) if name not in bare]
    return [f"{name} {own}" for name, own in sorted(times, key=lambda pair: -pair[1])]


class _Times(NamedTuple):
    """Milliseconds that a process took."""

    processor: float
    wall: float


def _row(what: str, times: list[_Times], target: float | None = None) -> Measured:
    bare, loading = times
    note = (
        f"{loading.processor:.1f} ms less {bare.processor:.1f} ms; "
        f"on the wall clock {loading.wall - bare.wall:.1f} ms"
    )
    return Measured(what, loading.processor - bare.processor, "ms", target, note=note)


def _least(command: list[str], statement: str, rounds: int) -> list[_Times]:
    """Return the least times without and with the statement."""
    scripts = [_script("pass"), _script(statement)]
    taken: list[list[_Times]] = [[], []]
    for turn in range(-1, rounds):
        for script, times in zip(scripts, taken, strict=True):
            time = _run([*command, "-c", script])
            if turn >= 0:
                times.append(time)
    return [_Times(*map(min, zip(*times, strict=True))) for times in taken]


def _run(command: list[str]) -> _Times:
    start = perf_counter_ns()
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    elapsed = perf_counter_ns() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return _Times((usage.ru_utime + usage.ru_stime) * 1e3, elapsed / 1e6)


def _script(statement: str) -> str:
    # Isolated interpreters ignore PYTHONPATH.
    return (
        f"import sys; sys.path[:0] = {_environments.search_path().split(os.pathsep)!r}; {statement}"
    )


def _import_times(statement: str) -> list[tuple[str, int]]:
    command = [sys.executable, "-I", "-X", "importtime", "-c", _script(statement)]
    listing = subprocess.run(command, check=True, stderr=subprocess.PIPE, text=True).stderr
    lines = [
        line.split(":", 1)[1].split("|")
        for line in listing.splitlines()
        if line.startswith("import time:")
    ]
    return [(name.strip(), int(own)) for own, _, name in lines[1:]]
