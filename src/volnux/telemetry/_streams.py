"""Tracing generators: the event is current while the producer runs, never in the consumer's code.

As in `_wrappers`, entries are lists whose places `_raw` names: 3 start, 5 end.
"""

from __future__ import annotations

import gc
import sys
from contextvars import copy_context

from volnux.telemetry._outcome import OVERRUN, fail
from volnux.telemetry._raw import extra_of
from volnux.telemetry._records import Status
from volnux.telemetry._seam import begin, close, get_current, reset_current, set_current

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator
    from contextvars import Context
    from typing import Any, ParamSpec, TypeVar

    from volnux.telemetry._raw import Extra, Raw
    from volnux.telemetry._sites import EventSite

    P = ParamSpec("P")
    R = TypeVar("R")
    S = TypeVar("S")
    Y = TypeVar("Y")


#: Contexts as they were at closings since the last garbage collection, and which one that was.
_held: list[Context] = []
_held_since: list[object] = [None]


def hold_context() -> None:
    """Keep a context whole while a garbage collection strikes in the middle of changing it.

    Up to Python 3.11 a collection runs wherever memory is asked for, also inside `ContextVar.set`.
    If it closes a generator that sets a context variable, as a traced one does, the mapping that is
    being read is freed, and the process crashes. Held until another collection is over, it stays.
    From 3.12 on collections wait for the interpreter to be between two instructions.
    """
    if sys.version_info >= (3, 12) or not gc.isenabled():
        return
    collections = [generation["collections"] for generation in gc.get_stats()]
    if _held_since[0] != collections:
        _held_since[0] = collections
        _held.clear()
    _held.append(copy_context())


class Steps:
    """What the steps of a generator add up to. The event is current in a step, never between."""

    __slots__ = ("active", "begun", "event", "first", "inside", "items", "now", "outside", "parent")

    def __init__(self, event: Raw, parent: Raw) -> None:
        self.event = event
        self.parent = parent
        self.now: Callable[[], int] = event[1].now
        # What is current in the producer: the event itself, or what it holds open at a yield.
        self.inside = event
        self.outside = parent
        self.begun = 0
        self.active = 0
        self.items = 0
        self.first: int | None = None

    def enter(self, *, closing: bool) -> None:
        """Go into the producer."""
        if closing:
            hold_context()
        self.outside = get_current()
        set_current(self.inside)
        self.begun = self.now()

    def leave(self) -> None:
        """Come out of the producer with an item."""
        ended = self.now()
        self.inside = get_current()
        set_current(self.outside)
        self.active += ended - self.begun
        if not self.items:
            self.first = ended - self.event[3]
        self.items += 1

    def quit(self, error: BaseException, *, closing: bool) -> None:
        """Come out of the producer for the last time, with what it raised."""
        self.active += self.now() - self.begun
        # Asked of the class: an exception's own `__class__` may raise.
        closed = issubclass(type(error), GeneratorExit)
        # An async step that is abandoned at an await may be closed from another context.
        if closing or not closed:
            set_current(self.outside)
        returned = issubclass(type(error), (StopIteration, StopAsyncIteration))
        # Closing early is no failure.
        self.finish(None if returned or (closing and closed) else error)

    def finish(self, error: BaseException | None = None) -> None:
        """End the event; an error that the program sees makes it failed or cancelled."""
        event = self.event
        end = event[1].now()
        extra: Extra = extra_of(event)
        extra.active, extra.items, extra.first = self.active, self.items, self.first
        if error is not None:
            fail(event, self.parent, error)
        event[5] = end
        close(event)


def abandon(event: Raw, steps: Steps | None, kind: type[BaseException] | None) -> None:
    """End an event whose generator was struck between its steps, by an error of a kind."""
    if steps is not None and get_current() is steps.inside:
        set_current(steps.outside)
    if kind is not None and issubclass(kind, RecursionError):
        event[6] = event[6] or OVERRUN
    else:
        extra: Extra = extra_of(event)
        failed = kind is not None and issubclass(kind, Exception)
        extra.status = Status.FAILED if failed else Status.CANCELLED
        extra.error_type = None if kind is None else kind.__name__
    event[5] = event[1].now()
    if event[7]:
        event[1].late(event)


def trace_generator(  # noqa: C901, PLR0915  # a hot loop, in place
    function: Callable[P, Generator[Y, S, R]],
    site: EventSite,
    begun: tuple[Raw, Raw] | None = None,
) -> Callable[P, Generator[Y, S, R]]:
    """Trace a generator function: each step in the producer, and what came of all of them.

    Args:
        function: what makes the generator.
        site: the step.
        begun: the event, if it has begun already, and its parent.
    """
    from functools import wraps

    @wraps(function)
    def traced(*args: P.args, **kwargs: P.kwargs) -> Generator[Y, S, R]:  # noqa: C901, PLR0912, PLR0915
        started = begun or begin(site)
        steps: Steps | None = None
        value: Any = None
        thrown: BaseException | None = None
        closing = False
        stream: Any = None
        now: Any = None
        token: Any = None
        try:
            if started is not None:
                steps = Steps(*started)
                now = steps.now
            # Not `yield from`, also while nothing is recorded: that closes a generator where this is
            # to throw GeneratorExit into it, and loses what it returns.
            while True:
                if steps is not None:  # `Steps.enter` in place: this loop is hot
                    if closing:
                        hold_context()
                    steps.outside = get_current()
                    token = set_current(steps.inside)
                    steps.begun = now()
                try:
                    if stream is None:
                        stream = function(*args, **kwargs)
                    item = stream.send(value) if thrown is None else stream.throw(thrown)
                except StopIteration as stop:
                    if steps is not None:
                        steps.quit(stop, closing=closing)
                    return stop.value  # type: ignore[no-any-return]
                except BaseException as error:
                    thrown = value = None  # no cycle of frame, exception and traceback
                    if steps is not None:
                        steps.quit(error, closing=closing)
                    raise
                if steps is not None:  # `Steps.leave` in place
                    ended = now()
                    steps.inside = get_current()
                    try:
                        reset_current(token)
                    except ValueError:  # see `_wrappers`
                        set_current(steps.outside)
                    steps.active += ended - steps.begun
                    if not steps.items:
                        steps.first = ended - steps.event[3]
                    steps.items += 1
                value = thrown = None
                try:
                    value = yield item
                except BaseException as error:  # noqa: BLE001  # handed to the producer
                    thrown = error
                    closing = issubclass(type(error), GeneratorExit)
                item = None
        finally:
            if started is not None and started[0][5] is None:
                abandon(started[0], steps, sys.exc_info()[0])

    return traced


def trace_async_generator(
    function: Callable[P, AsyncGenerator[Y, S]],
    site: EventSite,
    begun: tuple[Raw, Raw] | None = None,
) -> Callable[P, AsyncGenerator[Y, S]]:
    """Trace an async generator function; see `trace_generator`."""
    from functools import wraps

    @wraps(function)
    async def traced(*args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[Y, S]:
        started = begun or begin(site)
        steps: Steps | None = None
        value: Any = None
        thrown: BaseException | None = None
        closing = False
        stream: Any = None
        try:
            steps = started and Steps(*started)
            while True:
                if steps is not None:
                    steps.enter(closing=closing)
                try:
                    if stream is None:
                        stream = function(*args, **kwargs)
                    item = await (stream.asend(value) if thrown is None else stream.athrow(thrown))
                except BaseException as error:
                    thrown = value = None
                    if steps is not None:
                        steps.quit(error, closing=closing)
                    if issubclass(type(error), StopAsyncIteration):
                        return
                    raise
                if steps is not None:
                    steps.leave()
                value = thrown = None
                try:
                    value = yield item
                except BaseException as error:  # noqa: BLE001  # handed to the producer
                    thrown = error
                    closing = issubclass(type(error), GeneratorExit)
                item = None
        finally:
            if started is not None and started[0][5] is None:
                abandon(started[0], steps, sys.exc_info()[0])

    return traced
