"""Retries of other libraries, told to the event around them: tenacity, stamina and urllib3.

One line each; a library is loaded when its adapter is first used, and not by importing this.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import TypeVar

    from urllib3.util import Retry

    T = TypeVar("T")
    R = TypeVar("R", bound=Retry)

__all__ = [
    "instrument_stamina",
    "traced_retry",
    "traced_retrying",
    "traced_stamina",
    "uninstrument_stamina",
]


def traced_retrying(target: T, /) -> T:
    """Record the attempts of what tenacity retries.

    Every call's attempts go to the event around it: number, outcome, error type, work time, and
    backoff apart. A call of a function outside of any event becomes an event named after the
    function. Calls may run at once in any number of threads and tasks, and never mix.

    While telemetry is off nothing is recorded. Nothing raises into the program, unless the registry
    is strict.

    Args:
        target: a `Retrying` or `AsyncRetrying` (or a subclass's instance), to call with a function
            or to iterate over; a function, coroutine function or method that `@retry` decorates;
            or a decorator, `retry(...)` or `retry` itself.

    Returns:
        The same kind of thing, which retries as the target does, with the target's own callbacks,
        `retry`, `retry_with` and `statistics`. The target itself is left as it is.

    Raises:
        TypeError: the target does not retry, or is decorated further above its `@retry`.
        MissingDependencyError: tenacity is not installed.

    Example:
        >>> @traced_retrying
        ... @retry(stop=stop_after_attempt(3))
        ... def fetch(url): ...
    """
    traced: T = _adapter("_tenacity", "tenacity").traced(target)
    return traced


def traced_stamina(target: T, /) -> T:
    """Record the attempts of what stamina retries, with success, recovery and giving up.

    As `traced_retrying`; for functions it adds a hook of its own to stamina's, next to those of the
    program, when the first call is recorded.

    Args:
        target: a function, coroutine function or method that `@stamina.retry` decorates; what
            `stamina.retry_context(...)` returns; or a `RetryingCaller`, an `AsyncRetryingCaller`,
            or what their `on` returns.

    Returns:
        The same kind of thing. The target itself is left as it is.

    Raises:
        TypeError: the target is something else, or a generator function.
        MissingDependencyError: stamina is not installed.

    Example:
        >>> @traced_stamina
        ... @stamina.retry(on=OSError, attempts=3)
        ... def fetch(url): ...
    """
    traced: T = _adapter("_stamina", "stamina").traced(target)
    return traced


def instrument_stamina() -> None:
    """Record all retries of stamina in this process, also of functions that are not traced.

    It adds one hook to those that stamina calls, and leaves the others. What a hook is not told, it
    cannot record: that a call succeeded at once, or gave up in an event that goes on. Calling it
    again changes nothing; after `stamina.instrumentation.set_on_retry_hooks` it has to be called
    again. Safe from any thread.

    Raises:
        MissingDependencyError: stamina is not installed.
    """
    _adapter("_stamina_hook", "stamina").instrument()


def uninstrument_stamina() -> None:
    """Take `instrument_stamina` back; what `traced_stamina` has traced is recorded all the same.

    Raises:
        MissingDependencyError: stamina is not installed.
    """
    _adapter("_stamina_hook", "stamina").uninstrument()


def traced_retry(retry: R, /) -> R:
    """Record the attempts of requests that urllib3 retries, also below requests.

    Every request's attempts go to the event around it: number, outcome, error type, work time, and
    backoff apart, `Retry-After` included. A redirect is a request of its own, and no retry. Any
    number of threads may use it at once.

    While telemetry is off nothing is recorded. Nothing raises into the program, unless the registry
    is strict.

    Args:
        retry: a `urllib3.util.Retry` or a subclass's instance, left as it is.

    Returns:
        A `Retry` that decides as the given one does.

    Raises:
        TypeError: it is no `Retry`.
        MissingDependencyError: urllib3 is not installed.

    Example:
        >>> http = urllib3.PoolManager(retries=traced_retry(Retry(total=3)))
        >>> session.mount("https://", HTTPAdapter(max_retries=traced_retry(Retry(total=3))))
    """
    traced: R = _adapter("_urllib3", "urllib3").traced(retry)
    return traced


def _adapter(name: str, library: str) -> ModuleType:
    from importlib import import_module

    from volnux.telemetry.errors import MissingDependencyError

    try:
        return import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        if error.name != library:
            raise
        raise MissingDependencyError(library) from error
