"""What an event may come to at most: a promise that tests hold it to."""

from __future__ import annotations

from volnux.telemetry._frozen import Frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: The limits of a budget; all are numbers, and one of them need not be whole.
LIMITS = ("max_failed", "max_seconds", "max_retries", "max_bytes", "max_calls")


def check_limit(name: str, value: Any, *, whole: bool) -> None:
    """See whether a limit makes sense.

    Raises:
        ValueError: it does not; the text says what would.
    """
    kinds = int if whole else (int, float)
    # Not by math.isfinite: importing volnux has a budget, too.
    if isinstance(value, bool) or not isinstance(value, kinds) or not abs(value) < 1e300:
        kind = "a whole number" if whole else "a number of seconds"
        raise ValueError(f"{name} is {kind}, not {value!r}")
    if value < 0:
        raise ValueError(f"{name} is 0 or more, not {value!r}")


class Budget(Frozen):
    """What all executions of a step in one test may come to at most. None is no limit.

    `@traced_event(budget=Budget(max_calls=1))` says it once, where the step is defined; a test in
    which it does more fails (pytest_volnux). In production it is not looked at, and costs nothing.

    Args:
        max_failed: errors that arose in it, or inside of it.
        max_seconds: of the longest, in seconds.
        max_retries: attempts after the first.
        max_bytes: bytes to and from hosts together, inside of it.
        max_calls: executions.

    Raises:
        TypeError: an argument that it does not know.
        ValueError: a limit that is no number, or less than 0.
    """

    __slots__ = ()
    _fields = LIMITS
    _defaults = dict.fromkeys(LIMITS)
    max_failed: int | None
    max_seconds: float | None
    max_retries: int | None
    max_bytes: int | None
    max_calls: int | None

    def __init__(
        self,
        *,
        max_failed: int | None = None,
        max_seconds: float | None = None,
        max_retries: int | None = None,
        max_bytes: int | None = None,
        max_calls: int | None = None,
    ) -> None:
        super().__init__(
            max_failed=max_failed,
            max_seconds=max_seconds,
            max_retries=max_retries,
            max_bytes=max_bytes,
            max_calls=max_calls,
        )
        for name, value in self._values.items():
            if value is not None:
                check_limit(name, value, whole=name != "max_seconds")

    def limits(self) -> dict[str, Any]:
        """Return the limits that it has."""
        return {name: value for name, value in self._values.items() if value is not None}


#: By event name, what the program itself says of its steps.
BUDGETS: dict[str, Budget] = {}
