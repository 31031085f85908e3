"""autometrics with its prometheus tracker: counter, histogram and caller labels; no single records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autometrics import autometrics, init

from benchmarks.contenders import _work

if TYPE_CHECKING:
    from collections.abc import Mapping


def cases() -> Mapping[str, _work.Run]:
    """Defaults, in memory, no exporter."""
    init(tracker="prometheus", service_name="benchmark")
    return {
        "call": _work.calls(autometrics(_work.work)),
        "error": _work.errors(autometrics(_work.failing)),
        "nested": _work.nested(autometrics),
        "coroutine": _work.awaits(autometrics(_work.coroutine)),
    }
