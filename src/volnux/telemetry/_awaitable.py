"""A transparent proxy around an awaitable object that is neither a coroutine nor a future."""

from __future__ import annotations

import wrapt

from volnux.telemetry._seam import finish, get_current, set_current

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from volnux.telemetry._raw import Raw


class TracedAwaitable(wrapt.ObjectProxy):  # type: ignore[type-arg]  # of anything
    """Everything the awaitable is, and its event ends when it has been awaited."""

    def __init__(self, wrapped: Any, event: Raw, parent: Raw) -> None:
        super().__init__(wrapped)
        self._self_event = event
        self._self_parent = parent

    def __await__(self) -> Generator[Any, Any, Any]:
        event, parent = self._self_event, self._self_parent
        outside = get_current()
        set_current(event)
        try:
            value = yield from self.__wrapped__.__await__()
        except BaseException as error:
            if get_current() is event:
                set_current(outside)
            finish(event, parent, error)
            raise
        if get_current() is event:
            set_current(outside)
        finish(event, parent)
        return value
