"""One hook after `os.fork` for everything that holds a lock or a thread."""

from __future__ import annotations

import os
from _weakrefset import WeakSet  # weakref's own, without the rest of weakref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class ForkAware(Protocol):
        """What can be registered with `on_fork`."""

        def _after_fork(self) -> None: ...


_aware: WeakSet[ForkAware] = WeakSet()


def on_fork(thing: ForkAware) -> None:
    """Have `thing._after_fork()` called in every child that this process forks.

    `thing._before_fork()`, if there is one, is called in the parent first, and
    `thing._after_fork_here()` there afterwards. The thing is held weakly: callbacks of
    `os.register_at_fork` cannot be taken back, so there is one of them for the whole process.
    """
    _aware.add(thing)


def _in_parent(name: str) -> None:
    for thing in list(_aware):
        prepare = getattr(thing, name, None)
        if prepare is not None:
            prepare()


def _before() -> None:
    _in_parent("_before_fork")


def _after() -> None:
    _in_parent("_after_fork_here")


def _in_child() -> None:
    for thing in list(_aware):
        thing._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_in_child)
