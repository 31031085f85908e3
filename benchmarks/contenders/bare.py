"""The uninstrumented work: what "added over" is measured against."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.contenders import _work

if TYPE_CHECKING:
    from collections.abc import Mapping


def cases() -> Mapping[str, _work.Run]:
    """Every kind of callable, untouched."""
    return {
        "call": _work.calls(_work.work),
        "error": _work.errors(_work.failing),
        "nested": _work.nested(lambda function: function),
        "coroutine": _work.awaits(_work.coroutine),
        "generator": _work.items(_work.generator),
        "async_generator": _work.async_items(_work.async_generator),
    }
