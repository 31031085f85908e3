"""Which of several processes are alive: each holds the lock of one byte of a file they share."""

from __future__ import annotations

import os
import sys

from volnux.telemetry._fork import on_fork

if sys.platform == "win32":
    import msvcrt

    def _lock(file: int, place: int) -> None:
        os.lseek(file, place, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)

    def _unlock(file: int, place: int) -> None:
        os.lseek(file, place, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_UNLCK, 1)
else:
    import fcntl

    def _lock(file: int, place: int) -> None:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)

    def _unlock(file: int, place: int) -> None:
        fcntl.lockf(file, fcntl.LOCK_UN, 1, place)


class Holds:
    """The bytes of files that this process has locked. The system lets go of them when it dies, however it does.

    A file once opened stays open: closing any handle of it would let go of all its locks. Not safe
    from several threads: who uses it has a lock.
    """

    def __init__(self) -> None:
        self._files: dict[str, int] = {}
        self._held: set[tuple[str, int]] = set()
        on_fork(self)

    def _after_fork(self) -> None:
        # A child has its parent's handles, and none of its locks.
        for file in self._files.values():
            os.close(file)
        self._files.clear()
        self._held.clear()

    def take(self, path: str, place: int) -> bool:
        """Lock a byte; whether nobody else has. Whoever has it alive in this process counts as well.

        Raises:
            OSError: the file cannot be opened.
        """
        if (path, place) in self._held:
            return False
        if path not in self._files:
            self._files[path] = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _lock(self._files[path], place)
        except OSError:
            return False
        self._held.add((path, place))
        return True

    def release(self, path: str, place: int) -> None:
        """Let go of a byte."""
        if (path, place) in self._held:
            self._held.discard((path, place))
            _unlock(self._files[path], place)


HOLDS = Holds()
