"""Annotations in GitHub's actions: on the lines of the traced functions that failed or were slow.

An annotation is a line of the log that GitHub reads: `::warning file=F,line=N,title=T::text`. GitHub shows it at that
line, also among the changes of a pull request: there a reviewer sees the function that failed, not its test.
"""

from __future__ import annotations

import os
import re
from linecache import getlines
from typing import TYPE_CHECKING, Final, NamedTuple

from pytest_volnux._tables import error, where
from volnux._text import seconds, visible
from volnux.telemetry._sites import codes_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from types import CodeType

    import pytest

    from pytest_volnux._tally import Notable
    from volnux._tree import Record

#: GitHub shows so many of each level in a step, and keeps quiet about the rest: docs/problem-matchers.md in
#: actions/toolkit.
SHOWN: Final = 10
_LEVELS: Final = {"failed": "warning", "slow": "notice"}
#: What stands there is installed, and in nobody's changes.
_INSTALLED: Final = "site-packages"
#: Lines that decorators may take.
_DECORATORS: Final = 50
#: What would end a message, and what would end a property besides: ActionCommand.cs in actions/runner.
_DATA: Final = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})
_PROPERTY: Final = _DATA | str.maketrans({":": "%3A", ",": "%2C"})


class Spot(NamedTuple):
    """A function in which something failed, or was slow.

    Attributes:
        kind: "failed" or "slow".
        file: relative to the repository, with forward slashes.
        line: of its `def`.
        times: how often.
        worst: the one to name: the first failure by its test, as in the report, or what took longest.
    """

    kind: str
    file: str
    line: int
    times: int
    worst: Notable

    def badness(self) -> tuple[object, ...]:
        """Return what sorts the worst first: what failed most often, or took longest."""
        how = -self.times if self.kind == "failed" else -self.worst.seconds
        return self.kind, how, self.file, self.line


class Spots:
    """What failed or was slow, added up by function: as many as the program has, however long it runs."""

    def __init__(self) -> None:
        self._root = os.path.realpath(os.environ.get("GITHUB_WORKSPACE") or os.getcwd())
        self._places: dict[tuple[str, int, str], tuple[str, int] | None] = {}
        self._found: dict[tuple[str, str, int], Spot] = {}

    def of(
        self,
        kind: str,
        records: Iterable[Record],
        path: Callable[[Record], Iterator[Record]],
        notable: Callable[[Record], Notable],
    ) -> list[Spot]:
        """Return the functions that some records are to be shown at, none of them twice.

        A record is shown at the innermost traced function that it ran in and that stands in the
        repository: its own, or that around a block, an operation or a library.

        Args:
            kind: "failed" or "slow".
            records: what failed for good, or was slow.
            path: yields a record and what it ran under.
            notable: what a report says of a record.
        """
        found: dict[tuple[str, str, int], Spot] = {}
        for record in records:
            codes = (code for it in path(record) for code in codes_of(it))
            place = next(filter(None, map(self._place_of, codes)), None)
            if place is not None:
                _add(found, Spot(kind, *place, 1, notable(record)))
        return list(found.values())

    def add(self, spots: Iterable[Spot]) -> None:
        """Add what one part of the run has, in any order."""
        for spot in spots:
            _add(self._found, spot)

    def worst_first(self) -> list[Spot]:
        """Return all of them: those that failed, then those that were slow."""
        return sorted(self._found.values(), key=Spot.badness)

    def _place_of(self, code: CodeType) -> tuple[str, int] | None:
        key = code.co_filename, code.co_firstlineno, code.co_name
        if key not in self._places:
            file = self._in_repository(code.co_filename)
            self._places[key] = None if file is None else (file, _line_of_def(code))
        return self._places[key]

    def _in_repository(self, path: str) -> str | None:
        if not os.path.isfile(path):  # made by `exec`, or from an archive
            return None
        try:
            parts = os.path.relpath(os.path.realpath(path), self._root).split(os.sep)
        except ValueError:  # on another drive
            return None
        return None if parts[0] == os.pardir or _INSTALLED in parts else "/".join(parts)


def _add(spots: dict[tuple[str, str, int], Spot], spot: Spot) -> None:
    key = spot[:3]
    known = spots.get(key)
    if known is not None:
        worst = min(known.worst, spot.worst, key=_first if spot.kind == "failed" else _longest)
        spot = spot._replace(times=known.times + spot.times, worst=worst)
    spots[key] = spot


def _first(one: Notable) -> tuple[object, ...]:
    return one.where, one.name, one.seconds, one.phase, one.error_type or "", one.error or ""


def _longest(one: Notable) -> tuple[object, ...]:
    return -one.seconds, one.where, one.name, one.phase


def _line_of_def(code: CodeType) -> int:
    """Return the line of a function's `def`: its code begins at its first decorator."""
    is_def = re.compile(rf"\s*(async\s+)?def\s+{re.escape(code.co_name)}\b").match
    first = code.co_firstlineno
    lines = getlines(code.co_filename)[first - 1 : first - 1 + _DECORATORS]
    return next((first + n for n, line in enumerate(lines) if is_def(line)), first)


def write(
    spots: Iterable[Spot], slow: float, over: Mapping[str, str], terminal: pytest.TerminalReporter
) -> None:
    """Write the annotations, as many as GitHub shows.

    What the run may not have is an error, for it fails the run. A failure is a warning otherwise: whether it
    matters, the test has said. What is slow is a notice.

    Args:
        spots: the worst first.
        slow: what takes longer is slow, in seconds.
        over: the kinds of which the run has too many, and what to say of that.
        terminal: writes to where GitHub reads.
    """
    room = dict.fromkeys(("error", "warning", "notice"), SHOWN)
    left = 0
    for spot in spots:
        level = "error" if spot.kind in over else _LEVELS[spot.kind]
        if room[level]:
            room[level] -= 1
            terminal.write_line(_command(level, spot, _text(spot, slow, over.get(spot.kind, ""))))
        else:
            left += 1
    if left:
        terminal.write_line(
            f"volnux: {left:,} more that failed or were slow are not annotated: "
            f"GitHub shows {SHOWN} of each level"
        )


def _text(spot: Spot, slow: float, over: str) -> str:
    """Return what is said of a function: a line of the worst, its test, and what the run has too much of."""
    worst = spot.worst._asdict()
    if spot.kind == "failed":
        said, which = error(worst), "first "
    else:
        said, which = f"{seconds(worst['seconds'])}, slow is more than {seconds(slow)}", "longest "
    place = f"{which if spot.times > 1 else ''}in {where(worst)}"
    return "\n".join(line for line in (f"{visible(worst['name'])}: {said}", place, over) if line)


def _command(level: str, spot: Spot, text: str) -> str:
    often = f" {spot.times:,} times" if spot.times > 1 else ""
    properties = {
        "file": spot.file,
        "line": str(spot.line),
        "title": f"volnux: {spot.kind}{often}",
    }
    said = ",".join(f"{name}={value.translate(_PROPERTY)}" for name, value in properties.items())
    return f"::{level} {said}::{text.translate(_DATA)}"
