"""Numbers and names as people read them."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Final

_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86_400
_KIB: Final = 1024
_ROUNDS_UP: Final = 0.9995


def seconds(value: float) -> str:
    """Return a duration in three digits or so: `850ns`, `12.3µs`, `4.21s`, `3m12s`, `2h05m`."""
    for unit, size in (("ns", 1e-9), ("µs", 1e-6), ("ms", 1e-3)):
        if value < _ROUNDS_UP * size * 1000:
            return f"{_three(value / size)}{unit}" if value >= 0.5e-9 else "0s"
    if value < _MINUTE * _ROUNDS_UP:
        return f"{_three(value)}s"
    whole = round(value)
    if whole < _HOUR:
        return f"{whole // _MINUTE}m{whole % _MINUTE:02d}s"
    if whole < _DAY:
        return f"{whole // _HOUR}h{whole % _HOUR // _MINUTE:02d}m"
    return f"{whole // _DAY}d{whole % _DAY // _HOUR:02d}h"


def size(value: int) -> str:
    """Return a number of bytes: `512 B`, `1.21 KiB`, `34.0 MiB`."""
    if value < _KIB:
        return f"{value} B"
    scaled = float(value)
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        scaled /= _KIB
        if scaled < _KIB * _ROUNDS_UP:
            return f"{_three(scaled)} {unit}"
    return f"{scaled / _KIB:,.1f} PiB"


def share(value: float) -> str:
    """Return a fraction as a percentage: `<1%`, `42%`, `640%`."""
    if 0 < value < 0.005:
        return "<1%"
    return f"{value * 100:,.0f}%"


def count(value: int) -> str:
    """Return a count with its thousands apart: `1,204`."""
    return f"{value:,}"


def some(number: int, noun: str, plural: str | None = None) -> str:
    """Return a count with its noun: `1 event`, `1,204 events`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def span(start: float, end: float) -> str:
    """Return a stretch of time in UTC, with the date of its end only if it is another day's."""
    first = datetime.fromtimestamp(start, timezone.utc)
    last = datetime.fromtimestamp(end, timezone.utc)
    form = "%H:%M:%S" if first.date() == last.date() else "%Y-%m-%d %H:%M:%S"
    return f"{first:%Y-%m-%d %H:%M:%S} to {last:{form}} UTC"


def visible(text: str) -> str:
    """Return a text on one line that can do nothing to a terminal.

    Whitespace is joined; what is not printable, control and direction characters among it, is
    spelled out as in a Python string.
    """
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in " ".join(str(text).split())
    )


def value(thing: object) -> str:
    """Return the value of an attribute on one line; a text without quotes."""
    return visible(thing if isinstance(thing, str) else repr(thing))


def _three(number: float) -> str:
    for digits, limit in ((2, 9.995), (1, 99.95)):
        if number < limit:
            return f"{number:.{digits}f}"
    return f"{number:.0f}"
