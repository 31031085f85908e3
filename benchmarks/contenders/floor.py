"""The least that records nesting, time and outcome, as a careful person writes it by hand."""

from __future__ import annotations

import functools
from collections import deque
from contextvars import ContextVar
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from benchmarks.contenders import _work

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

KEPT: deque[tuple[str, int, int, bool]] = deque(maxlen=10_000)
CURRENT: ContextVar[str | None] = ContextVar("current", default=None)


def traced(function: Callable[..., Any]) -> Callable[..., Any]:
    """Record each call of *function* in a bounded deque."""
    name = function.__name__
    clock, enter, leave, keep = perf_counter_ns, CURRENT.set, CURRENT.reset, KEPT.append

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        token = enter(name)
        failed = True
        start = clock()
        try:
            result = function(*args, **kwargs)
            failed = False
            return result
        finally:
            keep((name, start, clock(), failed))
            leave(token)

    return wrapper


def cases() -> Mapping[str, _work.Run]:
    """Plain calls only: multiples of them are the unit of every row."""
    return {"call": _work.calls(traced(_work.work))}
