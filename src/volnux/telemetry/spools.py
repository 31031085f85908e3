"""What waits in the spools of `monitor_events(spool=...)`, seen from outside of the program."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from time import time
from typing import TYPE_CHECKING, NamedTuple

from volnux.telemetry._holds import HOLDS
from volnux.telemetry._spool_file import LOCK_SUFFIX, SUFFIX, connect, used_bytes
from volnux.telemetry.errors import TelemetryError

if TYPE_CHECKING:
    from typing import Any

__all__ = ["SpoolStatus", "drop_spooled", "spool_status"]


class SpoolStatus(NamedTuple):
    """What waits for one publisher.

    Attributes:
        name: the publisher's.
        path: the file.
        records: how many wait.
        in_use: how many of these belong to processes that are alive, and are theirs to deliver.
        bytes: how much of the file they take.
        oldest: when the oldest was written, in seconds since the epoch; None if there is none.
        set_aside: files that could not be read, and were renamed.
        error: why the file cannot be read, or None; the numbers are 0 then.
    """

    name: str
    path: str
    records: int
    in_use: int
    bytes: int
    oldest: float | None
    set_aside: tuple[str, ...]
    error: str | None = None


def spool_status(folder: str | os.PathLike[str]) -> list[SpoolStatus]:
    """Return what waits in a folder, for each publisher; safe while programs use it.

    Raises:
        OSError: there is no such folder, or it cannot be read.
    """
    folder = os.path.abspath(folder)
    names = os.listdir(folder)
    found = []
    for name in sorted(names):
        if name.endswith(SUFFIX):
            stem = name[: -len(SUFFIX)]
            begins = f"{stem}.corrupt-"
            aside = sorted(one for one in names if one.startswith(begins) and one.endswith(".db"))
            found.append(_status_of(stem, os.path.join(folder, name), tuple(aside)))
    return found


def _status_of(name: str, path: str, aside: tuple[str, ...]) -> SpoolStatus:
    try:
        connection = connect(path)
        try:
            records, oldest = connection.execute(
                "SELECT coalesce(sum(count), 0), min(at) FROM chunks"
            ).fetchone()
            counts = dict(
                connection.execute("SELECT owner, sum(count) FROM chunks GROUP BY owner").fetchall()
            )
            gone = _owners_gone(path, counts)
            in_use = sum(count for owner, count in counts.items() if owner not in gone)
            size = used_bytes(connection)
        finally:
            connection.close()
    except (sqlite3.Error, OSError) as error:
        return SpoolStatus(name, path, 0, 0, 0, None, aside, str(error))
    return SpoolStatus(name, path, records, in_use, size, oldest, aside)


def drop_spooled(
    folder: str | os.PathLike[str], name: str | None = None, *, older_than: float = 0.0
) -> dict[str, int]:
    """Remove what waits, for good; what belongs to a process that is alive stays.

    Args:
        folder: where the spools are.
        name: of the publisher; all of them by default.
        older_than: seconds; what was written later stays.

    Returns:
        How many records were removed, by publisher.

    Raises:
        OSError: there is no such folder, or it cannot be read.
        TelemetryError: there is no spool of this name, or a file cannot be read or written.
    """
    dropped: Counter[str] = Counter()
    found = [one for one in spool_status(folder) if name in (None, one.name)]
    if name is not None and not found:
        raise TelemetryError(f"there is no spool of {name} in {os.fspath(folder)}")
    for one in found:
        try:
            dropped[one.name] = _drop(one.path, time() - older_than)
        except (sqlite3.Error, OSError) as error:
            raise TelemetryError(f"{one.path}: {error}") from error
    return dict(dropped)


def _drop(path: str, before: float) -> int:
    connection = connect(path)
    try:
        owners = [row[0] for row in connection.execute("SELECT DISTINCT owner FROM chunks")]
        count = 0
        for owner in _owners_gone(path, owners):
            where = (owner, before)
            count += connection.execute(
                "SELECT coalesce(sum(count), 0) FROM chunks WHERE owner = ? AND at <= ?", where
            ).fetchone()[0]
            connection.execute("DELETE FROM chunks WHERE owner = ? AND at <= ?", where)
        connection.executescript("PRAGMA incremental_vacuum")
    finally:
        connection.close()
    return count


def _owners_gone(path: str, owners: Any) -> set[int]:
    """Return which of the owners are no more."""
    gone = set()
    for owner in owners:
        if HOLDS.take(path + LOCK_SUFFIX, owner):
            HOLDS.release(path + LOCK_SUFFIX, owner)
            gone.add(owner)
    return gone
