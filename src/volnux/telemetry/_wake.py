"""Waking a thread that waits for its next piece of work."""

from __future__ import annotations

from _thread import allocate_lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds that one wait takes at most.
LONGEST = 3_600.0


class Wake:
    """Wakes one thread, once for any number of calls.

    A `threading.Event` takes a lock in Python code: a garbage collection between its lines that
    ends an event, and so wakes the same thread, would stand still for ever. This one is a single
    call into C.
    """

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._lock.acquire()

    def set(self) -> None:
        """Let the present wait, or the next one, return at once. Safe from anywhere."""
        try:
            self._lock.release()
        except RuntimeError:  # it has been set and not yet been waited for
            pass

    def wait(self, seconds: float) -> bool:
        """Wait to be woken; False when so many seconds have passed first."""
        return self._lock.acquire(timeout=max(0.0, min(seconds, LONGEST)))


class Alarm(Wake):
    """Wakes a thread for its next turn, or only to do something in between."""

    def __init__(self) -> None:
        super().__init__()
        self._is_due = self._is_asked = False

    def hurry(self) -> None:
        """Have the next turn begin at once."""
        self._is_due = True
        self.set()

    def ask(self) -> None:
        """Have the thread do what it does between turns."""
        self._is_asked = True
        self.set()

    def rest(self, seconds: float, now: Callable[[], float], between: Callable[[], None]) -> None:
        """Wait for the next turn, doing `between` when asked to."""
        until = now() + seconds
        while (left := until - now()) > 0 and self.wait(left) and not self._is_due:
            if self._is_asked:
                self._is_asked = False
                between()
        self._is_due = False
