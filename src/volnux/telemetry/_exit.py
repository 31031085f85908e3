"""The last moment of a process: where deliveries are given a deadline to finish."""

from __future__ import annotations

import atexit
import os
import sys
from time import monotonic
from typing import TYPE_CHECKING
from warnings import warn

from volnux.telemetry.errors import TelemetryWarning

if TYPE_CHECKING:
    from typing import Protocol

    class Closable(Protocol):
        """What can be closed at exit, in two steps, so that all share one deadline."""

        def begin_close(self, deadline: float) -> None: ...

        def finish_close(self) -> bool: ...


#: Seconds that exiting may take, unless VOLNUX_EXIT_TIMEOUT says otherwise.
EXIT_TIMEOUT = 5.0
# Children of multiprocessing run finalizers by falling priority: ours after those of its own.
PRIORITY = -100


class Exit:
    """Closes what is still open when the process ends.

    `atexit` does it, but children of multiprocessing leave without `atexit` (always up to Python
    3.12, and by fork and forkserver after it). They do run the finalizers of multiprocessing.util
    that were registered in the child: the bootstrap of a child clears those of its parent, and then
    calls what was given to `register_after_fork`.
    """

    def __init__(self) -> None:
        self._open: dict[int, Closable] = {}
        self._is_armed = False

    def add(self, thing: Closable) -> None:
        """Have something closed at exit."""
        self._open[id(thing)] = thing
        self.arm()
        self.finalize_child()

    def remove(self, thing: Closable) -> None:
        """It has been closed before."""
        self._open.pop(id(thing), None)

    def arm(self) -> None:
        """Be told when multiprocessing has started this process as its child."""
        # Not imported for the purpose: who does not use it need not pay for it.
        util = sys.modules.get("multiprocessing.util")
        if util is not None and not self._is_armed:
            util.register_after_fork(self, Exit.finalize_child)
            self._is_armed = True

    def finalize_child(self) -> None:
        """Register a finalizer if this process is a child that multiprocessing has started."""
        process = sys.modules.get("multiprocessing.process")
        util = sys.modules.get("multiprocessing.util")
        if process is not None and util is not None and process.parent_process() is not None:
            util.Finalize(None, self.close_all, exitpriority=PRIORITY)

    def close_all(self) -> None:
        """Close everything, all within one deadline; a Ctrl-C puts an end to the waiting."""
        deadline = monotonic() + exit_timeout()
        things = list(self._open.values())
        try:
            for thing in things:
                thing.begin_close(deadline)
            for thing in things:
                thing.finish_close()
        except KeyboardInterrupt:
            pass


def exit_timeout() -> float:
    """Return the seconds that exiting may take: VOLNUX_EXIT_TIMEOUT, or 5."""
    text = os.environ.get("VOLNUX_EXIT_TIMEOUT", "").strip()
    try:
        seconds = float(text or EXIT_TIMEOUT)
    except ValueError:
        seconds = -1.0
    if 0 <= seconds < float("inf"):
        return seconds
    warn(f"VOLNUX_EXIT_TIMEOUT is not a number of seconds: {text!r}", TelemetryWarning, 2)
    return EXIT_TIMEOUT


EXIT = Exit()
atexit.register(EXIT.close_all)
