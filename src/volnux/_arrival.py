"""Who waits for volnux.telemetry to be loaded: before that, nothing in this process can be recorded."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_waiting: list[Callable[[], None]] = []


def when_loaded(call: Callable[[], None]) -> None:
    """Have this called at the end of the first import, in the thread that imports."""
    _waiting.append(call)


def forget(call: Callable[[], None]) -> None:
    """Have it not be called, if it has not been."""
    if call in _waiting:
        _waiting.remove(call)


def tell() -> None:
    """Call who waits."""
    while _waiting:
        _waiting.pop(0)()
