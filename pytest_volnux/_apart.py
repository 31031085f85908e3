"""Fixtures that several tests share: what they record is theirs, and not the first test's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager

    import pytest


def keep_apart(
    fixturedef: pytest.FixtureDef[Any], turn: Callable[[str, str], AbstractContextManager[None]]
) -> Generator[None, Any, Any]:
    """Set a fixture up in its own turn, and have it taken down in one.

    Args:
        fixturedef: pytest's.
        turn: gives the turn to the fixture of this scope and name.
    """
    name, scope = fixturedef.argname, str(fixturedef.scope)
    taken_down: list[Any] = []
    # The last to be called at the end, and the first.
    fixturedef.addfinalizer(
        lambda: taken_down.pop().__exit__(None, None, None) if taken_down else None
    )
    try:
        with turn(scope, name):
            return (yield)
    finally:

        def begin() -> None:
            its = turn(scope, name)
            its.__enter__()
            taken_down.append(its)

        fixturedef.addfinalizer(begin)
