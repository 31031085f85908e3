"""What runs, as files in the cache: one for each server, so that runs do not meet in them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from tests.services import _cache
from tests.services._processes import Process, is_running

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Running:
    """A server that was started.

    Attributes:
        name: of the server.
        distribution: what it runs from, NAME-VERSION.
        process: the first one of its group.
        folder: with its configuration, its data and its log.
        variables: what tests read.
    """

    name: str
    distribution: str
    process: Process
    folder: str
    variables: dict[str, str]


def save(running: Running) -> None:
    """Write it down, in one step; it holds passwords, so nobody else may read it."""
    path = _path(running.name)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    unfinished.touch(mode=0o600)
    unfinished.write_text(json.dumps(asdict(running), indent=1), "utf-8")
    unfinished.replace(path)


def load(name: str) -> Running | None:
    """The server of that name, if it is still running."""
    try:
        saved = json.loads(_path(name).read_text("utf-8"))
        running = Running(**{**saved, "process": Process(*saved["process"])})
    except (OSError, ValueError, TypeError, KeyError):  # there is none, or not one of ours
        return None
    return running if is_running(running.process) else None


def forget(name: str) -> None:
    """Remove what was written down."""
    _path(name).unlink(missing_ok=True)


def _path(name: str) -> Path:
    return _cache.root() / "run" / f"{name}.json"
