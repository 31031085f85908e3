"""Who brings home what a process has recorded that a test has started: itself, or a `volnux run`.

What a run collects would come home twice if its processes went there as well. So only the run goes, and
not each of them, for it also has what is recorded by those that end without any clean-up.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Protocol

    class Exporting(Protocol):
        """A registry, as far as it matters here."""

        def export(self) -> dict[str, Any]:
            """Return everything as JSON-ready data."""


#: Says where home is, and for which test: the beginning of the path of a file.
HOME = "VOLNUX_TEST_HOME"
SUFFIX = ".json"
#: Where this process leaves what it records, as the beginning of a file's path; nothing if nobody asks.
_homes: list[str] = []
#: Of these, where it does so only if a run does not.
_left: list[str] = []


def prefix() -> str:
    """Return how the name of a folder begins that this process has made."""
    return f"volnux-{os.getpid()}-"


def belong(start: str) -> None:
    """Say where this process leaves what it records."""
    _homes[:] = [start]


def run_prefix() -> str:
    """Return how the name of the folder begins in which a `volnux run` that is this process collects."""
    homes = (os.path.basename(os.path.dirname(start)) for start in _homes)
    return "-".join(("volnux-run", *homes, ""))


def is_bound_for_home(folder: str) -> bool:
    """Return whether the run that collects in this folder brings it to where this process belongs.

    It does not if it is the one around the tests, or started by a test around these.
    """
    return bool(_homes) and os.path.basename(folder).startswith(run_prefix())


def leave_to_run(folder: str) -> None:
    """Leave the way home to the run that collects in this folder, if it goes there."""
    if is_bound_for_home(folder):
        _left[:] = _homes


def goes_by_itself(start: str) -> bool:
    """Return whether this process has to leave there by itself what it records."""
    return start not in _left


def go_home(registry: Exporting) -> None:
    """Bring home what was left to a run: this process is the run, or has lost it."""
    for start in _left:
        leave(start, registry)


def leave(start: str, registry: Exporting) -> None:
    """Leave what a registry holds in a file whose path begins so. Never raises."""
    import json

    try:
        state = registry.export()
        if state["finished"] or state["in_flight"]:
            path = f"{start}-{os.getpid()}-{os.urandom(4).hex()}"
            with open(path, "w", encoding="utf-8") as file:
                json.dump(state, file)
            os.replace(path, path + SUFFIX)
    except Exception:  # noqa: BLE001, S110  # the folder is gone with the tests: nobody is asking
        pass


def taken(folder: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Take out what others have left: the number of the test, and a registry's state."""
    import json

    for name in sorted(os.listdir(folder)):
        if name.endswith(SUFFIX):
            path = os.path.join(folder, name)
            with open(path, encoding="utf-8") as file:
                state = json.load(file)
            os.unlink(path)
            yield int(name.partition("-")[0]), state
