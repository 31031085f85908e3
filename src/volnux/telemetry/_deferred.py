"""Results that run only later: coroutines, generators, futures and other awaitables.

A plain function that returns one has done next to nothing when it returns. Its event goes on until
the result has run, and is current while it does.
"""

from __future__ import annotations

from _weakref import ref
from sys import getrefcount
from types import AsyncGeneratorType, CoroutineType, GeneratorType

from volnux.telemetry._kinds import ITERABLE_COROUTINE
from volnux.telemetry._outcome import note_in
from volnux.telemetry._raw import extra_of
from volnux.telemetry._records import Status
from volnux.telemetry._seam import finish, get_current, set_current
from volnux.telemetry._streams import trace_async_generator, trace_generator

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from volnux.telemetry._raw import Raw

#: The instruction of Python 3.11 that makes a generator.
RETURN_GENERATOR = 75

_watched: set[ref[Any]] = set()


def is_deferred(result: object) -> bool:
    """Return whether a result still has to run."""
    kind = type(result)
    try:
        return kind is GeneratorType or kind is AsyncGeneratorType or hasattr(kind, "__await__")
    except Exception:  # noqa: BLE001  # a metaclass that raises: its objects are results like any
        return False


def defer(event: Raw, parent: Raw, result: Any) -> Any:
    """Return the result in a form that ends the event when it has run.

    What has begun to run, or is somebody else's as well, is returned as it is, and the event ends.
    """
    held = getrefcount(result) > _our_references()
    kind = type(result)
    if kind is GeneratorType or kind is CoroutineType or kind is AsyncGeneratorType:
        if held or not _is_fresh(result):
            finish(event, parent)
            return result
        return _defer_generator(event, parent, result, kind)
    if getattr(kind, "_asyncio_future_blocking", None) is not None:
        return _defer_future(event, parent, result)
    return _defer_object(event, parent, result, held=held)


def _our_references() -> int:
    """Return how often an object that nobody else holds is held on its way from wrapper to here.

    Counted each time, since it depends on the version and on who looks at the frames, as debuggers do.
    """
    result = object()
    callable(result)  # to a profiler a call is the time to look, and the wrapper makes some
    return _count_references(None, None, result)


def _count_references(_event: object, _parent: object, result: object) -> int:
    return getrefcount(result)


def _is_fresh(result: Any) -> bool:
    """Return whether a generator or coroutine has yet to begin."""
    kind = type(result)
    prefix = "gi" if kind is GeneratorType else "cr" if kind is CoroutineType else "ag"
    frame = getattr(result, prefix + "_frame")
    if frame is None or getattr(result, prefix + "_running"):
        return False
    suspended: bool | None = getattr(result, prefix + "_suspended", None)
    if suspended is not None:
        return not suspended
    # On Python 3.10, and async generators on 3.11, where the first instruction makes them.
    last: int = frame.f_lasti
    return last < 0 or frame.f_code.co_code[last] == RETURN_GENERATOR


def _defer_generator(event: Raw, parent: Raw, result: Any, kind: type) -> Any:
    if kind is CoroutineType or _is_awaitable_generator(result):
        made: Any = _drive(event, parent, result)
    elif kind is GeneratorType:
        made = trace_generator(lambda: result, event[0], (event, parent))()
    else:
        made = trace_async_generator(lambda: result, event[0], (event, parent))()
    made.__name__, made.__qualname__ = result.__name__, result.__qualname__
    _watch(made, lambda: _cancel(event, parent))
    return made


def _is_awaitable_generator(result: object) -> bool:
    return type(result) is GeneratorType and bool(result.gi_code.co_flags & ITERABLE_COROUTINE)


def _defer_future(event: Raw, parent: Raw, future: Any) -> Any:
    if future.done():  # its loop may be closed, and call nobody back
        _end_with_future(event, parent, future)
        return future
    watch = _watch(future, lambda: _cancel(event, parent))

    def ended(done: Any) -> None:
        _watched.discard(watch)
        _end_with_future(event, parent, done)

    future.add_done_callback(ended)
    return future


def _defer_object(event: Raw, parent: Raw, result: Any, *, held: bool) -> Any:
    from volnux.telemetry._awaitable import Use, has_other_uses, traced_awaitable

    try:
        if held and has_other_uses(type(result)):  # a client, a pool
            finish(event, parent)
            return result
        use = Use(event, parent)
        made = traced_awaitable(result, use)
    except Exception as error:  # noqa: BLE001  # a class that cannot be looked at
        note_in(event, "event", type(error).__name__, error)
        finish(event, parent)
        return result
    _watch(made, use.gone)
    return made


def _watch(made: Any, gone: Callable[[], None]) -> ref[Any]:
    """Have something called when an object is no more."""

    def dropped(reference: ref[Any]) -> None:
        _watched.discard(reference)
        gone()

    watch = ref(made, dropped)
    _watched.add(watch)
    return watch


def _cancel(event: Raw, parent: Raw) -> None:
    """End an event, unless it has ended, whose result nobody will ever run."""
    if event[5] is None:
        extra_of(event).status = Status.CANCELLED
        finish(event, parent)


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
