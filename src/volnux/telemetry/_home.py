"""What the processes that a test starts have recorded, brought home through a folder.

Whoever runs tests says in the environment where that is. A Python that finds it when it first imports
volnux.telemetry records from there on, and leaves its totals and records there when it ends.
"""

from __future__ import annotations

import os

from volnux._way_home import belong, goes_by_itself, leave, prefix
from volnux.telemetry._scope import switch_on

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from volnux.telemetry._registry import Registry


def join(start: str) -> None:
    """Record from now on, and leave it in a file whose path begins so when this process ends."""
    folder = os.path.dirname(start)
    if os.path.isdir(folder) and not os.path.basename(folder).startswith(prefix()):
        registry = switch_on()
        belong(start)
        save_at_end(start, lambda: registry)


def save_at_end(start: str, find: Callable[[], Registry]) -> None:
    """Have what a registry holds when this process ends be left in a file. Never raises there."""
    import atexit
    import sys

    waiting = [os.getpid()]

    def save() -> None:
        if os.getpid() in waiting:  # and not in one that was forked meanwhile
            waiting.clear()
            if goes_by_itself(start):
                leave(start, find())

    def begin(_: object) -> None:
        if os.getpid() in waiting:
            util.Finalize(None, save, exitpriority=-100)
        else:
            save_at_end(start, find)

    atexit.register(save)
    util: Any = sys.modules.get("multiprocessing.util")
    if util is not None:
        # Its children end without what `atexit` does, and forget what they had to do when they begin.
        begin(None)
        util.register_after_fork(save, begin)
