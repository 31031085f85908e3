"""How long to leave a failing back end alone."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds: the shortest wait, the longest, and the longest that a back end may ask for.
BASE = 0.25
CAP = 30.0
LONGEST = 3600.0


class Backoff:
    """Waits that grow and are jittered ("decorrelated"): many clients do not return in step.

    Args:
        uniform: what draws a number between two others.
    """

    def __init__(self, uniform: Callable[[float, float], float]) -> None:
        self._uniform = uniform
        self.reset()

    def reset(self) -> None:
        """The back end has answered: forget the failures."""
        self._last = BASE
        self._until = 0.0
        self._is_asked_for = False

    def failed(self, now: float, retry_after: float | None = None) -> None:
        """Take note of one more failure, and of the wait that the back end asked for."""
        self._last = min(CAP, self._uniform(BASE, 3 * self._last))
        wait = self._last
        self._is_asked_for = _is_wait(retry_after)
        if self._is_asked_for and retry_after is not None:
            wait = max(wait, min(retry_after, LONGEST))
        self._until = now + wait

    def remaining(self, now: float) -> float:
        """Return the seconds still to wait, 0 for none."""
        return max(0.0, self._until - now)

    def hurry(self) -> None:
        """Wait no longer, unless the back end itself has asked for it."""
        if not self._is_asked_for:
            self._until = 0.0


def _is_wait(seconds: object) -> bool:
    return isinstance(seconds, (int, float)) and isfinite(seconds) and seconds > 0
