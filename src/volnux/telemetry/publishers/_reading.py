"""Reading back what `JSONLinesPublisher` has written."""

from __future__ import annotations

import json
import os
from itertools import count
from typing import TYPE_CHECKING

from volnux.telemetry._records import EventMetrics, NetworkMetrics
from volnux.telemetry.errors import TelemetryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO, TypeAlias

    Record: TypeAlias = EventMetrics | NetworkMetrics

#: The longest line that is read, in bytes: a file without any line breaks is not records.
MAX_LINE = 16 * 1024 * 1024
#: The longest beginning of what json reads in one go: "fals", or the escape of a character.
CUT = 6
TORN = "a line that was never finished"


def read_jsonlines(
    path: str | os.PathLike[str],
    *,
    on_error: Callable[[int, str], object] | None = None,
    rotated: bool = False,
) -> Iterator[Record]:
    """Read the records in a file of JSON lines, in the order in which they were written.

    Lines torn by a crash are passed over: silently the last one, which nobody has touched since.

    Args:
        path: the file.
        on_error: called with the number of a bad line and what is wrong with it; reading goes on.
            Without it the first bad line raises, but for torn ones.
        rotated: read the files that have been set aside (`path.1`, `path.2`, ...) too, oldest
            first; line numbers begin anew in each.

    Returns:
        The records, read as they are asked for: the file may be larger than memory.

    Raises:
        OSError: the file cannot be opened; raised at once.
        TelemetryError: while iterating: a line is no record; the message names file and line.
    """
    last = os.fspath(path)
    paths = _set_aside(last)[::-1] if rotated else []
    if not paths or os.path.exists(last):
        # Opened here already, so that a missing file is an error of this call, not of a later loop.
        with open(last, "rb"):
            paths.append(last)
    return _read_all(paths, on_error)


def _set_aside(path: str) -> list[str]:
    found: list[str] = []
    for number in count(1):
        name = f"{path}.{number}"
        if not os.path.exists(name):
            break
        found.append(name)
    return found


def _read_all(paths: list[str], on_error: Callable[[int, str], object] | None) -> Iterator[Record]:
    for path in paths:
        with open(path, "rb") as file:
            for number, line in enumerate(_lines(file), 1):
                if not line.strip():
                    continue
                try:
                    yield parse_line(line)
                except ValueError as error:
                    _complain(path, number, line, str(error), on_error)


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines, of one that is too long only the beginning."""
    while line := file.readline(MAX_LINE):
        yield line
        while len(line) == MAX_LINE and not line.endswith(b"\n"):
            line = file.readline(MAX_LINE)


def _complain(
    path: str,
    number: int,
    line: bytes,
    problem: str,
    on_error: Callable[[int, str], object] | None,
) -> None:
    is_torn = problem == TORN
    if is_torn and not line.endswith(b"\n") and len(line) < MAX_LINE:
        return  # the last line: whoever wrote it has crashed, or is writing it now
    if on_error is not None:
        on_error(number, problem)
    elif not is_torn:
        raise TelemetryError(f"{path}, line {number}: {problem}")


def parse_line(line: bytes) -> Record:
    """Return the record in one line.

    Raises:
        ValueError: it is none; the message says why.
    """
    try:
        data = json.loads(line)
    except UnicodeDecodeError:
        raise ValueError("not text") from None
    except json.JSONDecodeError as error:
        raise ValueError(TORN if _is_torn(error) else f"not JSON: {error.msg}") from None
    except RecursionError:
        raise ValueError("not a record: nested too deeply") from None
    kind = data.get("kind") if isinstance(data, dict) else None
    if kind not in ("event", "network"):  # a set would want it hashable
        raise ValueError("not a record: no kind of event or network")
    try:
        return (EventMetrics if kind == "event" else NetworkMetrics).from_dict(data)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise ValueError(f"not a record: {error}") from None


def _is_torn(error: json.JSONDecodeError) -> bool:
    """Whether more text could have made it right: an object that begins and does not end."""
    text = error.doc.rstrip()
    if not text.startswith("{"):
        return False
    if error.msg.startswith("Unterminated string"):
        return True
    return error.pos >= len(text) - (0 if text.endswith("}") else CUT)
