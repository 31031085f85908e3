"""A pytest plugin: decorates functions of a library under its own suite, and counts their calls besides.

What volnux's own plugin reports can be compared with what is counted here, test by test.
"""

from __future__ import annotations

import importlib
import json
import os
from collections import Counter
from functools import wraps
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

import pytest
from volnux_outcomes import FOLDER, WORKER

from volnux.telemetry import instrument, traced_event

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

#: Calls by the test that runs, "" for none. What the environment says of that is an inner pytest's, if a suite
#: has some.
_calls: Counter[str] = Counter()
_running = [""]
#: What the reports say of the tests: [events, operations].
_reported: dict[str, list[int]] = {}


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    """Decorate and instrument, before the suite can import the library."""
    for place in os.environ["SUITES_DECORATED"].split():
        _decorate(place)
    for name in os.environ["SUITES_INSTRUMENTED"].split():
        instrument(name)


def _decorate(place: str) -> None:
    module, _, path = place.partition(":")
    *outer, name = path.split(".")
    owner: Any = importlib.import_module(module)
    for one in outer:
        owner = getattr(owner, one)
    setattr(owner, name, traced_event(f"{module}.{path}")(_counted(vars(owner)[name])))


def _counted(function: Callable[..., Any]) -> Callable[..., Any]:
    def count() -> None:
        _calls[_running[-1]] += 1

    @wraps(function)
    async def asynchronous(*arguments: Any, **named: Any) -> Any:
        count()
        return await function(*arguments, **named)

    @wraps(function)
    def synchronous(*arguments: Any, **named: Any) -> Any:
        count()
        return function(*arguments, **named)

    return asynchronous if iscoroutinefunction(function) else synchronous


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Know which test runs."""
    _running.append(item.nodeid)
    try:
        return (yield)
    finally:
        _running.pop()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember what is said of a test as a whole; the main process hears of all of them."""
    said = dict(report.user_properties)
    if WORKER == "main" and report.when == "teardown" and "volnux.events" in said:
        numbers = [said["volnux.events"], said["volnux.network_ops"]]
        _reported[report.nodeid] = [int(str(number)) for number in numbers]


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """Write what was counted, and what was reported."""
    found = {"calls": _calls, "reported": _reported}
    (FOLDER / f"decorated-{WORKER}.json").write_text(json.dumps(found), encoding="utf-8")
