"""prometheus_client: one histogram timed by its own decorator; no tree, no single records."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Histogram

from benchmarks.contenders import _work

if TYPE_CHECKING:
    from collections.abc import Mapping


def cases() -> Mapping[str, _work.Run]:
    """Histogram observations with the default buckets."""
    seconds = Histogram("work_seconds", "time spent", registry=CollectorRegistry())
    work = _work.work

    def with_block(n: int) -> None:
        for _ in repeat(None, n):
            with seconds.time():
                work(1)

    return {
        "call": _work.calls(seconds.time()(work)),
        "error": _work.errors(seconds.time()(_work.failing)),
        "nested": _work.nested(seconds.time()),
        "with": with_block,
    }
