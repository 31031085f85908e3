"""Identifiers: 64-bit numbers, unique across processes, shown as 16 hexadecimal digits.

A process draws a random start and counts from there. Two processes with a million events each meet
with a probability of 2e6 / 2**62. The form is that of a span id in W3C Trace Context.
"""

from __future__ import annotations

import os
from _thread import RLock
from itertools import count

from volnux.telemetry._fork import on_fork


class _Ids:
    def __init__(self) -> None:
        self._after_fork()

    def _after_fork(self) -> None:
        # A child counts from a start of its own, and its lock is free whoever held it at the fork.
        start = (int.from_bytes(os.urandom(8), "big") >> 2) + 1
        self.take = count(start).__next__
        self.lock = RLock()


IDS = _Ids()
on_fork(IDS)


def show_id(number: int | str) -> str | None:
    """Return an identifier as records show it; None for 0, which stands for "none"."""
    if isinstance(number, str):
        return number
    return f"{number:016x}" if number else None


def read_id(text: str | None) -> int | str:
    """Return what `show_id` was given; text that is no identifier of ours stays text."""
    if not text:
        return 0
    try:
        return int(text, 16) if len(text) == 16 else text
    except ValueError:
        return text
