"""The compiled part of the hot path, where it has been built and is wanted."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def _load() -> Any:
    if os.environ.get("VOLNUX_NO_EXTENSIONS"):
        return None
    try:
        import volnux.telemetry._speedups as found
    except ImportError:
        return None
    return found


#: The module `_speedups`; None where the same is done in Python.
SPEEDUPS = _load()
