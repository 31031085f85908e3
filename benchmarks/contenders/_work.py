"""The functions that get instrumented and the loops that drive them, the same for every contender."""

from __future__ import annotations

from collections.abc import Callable
from itertools import repeat
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Iterator

Run = Callable[[int], object]
Finish = Callable[[], object]


def work(value: int) -> int:
    """Do as little as a function can."""
    return value


def failing(_value: int) -> int:
    """Fail as simply as a function can."""
    raise ValueError("no such value")


async def coroutine(value: int) -> int:
    """Do as little as a coroutine can: it never suspends, so no event loop is measured."""
    return value


def generator(count: int) -> Iterator[int]:
    """Yield *count* items."""
    yield from range(count)


async def async_generator(count: int) -> AsyncIterator[int]:
    """Yield *count* items."""
    for item in range(count):
        yield item


def nothing() -> None:
    """Finish where there is nothing to finish."""


def calls(function: Callable[[int], Any], finish: Finish = nothing) -> Run:
    """Call *function* n times."""

    def run(n: int) -> None:
        for _ in repeat(None, n):
            function(1)
        finish()

    return run


class Prepared:
    """A run with something to do first and something to tell afterwards, outside the clock."""

    def __init__(
        self, run: Run, prepare: Callable[[], object], account: Callable[[], dict[str, Any]]
    ) -> None:
        self.run = run
        self.prepare = prepare
        self.account = account

    def __call__(self, n: int) -> None:
        self.run(n)


def errors(function: Callable[[int], Any], finish: Finish = nothing) -> Run:
    """Call *function*, which raises ValueError, n times."""

    def run(n: int) -> None:
        for _ in repeat(None, n):
            try:
                function(1)
            except ValueError:  # what is measured
                pass
        finish()

    return run


def nested(
    decorate: Callable[[Callable[..., Any]], Callable[..., Any]], finish: Finish = nothing
) -> Run:
    """Call n functions, three deep at a time."""
    inner = decorate(work)

    def call_inner(value: int) -> Any:
        return inner(value)

    middle = decorate(call_inner)

    def call_middle(value: int) -> Any:
        return middle(value)

    outer = decorate(call_middle)

    def run(n: int) -> None:
        for _ in repeat(None, n // 3):
            outer(1)
        finish()

    return run


def awaits(function: Callable[[int], Awaitable[Any]], finish: Finish = nothing) -> Run:
    """Await *function* n times."""

    async def drive(n: int) -> None:
        for _ in repeat(None, n):
            await function(1)

    return _driven(drive, finish)


def items(function: Callable[[int], Iterator[Any]], finish: Finish = nothing) -> Run:
    """Take n items from one generator."""

    def run(n: int) -> None:
        for _ in function(n):
            pass
        finish()

    return run


def async_items(function: Callable[[int], AsyncIterator[Any]], finish: Finish = nothing) -> Run:
    """Take n items from one asynchronous generator."""

    async def drive(n: int) -> None:
        async for _ in function(n):
            pass

    return _driven(drive, finish)


def _driven(drive: Callable[[int], Any], finish: Finish) -> Run:
    def run(n: int) -> None:
        try:
            drive(n).send(None)
        except StopIteration:
            pass
        finish()

    return run
