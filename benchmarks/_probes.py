"""The cases of the conformance table, asked of one library: ``python -m benchmarks._probes NAME``.

Each case answers with a few words. Work takes real time, so that "timed as nothing" can be told from
"timed": a library does not take an injected clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import gc
import importlib
import inspect
import json
import logging
import os
import pickle
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from time import sleep
from typing import TYPE_CHECKING, Any

from benchmarks.rivals import RIVALS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from benchmarks.rivals import Base, Seen

PAUSE = 0.02
CASES: dict[str, Callable[[Base], str]] = {}
LOGGED: list[str] = []


def case(title: str) -> Callable[[Callable[[Base], str]], Callable[[Base], str]]:
    """Put a function into the table."""

    def keep(function: Callable[[Base], str]) -> Callable[[Base], str]:
        CASES[title] = function
        return function

    return keep


def _judged(seen: list[Seen], expected: float) -> str:
    """Say how a piece of work of *expected* seconds was recorded."""
    if not seen:
        return "not recorded"
    times = f"recorded {len(seen)} times: " if len(seen) > 1 else ""
    seconds = max(record.seconds for record in seen)
    if seconds < expected / 4:
        return times + "~0"
    return (
        times + "ok" if seconds < expected * 2.5 else times + f"{seconds / expected:.1f} x too long"
    )


def _work() -> int:
    sleep(PAUSE)
    return 7


async def _async_work() -> int:
    await asyncio.sleep(PAUSE)
    return 7


def _outcome(subject: Base, name: str = "step") -> str:
    found = [record for record in subject.finished() if record.name in (name, "step")]
    return "/".join(sorted({record.outcome for record in found})) or "not recorded"


# -- kinds -----------------------------------------------------------------------------------------


@case("sync function")
def _sync(subject: Base) -> str:
    subject.trace(_work)()
    return _judged(subject.finished(), PAUSE)


@case("async function")
def _async(subject: Base) -> str:
    asyncio.run(subject.trace(_async_work)())
    return _judged(subject.finished(), PAUSE)


def _numbers() -> Iterator[int]:
    for number in range(3):
        sleep(PAUSE)
        yield number


async def _async_numbers() -> AsyncIterator[int]:
    for number in range(3):
        await asyncio.sleep(PAUSE)
        yield number


@case("generator")
def _generator(subject: Base) -> str:
    for _ in subject.trace(_numbers)():
        pass
    return _judged(subject.finished(), 3 * PAUSE)


@case("async generator")
def _async_generator(subject: Base) -> str:
    traced = subject.trace(_async_numbers)

    async def main() -> None:
        async for _ in traced():
            pass

    asyncio.run(main())
    return _judged(subject.finished(), 3 * PAUSE)


@case("plain method")
def _method(subject: Base) -> str:
    class Service:
        @subject.trace
        def step(self) -> int:
            return _work()

    Service().step()
    return _judged(subject.finished(), PAUSE)


def _descriptor(subject: Base, wrap: Callable[[Any], Any], call: Callable[[Any], Any]) -> str:
    """Say how a class fares whose step is made by *wrap*, called on class and on instance."""

    class Service:
        step = wrap(subject)

    said = []
    for holder in (Service, Service()):
        try:
            call(holder)
        except Exception as error:  # noqa: BLE001  # a library may raise anything
            said.append(_short(error))
            subject.finished()
        else:
            said.append(_judged(subject.finished(), PAUSE))
    return said[0] if said[0] == said[1] else f"{said[0]} on the class, {said[1]} on an instance"


def _of_class(cls: type) -> int:
    if not isinstance(cls, type):
        raise TypeError("not the class")
    return _work()


@case("decorator above classmethod")
def _above_classmethod(subject: Base) -> str:
    return _descriptor(subject, lambda it: it.trace(classmethod(_of_class)), lambda it: it.step())


@case("decorator below classmethod")
def _below_classmethod(subject: Base) -> str:
    return _descriptor(subject, lambda it: classmethod(it.trace(_of_class)), lambda it: it.step())


@case("decorator above staticmethod")
def _above_staticmethod(subject: Base) -> str:
    return _descriptor(subject, lambda it: it.trace(staticmethod(_work)), lambda it: it.step())


@case("decorator below staticmethod")
def _below_staticmethod(subject: Base) -> str:
    return _descriptor(subject, lambda it: staticmethod(it.trace(_work)), lambda it: it.step())


def _attribute(subject: Base, made: Any) -> str:
    class Service:
        step = made

    if hasattr(made, "__set_name__"):
        made.__set_name__(Service, "step")
    value = Service().step
    if value != 7:
        return "becomes a method" if callable(value) else f"gives {type(value).__name__}"
    return _judged(subject.finished(), PAUSE)


@case("decorator above property")
def _above_property(subject: Base) -> str:
    return _attribute(subject, subject.trace(property(lambda _self: _work())))


@case("decorator above cached_property")
def _above_cached_property(subject: Base) -> str:
    return _attribute(subject, subject.trace(functools.cached_property(lambda _self: _work())))


@case("class")
def _class(subject: Base) -> str:
    class Service:
        def step(self) -> int:
            return _work()

    traced = subject.trace(Service)
    if traced is Service:
        Service().step()
        return "same class, methods " + _judged(subject.finished(), PAUSE)
    return "becomes a " + ("class" if isinstance(traced, type) else type(traced).__name__)


@case("partial")
def _partial(subject: Base) -> str:
    subject.trace(functools.partial(lambda _value: _work(), 1))()
    return _judged(subject.finished(), PAUSE)


@case("partialmethod")
def _partialmethod(subject: Base) -> str:
    class Service:
        def _step(self, value: int) -> int:
            return _work()

        step = subject.trace(functools.partialmethod(_step, 1))

    Service().step()
    return _judged(subject.finished(), PAUSE)


class _Callable:
    def __call__(self) -> int:
        return _work()


class _AsyncCallable:
    async def __call__(self) -> int:
        return await _async_work()


@case("sync callable object")
def _callable(subject: Base) -> str:
    subject.trace(_Callable())()
    return _judged(subject.finished(), PAUSE)


@case("async callable object")
def _async_callable(subject: Base) -> str:
    traced = subject.trace(_AsyncCallable())

    async def main() -> None:
        await traced()

    asyncio.run(main())
    return _judged(subject.finished(), PAUSE)


@case("sync function returning a coroutine")
def _returns_coroutine(subject: Base) -> str:
    traced = subject.trace(lambda: _async_work())  # noqa: PLW0108  # a sync function

    async def main() -> None:
        await traced()

    asyncio.run(main())
    return _judged(subject.finished(), PAUSE)


@case("sync function returning a Task")
def _returns_task(subject: Base) -> str:
    traced = subject.trace(lambda: asyncio.ensure_future(_async_work()))

    async def main() -> None:
        await traced()

    asyncio.run(main())
    return _judged(subject.finished(), PAUSE)


# -- what callers see ------------------------------------------------------------------------------


@case("kind kept for `inspect` (async, generators)")
def _kinds(subject: Base) -> str:
    kept = [
        inspect.iscoroutinefunction(subject.trace(_async_work)),
        inspect.isgeneratorfunction(subject.trace(_numbers)),
        inspect.isasyncgenfunction(subject.trace(_async_numbers)),
    ]
    words = ("async", "generator", "async generator")
    lost = [word for word, ok in zip(words, kept, strict=True) if not ok]
    return "yes" if not lost else "not " + ", ".join(lost)


def _documented(number: int, *, scale: float = 1.0) -> float:
    """Scale a number."""
    return number * scale


@case("signature, name, doc, `__wrapped__`")
def _metadata(subject: Base) -> str:
    traced = subject.trace(_documented)
    lost = [
        word
        for word, ok in (
            ("signature", inspect.signature(traced) == inspect.signature(_documented)),
            ("name", traced.__name__ == "_documented"),
            ("doc", traced.__doc__ == "Scale a number."),
            ("`__wrapped__`", getattr(traced, "__wrapped__", None) is _documented),
        )
        if not ok
    ]
    return "kept" if not lost else "lost: " + ", ".join(lost)


def picklable(number: int) -> int:
    """Be found by name."""
    return number


@case("pickles by reference")
def _pickles(subject: Base) -> str:
    global picklable  # noqa: PLW0603  # pickle looks it up here
    bare = picklable
    picklable = subject.trace(bare)
    try:
        return "yes" if pickle.loads(pickle.dumps(picklable)) is picklable else "no"  # noqa: S301
    finally:
        picklable = bare


@case("extra traceback frames")
def _frames(subject: Base) -> str:
    def failing() -> None:
        raise ValueError("no such value")

    try:
        subject.trace(failing)()
    except ValueError as error:
        return str(len(traceback.extract_tb(error.__traceback__)) - 2)
    return "swallowed"


# -- streams ---------------------------------------------------------------------------------------


@case("generator: send, throw and return value pass through")
def _conversation(subject: Base) -> str:
    def echo() -> Any:
        heard = yield 1
        try:
            yield heard
        except KeyError:
            yield "caught"
        return "the end"

    generator = subject.trace(echo)()
    lost = []
    next(generator)
    if generator.send("hello") != "hello":
        lost.append("send")
    if generator.throw(KeyError("id")) != "caught":
        lost.append("throw")
    try:
        next(generator)
    except StopIteration as stop:
        if stop.value != "the end":
            lost.append("return value")
    return "ok" if not lost else "lost: " + ", ".join(lost)


@case("async generator: asend and athrow pass through")
def _async_conversation(subject: Base) -> str:
    async def echo() -> Any:
        heard = yield 1
        try:
            yield heard
        except KeyError:
            yield "caught"

    traced = subject.trace(echo)

    async def main() -> str:
        generator = traced()
        lost = []
        await generator.__anext__()
        if await generator.asend("hello") != "hello":
            lost.append("asend")
        try:
            if await generator.athrow(KeyError("id")) != "caught":
                lost.append("athrow")
        except KeyError:
            lost.append("athrow")
        return "ok" if not lost else "lost: " + ", ".join(lost)

    return asyncio.run(main())


@case("current only while the producer runs")
def _current(subject: Base) -> str:
    if not subject.has_current:
        return "n/a"
    inside = []

    def numbers() -> Iterator[int]:
        inside.append(subject.current())
        yield 1

    generator = subject.trace(numbers)()
    next(generator)
    outside = subject.current()
    generator.close()
    if inside[0] is None:
        return "never current"
    return "yes" if outside is None else "leaks to the consumer"


@case("interleaved generators, after both end")
def _interleaved(subject: Base) -> str:
    if not subject.has_current:
        return "n/a"
    inside = []

    def numbers() -> Iterator[int]:
        inside.append(subject.current())
        yield 1
        yield 2

    traced = subject.trace(numbers)
    first, second = traced(), traced()
    for _ in range(3):
        next(first, None)
        next(second, None)
    if inside[0] is None:
        return "never current"
    return "clean" if subject.current() is None else "an ended span stays current"


@case("child held across a yield stays the parent")
def _held(subject: Base) -> str:
    if not subject.has_current:
        return "n/a"
    found = {}

    def numbers() -> Iterator[int]:
        with subject.block("held"):
            found["held"] = subject.current()
            yield 1
            found["after"] = subject.current()
            yield 2

    generator = subject.trace(numbers)()
    next(generator)
    consumer = subject.current()
    next(generator)
    generator.close()
    if consumer is not None:
        return "leaks to the consumer"
    return "yes" if found["held"] == found["after"] else "no"


@case("consumer's time billed to the producer")
def _billed(subject: Base) -> str:
    def numbers() -> Iterator[int]:
        for number in range(2):
            sleep(PAUSE)
            yield number

    for _ in subject.trace(numbers)():
        sleep(4 * PAUSE)
    seen = subject.finished()
    if not seen:
        return "not recorded"
    if seen[0].active is not None:
        return "told apart" if seen[0].active < 4 * PAUSE else "yes"
    return "~0 recorded" if seen[0].seconds < PAUSE else "yes"


@case("generator closed early")
def _closed_early(subject: Base) -> str:
    generator = subject.trace(_numbers)()
    next(generator)
    generator.close()
    gc.collect()
    seen = subject.finished()
    if not seen:
        return "not recorded"
    return seen[0].outcome + (" ~0" if seen[0].seconds < PAUSE / 4 else "")


@case("async generator closed from another task")
def _foreign_task(subject: Base) -> str:
    traced = subject.trace(_async_numbers)

    async def take(generator: Any) -> None:
        await generator.__anext__()

    async def main() -> Any:
        generator = traced()
        await generator.__anext__()
        await asyncio.create_task(generator.aclose())
        return subject.current()

    LOGGED.clear()
    left = asyncio.run(main())
    said = "ok" if left is None else "an ended span stays current"
    return said + (f', logs "{LOGGED[0]}"' if LOGGED else "")


@case("under `asynccontextmanager`: inner `finally` runs in `__aexit__`")
def _managed(subject: Base) -> str:
    log = []

    async def managed() -> AsyncIterator[None]:
        try:
            yield
        finally:
            log.append("finally")

    opened = contextlib.asynccontextmanager(subject.trace(managed))

    async def main() -> bool:
        with contextlib.suppress(KeyError):
            async with opened():
                raise KeyError("id")
        return bool(log)

    return "yes" if asyncio.run(main()) else "no"


# -- outcomes --------------------------------------------------------------------------------------


@case("task cancelled")
def _cancelled(subject: Base) -> str:
    async def forever() -> None:
        await asyncio.sleep(60)

    traced = subject.trace(forever)

    async def main() -> None:
        task = asyncio.ensure_future(traced())
        await asyncio.sleep(PAUSE)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(main())
    seen = subject.finished()
    if not seen:
        return "not recorded"
    return seen[0].outcome + (" ~0" if seen[0].seconds < PAUSE / 4 else "")


@case("KeyboardInterrupt")
def _interrupted(subject: Base) -> str:
    def step() -> None:
        raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        subject.trace(step)()
    return _outcome(subject)


class _UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@case("exception whose `__str__` raises")
def _unprintable(subject: Base) -> str:
    def step() -> None:
        raise _UnprintableError

    try:
        subject.trace(step)()
    except _UnprintableError:
        return "kept" + (", logs an error" if LOGGED else "")
    except Exception as error:  # noqa: BLE001  # what is asked
        return f"user's exception replaced by {_short(error)}"
    return "swallowed"


@case("one exception through 3 levels")
def _levels(subject: Base) -> str:
    def inner() -> None:
        raise ValueError("no such value")

    traced_inner = subject.trace(inner)

    def middle() -> None:
        traced_inner()

    traced_middle = subject.trace(middle)

    def outer() -> None:
        traced_middle()

    with contextlib.suppress(ValueError):
        subject.trace(outer)()
    errors = sum(record.error for record in subject.finished())
    return {0: "no outcome", 1: "recorded once"}.get(errors, f"recorded {errors} times")


# -- threads ---------------------------------------------------------------------------------------


@case("child keeps its parent in ThreadPoolExecutor")
def _pool(subject: Base) -> str:
    if not subject.has_current:
        return "n/a"
    found = _families(subject, lambda pool, child: pool.submit(child).result())
    carried = getattr(subject, "propagate", None)
    if not found and carried:
        found = _families(subject, lambda pool, child: pool.submit(carried(child)).result())
        return "with `propagate`" if found else "lost"
    return "kept" if found else "lost"


def _families(subject: Base, submit: Callable[[ThreadPoolExecutor, Any], Any]) -> bool:
    child = subject.trace(_work, "child")
    subject.finished()

    def parent() -> None:
        with ThreadPoolExecutor(1) as pool:
            submit(pool, child)

    subject.trace(parent, "parent")()
    return _related(subject.finished())


@case("... in `asyncio.to_thread`")
def _to_thread(subject: Base) -> str:
    if not subject.has_current:
        return "n/a"
    child = subject.trace(_work, "child")

    async def parent() -> None:
        await asyncio.to_thread(child)

    asyncio.run(subject.trace_async(parent, "parent")())
    return "kept" if _related(subject.finished()) else "lost"


def _related(seen: list[Seen]) -> bool:
    named = {record.name: record for record in seen}
    if not {"parent", "child"} <= named.keys():
        return False
    return bool(named["child"].parent == named["parent"].id)


# -- running ---------------------------------------------------------------------------------------


def _short(error: BaseException) -> str:
    return type(error).__name__


class _Listener(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR and not record.name.startswith("asyncio"):
            LOGGED.append(record.getMessage().splitlines()[0])


def ask(subject: Base) -> dict[str, str]:
    """Ask every case, each in a context of its own so that what leaks stays there."""
    logging.getLogger().addHandler(_Listener())
    return {
        title: contextvars.Context().run(_asked, subject, probe) for title, probe in CASES.items()
    }


def _asked(subject: Base, probe: Callable[[Base], str]) -> str:
    with subject.session():
        LOGGED.clear()
        subject.finished()
        try:
            return probe(subject)
        except Exception as error:  # noqa: BLE001  # a library may raise anything
            return _short(error)


def main(name: str) -> None:
    """Print the answers of one library as JSON."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        subject = importlib.import_module(f"benchmarks.rivals.{name}").Subject()
    except ImportError as error:
        json.dump({"missing": str(error)}, answers)
    else:
        versions = {it: version(it) for it in RIVALS[name].distributions}
        json.dump({"versions": versions, "answers": ask(subject)}, answers)
    answers.close()
    # Exit handlers of some libraries wait for a back end that is not there.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
