"""HTTP clients that volnux records, with nowhere to send it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.contenders import _http
from volnux.telemetry import current_registry, instrument, monitor_events, uninstrument

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.contenders import _work


def cases() -> Mapping[str, _work.Run]:
    """Every library, instrumented as a whole while it is its turn."""
    monitor_events()
    return _http.switched(_http.cases(current_registry().fold), instrument, uninstrument)
