"""The file of a spool: records on disk until they are delivered, for several processes at once."""

from __future__ import annotations

import json
import os
import sqlite3
from threading import RLock
from time import strftime, time
from typing import TYPE_CHECKING, NamedTuple

from volnux.telemetry._fork import on_fork
from volnux.telemetry._holds import HOLDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

SUFFIX = ".sqlite"
LOCK_SUFFIX = ".lock"
#: Seconds that a statement waits for another process that writes.
PATIENCE = 5.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS owners (id INTEGER PRIMARY KEY AUTOINCREMENT, pid INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS chunks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    owner INTEGER NOT NULL,
    at REAL NOT NULL,      -- when it was written, in seconds since the epoch
    count INTEGER NOT NULL,
    undone TEXT,           -- the places of the lines that are left, as JSON; all of them if NULL
    lines TEXT NOT NULL    -- one record a line, as JSON
);
"""


class SpoolFullError(Exception):
    """The file has reached its size."""


class Chunk(NamedTuple):
    """Records that were written at once.

    Attributes:
        number: of the chunk; later ones have higher numbers.
        at: when it was written, in seconds since the epoch.
        lines: one a record.
        undone: the places of those lines that are left.
    """

    number: int
    at: float
    lines: list[str]
    undone: list[int]


class _Gate:
    """One thread of the process at a time is inside of SQLite, and none while it forks.

    A child would find the locks of SQLite taken for ever that another thread had at that moment.
    """

    def __init__(self) -> None:
        self.lock = RLock()
        self._is_taken = False
        #: Connections that a fork has copied: to close them would disturb the parent.
        self._left: list[Any] = []
        on_fork(self)

    def _before_fork(self) -> None:
        self._is_taken = self.lock.acquire(timeout=PATIENCE)

    def _after_fork_here(self) -> None:
        if self._is_taken:
            self._is_taken = False
            self.lock.release()

    def _after_fork(self) -> None:
        self.lock = RLock()

    def leave(self, connection: Any) -> None:
        """Keep a connection of the parent's from being closed here."""
        self._left.append(connection)


_GATE = _Gate()


class SpoolFile:
    """What one publisher's deliveries, of all processes that use the folder, have not delivered.

    Each is an owner, and sends only what is its own. What an owner that has died leaves behind is
    taken over by the next that looks. Safe from several threads. After a fork the child makes one of
    its own.

    Args:
        folder: where the file is; made if need be, for its user alone.
        name: the publisher's.
        max_bytes: how large the file may grow, by all its owners.
        wall: says the time, in seconds since the epoch.

    Raises:
        sqlite3.Error, OSError: any method may, for what a disk can do.
    """

    def __init__(
        self, folder: str, name: str, max_bytes: int, *, wall: Callable[[], float] = time
    ) -> None:
        self.path = os.path.join(folder, file_name(name))
        self._max_bytes = max_bytes
        self._wall = wall
        self._pid = os.getpid()
        self._connection: Any = None
        self._owner = 0

    @property
    def _lock_path(self) -> str:
        return self.path + LOCK_SUFFIX

    # -- the connection --------------------------------------------------------------------------

    def _open(self) -> Any:
        if self._connection is None:
            os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)
            connection = connect(self.path)
            try:
                self._owner = self._register(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _register(self, connection: Any) -> int:
        owner = connection.execute("INSERT INTO owners(pid) VALUES (?)", (self._pid,)).lastrowid
        if not HOLDS.take(self._lock_path, owner):
            raise OSError(f"cannot lock {self._lock_path}")
        return int(owner)

    def close(self) -> None:
        """Leave what is left to whoever opens the file next."""
        with _GATE.lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                HOLDS.release(self._lock_path, self._owner)
                connection.close()

    def leave_to_parent(self) -> None:
        """In a child: never touch the parent's connection again."""
        if self._connection is not None:
            _GATE.leave(self._connection)
            self._connection = None

    def set_aside(self) -> str:
        """Rename a file that cannot be read; return its new name. The next use makes a new one."""
        with _GATE.lock:
            self.close()
            stem = self.path[: -len(SUFFIX)]
            aside = f"{stem}.corrupt-{strftime('%Y%m%dT%H%M%S')}-{os.getpid()}.db"
            for end in ("", "-wal", "-shm"):
                if os.path.exists(self.path + end):
                    os.replace(self.path + end, aside + end)
            return aside

    # -- records ---------------------------------------------------------------------------------

    def append(self, lines: Sequence[str]) -> Chunk:
        """Write records, durably for all that can happen to the process.

        Raises:
            SpoolFullError: there is no room for them.
        """
        with _GATE.lock:
            connection = self._open()
            if used_bytes(connection) >= self._max_bytes:
                raise SpoolFullError
            at = self._wall()
            number = connection.execute(
                "INSERT INTO chunks(owner, at, count, lines) VALUES (?, ?, ?, ?)",
                (self._owner, at, len(lines), "\n".join(lines)),
            ).lastrowid
        return Chunk(int(number), at, [], list(range(len(lines))))

    def load(self, after: int, most: int) -> list[Chunk]:
        """Return own chunks, those that were written first, above a number, up to so many records."""
        found = []
        with _GATE.lock:
            query = (
                "SELECT id, at, undone, lines FROM chunks WHERE owner = ? AND id > ? ORDER BY id"
            )
            rows = self._open().execute(query, (self._owner, after))
            for number, at, undone, text in rows:
                lines = text.split("\n")
                found.append(Chunk(number, at, lines, _places(undone, len(lines))))
                most -= len(found[-1].undone)
                if most <= 0:
                    break
            rows.close()
        return found

    def done(self, number: int, undone: Sequence[int]) -> None:
        """Say which lines of a chunk are left; none removes it."""
        with _GATE.lock:
            if undone:
                self._open().execute(
                    "UPDATE chunks SET count = ?, undone = ? WHERE id = ?",
                    (len(undone), json.dumps(undone), number),
                )
            else:
                self._open().execute("DELETE FROM chunks WHERE id = ?", (number,))

    def adopt(self) -> tuple[int, int]:
        """Take over what owners that are no more have left; return how many records, and the lowest chunk of them."""
        with _GATE.lock:
            connection = self._open()
            # Looked at first without taking the right to write, which others wait for.
            query = "SELECT DISTINCT owner FROM chunks WHERE owner != ?"
            others = connection.execute(query, (self._owner,)).fetchall()
            count, lowest = 0, 0
            for (owner,) in others:
                if HOLDS.take(self._lock_path, owner):
                    # Held until it is done: another process that looks finds a living one.
                    try:
                        found = self._take_over(connection, owner)
                    finally:
                        HOLDS.release(self._lock_path, owner)
                    count += found[0]
                    lowest = min(lowest or found[1], found[1])
        return count, lowest

    def _take_over(self, connection: Any, owner: int) -> tuple[int, int]:
        connection.execute("BEGIN IMMEDIATE")
        try:
            query = (
                "SELECT coalesce(sum(count), 0), coalesce(min(id), 0) FROM chunks WHERE owner = ?"
            )
            count, lowest = connection.execute(query, (owner,)).fetchone()
            connection.execute("UPDATE chunks SET owner = ? WHERE owner = ?", (self._owner, owner))
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        return count, lowest

    def expire(self, older_than: float, after: int) -> int:
        """Remove own chunks above a number that were written before a time; return how many records."""
        old = (self._owner, after, older_than)
        with _GATE.lock:
            connection = self._open()
            query = (
                "SELECT coalesce(sum(count), 0) FROM chunks WHERE owner = ? AND id > ? AND at < ?"
            )
            count = connection.execute(query, old).fetchone()[0]
            if count:
                command = "DELETE FROM chunks WHERE owner = ? AND id > ? AND at < ?"
                connection.execute(command, old)
        return int(count)

    def shrink(self) -> None:
        """Give room that is free back to the disk."""
        with _GATE.lock:
            if self._connection is not None:
                # A script: `execute` would stop after the first page.
                self._connection.executescript("PRAGMA incremental_vacuum")
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def file_name(name: str) -> str:
    """Return the name of the file of a publisher."""
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in name)[:100] + SUFFIX


def connect(path: str) -> Any:
    """Open the file of a spool, made if need be, readable for its user alone.

    Raises:
        sqlite3.Error, OSError: that cannot be done.
    """
    if not os.path.exists(path):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    connection = sqlite3.connect(
        path, timeout=PATIENCE, isolation_level=None, check_same_thread=False
    )
    try:
        # Survives whatever happens to the process. When the machine dies, the last moments are lost.
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
        connection.execute("PRAGMA synchronous = NORMAL")
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'chunks'").fetchone():
            connection.executescript(_SCHEMA)
    except BaseException:
        connection.close()
        raise
    return connection


def used_bytes(connection: Any) -> int:
    """Return how much of the file holds something."""
    size, pages, free = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_size", "page_count", "freelist_count")
    )
    return int(size * (pages - free))


def _places(undone: str | None, count: int) -> list[int]:
    if undone is None:
        return list(range(count))
    found: list[int] = json.loads(undone)
    return found
