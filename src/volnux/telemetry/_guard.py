"""Where what goes wrong inside volnux is counted instead of reaching the user's program."""

from __future__ import annotations

from _thread import RLock

from volnux.telemetry._fork import on_fork
from volnux.telemetry.errors import TelemetryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Notes(Protocol):
        """What can count: a registry."""

        strict: bool

        def count_error(self, stage: str, reason: str) -> None: ...


class ErrorCounts:
    """Counts by stage and reason. Safe from any thread, also re-entered in the same one."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}
        self._lock = RLock()
        on_fork(self)

    def _after_fork(self) -> None:
        self._lock = RLock()
        self._counts.clear()

    def __bool__(self) -> bool:
        return bool(self._counts)

    def add(self, stage: str, reason: str, count: int = 1) -> None:
        """Count something once more."""
        with self._lock:
            self._counts[stage, reason] = self._counts.get((stage, reason), 0) + count

    def clear(self) -> None:
        """Start again from nothing."""
        with self._lock:
            self._counts.clear()

    def counts(self) -> dict[tuple[str, str], int]:
        """Return (stage, reason) -> count."""
        with self._lock:
            return self._counts.copy()

    def nested(self) -> dict[str, dict[str, int]]:
        """Return stage -> reason -> count."""
        found: dict[str, dict[str, int]] = {}
        with self._lock:
            for (stage, reason), count in sorted(self._counts.items()):
                found.setdefault(stage, {})[reason] = count
        return found


#: What went wrong where no registry was at hand; part of every registry's health.
PROCESS = ErrorCounts()


def note(
    registry: Notes | None, stage: str, reason: str, error: BaseException | None = None
) -> None:
    """Count a swallowed error under its stage and reason.

    Raises:
        BaseException: the error, or a `TelemetryError` for none, when the registry is strict.
    """
    if registry is None:
        PROCESS.add(stage, reason)
        return
    registry.count_error(stage, reason)
    if registry.strict:
        raise error if error is not None else TelemetryError(f"{stage}: {reason}")
