"""What a worker can measure about one case. The collector stays on: production has it on, too."""

from __future__ import annotations

import threading
from time import perf_counter_ns, process_time_ns, thread_time_ns
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

THREADS = 8


def processor(run: Callable[[int], object], n: int) -> dict[str, Any]:
    """Nanoseconds of processor time for *n*, in all threads: what others do meanwhile is left out."""
    start, cpu = perf_counter_ns(), process_time_ns()
    run(n)
    cpu, elapsed = process_time_ns() - cpu, perf_counter_ns() - start
    return {"ns": cpu, "wall": elapsed}


def own_thread(run: Callable[[int], object], n: int) -> dict[str, Any]:
    """Nanoseconds of processor time in the calling thread, and on the wall clock."""
    start, cpu = perf_counter_ns(), thread_time_ns()
    run(n)
    cpu, elapsed = thread_time_ns() - cpu, perf_counter_ns() - start
    return {"ns": cpu, "wall": elapsed}


def elapsed(run: Callable[[int], object], n: int) -> dict[str, Any]:
    """Nanoseconds on the wall clock: where most of the time is another process's."""
    start, cpu = perf_counter_ns(), process_time_ns()
    run(n)
    wall, cpu = perf_counter_ns() - start, process_time_ns() - cpu
    return {"ns": wall, "processor": cpu}


def one_thread(run: Callable[[int], object], n: int) -> dict[str, Any]:
    """Nanoseconds for *n* in one new thread."""
    return _at_once(run, n, 1)


def eight_threads(run: Callable[[int], object], n: int) -> dict[str, Any]:
    """Nanoseconds for *n* in all, shared out among eight threads that start together."""
    return _at_once(run, n, THREADS)


def _at_once(run: Callable[[int], object], n: int, threads: int) -> dict[str, Any]:
    ready = threading.Barrier(threads + 1)

    def body() -> None:
        ready.wait()
        run(n // threads)

    started = [threading.Thread(target=body) for _ in range(threads)]
    for thread in started:
        thread.start()
    ready.wait()
    start, cpu = perf_counter_ns(), process_time_ns()
    for thread in started:
        thread.join()
    cpu, elapsed = process_time_ns() - cpu, perf_counter_ns() - start
    return {"ns": elapsed, "processor": cpu}
