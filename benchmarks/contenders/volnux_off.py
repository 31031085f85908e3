"""volnux as installed and not switched on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.contenders import _work
from benchmarks.contenders.volnux import instrumented

if TYPE_CHECKING:
    from collections.abc import Mapping


def cases() -> Mapping[str, _work.Run]:
    """The same instrumented code with telemetry never switched on."""
    all_cases = instrumented(_work.nothing)
    return {case: all_cases[case] for case in ("call", "coroutine", "generator", "with", "network")}
