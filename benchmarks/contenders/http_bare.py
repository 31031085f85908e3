"""HTTP clients as they come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.contenders import _http, _work

if TYPE_CHECKING:
    from collections.abc import Mapping


def cases() -> Mapping[str, _work.Run]:
    """Every library."""
    return _http.cases(_work.nothing)
