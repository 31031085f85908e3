"""stamina's blocks and callers: every attempt passes through our hands, and no hook is needed."""

from __future__ import annotations

from types import new_class

import stamina

from volnux.telemetry._switch import SWITCH
from volnux.telemetry.retries._call import begin_call, own_event
from volnux.telemetry.retries._stamina_hook import ACCOUNT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from types import TracebackType
    from typing import Any

    from stamina.instrumentation import RetryDetails

    from volnux.telemetry.retries._call import Call
    from volnux.telemetry.retries._stamina_hook import Account


class _Seen:
    """The account of what we see ourselves: the hook has nothing to add."""

    def takes(self, details: RetryDetails) -> bool:
        return True


_SEEN = _Seen()


class _Attempt(stamina.Attempt):
    """An attempt that tells when it begins and ends."""

    __slots__ = ("_told",)
    _told: Call

    def __enter__(self) -> None:
        self._told.start()
        return super().__enter__()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        swallowed = super().__exit__(exc_type, exc_value, traceback)
        self._told.stop(exc_value)
        return swallowed


def _telling(attempt: stamina.Attempt, call: Call | None) -> stamina.Attempt:
    if call is None:
        return attempt
    made: _Attempt = _moved(attempt, _Attempt)
    made._told = call
    return made


def _moved(instance: Any, kind: type) -> Any:
    """Return what an instance is as one of a subclass of its class, or of its bare class."""
    made: Any = object.__new__(kind)
    for base in type(instance).__mro__:
        for name in vars(base).get("__slots__", ()):
            if hasattr(instance, name):
                setattr(made, name, getattr(instance, name))
    if hasattr(instance, "__dict__"):
        vars(made).update(vars(instance))
    return made


class _Step:
    """One step of stamina's iterator: between two attempts, in the wait."""

    __slots__ = ("_call", "_outside")
    _outside: Account | None

    def __init__(self, call: Call | None) -> None:
        self._call = call

    def __enter__(self) -> None:
        self._outside = ACCOUNT.get()
        ACCOUNT.set(_SEEN)

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        ACCOUNT.set(self._outside)
        if self._call is not None and error is not None:
            done = isinstance(error, (StopIteration, StopAsyncIteration))
            self._call.end(None if done else error)


class Blocks:
    """What `stamina.retry_context` returns, its attempts telling of themselves."""

    def __init__(self, context: Any) -> None:
        self._context: Any = context

    def __repr__(self) -> str:
        return repr(self._context)

    def __iter__(self) -> Iterator[stamina.Attempt]:
        attempts = iter(self._context)
        call = begin_call()
        while True:
            try:
                with _Step(call):
                    attempt = next(attempts)
            except StopIteration:
                return
            yield _telling(attempt, call)

    def __aiter__(self) -> AsyncIterator[stamina.Attempt]:
        return _AsyncBlocks(self._context.__aiter__())


class _AsyncBlocks:
    def __init__(self, attempts: Any) -> None:
        self._attempts: Any = attempts
        self._call = begin_call()

    def __aiter__(self) -> AsyncIterator[stamina.Attempt]:
        return self

    async def __anext__(self) -> stamina.Attempt:
        with _Step(self._call):
            attempt: stamina.Attempt = await self._attempts.__anext__()
        return _telling(attempt, self._call)


class _Attempting:
    """What a caller calls: in it, what the hook is told is not this caller's."""

    __slots__ = ("_call", "_outside")

    def __init__(self, call: Call, outside: Account | None) -> None:
        self._call = call
        self._outside = outside

    def __enter__(self) -> None:
        ACCOUNT.set(self._outside)
        self._call.start()

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        ACCOUNT.set(_SEEN)
        self._call.stop(error)


class _Calling:
    """One call of a caller."""

    __slots__ = ("_call", "_event", "_outside")

    def __init__(self, function: Callable[..., Any]) -> None:
        self._event = own_event(function)

    def __enter__(self) -> _Calling:
        self._event.__enter__()
        self._call = begin_call()
        self._outside = ACCOUNT.get()
        if self._call is not None:
            ACCOUNT.set(_SEEN)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if self._call is not None:
                ACCOUNT.set(self._outside)
                self._call.end(error)
        finally:
            self._event.__exit__(kind, error, traceback)

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function whose calls are told as attempts."""
        call, outside = self._call, self._outside
        if call is None:
            return function

        def attempt(*args: Any, **kwargs: Any) -> Any:
            with _Attempting(call, outside):
                return function(*args, **kwargs)

        return attempt

    def around_async(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function whose calls are told as attempts, until what they give is awaited."""
        call, outside = self._call, self._outside
        if call is None:
            return function

        async def attempt(*args: Any, **kwargs: Any) -> Any:
            with _Attempting(call, outside):
                return await function(*args, **kwargs)

        return attempt


if TYPE_CHECKING:
    _Bare: Any = object
else:
    _Bare = object


class _Telling(_Bare):  # type: ignore[misc]  # put before any caller
    #: Which argument of a call is the function.
    _volnux_at: int

    def __reduce_ex__(self, protocol: object) -> Any:
        kind = next(base for base in type(self).__mro__ if not issubclass(base, _Telling))
        return traced_caller, (_moved(self, kind),)


class _Sync(_Telling):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        at = self._volnux_at
        if not SWITCH.on or len(args) <= at:
            return super().__call__(*args, **kwargs)
        with _Calling(args[at]) as calling:
            function = calling.around(args[at])
            return super().__call__(*args[:at], function, *args[at + 1 :], **kwargs)


class _Async(_Telling):
    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        at = self._volnux_at
        if not SWITCH.on or len(args) <= at:
            return await super().__call__(*args, **kwargs)
        with _Calling(args[at]) as calling:
            function = calling.around_async(args[at])
            return await super().__call__(*args[:at], function, *args[at + 1 :], **kwargs)


_KINDS: tuple[tuple[type, type, int], ...] = (
    (stamina.RetryingCaller, _Sync, 1),
    (stamina.BoundRetryingCaller, _Sync, 0),
    (stamina.AsyncRetryingCaller, _Async, 1),
    (stamina.BoundAsyncRetryingCaller, _Async, 0),
)
CALLERS = tuple(kind for kind, _, _ in _KINDS)


def traced_caller(caller: Any) -> Any:
    """Return the traced form of a caller."""
    # What `on` of a traced one returns calls that one.
    if isinstance(caller, _Telling) or isinstance(getattr(caller, "_caller", None), _Telling):
        return caller
    tells, at = next((tells, at) for kind, tells, at in _KINDS if isinstance(caller, kind))
    kind = type(caller)
    body = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "_volnux_at": at}
    made = new_class(kind.__name__, (tells, kind), {}, lambda space: space.update(body))
    return _moved(caller, made)
