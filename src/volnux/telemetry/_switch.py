"""Whether anything is recording at all."""

from __future__ import annotations

import os

from volnux.telemetry._ids import IDS


class Switch:
    """Whether anything at all may be recording: the one test that a traced call makes while off."""

    __slots__ = ("on", "used", "users")

    def __init__(self) -> None:
        self.users = 0
        self.on = False
        #: Whether telemetry has ever been on, so that a query can say that it was not.
        self.used = False

    def add(self) -> None:
        """Switch on until the matching `remove`. `VOLNUX_TELEMETRY=off` wins."""
        with IDS.lock:
            self.users += 1
            self.used = True
            self.on = not is_disabled()

    def remove(self) -> None:
        """Take one `add` back."""
        with IDS.lock:
            self.users -= 1
            self.on = self.users > 0 and not is_disabled()


def is_disabled() -> bool:
    """Return whether the environment switches telemetry off for good."""
    return os.environ.get("VOLNUX_TELEMETRY", "").strip().lower() in {"off", "0", "false", "no"}


SWITCH = Switch()
