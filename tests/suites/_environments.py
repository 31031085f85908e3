"""Where suites run: an environment for each library, and a copy of the volnux under test beside it."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import venv
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from tests.suites._sources import cache, run_quietly

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.suites._libraries import Library
    from tests.suites._sources import Source

CLONE = Path(__file__).resolve().parents[2]
#: What is importable in a suite besides: our plugins.
INSIDE = Path(__file__).resolve().parent / "inside"
PIP = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input")
#: Dependency groups came with 25.1.
NEW_PIP = "pip>=25.1"


def make(library: Library, source: Source) -> Path:
    """Make the environment of a library's suite, unless it is there; return its interpreter."""
    folder = _folder(source)
    python = folder / "bin" / "python"
    installs = [part.format(tree=source.tree) for part in library.installs]
    stamp, mark = folder / "made", hashlib.sha256(repr(installs).encode()).hexdigest()
    if stamp.is_file() and stamp.read_text("utf-8") == mark:
        # The tree is a new one, and an editable library may have built something into the old one.
        _pip(python, "--no-deps", "--force-reinstall", *installs[: installs.index("-e") + 2])
        return python
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    _pip(python, NEW_PIP)
    _pip(python, *installs, "pytest-timeout")
    stamp.write_text(mark, "utf-8")
    return python


def forget(source: Source) -> None:
    """Remove a library's environment, its unpacked source distribution, and what its runs left."""
    for folder in (_folder(source), source.tree, source.runs):
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def copied_volnux() -> Iterator[Path]:
    """Install this clone into a folder of its own, which is there as long as it is needed.

    It comes into the search path of the active runs only, so that the bare ones are bare; and what
    is edited in the meantime does not come into a comparison.
    """
    with TemporaryDirectory(prefix="volnux-") as folder:
        _pip(Path(sys.executable), "--target", folder, str(CLONE))
        yield Path(folder)


def variables(library: Library, folder: Path, *paths: Path) -> dict[str, str]:
    """The environment of a run: no settings of the user's for Python, pytest or telemetry."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name != "CI"
        and not name.startswith(("VOLNUX_", "OTEL_", "PYTHON", "PYTEST_", "VIRTUAL_ENV"))
    }
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join(map(str, [INSIDE, *paths])),
        "PYTHONHASHSEED": "0",
        "SUITES_FOLDER": str(folder),
        "SUITES_DECORATED": " ".join(library.decorated),
        "SUITES_INSTRUMENTED": " ".join(library.instrumented),
        **library.variables,
    }


def _folder(source: Source) -> Path:
    return cache() / "environments" / source.tree.name


def _pip(python: Path, *arguments: str) -> None:
    run_quietly([str(python), *PIP, *arguments])
