"""Numbers that somebody wrote, on the command line or in the ini file."""

from __future__ import annotations

from math import isfinite
from typing import Any


def read_number(name: str, text: str, *, whole: bool) -> Any:
    """Return a number that somebody wrote.

    Raises:
        ValueError: it is none, or less than 0; the text names it.
    """
    try:
        number = int(text) if whole else float(text)
    except ValueError:
        kind = "a whole number" if whole else "a number"
        raise ValueError(f"{name} is {kind}, not {text!r}") from None
    if number < 0 or not isfinite(number):
        raise ValueError(f"{name} is 0 or more, not {text!r}")
    return number
