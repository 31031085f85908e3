"""`volnux report`: files of records in, a report out."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from volnux._text import visible
from volnux.cli._load import load
from volnux.cli._report import Source, build

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TextIO

    from volnux.cli._load import Loaded
    from volnux.cli._report import Report

#: Bytes that take so long to read that people want to see it going on.
LONG: Final = 4 << 20


@dataclass(frozen=True)
class Reporting:
    """What `volnux report` was asked to do; calling it does it.

    Attributes:
        files: JSON lines, plain or compressed; `-` for standard input.
        render: writes the report to a stream.
        slow: seconds that a record has to last to be slow.
        name: a pattern for the names to report on, or None for all.
        top: how many slow records and groups of failures to show.
        output: the file to write the report to, or None for standard output.
    """

    files: tuple[str, ...]
    render: Callable[[Report, TextIO], None]
    slow: float
    name: str | None
    top: int
    output: str | None

    def __call__(self) -> int:
        """Write the report; return 0, or 2 if something was wrong with a file."""
        try:
            with _progress(self.files) as advance:
                loaded = load(self.files, advance)
        except KeyboardInterrupt:
            return 130
        for error in loaded.errors:
            sys.stderr.write(f"volnux report: {visible(error)}\n")
        for note in loaded.notes:
            sys.stderr.write(f"volnux report: note: {visible(note)}\n")
        if loaded.records:
            report = build(
                loaded.registry, _source(loaded), slow=self.slow, name=self.name, top=self.top
            )
            if not self._write(report):
                return 2
        return 2 if loaded.errors else 0

    def _write(self, report: Report) -> bool:
        if self.output is None:
            return _write_out(self.render, report)
        try:
            with open(self.output, "w", encoding="utf-8") as stream:
                self.render(report, stream)
        except OSError as error:
            sys.stderr.write(f"volnux report: can't write {self.output!r}: {error.strerror}\n")
            return False
        return True


def _write_out(render: Callable[[Report, TextIO], None], report: Report) -> bool:
    try:
        render(report, sys.stdout)
        sys.stdout.flush()
    except OSError as error:
        # Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):  # the reader has seen enough
            return True
        sys.stderr.write(f"volnux report: can't write: {error.strerror}\n")
        return False
    return True


def _source(loaded: Loaded) -> Source:
    return Source(
        files=tuple(loaded.files),
        records=loaded.records,
        processes=len(loaded.processes),
        start=min((start for start, _ in loaded.spans), default=None),
        end=max((end for _, end in loaded.spans), default=None),
        wall=loaded.wall,
        errors=tuple(loaded.errors),
        notes=tuple(loaded.notes),
    )


@contextmanager
def _progress(files: tuple[str, ...]) -> Iterator[Callable[[int], None]]:
    """Show how far the reading is, on a terminal and if it takes long."""
    total = sum(os.path.getsize(path) for path in files if os.path.isfile(path))
    if not sys.stderr.isatty() or total < LONG:
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("reading"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total)
        yield lambda count: progress.advance(task, count)
