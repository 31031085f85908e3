"""The thread that brings to disk what one publisher's queue was given."""

from __future__ import annotations

import threading
from _thread import get_ident
from time import monotonic
from typing import TYPE_CHECKING

from volnux.telemetry._scope import suppressed
from volnux.telemetry._sending import DELIVERING
from volnux.telemetry._wake import Alarm

if TYPE_CHECKING:
    from collections.abc import Callable

    from volnux.telemetry._spool_queue import SpoolQueue

#: Seconds after which what has come is written at the latest: at once would take from the program's own time.
PAUSE = 0.1
#: Seconds between two looks for what processes have left that are no more.
LOOK_SECONDS = 10.0


class Writer:
    """Writes what has come, soon, and looks now and then for what others have left behind.

    Args:
        queue: what it writes for.
        name: the publisher's.
        interval: seconds until it looks at the latest.
        fold: makes registries hand over what they have.
        written: is called when there is room again.
    """

    def __init__(
        self,
        queue: SpoolQueue,
        name: str,
        interval: float,
        fold: Callable[[], None],
        written: Callable[[], None],
    ) -> None:
        self.queue = queue
        self._name = name
        self._interval = min(interval, PAUSE)
        self._fold = fold
        self._written = written
        self.alarm = Alarm()
        self._thread: threading.Thread | None = None
        self._is_over = False
        self._look_at = float("-inf")

    def start(self) -> None:
        """Start the thread if there is none and one can be started."""
        if self._thread is None and not self._is_over:
            thread = threading.Thread(
                target=self._run, name=f"volnux-{self._name}-spool", daemon=True
            )
            try:
                thread.start()
            except RuntimeError:  # the interpreter is on its way out: who flushes writes
                return
            self._thread = thread

    def close(self) -> None:
        """Stop, and let go of the file."""
        self._is_over = True
        self.alarm.hurry()
        self.queue.close()

    def turn(self) -> None:
        """Do what there is to do."""
        if monotonic() >= self._look_at:
            self._look_at = monotonic() + LOOK_SECONDS
            self.queue.adopt()
        self._fold()
        while not self._is_over and self.queue.write():
            self._written()

    def _run(self) -> None:
        DELIVERING.add(get_ident())
        self.queue.writer = get_ident()
        try:
            with suppressed():
                while not self._is_over:
                    self.turn()
                    self.alarm.rest(self._interval, monotonic, self._fold)
        finally:
            DELIVERING.discard(get_ident())
