"""The wrappers that run a traced function or coroutine: the hot path.

Written for speed: an entry is a list whose places `_raw` names (0 site, 1 scope, 2 parent, 5 end,
6 extra, 7 late), what is called is bound when the wrapper is made, and the same few lines stand in
both instead of a call to a helper.
"""

from __future__ import annotations

from _thread import get_ident
from types import NoneType

from volnux.telemetry._deferred import defer, is_deferred
from volnux.telemetry._extension import SPEEDUPS
from volnux.telemetry._outcome import OVERRUN, fail
from volnux.telemetry._seam import get_current, reset_current, set_current
from volnux.telemetry._switch import SWITCH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import ParamSpec, TypeVar

    from volnux.telemetry._raw import Raw
    from volnux.telemetry._sites import EventSite

    P = ParamSpec("P")
    R = TypeVar("R")
    S = TypeVar("S")
    Y = TypeVar("Y")


def trace_function(  # noqa: C901  # a hot path, in place
    function: Callable[P, R], site: EventSite
) -> Callable[P, R]:
    """Trace a plain function, and what it returns if that runs only later."""
    if SPEEDUPS is not None:
        return _function_by_speedups(function, site)
    from functools import wraps

    switch, get, set_, reset, ident = SWITCH, get_current, set_current, reset_current, get_ident
    # The type of result seen last: most functions have one, so that looking is one comparison.
    plain: type = NoneType

    @wraps(function)
    def traced(*args: P.args, **kwargs: P.kwargs) -> R:
        nonlocal plain
        if not switch.on:
            return function(*args, **kwargs)
        parent = get()
        scope = parent[1]
        if scope is None:
            return function(*args, **kwargs)
        now, append, pending = scope.hot
        event = [site, scope, parent, now(), ident(), None, None, False, None]
        try:
            token = set_(event)
            append(event)
            # An empty dict costs as much to pass on as a full one.
            result = function(*args, **kwargs) if kwargs else function(*args)  # type: ignore[call-arg]
        except BaseException as error:
            end = now()
            set_(parent)
            try:
                fail(event, parent, error)
            except RecursionError:  # no stack is left for that
                event[6] = OVERRUN
            event[5] = end
            if event[7]:
                scope.late(event)
            elif len(pending) > pending.limit:
                scope.fold()
            raise
        if result is not None and type(result) is not plain:
            if is_deferred(result):
                set_(parent)
                return defer(event, parent, result)  # type: ignore[no-any-return]
            plain = type(result)
        event[5] = now()
        try:
            reset(token)
        except ValueError:  # resumed in another context, as only a greenlet may be
            set_(parent)
        if event[7]:
            scope.late(event)
        elif len(pending) > pending.limit:
            scope.fold()
        return result

    return traced


def trace_coroutine(  # noqa: C901  # likewise
    function: Callable[P, Coroutine[Y, S, R]], site: EventSite
) -> Callable[P, Coroutine[Y, S, R]]:
    """Trace a coroutine function: from its first step to its end."""
    if SPEEDUPS is not None:
        return _coroutine_by_speedups(function, site)
    from functools import wraps

    switch, get, set_, reset, ident = SWITCH, get_current, set_current, reset_current, get_ident

    @wraps(function)
    async def traced(*args: P.args, **kwargs: P.kwargs) -> R:
        if not switch.on:
            return await function(*args, **kwargs)
        parent = get()
        scope = parent[1]
        if scope is None:
            return await function(*args, **kwargs)
        now, append, pending = scope.hot
        event = [site, scope, parent, now(), ident(), None, None, False, None]
        try:
            token = set_(event)
            append(event)
            result = await (function(*args, **kwargs) if kwargs else function(*args))  # type: ignore[call-arg]
        except BaseException as error:
            end = now()
            # Closed from another context, there is nothing of ours to restore.
            if get() is event:
                set_(parent)
            try:
                fail(event, parent, error)
            except RecursionError:  # no stack is left for that
                event[6] = OVERRUN
            event[5] = end
            if event[7]:
                scope.late(event)
            elif len(pending) > pending.limit:
                scope.fold()
            raise
        event[5] = now()
        if get() is event:
            try:
                reset(token)
            except ValueError:  # another context, that has its copy from here
                set_(parent)
        if event[7]:
            scope.late(event)
        elif len(pending) > pending.limit:
            scope.fold()
        return result

    return traced


def _function_by_speedups(function: Callable[P, R], site: EventSite) -> Callable[P, R]:
    """Trace a plain function, as above; its beginning and its end are compiled."""
    from functools import wraps

    switch, begin, end, end_failed = SWITCH, SPEEDUPS.begin, SPEEDUPS.end, SPEEDUPS.end_failed
    plain: type = NoneType

    @wraps(function)
    def traced(*args: P.args, **kwargs: P.kwargs) -> R:
        nonlocal plain
        if not switch.on:
            return function(*args, **kwargs)
        event: Raw = [site, None, None, None, None, None, None, False, None]
        try:
            begin(event)
            result = function(*args, **kwargs) if kwargs else function(*args)  # type: ignore[call-arg]
        except BaseException as error:
            end_failed(event, error, False)  # noqa: FBT003  # C takes no names
            raise
        if result is not None and type(result) is not plain and event[1] is not None:
            if is_deferred(result):
                parent = event[2]
                set_current(parent)
                return defer(event, parent, result)  # type: ignore[no-any-return]
            plain = type(result)
        end(event, False)  # noqa: FBT003  # likewise
        return result

    return traced


def _coroutine_by_speedups(
    function: Callable[P, Coroutine[Y, S, R]], site: EventSite
) -> Callable[P, Coroutine[Y, S, R]]:
    """Trace a coroutine function likewise."""
    from functools import wraps

    switch, begin, end, end_failed = SWITCH, SPEEDUPS.begin, SPEEDUPS.end, SPEEDUPS.end_failed

    @wraps(function)
    async def traced(*args: P.args, **kwargs: P.kwargs) -> R:
        if not switch.on:
            return await function(*args, **kwargs)
        event: Raw = [site, None, None, None, None, None, None, False, None]
        try:
            begin(event)
            result = await (function(*args, **kwargs) if kwargs else function(*args))  # type: ignore[call-arg]
        except BaseException as error:
            end_failed(event, error, True)  # noqa: FBT003  # C takes no names
            raise
        end(event, True)  # noqa: FBT003  # likewise
        return result

    return traced
