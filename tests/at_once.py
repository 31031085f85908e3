"""Work in several threads at once, and in a task that is cancelled."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from volnux.telemetry import propagate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def in_threads(work: Callable[[Any], object], keys: Iterable[object]) -> None:
    """Run some work for each key, all at once, in the caller's context."""
    threads = [threading.Thread(target=propagate(partial(work, key))) for key in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


async def cancel(task: asyncio.Future[Any]) -> None:
    """Cancel a task, and see that it is."""
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
