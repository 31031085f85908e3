"""stamina: its hook tells of every retry that is scheduled, and what is traced tells the rest.

A hook hears nothing of a success, nor of giving up. The account of a traced function therefore
begins and ends with its call, and what the hook says in between is put down to it.
"""

from __future__ import annotations

from functools import wraps
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction

import stamina

from volnux.telemetry._kinds import is_function
from volnux.telemetry._outcome import status_of
from volnux.telemetry._records import Status
from volnux.telemetry._switch import SWITCH
from volnux.telemetry.retries._call import begin_call, own_event
from volnux.telemetry.retries._stamina_blocks import CALLERS, Blocks, traced_caller
from volnux.telemetry.retries._stamina_hook import ACCOUNT, HOOK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stamina.instrumentation import RetryDetails

#: The class of what `stamina.retry_context` returns, which has no public name.
_CONTEXT = type(stamina.retry_context(on=Exception))
#: Where a traced function says that it is one.
_MARK = "_volnux_stamina"


def traced(target: Any) -> Any:
    """Return the traced form of what retries with stamina; see `traced_stamina`."""
    if isinstance(target, (classmethod, staticmethod)):
        return type(target)(traced(target.__func__))
    if isinstance(target, _CONTEXT):
        return Blocks(target)
    if isinstance(target, CALLERS):
        return traced_caller(target)
    if isinstance(target, Blocks) or hasattr(target, _MARK):
        return target
    if not is_function(target):
        raise TypeError(
            f"traced_stamina cannot trace {target!r}: give it a function that @stamina.retry "
            "decorates, a stamina.retry_context(...), a RetryingCaller or an AsyncRetryingCaller"
        )
    if isgeneratorfunction(target) or isasyncgenfunction(target):
        raise TypeError(
            f"traced_stamina cannot trace {target!r}, which is a generator: call "
            "instrument_stamina(), and put @traced_event on top of it"
        )
    return _traced_function(target)


class _Account:
    """The account of one call of a traced function, and what the hook has to know it by."""

    __slots__ = ("_args", "_call", "_event", "_kwargs", "_name", "_outside")

    def __init__(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._event = own_event(function)
        self._name: str = function.__qualname__
        self._args = args
        self._kwargs = kwargs

    def __enter__(self) -> None:
        self._event.__enter__()
        self._call = begin_call()
        self._outside = ACCOUNT.get()
        if self._call is not None:
            HOOK.install()
            ACCOUNT.set(self)
            self._call.start()

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        try:
            if self._call is not None:
                ACCOUNT.set(self._outside)
                self._end(error)
        finally:
            self._event.__exit__(kind, error, traceback)

    def _end(self, error: BaseException | None) -> None:
        call = self._call
        if call is None:
            return
        # Cancelled before the wait was over: what was waited for has never been made.
        if error is None or not call.is_early or status_of(error) != Status.CANCELLED:
            call.resume()
        call.end(error)

    def takes(self, details: RetryDetails) -> bool:
        """Put a retry down, unless it is another call's that runs inside of this one."""
        if self._call is None or not self._is_told_of(details):
            return False
        self._call.resume()
        self._call.stop(details.caused_by)
        self._call.wait(details.wait_for)
        return True

    def _is_told_of(self, details: RetryDetails) -> bool:
        args, kwargs = details.args, details.kwargs
        return (
            ("." + details.name).endswith("." + self._name)
            and len(args) == len(self._args)
            and all(one is other for one, other in zip(args, self._args, strict=True))
            and kwargs.keys() == self._kwargs.keys()
            and all(kwargs[name] is one for name, one in self._kwargs.items())
        )


def _traced_function(target: Any) -> Any:
    if iscoroutinefunction(target):

        @wraps(target)
        async def traced_coroutine(*args: Any, **kwargs: Any) -> Any:
            if not SWITCH.on:
                return await target(*args, **kwargs)
            with _Account(target, args, kwargs):
                return await target(*args, **kwargs)

        return _marked(traced_coroutine)

    @wraps(target)
    def traced_function(*args: Any, **kwargs: Any) -> Any:
        if not SWITCH.on:
            return target(*args, **kwargs)
        with _Account(target, args, kwargs):
            return target(*args, **kwargs)

    return _marked(traced_function)


def _marked(function: Any) -> Any:
    setattr(function, _MARK, True)
    return function
