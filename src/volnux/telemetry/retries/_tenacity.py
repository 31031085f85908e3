"""tenacity: its loop asks `iter` what to do before and after every attempt, and there it is told.

Each call has a state of its own, so that calls of one function never mix. Callbacks stay where they
are: whatever a program reads from a traced object, or changes in it, is as it was.
"""

from __future__ import annotations

from contextvars import ContextVar
from functools import wraps
from threading import local
from types import FunctionType, MethodType, new_class

import tenacity
from tenacity import AttemptManager, BaseRetrying, DoAttempt, DoSleep

from volnux.telemetry._switch import SWITCH
from volnux.telemetry.retries._call import begin_call, own_event

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import TracebackType
    from typing import Any

    from tenacity import RetryCallState

    from volnux.telemetry.retries._call import Call

#: Where the state of a call keeps our account of it.
CALL = "_volnux_call"
#: The call that waits here for its next attempt, for whoever sees that the wait is broken off.
_asleep: ContextVar[Call | None] = ContextVar("volnux_asleep", default=None)


def traced(target: Any) -> Any:
    """Return the traced form of what retries with tenacity; see `traced_retrying`."""
    if isinstance(target, (classmethod, staticmethod)):
        return type(target)(traced(target.__func__))
    if isinstance(target, MethodType):
        return MethodType(traced(target.__func__), target.__self__)
    if isinstance(target, BaseRetrying):
        return target if isinstance(target, _Telling) else _traced_retrying(target)
    if isinstance(getattr(target, "retry", None), BaseRetrying):
        return _traced_function(target, target.retry)
    if _is_decorator(target):
        return _traced_decorator(target)
    raise TypeError(
        f"traced_retrying cannot trace {target!r}: give it a Retrying or AsyncRetrying, a function "
        "that @retry decorates, or the decorator, as in traced_retrying(retry(...))"
    )


def _is_decorator(target: Any) -> bool:
    name = getattr(target, "__qualname__", None)
    ours = getattr(target, "__module__", None) == tenacity.__name__
    return ours and isinstance(name, str) and name.partition(".")[0] == "retry"


def _traced_decorator(target: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(target)
    def decorate(*args: Any, **kwargs: Any) -> Any:
        return traced(target(*args, **kwargs))

    return decorate


def _traced_function(target: Any, retrying: BaseRetrying) -> Any:
    if isinstance(retrying, _Telling):
        return target
    function = getattr(target, "__wrapped__", None)
    if not isinstance(target, FunctionType) or getattr(function, "retry", None) is retrying:
        raise TypeError(
            f"{target!r} is decorated above its @retry: put traced_retrying directly on top of that"
        )
    made = _traced_retrying(retrying).wraps(function)
    for name, value in vars(target).items():
        vars(made).setdefault(name, value)
    return made


def _traced_retrying(retrying: BaseRetrying) -> Any:
    made: Any = object.__new__(_traced_class(type(retrying)))
    # Not `copy`, which loses what a subclass of the user's keeps besides. Statistics are local.
    known = vars(retrying).items()
    vars(made).update({name: local() if isinstance(one, local) else one for name, one in known})
    return made


def _traced_class(kind: type[BaseRetrying]) -> type[BaseRetrying]:
    tells: type = _TellingAny
    if issubclass(kind, tenacity.AsyncRetrying):
        tells = _TellingAsync
    elif issubclass(kind, tenacity.Retrying):
        tells = _TellingSync
    like = {name: getattr(kind, name) for name in ("__module__", "__qualname__", "__doc__")}
    return new_class(kind.__name__, (tells, kind), {}, lambda body: body.update(like))


def _call_of(state: RetryCallState) -> Call | None:
    """Return our account of a call, begun with it; None if it is not recorded."""
    if not SWITCH.on:
        return None
    known = vars(state)
    if CALL not in known:
        known[CALL] = begin_call() if state.attempt_number == 1 else None
    call: Call | None = known[CALL]
    return call


def _attempted(call: Call, state: RetryCallState) -> None:
    """Tell what came of an attempt, before anybody decides what is to be done."""
    _asleep.set(None)
    if state.outcome is not None:
        call.stop(state.outcome.exception())


def _decided(call: Call, retrying: BaseRetrying, do: Any) -> None:
    """Tell what is to be done."""
    if isinstance(do, DoAttempt):
        call.start()
    elif isinstance(do, DoSleep):
        _asleep.set(call)
        call.wait(do)
    else:
        _ended(call, retrying, None)


def _ended(call: Call, retrying: BaseRetrying, error: BaseException | None) -> None:
    if retrying.iter_state.retry_run_result:  # a result, too, may be what is retried
        call.reject()
    call.end(error)


def _broken_off(error: BaseException) -> None:
    """Tell that the wait which goes on here, if there is one, has been broken off."""
    call = _asleep.get()
    if call is not None:
        _asleep.set(None)
        call.end(error)


class _Attempt(AttemptManager):
    """An attempt of a loop, whose end is told where its block ends: the loop may be left there."""

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        swallowed = super().__exit__(exc_type, exc_value, traceback)
        call: Call | None = vars(self.retry_state).get(CALL)
        if call is not None:
            call.stop(exc_value)
        return swallowed


def _telling(manager: AttemptManager) -> AttemptManager:
    return _Attempt(manager.retry_state) if type(manager) is AttemptManager else manager


if TYPE_CHECKING:
    from tenacity import AsyncRetrying as _Async
    from tenacity import BaseRetrying as _Any
    from tenacity import Retrying as _Sync
else:
    _Any = _Sync = _Async = object


class _Telling:
    """What is put before any class that retries."""

    def __reduce_ex__(self, protocol: object) -> Any:
        # By way of the bare one, which is pickled and copied by rules of its own.
        bases = type(self).__mro__
        kind = next(base for base in bases if not issubclass(base, _Telling))
        plain = object.__new__(kind)
        vars(plain).update(vars(self))
        return traced, (plain,)


class _TellingAny(_Telling, _Any):
    def iter(self, retry_state: RetryCallState) -> Any:
        call = _call_of(retry_state)
        if call is None:
            return super().iter(retry_state)
        _attempted(call, retry_state)
        try:
            do = super().iter(retry_state)
        except BaseException as error:
            _ended(call, self, error)
            raise
        _decided(call, self, do)
        return do

    def __iter__(self) -> Generator[AttemptManager, None, None]:
        managers = iter(super().__iter__())
        while True:
            try:
                manager = next(managers)
            except StopIteration:
                return
            except BaseException as error:
                _broken_off(error)
                raise
            yield _telling(manager)


class _TellingSync(_TellingAny, _Sync):
    def __call__(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if not SWITCH.on:
            return super().__call__(fn, *args, **kwargs)
        with own_event(fn):
            try:
                return super().__call__(fn, *args, **kwargs)
            except BaseException as error:
                _broken_off(error)
                raise


class _TellingAsync(_Telling, _Async):
    async def iter(self, retry_state: RetryCallState) -> Any:
        call = _call_of(retry_state)
        if call is None:
            return await super().iter(retry_state)
        _attempted(call, retry_state)
        try:
            do = await super().iter(retry_state)
        except BaseException as error:
            _ended(call, self, error)
            raise
        _decided(call, self, do)
        return do

    async def __anext__(self) -> AttemptManager:
        try:
            return _telling(await super().__anext__())
        except BaseException as error:
            _broken_off(error)
            raise

    async def __call__(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]  # as what it overrides does
        if not SWITCH.on:
            return await super().__call__(fn, *args, **kwargs)
        with own_event(fn):
            try:
                return await super().__call__(fn, *args, **kwargs)
            except BaseException as error:
                _broken_off(error)
                raise
