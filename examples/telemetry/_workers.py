"""The example's worker processes, started so that Ctrl-C ends them without a word from each."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import warnings
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Executor


def _prepare() -> None:
    """Leave Ctrl-C to the parent, which ends the pool; and old-style string escapes to their owners."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.simplefilter("ignore")


@contextlib.contextmanager
def worker_processes(jobs: int, start_method: str | None) -> Iterator[Executor]:
    """Start the workers now, while this process has one thread: `fork` is safe only then."""
    context = multiprocessing.get_context(start_method)
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_prepare) as pool:
        # Held back until they run: a worker interrupted while it starts would print a traceback.
        with _interrupts_held():
            list(pool.map(abs, range(jobs)))
        yield pool


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Let a Ctrl-C that comes within the block take effect at its end."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
