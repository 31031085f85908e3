"""wrapt's decorator doing nothing: the price of a transparent proxy alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import wrapt

from benchmarks.contenders import _work

if TYPE_CHECKING:
    from collections.abc import Mapping


@wrapt.decorator
def passed(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    """Call through."""
    return wrapped(*args, **kwargs)


def cases() -> Mapping[str, _work.Run]:
    """Calls through the proxy; nothing is recorded."""
    return {
        "call": _work.calls(passed(_work.work)),
        "error": _work.errors(passed(_work.failing)),
        "nested": _work.nested(passed),
        "coroutine": _work.awaits(passed(_work.coroutine)),
    }
