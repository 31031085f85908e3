"""What the example shows of its work: a progress line, and what the index holds."""

from __future__ import annotations

import collections
import sys
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import sqlite3

    from _server import Traffic

NAMED: Final = 6


class Progress:
    """A line on stderr, when there is somebody to read it."""

    def __init__(self) -> None:
        self.files = 0
        self._visible = sys.stderr.isatty()
        self._next = 0.0

    def step(self) -> None:
        """Count one file."""
        self.files += 1
        if self._visible and time.monotonic() >= self._next:
            self._next = time.monotonic() + 0.1
            print(f"\r{self.files:,} files ", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Wipe the line."""
        if self._visible:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def print_results(
    db: sqlite3.Connection, files: int, failures: list[tuple[str, Exception]], traffic: Traffic
) -> None:
    """Print what the index holds, what failed, and what the server says it served."""
    modules, lines = db.execute("SELECT count(*), total(lines) FROM module").fetchone()
    print(f"Files: {files:,} taken, {modules:,} indexed, {lines:,.0f} lines")
    print("\nSymbols")
    for kind, count in db.execute(
        "SELECT kind, count(*) FROM symbol GROUP BY kind ORDER BY 2 DESC"
    ):
        print(f"  {count:>8,}  {kind}")
    print("\nLargest modules, in lines")
    for path, lines in db.execute("SELECT path, lines FROM module ORDER BY 2 DESC, 1 LIMIT 10"):
        print(f"  {lines:>8,}  {path}")
    print("\nFailures")
    kinds: dict[str, list[str]] = collections.defaultdict(list)
    for subject, error in failures:
        kinds[type(error).__name__].append(subject)
    for kind, subjects in sorted(kinds.items()):
        more = ", ..." if len(subjects) > NAMED else ""
        print(f"  {len(subjects):>8,}  {kind}: {', '.join(sorted(subjects)[:NAMED])}{more}")
    print(
        f"\nServer: {traffic.requests:,} requests, {traffic.unavailable:,} answered 503,"
        f" {traffic.cut:,} cut, {traffic.stalled:,} stalled;"
        f" {traffic.bytes_in:,} bytes in, {traffic.bytes_out:,} bytes out"
    )
