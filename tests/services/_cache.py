"""Where servers are installed: a folder outside the clone, in which several runs may be at work."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

from tests.services._commands import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def root() -> Path:
    """The cache: ``VOLNUX_SERVICES_CACHE``, else ``~/.cache/volnux-services``."""
    chosen = os.environ.get("VOLNUX_SERVICES_CACHE")
    folder = Path(chosen) if chosen else Path.home() / ".cache" / "volnux-services"
    return folder.absolute()


def folder_of_run(name: str) -> Path:
    """The folder in which a server runs: its configuration, its data and its log."""
    return root() / "run" / name


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Keep other processes and threads away from *name* while the block lasts.

    The kernel lets go of the lock of whoever dies, so a dead run is in nobody's way.
    """
    import fcntl

    path = root() / "locks" / name
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{name}: waiting for whoever is at work on it …")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def installed(name: str, install: Callable[[Path], None]) -> Path:
    """The folder ``NAME-VERSION`` of the cache; *install* fills it, unless it is there.

    It gets its name when it is complete: what an interrupted run leaves is never taken for a server.
    """
    folder = root() / name
    with locked(name):
        if not folder.is_dir():
            say(f"{name}: installing …")
            before = time.monotonic()
            for left in root().glob(f"{name}.unfinished-*"):
                shutil.rmtree(left, ignore_errors=True)
            # With a name of its own: of a run that was killed, a command may still be at work.
            unfinished = Path(mkdtemp(prefix=f"{name}.unfinished-", dir=root()))
            install(unfinished)
            unfinished.rename(folder)
            say(f"{name}: installed in {time.monotonic() - before:.1f} s")
    return folder
