"""Which interpreter a contender runs in: peers disagree about versions, so some need one of their own.

``python -m benchmarks setup`` makes the environments under a cache folder (``VOLNUX_BENCH_CACHE``, else
``~/.cache/volnux-benchmarks``), one set per Python version. ``--python NAME=PATH`` overrides for one run.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

REPOSITORY = Path(__file__).resolve().parent.parent


def cache() -> Path:
    """Folder of the environments of this Python version."""
    root = os.environ.get("VOLNUX_BENCH_CACHE") or Path.home() / ".cache" / "volnux-benchmarks"
    return Path(root) / f"{sys.implementation.name}{sys.version_info[0]}{sys.version_info[1]}"


def interpreter(environment: str, name: str = "", chosen: Mapping[str, str] | None = None) -> str:
    """Path of the interpreter for *environment*: chosen by hand, made by ``setup``, or this one."""
    for key in (name, environment):
        if chosen and key in chosen:
            return chosen[key]
    made = cache() / environment / "bin" / "python"
    return str(made) if environment and made.exists() else sys.executable


def make(environment: str, distributions: Iterable[str]) -> None:
    """Create *environment* if need be and install *distributions* into it with pip."""
    folder = cache() / environment
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", *sorted(set(distributions))], check=True
    )


def search_path() -> str:
    """PYTHONPATH that lets any interpreter import this package and the volnux under test."""
    spec = find_spec("volnux")
    source = Path(spec.origin).parent.parent if spec and spec.origin else REPOSITORY / "src"
    return os.pathsep.join([str(REPOSITORY), str(source)])


def child_environment() -> dict[str, str]:
    """Variables for a worker: stable hashing, our path, and no telemetry settings of the user's."""
    kept = {
        k: v
        for k, v in os.environ.items()
        if k == "VOLNUX_NO_EXTENSIONS"
        or k.startswith("VOLNUX_TEST_")
        or not k.startswith(("VOLNUX_", "OTEL_", "LOGFIRE_", "PYTHON"))
    }
    return kept | {"PYTHONPATH": search_path(), "PYTHONHASHSEED": "0"}
