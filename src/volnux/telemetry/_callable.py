"""Callable objects, such as partials and cached functions, behind a transparent proxy."""

from __future__ import annotations

import sys
from operator import attrgetter
from types import MethodType
from weakref import WeakKeyDictionary

from volnux.telemetry._proxy import Proxy, proxy_class

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class TracedCallable(Proxy):
    """Everything the callable object is, but that its calls are traced."""

    def __init__(
        self,
        wrapped: Any,
        traced: Callable[..., Any],
        trace: Callable[..., Any],
        given: tuple[Any, ...],
    ) -> None:
        super().__init__(wrapped)
        self._self_traced = traced
        self._self_trace = trace
        self._self_given = given

    # Not a method, which would be one more frame in every traceback.
    __call__ = property(attrgetter("_self_traced"))

    def __reduce_ex__(self, protocol: object) -> Any:
        name = _name_in_module(self)
        return name or (self._self_trace, (self.__wrapped__, *self._self_given))

    def _self_like(self, wrapped: Any) -> Any:
        return self._self_trace(wrapped, *self._self_given)


class TracedAsyncCallable(TracedCallable):
    """One whose calls are coroutines: marked as `inspect.markcoroutinefunction` does."""

    @property
    def _is_coroutine_mark(self) -> object:
        return _mark("inspect", "_is_coroutine_mark")

    @property
    def _is_coroutine(self) -> object:
        return _mark("asyncio.coroutines", "_is_coroutine")


def _mark(module: str, name: str) -> object:
    # Who asks for a mark has loaded its module; whose Python has none gets the AttributeError.
    return getattr(sys.modules.get(module), name)


def traced_callable(
    wrapped: Any,
    traced: Callable[..., Any],
    trace: Callable[..., Any],
    given: tuple[Any, ...],
    *,
    is_async: bool,
) -> Any:
    """Return a callable object's proxy.

    Args:
        wrapped: the object.
        traced: what is called instead of it.
        trace: makes the traced form of anything, also where the proxy is unpickled.
        given: the arguments of `trace`, after what is traced.
        is_async: whether a call gives a coroutine.
    """
    base = TracedAsyncCallable if is_async else TracedCallable
    known = _async_classes if is_async else _classes
    return proxy_class(base, type(wrapped), _SPECIAL, known)(wrapped, traced, trace, given)


_classes: WeakKeyDictionary[type, Any] = WeakKeyDictionary()
_async_classes: WeakKeyDictionary[type, Any] = WeakKeyDictionary()


def _bind(self: Any, instance: object, owner: type | None = None) -> Any:
    wrapped = self.__wrapped__
    bound = wrapped.__get__(instance, owner)
    if bound is wrapped:
        return self
    if type(bound) is MethodType and bound.__func__ is wrapped:
        return MethodType(self, bound.__self__)
    return self._self_like(bound) if callable(bound) and not isinstance(bound, type) else bound


_SPECIAL = {"__get__": _bind}


def _name_in_module(proxy: Any) -> str | None:
    """Return by which name a proxy is found in its module, as a function is; None if it is not."""
    name = getattr(proxy, "__qualname__", None)
    module = getattr(proxy, "__module__", None)
    if type(name) is not str or type(module) is not str:
        return None
    try:
        found = attrgetter(name)(sys.modules[module])
    except (AttributeError, KeyError):
        return None
    return name if found is proxy else None
