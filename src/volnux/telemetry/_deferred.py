"""Results that run only later: coroutines, generators, futures and other awaitables.

A plain function that returns one has done next to nothing when it returns. Its event goes on until
the result has run, and is current while it does.
"""

from __future__ import annotations

from _weakref import ref
from types import AsyncGeneratorType, CoroutineType, GeneratorType

from volnux.telemetry._raw import extra_of
from volnux.telemetry._records import Status
from volnux.telemetry._seam import close, finish, get_current, set_current
from volnux.telemetry._streams import trace_async_generator, trace_generator

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from volnux.telemetry._raw import Raw

#: `inspect.CO_ITERABLE_COROUTINE`: a generator made by `types.coroutine`, to be awaited.
ITERABLE_COROUTINE = 0x100

_watched: set[ref[Any]] = set()


def is_deferred(result: object) -> bool:
    """Return whether a result still has to run."""
    kind = type(result)
    try:
        return kind is GeneratorType or kind is AsyncGeneratorType or hasattr(kind, "__await__")
    except Exception:  # noqa: BLE001  # a metaclass that raises: its objects are results like any
        return False


def defer(event: Raw, parent: Raw, result: Any) -> Any:
    """Return the result in a form that ends the event when it has run."""
    kind = type(result)
    if kind is CoroutineType or _is_awaitable_generator(result):
        return _named(_drive(event, parent, result), result, event)
    if kind is GeneratorType:
        made: Any = trace_generator(lambda: result, event[0], (event, parent))()
        return _named(made, result, event)
    if kind is AsyncGeneratorType:
        made = trace_async_generator(lambda: result, event[0], (event, parent))()
        return _named(made, result, event)
    if getattr(result, "_asyncio_future_blocking", None) is not None:
        result.add_done_callback(lambda future: _end_with_future(event, parent, future))
        return result
    from volnux.telemetry._awaitable import TracedAwaitable

    return TracedAwaitable(result, event, parent)


def _is_awaitable_generator(result: object) -> bool:
    return type(result) is GeneratorType and bool(result.gi_code.co_flags & ITERABLE_COROUTINE)


def _named(made: Any, result: Any, event: Raw) -> Any:
    """Give the wrapper the name of what it wraps, and end the event if it is never run."""
    made.__name__, made.__qualname__ = result.__name__, result.__qualname__

    def dropped(gone: ref[Any]) -> None:
        _watched.discard(gone)
        if event[5] is None:
            extra_of(event).status = Status.CANCELLED
            event[5] = event[1].now()
            close(event)

    _watched.add(ref(made, dropped))
    return made


async def _drive(event: Raw, parent: Raw, result: Coroutine[Any, Any, Any]) -> Any:
    outside = get_current()
    set_current(event)
    try:
        value = await result
    except BaseException as error:
        if get_current() is event:
            set_current(outside)
        finish(event, parent, error)
        raise
    if get_current() is event:
        set_current(outside)
    finish(event, parent)
    return value


def _end_with_future(event: Raw, parent: Raw, future: Any) -> None:
    if future.cancelled():
        extra_of(event).status = Status.CANCELLED
        finish(event, parent)
    else:
        # Not `future.exception()`: that would tell asyncio that the program has seen the error.
        finish(event, parent, getattr(future, "_exception", None))
