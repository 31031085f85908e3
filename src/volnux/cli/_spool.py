"""`volnux spool`: what waits on disk for publishers, seen, delivered and removed."""

from __future__ import annotations

import json
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Final

from volnux._text import count, seconds, size, some
from volnux.telemetry import JSONLinesPublisher, Registry, TelemetryError, monitor_events
from volnux.telemetry.spools import drop_spooled, spool_status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from volnux.telemetry import MetricsPublisher
    from volnux.telemetry.spools import SpoolStatus

#: Seconds between two looks at how far it is.
_LOOK: Final = 0.1


@dataclass(frozen=True)
class Status:
    """What `volnux spool status` was asked to do; calling it does it.

    Attributes:
        folder: of the spools.
        as_json: whether machines are to read it.
    """

    folder: str
    as_json: bool

    def __call__(self) -> int:
        """Say what waits; return 0, or 1 if a file cannot be read, or 2 if there is no such folder."""
        try:
            found = spool_status(self.folder)
        except OSError as error:
            return _fail("status", f"can't read {self.folder!r}: {error.strerror}")
        if self.as_json:
            sys.stdout.write(json.dumps([one._asdict() for one in found], indent=2) + "\n")
        elif not found:
            sys.stdout.write(f"nothing: no program has used {self.folder!r} as its spool\n")
        else:
            sys.stdout.write("".join(map(_told, found)))
        return 1 if any(one.error for one in found) else 0


def _told(one: SpoolStatus) -> str:
    lines = []
    if one.error is not None:
        lines.append(f"{one.name}: cannot be read: {one.error}")
        lines.append("  the next program that uses it sets it aside")
    elif not one.records:
        lines.append(f"{one.name}: empty")
    else:
        age = seconds(max(0.0, time.time() - (one.oldest or 0.0)))
        lines.append(
            f"{one.name}: {some(one.records, 'record')}, {size(one.bytes)}, the oldest {age} ago"
        )
        if one.in_use:
            lines.append(f"  {count(one.in_use)} of a program that runs, and delivers them")
    lines += [f"  set aside, since it could not be read: {name}" for name in one.set_aside]
    return "".join(f"{line}\n" for line in lines)


@dataclass(frozen=True)
class Drop:
    """What `volnux spool drop` was asked to do; calling it does it.

    Attributes:
        folder: of the spools.
        name: of the publisher; None for all.
        older_than: seconds.
        asks: whether to ask first.
    """

    folder: str
    name: str | None
    older_than: float
    asks: bool

    def __call__(self) -> int:
        """Remove what waits; return 0, 1 if that was not wanted, or 2 if it is not possible."""
        try:
            if self.asks and not self._is_sure():
                return 1
            dropped = drop_spooled(self.folder, self.name, older_than=self.older_than)
        except OSError as error:
            return _fail("drop", f"can't read {self.folder!r}: {error.strerror}")
        except TelemetryError as error:
            return _fail("drop", str(error))
        for name, number in dropped.items():
            sys.stdout.write(f"{name}: dropped {some(number, 'record')}\n")
        return 0

    def _is_sure(self) -> bool:
        found = [one for one in spool_status(self.folder) if self.name in (None, one.name)]
        waiting = sum(one.records - one.in_use for one in found)
        if not waiting:
            return True
        sys.stderr.write(f"Remove {some(waiting, 'record')} for good? [y/N] ")
        sys.stderr.flush()
        return sys.stdin.readline().strip().lower() in {"y", "yes"}


@dataclass(frozen=True)
class Flush:
    """What `volnux spool flush` was asked to do; calling it does it.

    Attributes:
        folder: of the spools.
        publishers: where publishers are found, as MODULE:NAME; None if `out` is given.
        out: a file that gets the records as JSON lines instead.
        timeout: seconds without progress after which it is given up.
    """

    folder: str
    publishers: str | None
    out: str | None
    timeout: float

    def __call__(self) -> int:
        """Deliver what waits; return 0, 1 if some is left, or 2 if it is not possible."""
        try:
            waiting = {one.name: one for one in spool_status(self.folder) if one.records}
            chosen = self._chosen(waiting)
        except OSError as error:
            return _fail("flush", f"can't read {self.folder!r}: {error.strerror}")
        except (ImportError, AttributeError, TypeError, ValueError) as error:
            return _fail("flush", f"{self.publishers}: {type(error).__name__}: {error}")
        for name in sorted(waiting.keys() - {one.name for one in chosen}):
            sys.stderr.write(f"volnux spool flush: no publisher is called {name}: left alone\n")
        status = 0 if len(chosen) == len(waiting) else 1
        for publisher in chosen:
            status |= self._deliver(publisher, waiting[publisher.name])
        return status

    def _chosen(self, waiting: dict[str, SpoolStatus]) -> list[MetricsPublisher]:
        if self.out is not None:
            return [_Named(self.out, name) for name in waiting]
        module, _, name = (self.publishers or "").partition(":")
        sys.path.insert(0, "")
        found: Any = getattr(import_module(module), name)
        if callable(found) and not hasattr(found, "publish_event_metrics"):
            found = found()
        publishers = list(found) if isinstance(found, (list, tuple)) else [found]
        members = [m for one in publishers for m in getattr(one, "publishers", [one])]
        return [one for one in members if one.name in waiting]

    def _deliver(self, publisher: MetricsPublisher, before: SpoolStatus) -> int:
        left = before.records - before.in_use
        monitor = monitor_events(
            [publisher], spool=self.folder, registry=Registry(), interval=_LOOK
        )
        with monitor, _progress(publisher.name, left) as advance:
            done, until = 0, time.monotonic() + self.timeout
            counts = monitor.health().publishers[publisher.name]
            while time.monotonic() < until:
                monitor.flush(timeout=_LOOK)
                counts = monitor.health().publishers[publisher.name]
                gone = counts["delivered"] + sum(counts["dropped"].values())
                if gone > done:
                    advance(gone - done)
                    done, until = gone, time.monotonic() + self.timeout
                if counts["accepted"] >= left and not counts["pending"]:
                    break
        sys.stdout.write(f"{publisher.name}: delivered {some(counts['delivered'], 'record')}")
        for reason, number in counts["dropped"].items():
            sys.stdout.write(f", dropped {count(number)} ({reason})")
        rest = max(0, left - done)
        sys.stdout.write(f", {count(rest)} left: the back end takes none\n" if rest else "\n")
        return 1 if rest else 0


class _Named(JSONLinesPublisher):
    """Writes to a file what waits for another publisher."""

    def __init__(self, path: str, name: str) -> None:
        super().__init__(path)
        self._name = name

    @property
    def name(self) -> str:
        return self._name


@contextmanager
def _progress(name: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how far it is, on a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn(name), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total)
        yield lambda number: progress.advance(task, number)


def _fail(command: str, text: str) -> int:
    sys.stderr.write(f"volnux spool {command}: {text}\n")
    return 2
