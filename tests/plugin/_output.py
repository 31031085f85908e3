"""What an inner run printed."""

from __future__ import annotations


def between(result, first, last):
    """The lines of a run's output from one that has a text to the one before one that has another."""
    lines = [line.rstrip() for line in result.outlines]
    start = next(number for number, line in enumerate(lines) if first in line)
    end = next(number for number, line in enumerate(lines) if number > start and last in line)
    return "\n".join(lines[start:end])
