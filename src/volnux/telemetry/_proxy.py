"""Transparent proxies: everything the wrapped object is, and what a traced one does besides."""

from __future__ import annotations

from _weakref import ref

import wrapt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any
    from weakref import WeakKeyDictionary

    _Base = Any
else:
    # wrapt 2 has one that is no iterable by itself.
    _Base = getattr(wrapt, "BaseObjectProxy", wrapt.ObjectProxy)

#: Special methods that wrapt does not pass on.
_PASSED_ON = (
    "__aiter__",
    "__anext__",
    "__delete__",
    "__fspath__",
    "__get__",
    "__iter__",
    "__length_hint__",
    "__next__",
    "__set__",
    "__set_name__",
)
#: Special methods that wrapt claims for every object.
_CLAIMED = ("__aenter__", "__aexit__", "__enter__", "__exit__")


def defines(kind: type, name: str) -> bool:
    """Return whether objects of a class have a special method, asking none of their own code."""
    for base in kind.__mro__:
        if name in vars(base):
            return vars(base)[name] is not None
    return False


class _Alike(type(_Base)):  # type: ignore[misc]  # wrapt's own metaclass where it is not in C
    """The class of a proxy. Abstract base classes find in it what the wrapped object's class has."""

    @property
    def __mro__(cls) -> tuple[type, ...]:
        kind = vars(cls).get("_self_kind", _no_kind)()
        return type.__dict__["__mro__"].__get__(cls) if kind is None else kind.__mro__  # type: ignore[no-any-return]


def _no_kind() -> None:
    return None


class _Absent:
    """Stands where the wrapped object has nothing."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, proxy: object, owner: type) -> Any:
        raise AttributeError(self.name)


def _passed_on(name: str) -> Callable[..., Any]:
    def special(self: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(self.__wrapped__, name)(*args, **kwargs)

    return special


class Proxy(_Base, metaclass=_Alike):  # type: ignore[misc]  # of anything
    """An object in place of another. Its own names begin with `_self_`, all others are the other's.

    A subclass lists in `special` the methods that its proxies have if the wrapped object has them.
    """

    def __copy__(self) -> Any:
        from copy import copy

        copied = copy(self.__wrapped__)
        return self if copied is self.__wrapped__ else self._self_like(copied)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        from copy import deepcopy

        copied = deepcopy(self.__wrapped__, memo)
        return self if copied is self.__wrapped__ else self._self_like(copied)

    def _self_like(self, wrapped: Any) -> Any:
        """Return what a copy of the wrapped object is given out as."""
        return wrapped


def proxy_class(
    base: type, kind: type, special: dict[str, Any], known: WeakKeyDictionary[type, Any]
) -> Any:
    """Return the class of proxies for the objects of one class; made once, for `known` keeps it.

    Args:
        base: the kind of proxy.
        kind: the class of the objects.
        special: methods that a proxy has if the object has them.
        known: the classes made before.
    """
    found = known.get(kind)
    if found is None:
        body: dict[str, Any] = {name: _Absent(name) for name in _CLAIMED if not defines(kind, name)}
        body |= {name: _passed_on(name) for name in _PASSED_ON if defines(kind, name)}
        body |= {name: method for name, method in special.items() if defines(kind, name)}
        body["_self_kind"] = ref(kind)
        found = known[kind] = type(base)(base.__name__, (base,), body)
    return found
