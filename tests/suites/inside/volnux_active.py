"""A pytest plugin: records every exchange of a library's own suite, from before its conftest is imported."""

from __future__ import annotations

import gc
import json
from typing import TYPE_CHECKING, Any

import pytest
from volnux_outcomes import FOLDER, WORKER

from volnux.telemetry import get_network_stats, health, instrument, monitor_events

if TYPE_CHECKING:
    from collections.abc import Generator

#: What volnux has swallowed, by stage and reason, and the tests that were running at the time.
_swallowed: dict[str, list[str]] = {}


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    """Switch recording on, for all libraries."""
    monitor_events()
    instrument("all")


def _errors() -> dict[str, int]:
    return {
        f"{stage}: {reason}": count
        for stage, reasons in health().errors.items()
        for reason, count in reasons.items()
    }


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Find out in which tests volnux swallows errors of its own."""
    before = _errors()
    try:
        return (yield)
    finally:
        for what, count in _errors().items():
            if count > before.get(what, 0):
                _swallowed.setdefault(what, []).append(item.nodeid)


def pytest_sessionfinish() -> None:
    """Write what has been recorded. With pytest-xdist that is in the workers."""
    gc.collect()
    found = {
        "operations": sum(stats.count for stats in get_network_stats().values()),
        "in_flight": health().in_flight,
        "errors": _errors(),
        "tests": _swallowed,
    }
    (FOLDER / f"active-{WORKER}.json").write_text(json.dumps(found), encoding="utf-8")
