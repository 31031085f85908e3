"""Records as lines for a person to read."""

from __future__ import annotations

import sys
from io import UnsupportedOperation
from typing import TYPE_CHECKING

from volnux.telemetry._publisher import MetricsPublisher
from volnux.telemetry._records import NetworkMetrics
from volnux.telemetry.errors import PublishError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, TextIO

    from volnux.telemetry._publisher import Record
    from volnux.telemetry._records import EventMetrics

#: Characters that a single value may take on a line.
WIDTH = 60


class ConsolePublisher(MetricsPublisher):
    """Writes one readable line for each record.

    ```text
    completed  fetch                        12.4 ms  attempts=2 url='/index.html'
    failed     parse                         1.20 s  SyntaxError: invalid syntax
    completed  GET example.org:443          38.1 ms  sent=120 B received=5.2 kB
    ```

    Control characters are escaped, so that no record can write to the terminal by itself.

    Args:
        stream: where to write; what `sys.stderr` is at that moment, by default.

    Raises:
        TypeError: the stream takes no text.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        if stream is not None:
            _check_stream(stream)
        self._stream = stream

    def __repr__(self) -> str:
        return (
            "ConsolePublisher()" if self._stream is None else f"ConsolePublisher({self._stream!r})"
        )

    def publish_event_metrics(self, metrics: EventMetrics) -> None:
        """Write the line of one event."""
        self._write(event_line(metrics))

    def publish_network_metrics(self, metrics: dict[str, Any]) -> None:
        """Write the line of one network operation."""
        self._write(network_line(metrics))

    def publish_batch(self, records: Sequence[Record]) -> None:
        """Write the lines of several records at once."""
        self._write("".join(map(_line, records)))

    def flush(self, timeout: float | None = None) -> bool:  # a stream has no deadline
        """Flush the stream."""
        stream = self._where()
        if stream is not None and not stream.closed:
            stream.flush()
        return True

    def _where(self) -> TextIO | None:
        return sys.stderr if self._stream is None else self._stream

    def _write(self, text: str) -> None:
        stream = self._where()
        if stream is None:  # a program without a console
            return
        encoding = getattr(stream, "encoding", None) or "utf-8"
        try:
            stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
            stream.flush()
        except ValueError as error:  # closed
            raise PublishError(f"cannot write to {stream!r}", permanent=True) from error


def _check_stream(stream: object) -> None:
    if not hasattr(stream, "write"):
        raise TypeError(f"ConsolePublisher writes to a text stream, not to {stream!r}")
    try:
        stream.write("")
    except (TypeError, UnsupportedOperation) as error:  # binary, or open for reading
        raise TypeError(
            f"ConsolePublisher writes to a text stream, not to {stream!r}: "
            'open it with mode "w" or "a"'
        ) from error
    except (OSError, ValueError):  # closed, or out of order just now: told when a record comes
        pass


def _line(record: Record) -> str:
    if isinstance(record, NetworkMetrics):
        return network_line(record.to_dict())
    return event_line(record)


def event_line(record: EventMetrics) -> str:
    """Return the line of one event."""
    facts = []
    if record.retry_count:
        facts.append(f"attempts={max(record.retry_count + 1, len(record.attempts))}")
    if record.items is not None:
        facts.append(f"items={record.items}")
    facts += _ending(record.error_type, record.error)
    facts += _attributes(record.attributes)
    return _join(record.status, record.event_name, record.duration, facts)


def network_line(data: Mapping[str, Any]) -> str:
    """Return the line of one network operation."""
    host, port = str(data["host"]), data["port"]
    place = f"[{host}]" if ":" in host and port is not None else host
    facts = [f"sent={_size(data['bytes_sent'])}", f"received={_size(data['bytes_received'])}"]
    facts += _ending(data["error_type"], data["error"])
    facts += _attributes(data["attributes"])
    name = f"{data['operation']} {place}" + ("" if port is None else f":{port}")
    return _join(data["status"], name, data["latency"], facts)


def _join(status: str, name: str, seconds: float, facts: list[str]) -> str:
    line = f"{status:<9}  {_safe(name):<28}  {_time(seconds):>8}  {' '.join(facts)}"
    return line.rstrip() + "\n"


def _ending(error_type: str | None, error: str | None) -> list[str]:
    if error_type is None:
        return []
    return [_safe(error_type) + (f": {_short(error)}" if error else "")]


def _attributes(attributes: Mapping[str, Any]) -> list[str]:
    return [f"{_short(key)}={_short(repr(value))}" for key, value in attributes.items()]


def _short(text: str) -> str:
    safe = _safe(text)
    return safe if len(safe) <= WIDTH else safe[: WIDTH - 1] + "…"


def _safe(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def _time(seconds: float) -> str:
    for factor, unit in ((1.0, "s"), (1e3, "ms")):
        if seconds * factor >= 1.0:
            return _digits(seconds * factor) + " " + unit
    return _digits(seconds * 1e6) + " µs"


def _size(count: int) -> str:
    if count < 1_000:
        return f"{count} B"
    amount, unit = count / 1e3, "kB"
    for larger in ("MB", "GB", "TB"):
        if amount < 999.5:  # what would be shown as 1000
            break
        amount, unit = amount / 1e3, larger
    return f"{_digits(amount)} {unit}"


def _digits(amount: float) -> str:
    """Three digits that count, whatever the size."""
    return f"{amount:.{2 if amount < 9.995 else 1 if amount < 99.95 else 0}f}"
