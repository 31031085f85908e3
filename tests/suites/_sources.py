"""Source distributions: fetched by name, unpacked, and looked into for tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.suites._libraries import Library


@dataclass(frozen=True)
class Source:
    """An unpacked source distribution."""

    tree: Path
    version: str
    has_tests: bool

    @property
    def runs(self) -> Path:
        """The folder of what its runs leave."""
        return self.tree.with_name(f"{self.tree.name}-runs")


def cache() -> Path:
    """Folder outside of any clone, for this Python: `VOLNUX_SUITES_CACHE`, or one of the user's cache."""
    root = os.environ.get("VOLNUX_SUITES_CACHE") or Path.home() / ".cache" / "volnux-suites"
    return Path(root) / f"{sys.implementation.name}{sys.version_info[0]}{sys.version_info[1]}"


def fetch(library: Library) -> Source:
    """Get the newest source distribution that the registry serves, and unpack it afresh.

    Raises:
        RuntimeError: there is none.
    """
    folder = cache() / "sources" / library.name
    folder.mkdir(parents=True, exist_ok=True)
    newest = _download(library.name, folder)
    name = newest.name.removesuffix(".tar.gz")
    tree = cache() / "trees" / name
    shutil.rmtree(tree, ignore_errors=True)
    with tarfile.open(newest) as archive:
        _unpack(archive, tree.parent)
    has_tests = any((tree / library.tests).rglob("test_*.py"))
    return Source(tree, name.rpartition("-")[2], has_tests)


def run_quietly(command: Sequence[str]) -> None:
    """Run a command that has something to say only when it fails.

    Raises:
        RuntimeError: it has failed; with the last of what it said.
    """
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        raise RuntimeError(f"{' '.join(command)}\n{said}")


def _download(name: str, folder: Path) -> Path:
    shutil.rmtree(folder / "new", ignore_errors=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    # Of itself alone: what it is built with may come as wheels.
    command += ["--no-binary", name, "--dest", str(folder / "new"), name]
    run_quietly(command)
    found = [*(folder / "new").glob("*.tar.gz")]
    if not found:
        raise RuntimeError(f"the registry has no .tar.gz of {name}")
    kept = folder / found[0].name
    found[0].replace(kept)
    return kept


def _unpack(archive: tarfile.TarFile, folder: Path) -> None:
    if hasattr(tarfile, "data_filter"):
        archive.extractall(folder, filter="data")
    else:
        archive.extractall(folder)
