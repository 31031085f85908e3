"""`propagate`: takes the context along to threads, executors and process pools.

In another process the call records into a registry of its own. What that recorded travels home
inside the result (or the exception): unpickling it here merges the records into the registry of the
caller, and gives the bare result. So it works with whatever carries pickles: process pools,
`multiprocessing`, on fork, forkserver and spawn.
"""

from __future__ import annotations

import os
from _weakref import ref

from volnux.telemetry._guard import PROCESS, note
from volnux.telemetry._ids import IDS
from volnux.telemetry._registry import Registry
from volnux.telemetry._scope import CURRENT, PROCESS_ROOT, enclosing_id, root, run_in, snapshot
from volnux.telemetry._sites import redactor
from volnux.telemetry._switch import SWITCH, is_disabled
from volnux.telemetry._traces import Elsewhere, trace_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context
    from typing import Any, ParamSpec, TypeVar

    from volnux.telemetry._raw import Raw, Scope
    from volnux.telemetry._redaction import Redactor

    P = ParamSpec("P")
    R = TypeVar("R")

#: Registries that calls have been sent from, by number, while anything still holds them.
_senders: dict[int, ref[Registry]] = {}


def propagate(function: Callable[P, R]) -> Callable[P, R]:
    """Return a callable that runs the function in the context of the one who asked for it.

    Hand it to `Thread(target=…)`, `executor.submit`, `executor.map`, `loop.run_in_executor` or a
    process pool: what it records has the current event for its parent, and goes to the current
    registry. From another process the records come home with the result; a process that dies loses
    its own only, and `health().remote["missing"]` says how many calls never reported (a chunk of
    `map` counts as one call).

    Args:
        function: what to run; for another process it must be importable there.

    Raises:
        TypeError: it cannot be called.

    Example:
        >>> with traced_event("batch"), ProcessPoolExecutor() as pool:
        ...     results = list(pool.map(propagate(parse), paths))
    """
    if not callable(function):
        raise TypeError(f"propagate() needs something to call, not {function!r}")
    return Propagated(function, snapshot())


def _gone() -> None:
    """Stands for the reference to a registry that is not there."""


class Propagated:
    """What `propagate` returns. In the same process it runs the function in a captured context."""

    __wrapped__: Callable[..., Any]

    def __init__(self, function: Callable[..., Any], context: Context) -> None:
        from functools import update_wrapper

        update_wrapper(self, function)
        self._function = function
        self._context = context

    def __repr__(self) -> str:
        return f"propagate({self._function!r})"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return run_in(self._context, self._function, *args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickled in a thread of the pool: where its own context says nothing, the process is meant.
        current = self._context.get(CURRENT, PROCESS_ROOT)
        scope: Scope | None = current[1]
        if not SWITCH.on or scope is None:
            return Sent, (None, self._function)
        call = IDS.take()
        ticket = {
            "process": os.getpid(),
            "registries": [_send(registry, call) for registry in scope.registries],
            "call": call,
            "parent": _parent_with_trace(current),
            "pipeline": (scope.pipeline, scope.attributes),
            "rule": _Rule(redactor()),
        }
        # The ticket first: its rule holds when the function's module is imported there.
        return Sent, (ticket, self._function)


def _parent_with_trace(current: Raw) -> int | str:
    """Return the identifier that the call's records take for their parent's, with the trace it is in."""
    parent = enclosing_id(current)
    return Elsewhere(parent, trace_of(current)) if isinstance(parent, int) and parent else parent


def _send(registry: Registry, call: int) -> int:
    """Count a call as sent by a registry; return the number by which its reports find it."""
    number = registry.remote.number
    if number not in _senders:
        _senders[number] = ref(registry, lambda _: _senders.pop(number, None))
    registry.remote.send(call)
    return number


class _Rule:
    """A redactor on its way: in force in the other process as soon as it is unpickled there."""

    def __init__(self, rule: Redactor) -> None:
        self._rule = rule

    def __reduce__(self) -> tuple[Any, ...]:
        return _adopt, (self._rule,)


def _adopt(rule: Redactor) -> _Rule:
    from volnux.telemetry._redaction import set_redactor

    # Not at every call anew: what is cleaned once for each redactor would be so each time.
    if rule.__reduce__() != redactor().__reduce__():
        set_redactor(rule)
    return _Rule(rule)


class Sent:
    """A propagated function in another process: records its calls, and sends that home."""

    def __init__(self, ticket: dict[str, Any] | None, function: Callable[..., Any]) -> None:
        self._ticket = ticket
        self._function = function

    def __repr__(self) -> str:
        return f"propagate({self._function!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Sent, (self._ticket, self._function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._ticket is None or is_disabled():
            return self._function(*args, **kwargs)
        registry = Registry()
        pipeline, attributes = self._ticket["pipeline"]
        scope = registry.scope.derive(pipeline=pipeline, attributes=attributes)
        before = CURRENT.get()
        CURRENT.set(root(scope, self._ticket["parent"]))
        SWITCH.add()
        try:
            result = self._function(*args, **kwargs)
        except BaseException as error:
            _enclose(error, self._ticket, registry)
            raise
        finally:
            CURRENT.set(before)
            SWITCH.remove()
        return Parcel(result, self._ticket, registry)


class Parcel:
    """A result on its way home; it never exists there."""

    def __init__(self, result: Any, ticket: dict[str, Any], registry: Registry) -> None:
        self._result = result
        self._ticket = ticket
        self._registry = registry

    def __repr__(self) -> str:
        # A pool quotes what it could not send home.
        return repr(self._result)

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrive, (self._ticket, self._registry.export(), self._result)


def _enclose(error: BaseException, ticket: dict[str, Any], registry: Registry) -> None:
    """Have an exception carry the records when it is pickled."""
    try:
        # Found by pickle on the instance; the exception stays what it is for everybody else.
        vars(error)["__reduce_ex__"] = lambda protocol: _reduce_error(
            error, ticket, registry, protocol
        )
    except Exception:  # noqa: BLE001  # whatever the exception is, its program gets that one
        PROCESS.add("remote", "exception takes no records")


def _reduce_error(
    error: BaseException, ticket: dict[str, Any], registry: Registry, protocol: int
) -> tuple[Any, ...]:
    vars(error).pop("__reduce_ex__", None)
    return _arrive, (ticket, registry.export(), _Bare(error.__reduce_ex__(protocol)))


class _Bare:
    """What an exception is made of, so that pickling it does not end where it began."""

    def __init__(self, parts: Any) -> None:
        self._parts = parts

    def __reduce__(self) -> Any:
        return self._parts


def _arrive(ticket: dict[str, Any], state: dict[str, Any], result: Any) -> Any:
    """Merge what a call recorded, in the process that sent it; return the bare result."""
    if ticket["process"] != os.getpid():
        return result
    registries = [_senders.get(number, _gone)() for number in ticket["registries"]]
    if registries[0] is None:
        note(None, "remote", "nobody to report to")
    for registry in registries:
        if registry is None:
            continue
        registry.remote.report(ticket["call"])
        try:
            registry.merge(state)
        except Exception as error:  # noqa: BLE001  # records never cost the program its result
            note(registry, "remote", type(error).__name__, error)
    return result
