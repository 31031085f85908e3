"""Changes to other people's classes and objects that can be taken back to the last attribute."""

from __future__ import annotations

import sys
from _thread import RLock
from functools import wraps
from weakref import finalize

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_MISSING = object()
#: Guards all patching: it happens at set-up, never while something is recorded.
LOCK = RLock()


class Patches:
    """Attributes replaced by others that wrap them. Every method is safe from any thread."""

    def __init__(self) -> None:
        self._done: list[tuple[Any, str, Any, Any]] = []

    def __bool__(self) -> bool:
        return bool(self._done)

    def wrap(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        """Put what `make` returns, given what stands there now, in the place of an attribute.

        A name that the owner does not have (in another version of a library) is left alone.
        """
        with LOCK:
            original = getattr(owner, name, None)
            if original is None:
                return
            own = vars(owner).get(name, _MISSING)
            if own is _MISSING and isinstance(owner, type) and callable(original):
                original = _inherited(owner, name, original)
            setattr(owner, name, _alike(make(original), original))
            # Read back: what stands in a class is not always what is found there.
            self._done.append((owner, name, own, vars(owner)[name]))

    def add(self, owner: Any, name: str, value: Any) -> None:
        """Give an owner an attribute of ours."""
        with LOCK:
            setattr(owner, name, value)
            self._done.append((owner, name, _MISSING, value))

    def undo(self) -> None:
        """Put everything back, in reverse, except where somebody has put something over it since."""
        with LOCK:
            while self._done:
                owner, name, own, wrapper = self._done.pop()
                if vars(owner).get(name, _MISSING) is not wrapper:
                    continue
                if own is _MISSING:
                    delattr(owner, name)
                else:
                    setattr(owner, name, own)


def _inherited(owner: type, name: str, original: Any) -> Any:
    """Return what calls a method as it is inherited: somebody may yet wrap it further up."""

    @wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(super(owner, self), name)(*args, **kwargs)

    return _alike(method, original)


def _alike(wrapper: Any, original: Any) -> Any:
    """Have what wraps a coroutine function pass for one, which `unittest.mock` and others ask."""
    import inspect

    if inspect.iscoroutinefunction(original) and not inspect.iscoroutinefunction(wrapper):
        if sys.version_info >= (3, 12):
            inspect.markcoroutinefunction(wrapper)
        else:
            from asyncio import coroutines

            wrapper._is_coroutine = coroutines._is_coroutine  # type: ignore[attr-defined]
    return wrapper


class Tap:
    """Patches of a library that stand as long as anybody needs them."""

    def __init__(
        self, install: Callable[[Patches], None], uninstall: Callable[[], None] | None = None
    ) -> None:
        self._install = install
        self._uninstall = uninstall
        self._patches = Patches()
        self._users: set[object] = set()

    def use(self, user: object) -> None:
        """Have it stand for this user; nothing changes when it does already."""
        with LOCK:
            if not self._users:
                self._install(self._patches)
            self._users.add(user)

    def use_for(self, client: object) -> None:
        """Have it stand as long as an object lives, or until `drop_for`."""
        self.use(id(client))
        try:
            finalize(client, self._forget, id(client)).atexit = False
        except TypeError:  # of what cannot be referred to weakly it stands for good
            pass

    def drop(self, user: object) -> None:
        """Let go of it for this user; the last one takes the patches away."""
        with LOCK:
            if user not in self._users:
                return
            self._users.discard(user)
            if not self._users:
                self._patches.undo()
                if self._uninstall is not None:
                    self._uninstall()

    def drop_for(self, client: object) -> None:
        """Let go of it for an object."""
        self.drop(id(client))

    def _forget(self, user: object) -> None:
        # Garbage is collected anywhere, also where waiting would never end: the patches may stay.
        if LOCK.acquire(blocking=False):
            try:
                self.drop(user)
            finally:
                LOCK.release()
