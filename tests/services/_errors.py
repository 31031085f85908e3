"""What goes wrong with a server, as a text that names the way out."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

#: How many lines of a log an error shows.
TAIL = 25


class ServiceError(Exception):
    """Raised when a server cannot be installed, started or stopped."""


def with_tail(text: str, log: Path) -> str:
    """An error's text, and below it how the log ends."""
    lines = log.read_text("utf-8", "replace").splitlines() if log.is_file() else []
    shown = [f"  | {line}" for line in lines[-TAIL:]] or ["  | (it is empty)"]
    return "\n".join([text, f"  The end of {log}:", *shown])
