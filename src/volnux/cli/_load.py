"""JSON lines of one or many processes, read into a registry in bounded memory."""

from __future__ import annotations

import gzip
import io
import json
import math
import os
import sys
import zlib
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Final

from volnux.telemetry import EventMetrics, NetworkMetrics, Registry, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

#: Single records kept of each kind. The totals are of all.
CAPACITY: Final = 20_000
#: A line longer than this is not one record.
LONGEST_LINE: Final = 1 << 24
#: The longest beginning of what json reads in one go: "fals", or the escape of a character.
CUT: Final = 6
_DONE: Final = {Status.COMPLETED, Status.FAILED, Status.CANCELLED}


@dataclass
class Loaded:
    """What a number of files held.

    Attributes:
        registry: totals of all records, and the records that matter most.
        files: the files that were read, by the names they were given.
        records: how many records there were.
        processes: the identifiers of the processes they come from.
        spans: for each file with records, their first start and last end, seconds since the epoch.
        errors: one line for each file that has something wrong in it.
        notes: one line for each thing worth knowing that is not an error.
    """

    registry: Registry = field(default_factory=lambda: Registry(CAPACITY))
    files: list[str] = field(default_factory=list)
    records: int = 0
    processes: set[int] = field(default_factory=set)
    spans: list[tuple[float, float]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def wall(self) -> float:
        """Seconds that the files cover together; gaps between them do not count."""
        total, reached = 0.0, -math.inf
        for start, end in sorted(self.spans):
            total += max(0.0, end - max(start, reached))
            reached = max(reached, end)
        return total


def load(paths: Iterable[str], progress: Callable[[int], None] = lambda _: None) -> Loaded:
    """Read files of JSON lines.

    What is wrong with a file becomes one of the result's `errors`; its good lines count all the
    same.

    Args:
        paths: JSON lines, plain or compressed by gzip; `-` for standard input.
        progress: called now and then with the number of bytes read since the last time.
    """
    loaded = Loaded()
    seen = set()
    for path in paths:
        real = os.path.realpath(path)
        if path != "-" and real in seen:
            loaded.notes.append(f"{path}: given twice, read once")
            continue
        seen.add(real)
        loaded.files.append(path)
        _File(path, loaded, progress).read()
    return loaded


class _BadLineError(ValueError):
    """Raised when a line is not a record; says what it is instead."""


class _UnfinishedError(_BadLineError):
    """Raised when a line is not JSON because it was never finished."""


class _Lines:
    """Lines of one kind, of which the first is named and the others are counted."""

    def __init__(self) -> None:
        self._first: tuple[int, str] | None = None
        self.count = 0

    def add(self, number: int, text: str) -> None:
        """Count one more."""
        self._first = self._first or (number, text)
        self.count += 1

    def include(self, other: _Lines) -> None:
        """Count those of another kind as well."""
        self._first = min(filter(None, (self._first, other._first)), default=None)
        self.count += other.count

    def told(self, name: str, noun: str, result: str = "") -> Iterator[str]:
        """Yield one line on them, if there are any in the file of this name."""
        if self._first is not None:
            number, text = self._first
            more = self.count - 1
            others = f" ({more:,} more {noun}{'s' * (more > 1)})" if more else ""
            yield f"{name}:{number}: {text}{result}{others}"


class _File:
    """One file on its way into the registry."""

    def __init__(self, path: str, loaded: Loaded, progress: Callable[[int], None]) -> None:
        self._name = "standard input" if path == "-" else path
        self._path = path
        self._loaded = loaded
        self._progress = progress
        self._first, self._last = math.inf, -math.inf
        self._wrong, self._unfinished = _Lines(), _Lines()
        self._good_lines = 0
        self._number = 0

    def read(self) -> None:
        """Read it all."""
        try:
            with _opened(self._path, self._progress) as stream:
                self._read_lines(stream)
        except (EOFError, gzip.BadGzipFile, zlib.error):
            self._say(f"{self._name}:{self._number + 1}: the gzip data is damaged or cut short")
        except OSError as error:
            self._say(f"{self._name}: {(error.strerror or str(error)).lower()}")
        else:
            if not (self._good_lines or self._wrong.count or self._unfinished.count):
                self._say(f"{self._name}: is empty")
        self._say_what_is_wrong()
        if self._good_lines:
            self._loaded.records += self._good_lines
            self._loaded.spans.append((self._first, self._last))

    def _read_lines(self, stream: IO[bytes]) -> None:
        for self._number, line in enumerate(_lines(stream), 1):
            if not line.strip():
                continue
            try:
                self._take(line)
            except _BadLineError as error:
                self._pass_over(line, error)

    def _pass_over(self, line: bytes, error: _BadLineError) -> None:
        if not line.endswith(b"\n") and self._good_lines and line.startswith(b"{"):
            self._loaded.notes.append(
                f"{self._name}:{self._number}: the last line is cut short, left out"
            )
        elif isinstance(error, _UnfinishedError):
            self._unfinished.add(self._number, str(error))
        else:
            self._wrong.add(self._number, str(error))

    def _take(self, line: bytes) -> None:
        record = parse(line)
        try:
            self._loaded.registry.add(record)
        except (ArithmeticError, TypeError, ValueError) as error:
            raise _BadLineError(f"not a record: {error}") from None
        self._good_lines += 1
        self._loaded.processes.add(record.process_id)
        self._first = min(self._first, record.start_time)
        self._last = max(self._last, record.end_time or record.start_time)

    def _say_what_is_wrong(self) -> None:
        if self._good_lines:
            # A crash leaves such a line, and whoever writes on after it ends it.
            self._loaded.notes += self._unfinished.told(self._name, "such line", ", left out")
        else:
            self._wrong.include(self._unfinished)
        self._loaded.errors += self._wrong.told(self._name, "bad line")

    def _say(self, text: str) -> None:
        self._loaded.errors.append(text)


def parse(line: bytes) -> EventMetrics | NetworkMetrics:
    """Return the record that a line holds.

    Raises:
        ValueError: it holds none; the text says why.
    """
    data = _data_of(line)
    kind = data.get("kind")
    try:
        if kind == "event":
            return EventMetrics.from_dict(_checked(data, "event_name", "duration"))
        if kind == "network":
            return NetworkMetrics.from_dict(_checked(data, "host", "latency"))
    except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as error:
        raise _BadLineError(f"not a whole record: {str(error)[:80]}") from None
    if isinstance(data.get("schema"), str):
        raise _BadLineError(f"not a record but a document of schema {data['schema'][:40]!r}")
    if isinstance(kind, str):
        raise _BadLineError(f"a record of unknown kind {kind[:40]!r}; from a newer volnux?")
    raise _BadLineError("JSON, but not a record")


def _data_of(line: bytes) -> dict[str, Any]:
    try:
        data = json.loads(line)
    except UnicodeDecodeError:
        raise _BadLineError("not JSON lines but binary data") from None
    except RecursionError:
        raise _BadLineError("JSON nested too deeply") from None
    except ValueError as error:
        if b"\0" in line[:1024] or len(line) >= LONGEST_LINE:
            raise _BadLineError("not JSON lines but binary data") from None
        if isinstance(error, json.JSONDecodeError) and _is_unfinished(error):
            raise _UnfinishedError("a line that was never finished") from None
        raise _BadLineError("not JSON") from None
    if not isinstance(data, dict):
        raise _BadLineError("JSON, but not a record")
    return data


def _is_unfinished(error: json.JSONDecodeError) -> bool:
    """Return whether an object begins and does not end: as `read_jsonlines` sees it."""
    text = error.doc.rstrip()
    if not text.startswith("{"):
        return False
    if error.msg.startswith("Unterminated string"):
        return True
    return error.pos >= len(text) - (0 if text.endswith("}") else CUT)


def _checked(data: dict[str, Any], name: str, length: str) -> dict[str, Any]:
    for key, kinds in (*_NEEDED, (name, str), (length, (int, float))):
        if not isinstance(data.get(key), kinds):
            raise TypeError(f"{key} is {_what(data, key)}")
    for key, kinds in _OPTIONAL:
        if data.get(key) is not None and not isinstance(data[key], kinds):
            raise TypeError(f"{key} is {_what(data, key)}")
    if data["status"] not in _DONE:
        raise ValueError(f"status is {_what(data, 'status')}")
    if not 0 <= data[length] < math.inf:
        raise ValueError(f"{length} is {_what(data, length)}")
    return data


_NEEDED: Final[tuple[tuple[str, Any], ...]] = (
    ("task_id", str),
    ("start_time", str),
    ("status", str),
)
_OPTIONAL: Final[tuple[tuple[str, Any], ...]] = (
    ("parent_id", str),
    ("error_origin", str),
    ("error", str),
    ("error_type", str),
    ("end_time", str),
    ("attributes", dict),
    ("attempts", list),
    ("retry_count", int),
    ("process_id", int),
    ("port", int),
    ("operation", str),
    ("bytes_sent", int),
    ("bytes_received", int),
)


def _what(data: dict[str, Any], key: str) -> str:
    return "missing" if key not in data else repr(data[key])[:40]


def _lines(stream: IO[bytes]) -> Iterator[bytes]:
    while line := stream.readline(LONGEST_LINE):
        rest = line
        while len(rest) == LONGEST_LINE and not rest.endswith(b"\n"):
            rest = stream.readline(LONGEST_LINE)
        yield line


def _opened(path: str, progress: Callable[[int], None]) -> IO[bytes]:
    raw: Any = sys.stdin.buffer if path == "-" else open(path, "rb")  # noqa: SIM115
    stream = io.BufferedReader(_Counted(raw, progress), 1 << 16)
    if stream.peek(2)[:2] == b"\x1f\x8b":
        return gzip.GzipFile(fileobj=stream)  # type: ignore[return-value]
    return stream


class _Counted(io.RawIOBase):
    """A stream that tells how much has been read from it."""

    def __init__(self, stream: IO[bytes], progress: Callable[[int], None]) -> None:
        self._stream = stream
        self._progress = progress

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        self._progress(len(data))
        return len(data)

    def close(self) -> None:
        if self._stream is not sys.stdin.buffer:
            self._stream.close()
        super().close()
