"""`traced_event`: one decorator and context manager for everything that can be called."""

from __future__ import annotations

from _thread import get_ident
from types import FunctionType

from volnux.telemetry._budget import BUDGETS, Budget
from volnux.telemetry._current import Event
from volnux.telemetry._kinds import (
    ASYNC_GENERATOR,
    COROUTINE,
    GENERATOR,
    ITERABLE_COROUTINE,
    flags_of,
    is_a,
    is_function,
    is_marked,
    name_of,
    written_in,
)
from volnux.telemetry._outcome import OVERRUN, fail
from volnux.telemetry._render import weigh
from volnux.telemetry._scope import still_open
from volnux.telemetry._seam import get_current, set_current
from volnux.telemetry._sites import KEPT, EventSite, FunctionSite, event_site
from volnux.telemetry._streams import trace_async_generator, trace_generator
from volnux.telemetry._switch import SWITCH
from volnux.telemetry._wrappers import trace_coroutine, trace_function

TYPE_CHECKING = False
if TYPE_CHECKING:
    import functools
    from collections.abc import Callable, Mapping
    from typing import Any, TypeAlias, TypeVar, overload

    from volnux.telemetry._raw import Raw

    Descriptor: TypeAlias = (
        classmethod[Any, Any, Any]
        | staticmethod[Any, Any]
        | property
        | functools.cached_property[Any]
        | functools.partialmethod[Any]
    )
    F = TypeVar("F", bound=Callable[..., Any] | Descriptor)

else:

    def overload(function: object) -> object:
        """Stand in for typing.overload: importing typing takes as long as all of volnux."""
        return function


#: Values that weigh little, and may be looked at later; so may short texts.
_LIGHT = frozenset({int, float, bool, type(None)})
_SHORT = 128
_WAYS = (
    "decorate a function, method, class, descriptor or callable object with it, "
    'or write @traced_event("name") or `with traced_event("name"):`'
)


@overload
def traced_event(target: F, /) -> F: ...


@overload
def traced_event(  # noqa: F811  # an overload
    name: str | None = None,
    *,
    attributes: Mapping[str, Any] | None = None,
    budget: Budget | None = None,
) -> TracedEvent: ...


def traced_event(  # noqa: F811  # what the overloads describe
    name: Any = None,
    *,
    attributes: Mapping[str, Any] | None = None,
    budget: Budget | None = None,
) -> Any:
    """Record every execution of something as an event.

    As a decorator, bare or called, it takes functions, coroutine functions, generators and async
    generators, methods, classmethods and staticmethods in either order, properties, partials,
    callable objects, functions that return an awaitable or a generator, and classes (whose public
    methods it traces). What comes back keeps its signature, its type and its kind, and pickles as
    the bare one does; callable objects keep their attributes too. As a context manager, sync or
    async, it gives an `Event`.

    A function that returns an awaitable or a generator is recorded until that has run, and as
    cancelled if it never does. One that can also be entered or iterated ends the event with its
    first use: the await, the block, the iteration. Used in another way, as a client is, or held
    elsewhere too, it was the result, and the event ended when the function returned.

    While telemetry is off nothing is recorded. Safe from any thread.

    Args:
        name: the event's name; by default the qualified name of what is decorated.
        attributes: part of every record's attributes; bounded and redacted.
        budget: what its executions in one test may come to; a test in which they do more fails.

    Raises:
        TypeError: what is decorated cannot be called; the message says what can.
        ValueError: the name is empty.

    Example:
        >>> @traced_event
        ... def load(path): ...
        >>> with traced_event("parse", attributes={"format": "csv"}) as event:
        ...     event.set_attribute("rows", 10)
    """
    if name is None or isinstance(name, str):
        if attributes is not None and not hasattr(attributes, "keys"):
            raise TypeError(f"attributes must be a mapping of names to values, not {attributes!r}")
        if budget is not None:
            if not isinstance(budget, Budget):
                raise TypeError(f"budget must be a Budget(max_calls=...), not {budget!r}")
            if name is not None:
                BUDGETS[name] = budget
        is_plain = attributes is None and budget is None
        if is_plain and name in _blocks and not _blocks[name]._open:
            return _blocks[name]
        block = TracedEvent(name, attributes, budget)
        # Shared by name: a block in a loop then costs no more than a look-up. But not while it is
        # open, for only an instance of its own can tell which of two to end, if not the inner one.
        if is_plain and name not in _blocks and len(_blocks) < KEPT:
            _blocks[name] = block
        return block
    return _trace(name, None, None)


def _weigh(site: EventSite, attributes: Mapping[str, Any]) -> int:
    """Return an estimate of the bytes that attributes of a single block keep, and see to it that they are few."""
    if type(attributes) is dict and len(attributes) <= 16:
        for value in attributes.values():
            if type(value) not in _LIGHT and (type(value) is not str or len(value) > _SHORT):
                break
        else:
            return 200 * (1 + len(attributes))
    return weigh(site.settle())


class TracedEvent:
    """What `traced_event("name")` returns: a decorator and a reusable context manager.

    One instance may be entered by several threads and tasks at once, and by itself again.
    """

    __slots__ = ("_attributes", "_budget", "_name", "_off", "_open", "_site")

    def __init__(
        self,
        name: str | None,
        attributes: Mapping[str, Any] | None,
        budget: Budget | None = None,
    ) -> None:
        if name is not None and not name.strip():
            raise ValueError(f"traced_event needs a name that is not empty: {_WAYS}")
        self._name = name
        self._attributes = attributes
        self._budget = budget
        self._site: EventSite | None = None
        # By identity, for an exit that does not find its entry current.
        self._open: dict[int, Raw] = {}
        # The threads of entries that are not recorded, whose exits must end nobody else's event.
        self._off: list[int] = []

    def __repr__(self) -> str:
        return f"traced_event({self._name!r})"

    def __call__(self, target: F, /) -> F:
        """Decorate something; see `traced_event`."""
        if self._budget is not None:
            for name in _names_of(target, self._name):
                BUDGETS[name] = self._budget
        return _trace(target, self._name, self._attributes)  # type: ignore[no-any-return]

    def _made_site(self) -> EventSite:
        if self._name is None:
            raise TypeError('a with-block needs a name: with traced_event("name") as event')
        # Without attributes the site is shared, so that a block in a loop costs no memory.
        if self._attributes is None:
            self._site = event_site(self._name)
        else:
            self._site = EventSite(self._name, self._attributes)
            self._site.weight = _weigh(self._site, self._attributes)
        return self._site

    def __enter__(self) -> Event:
        site = self._site or self._made_site()
        parent = get_current()
        scope = parent[1]
        if not SWITCH.on or scope is None:
            self._off.append(get_ident())
            return _OFF
        now, append, _ = scope.hot
        event = [site, scope, parent, now(), get_ident(), None, None, False, None]
        # What needs a frame of the stack comes before anything that only an exit takes back.
        opened = Event(event)
        append(event)
        self._open[id(event)] = event
        set_current(event)
        return opened

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        current = get_current()
        event = self._open.pop(id(current), None) or self._leave_astray(current)
        if event is None:
            return
        scope, parent = event[1], event[2]
        now, _, pending = scope.hot
        end = now()
        if get_current() is event:
            set_current(parent if parent[5] is None else still_open(parent))
        else:  # left while something inside is open, which goes on to what is around this
            event.append(parent)
        if error is not None:
            try:
                fail(event, parent, error)
            except RecursionError:  # no stack is left for that
                event[6] = OVERRUN
        event[5] = end
        if event[7]:
            scope.late(event)
        elif len(pending) > pending.limit:
            scope.fold()

    def _leave_astray(self, current: Raw) -> Raw | None:
        """Return the likeliest entry if it is not the current one; None for an unrecorded one."""
        thread = get_ident()
        if thread in self._off:
            self._off.remove(thread)
            return None
        while current.__class__ is list:  # something inside was left open
            current = current[6] if current[0] is None else current[2]
            if id(current) in self._open:
                return self._open.pop(id(current), None)
        # In a foreign context, as when a generator is closed there.
        opened = list(self._open.values())
        opened.sort(key=lambda event: event[4] == thread)
        return self._open.pop(id(opened[-1]), None) if opened else None

    async def __aenter__(self) -> Event:
        return self.__enter__()

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self.__exit__(kind, error, traceback)


_OFF = Event(None)
_blocks: dict[str | None, TracedEvent] = {}


def _trace(target: Any, name: str | None, attributes: Mapping[str, Any] | None) -> Any:
    """Return the traced form of whatever is decorated."""
    if isinstance(target, (classmethod, staticmethod)):
        return type(target)(_trace(target.__func__, name, attributes))
    if isinstance(target, property):
        return _trace_property(target, name, attributes)
    if is_a("cached_property", target):
        target.func = _trace(target.func, name, attributes)
        return target
    if is_a("partialmethod", target):
        inner = _trace(target.func, name, attributes)
        return type(target)(inner, *target.args, **target.keywords)
    if isinstance(target, type):
        return _trace_class(target, name, attributes)
    if not callable(target):
        raise TypeError(f"traced_event cannot trace {target!r}, which is not callable: {_WAYS}")
    return _trace_callable(target, name or name_of(target), attributes)


def _trace_callable(target: Any, name: str, attributes: Mapping[str, Any] | None) -> Any:
    site = FunctionSite(name, attributes, written_in(target))
    trace = _way_to_trace(target)
    if is_function(target):
        return trace(target, site)
    from functools import partial

    from volnux.telemetry._callable import traced_callable

    # Called by way of a partial, for `wraps` believes whatever an object says of itself.
    traced = trace(target if is_a("partial", target) else partial(target), site)
    is_async = trace is trace_coroutine and not is_a("partial", target)
    try:
        return traced_callable(target, traced, _trace, (name, attributes), is_async=is_async)
    except Exception:  # noqa: BLE001  # an object that nothing can stand for: a function then
        return traced


def _way_to_trace(target: Any) -> Any:
    """Return what traces such a callable, by the kind of function that will run."""
    flags = flags_of(target)
    if flags & COROUTINE or is_marked(target):
        return trace_coroutine
    if flags & GENERATOR and not flags & ITERABLE_COROUTINE:  # which is to be awaited
        return trace_generator
    if flags & ASYNC_GENERATOR:
        return trace_async_generator
    return trace_function


def _trace_property(target: property, name: str | None, attributes: Any) -> property:
    def traced(accessor: Any) -> Any:
        return None if accessor is None else _trace(accessor, name, attributes)

    return type(target)(
        traced(target.fget), traced(target.fset), traced(target.fdel), target.__doc__
    )


def _trace_class(target: type, name: str | None, attributes: Any) -> type:
    for key, member, named in _members_of(target, name):
        setattr(target, key, _trace(member, named, attributes))
    return target


def _members_of(target: type, name: str | None) -> list[tuple[str, Any, str | None]]:
    """Return the members of a class that are traced, and the names that they are given."""
    traceable = (FunctionType, classmethod, staticmethod)
    return [
        (key, member, f"{name}.{key}" if name else None)
        for key, member in vars(target).items()
        if not key.startswith("_")
        and (isinstance(member, traceable) or is_a("partialmethod", member))
    ]


def _names_of(target: Any, name: str | None) -> list[str]:
    """Return the names of the events that something will have once it is traced."""
    if isinstance(target, type):
        members = _members_of(target, name)
        return [found for _, member, named in members for found in _names_of(member, named)]
    for inner in ("__func__", "fget", "func"):
        if name is None and hasattr(target, inner) and not is_a("partial", target):
            return _names_of(getattr(target, inner), name)
    return [name or name_of(target)]
