"""Work in several threads at once, in a child process, and in a task that is cancelled."""

from __future__ import annotations

import asyncio
import os
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

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


def in_a_fork(work: Callable[[], object]) -> None:
    """Run some work in a child process, where it has to succeed."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0


async def cancel(task: asyncio.Future[Any]) -> None:
    """Cancel a task, and see that it is."""
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
