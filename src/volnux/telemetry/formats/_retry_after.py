"""`Retry-After`, as servers write it."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from time import time


def seconds_of(text: str | None) -> float | None:
    """Return the seconds that the header asks for, be it in seconds or as a date (RFC 9110, 10.2.3).

    Args:
        text: its value; None where there is none.
    """
    if not text:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time())
    except (TypeError, ValueError):
        return None
