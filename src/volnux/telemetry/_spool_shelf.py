"""What a queue has on disk: which chunks, which of their records are left, and what to do when the disk fails."""

from __future__ import annotations

import sqlite3
from time import monotonic
from typing import TYPE_CHECKING

from volnux.telemetry._encoding import entry_of, lines_of
from volnux.telemetry._spool_file import SpoolFullError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import TypeAlias

    from volnux.telemetry._raw import Raw
    from volnux.telemetry._spool_file import Chunk, SpoolFile

    #: Where a record is on disk: its chunk, and its place in that.
    Home: TypeAlias = tuple[Chunk, int]

#: Records that are read at once.
LOADED = 4_000
#: Seconds that a disk is left alone after it has failed.
PAUSE = 1.0
TROUBLE = (sqlite3.Error, OSError)
#: What errors say after which a file is of no more use.
_CORRUPT = ("malformed", "not a database", "no such table", "no such column", "has no column")


class SpoolLostError(Exception):
    """The file could not be read, and has been set aside."""


class Shelf:
    """Chunks of one file. Nothing that a disk does is raised, but `SpoolLostError`. Who uses it has a lock.

    Args:
        file: where the chunks are.
        trouble: is told what goes wrong.
        now: a monotonic clock, in seconds.
    """

    def __init__(
        self,
        file: SpoolFile,
        trouble: Callable[[Exception], None],
        now: Callable[[], float] = monotonic,
    ) -> None:
        self._file = file
        self._trouble = trouble
        self._now = now
        self._pause_until = float("-inf")
        #: Up to this chunk, what is on disk has been in memory.
        self._last = 0
        #: Chunks of which something is in memory: which of their records are left.
        self._open: dict[int, set[int]] = {}
        #: What could not be removed, and will be tried again.
        self._undone: dict[int, set[int]] = {}

    def write(self, raws: Sequence[Raw]) -> Chunk | None:
        """Write entries; None where that is not possible just now.

        Raises:
            SpoolFullError: they exceed the size of the file.
            SpoolLostError: see there.
        """
        if self._now() < self._pause_until:
            return None
        try:
            return self._file.append(lines_of(raws))
        except SpoolFullError:
            raise
        except Exception as error:  # noqa: BLE001  # also of what cannot be written: it is sent from memory
            self._failed(error)
            return None

    def hold(self, chunk: Chunk) -> None:
        """Take note that a chunk that was written is in memory as well."""
        self._open[chunk.number] = set(chunk.undone)
        self._last = max(self._last, chunk.number)

    def load(self) -> list[tuple[Chunk, list[Raw]]]:
        """Read the oldest chunks that are not in memory."""
        found: list[tuple[Chunk, list[Raw]]] = []
        try:
            for chunk in self._file.load(self._last, LOADED):
                if chunk.number not in self._open and chunk.number not in self._undone:
                    raws = [entry_of(chunk.lines[place]) for place in chunk.undone]
                    found.append((chunk._replace(lines=[]), raws))
                    self.hold(chunk)
                self._last = max(self._last, chunk.number)
        except TROUBLE as error:
            self._failed(error)
        except (ValueError, LookupError, TypeError):
            self._failed(sqlite3.DatabaseError("malformed"))
        return found

    def remove(self, homes: Iterable[Home]) -> None:
        """Remove records that have left the queue."""
        touched: dict[int, set[int]] = {}
        for chunk, place in homes:
            left = touched[chunk.number] = self._open[chunk.number]
            left.discard(place)
        for number, left in touched.items():
            if not left:
                del self._open[number]
            try:
                self._file.done(number, sorted(left))
            except TROUBLE as error:
                self._undone[number] = left
                self._failed(error)

    def adopt(self) -> int:
        """Take over what processes that are no more have left; return how many records."""
        try:
            for number, left in list(self._undone.items()):
                self._file.done(number, sorted(left))
                del self._undone[number]
            count, lowest = self._file.adopt()
        except TROUBLE as error:
            self._failed(error)
            return 0
        if count:
            self._last = min(self._last, lowest - 1)
        return count

    def expire(self, older_than: float) -> int:
        """Remove what is on disk only and was written before a time; return how many records."""
        try:
            return self._file.expire(older_than, self._last)
        except TROUBLE as error:
            self._failed(error)
            return 0

    def close(self, *, is_empty: bool) -> None:
        """Let go of the file."""
        try:
            if is_empty:
                self._file.shrink()
            self._file.close()
        except TROUBLE as error:
            self._trouble(error)

    def leave_to_parent(self) -> None:
        """In a child: all this is the parent's."""
        self._file.leave_to_parent()

    def _failed(self, error: Exception) -> None:
        self._trouble(error)
        self._pause_until = self._now() + PAUSE
        if not isinstance(error, sqlite3.Error) or not any(s in str(error) for s in _CORRUPT):
            return
        try:
            self._file.set_aside()
        except TROUBLE as second:  # tried again with the next error
            self._trouble(second)
            return
        self._pause_until = float("-inf")
        self._last = 0
        self._open.clear()
        self._undone.clear()
        raise SpoolLostError


def places(chunk: Chunk) -> list[Home]:
    """Return where each record of a chunk is that is left of it."""
    return [(chunk, place) for place in chunk.undone]
