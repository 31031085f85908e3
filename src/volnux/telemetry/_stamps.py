"""Stamps as text: ISO-8601 in UTC, to the microsecond."""

from __future__ import annotations

from time import gmtime, strftime

#: Seconds since the epoch of the years 1000 to 9999, whose stamps everybody can read.
EARLIEST = -30_610_224_000
LATEST = 253_402_300_799

#: The whole second that was written last, and its text: records come in bursts.
_second: tuple[int, str] = (0, "1970-01-01T00:00:00")


def to_iso(seconds: float) -> str:
    """Return seconds since the epoch as an ISO-8601 stamp in UTC, to the microsecond."""
    if not EARLIEST <= seconds <= LATEST:  # a clock outside the calendar, or no number
        seconds = 0.0
    # Apart, since a float holds the product of seconds and a million less exactly than its parts.
    whole = int(seconds // 1)
    part = round((seconds - whole) * 1e6)
    if part == 1_000_000:
        whole, part = whole + 1, 0
    return f"{_to_second(whole)}.{part:06d}Z"


def micros_to_iso(micros: int) -> str:
    """Return whole microseconds since the epoch as `to_iso` does: in a third of the time."""
    whole, part = divmod(micros, 1_000_000)
    if not EARLIEST <= whole < LATEST:
        return to_iso(micros / 1e6)
    known, text = _second
    return f"{text if known == whole else _to_second(whole)}.{part:06d}Z"


def _to_second(whole: int) -> str:
    global _second  # noqa: PLW0603  # one tuple, replaced whole
    known, text = _second
    if known != whole:
        text = strftime("%Y-%m-%dT%H:%M:%S", gmtime(whole))
        _second = (whole, text)
    return text


def from_iso(text: str) -> float:
    """Return the seconds since the epoch that `to_iso` was given.

    Raises:
        ValueError: the text is no such stamp.
    """
    from datetime import datetime

    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
