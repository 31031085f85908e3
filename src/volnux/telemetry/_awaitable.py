"""Awaitable objects that are neither coroutines nor futures, behind a transparent proxy.

The first use of the object tells what it is. Awaited, its event ends with the await; entered, with
the block; iterated, with the iteration. A client or a pool can be awaited and entered too, but is
mostly just used: its event has ended when it was returned.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

from volnux.telemetry._proxy import Proxy, defines, proxy_class
from volnux.telemetry._raw import extra_of
from volnux.telemetry._records import Status
from volnux.telemetry._seam import close, finish, get_current, set_current

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from volnux.telemetry._raw import Raw


def has_other_uses(kind: type) -> bool:
    """Return whether objects of an awaitable class can also be entered or iterated."""
    return defines(kind, "__aenter__") or defines(kind, "__aiter__") or defines(kind, "__anext__")


class Use:
    """An event whose end depends on the first use of what the step returned."""

    __slots__ = ("event", "iterated", "parent", "returned", "taken")

    def __init__(self, event: Raw, parent: Raw) -> None:
        self.event = event
        self.parent = parent
        self.returned: int = event[1].now()
        self.taken = False
        self.iterated = False

    def take(self) -> bool:
        """Return whether this is the first use."""
        first, self.taken = not self.taken, True
        return first

    def settle(self) -> None:
        """End the event where the step returned, unless its object is in use already."""
        if self.take() and self.event[5] is None:
            self.event[5] = self.returned
            close(self.event)

    def gone(self) -> None:
        """End the event because its object is no more; leaving an iteration early is no failure."""
        if self.event[5] is None:
            if not self.iterated:
                extra_of(self.event).status = Status.CANCELLED
            finish(self.event, self.parent)


class TracedAwaitable(Proxy):
    """Everything the awaitable is, and its event ends when it has been used."""

    def __init__(self, wrapped: Any, use: Use, source: object = None) -> None:
        super().__init__(wrapped)
        self._self_use = use
        self._self_entered = False
        self._self_steps: Any = None
        # The event ends when its object is gone, which an iteration of it is not to bring about.
        self._self_source = source
        self._self_has_other_uses = has_other_uses(type(wrapped))

    def __getattr__(self, name: str) -> Any:
        if self._self_has_other_uses and not name.startswith("_"):
            self._self_use.settle()
        return super().__getattr__(name)

    def __reduce_ex__(self, protocol: object) -> Any:
        return _itself, (self.__wrapped__,)

    def __await__(self) -> Iterator[Any]:
        if self._self_use.take():
            return _run(self, _itself, self.__wrapped__).__await__()
        return self.__wrapped__.__await__()  # type: ignore[no-any-return]


def traced_awaitable(awaitable: Any, use: Use, source: object = None) -> Any:
    """Return an object's proxy, which ends the event with the first use."""
    kind = type(awaitable)
    special = _SPECIAL
    if all(hasattr(kind, name) for name in _COROUTINE):
        special = {**_SPECIAL, **_COROUTINE}
    return proxy_class(TracedAwaitable, kind, special, _classes)(awaitable, use, source)


_classes: WeakKeyDictionary[type, Any] = WeakKeyDictionary()


def _itself(thing: Any) -> Any:
    return thing


async def _run(  # one function for all uses, so that a traceback has one frame of ours
    proxy: Any,
    function: Callable[..., Any],
    *args: Any,
    last: bool = True,
    body: BaseException | None = None,
) -> Any:
    """Await a part of what an object does as its event.

    Args:
        proxy: the object.
        function: what gives the awaitable of that part, called with `args`.
        last: whether the event ends with it.
        body: the exception that ends a with-block, which is the event's own if it goes on.
    """
    use: Use = proxy._self_use
    outside = get_current()
    set_current(use.event)
    try:
        value = await function(*args)
    except BaseException as error:
        if get_current() is use.event:
            set_current(outside)
        exhausted = use.iterated and issubclass(type(error), StopAsyncIteration)
        finish(use.event, use.parent, None if exhausted else error)
        raise
    if get_current() is use.event:
        set_current(outside)
    if last:
        finish(use.event, use.parent, None if body is None or value else body)
    return value


def _aenter(self: Any) -> Any:
    enter = self.__wrapped__.__aenter__
    if not self._self_use.take():
        return enter()
    self._self_entered = True
    return _run(self, enter, last=False)


def _aexit(self: Any, *error: Any) -> Any:
    leave = self.__wrapped__.__aexit__
    if not self._self_entered:
        return leave(*error)
    self._self_entered = False
    return _run(self, leave, *error, body=error[1])


def _aiter(self: Any) -> Any:
    iterator = self.__wrapped__.__aiter__()
    if not self._self_use.take():
        return iterator
    self._self_use.iterated = True
    if iterator is self.__wrapped__:
        return self
    return traced_awaitable(iterator, self._self_use, self)


def _anext(self: Any) -> Any:
    use: Use = self._self_use
    if use.take():
        use.iterated = True
    following = self.__wrapped__.__anext__
    if use.iterated and use.event[5] is None:
        return _run(self, following, last=False)
    return following()


def _aclose(self: Any) -> Any:
    use: Use = self._self_use
    use.settle()
    if use.iterated and use.event[5] is None:
        return _run(self, self.__wrapped__.aclose)
    return self.__wrapped__.aclose()


def _send(self: Any, value: Any) -> Any:
    if self._self_steps is None:
        taken = self._self_use.taken
        self._self_steps = self.__wrapped__ if taken else self.__await__()
    return self._self_steps.send(value)


def _throw(self: Any, *error: Any) -> Any:
    return (self._self_steps or self.__wrapped__).throw(*error)


def _close(self: Any) -> None:
    (self._self_steps or self.__wrapped__).close()


#: What an object is given if it has the like.
_SPECIAL: dict[str, Any] = {
    "__aenter__": _aenter,
    "__aexit__": _aexit,
    "__aiter__": _aiter,
    "__anext__": _anext,
    "aclose": _aclose,
}
#: And what if it has all of these: a task runs it by them, as it runs a coroutine.
_COROUTINE: dict[str, Any] = {"send": _send, "throw": _throw, "close": _close}
