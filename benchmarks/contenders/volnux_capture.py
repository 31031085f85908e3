"""volnux switched on for one context only, as a test does it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.contenders import _work
from benchmarks.contenders.volnux import instrumented
from volnux.telemetry import capture

if TYPE_CHECKING:
    from collections.abc import Mapping


def cases() -> Mapping[str, _work.Run]:
    """Leave an isolated scope open for the life of the process."""
    _SCOPE.append(capture(isolated=True))
    registry = _SCOPE[0].__enter__()
    run = instrumented(registry.fold)["call"]
    return {"call": _work.Prepared(run, registry.clear, dict)}


_SCOPE: list[capture] = []
