"""How a run begins to be watched: at once, with the first test that asks, or when the program records."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

from pytest_volnux import BUDGET, KEYS, OPTIONS
from pytest_volnux._settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

    from pytest_volnux._session import Session
    from pytest_volnux._waiting import Waiting
    from volnux.telemetry.testing import FakeClock

_SESSION, _WAITING = "volnux-session", "volnux-waiting"


def part_from_paths(config: pytest.Config, parser: pytest.Parser, args: list[str]) -> None:
    """Say for an option with a path after it that the path is not its value."""
    alone = {"--volnux-report": "term", "--volnux-lint": "warn"}
    changed = False
    for place, argument in enumerate(args[:-1]):
        if argument in alone and os.path.exists(args[place + 1].partition("::")[0]):
            args[place] += "=" + alone[argument]
            changed = True
    if changed:
        known = parser.parse_known_args(args, namespace=None)
        config.known_args_namespace.file_or_dir = known.file_or_dir


def begin(config: pytest.Config) -> None:
    """Begin as the command line and the ini file have it, which ask for something."""
    options = [*map(config.getoption, OPTIONS)]
    if options.count(None) == len(options) and not any(map(config.getini, (*KEYS, *BUDGET))):
        read_settings(config)  # which sees whether they make sense
    elif _may_wait(config):
        from pytest_volnux._waiting import Waiting

        config.pluginmanager.register(Waiting(config, lambda: session_of(config)), _WAITING)
    else:
        session_of(config).watch_all()


def _may_wait(config: pytest.Config) -> bool:
    """Return whether nothing has to be done before the process loads volnux.telemetry."""
    return (
        "volnux.telemetry" not in sys.modules
        and not os.environ.get("VOLNUX_TELEMETRY")  # of which something may have to be said
        and not any(map(config.getini, BUDGET))
        and config.getoption("dist", "no") == "no"  # workers send what they have recorded
    )


def session_of(config: pytest.Config) -> Session:
    """Return the session of a run, begun if nothing has begun it."""
    session: Session | None = config.pluginmanager.get_plugin(_SESSION)
    if session is None:
        waiting: Waiting | None = config.pluginmanager.get_plugin(_WAITING)
        if waiting is not None:
            waiting.stop()
            config.pluginmanager.unregister(waiting)
        from pytest_volnux._session import Session

        session = Session(config, waiting)
        config.pluginmanager.register(session, _SESSION)
        if waiting is not None:
            waiting.make_way(session)
    return session


def collected(config: pytest.Config, items: list[pytest.Item], asking: list[pytest.Item]) -> None:
    """Go on with what was collected, of which some tests ask, or the program has budgets of its own."""
    from volnux.telemetry._budget import BUDGETS

    session = session_of(config)
    if BUDGETS:
        session.watch_all()
    session.collected(items, asking)


def asked(request: pytest.FixtureRequest) -> Session:
    """Return the session, which knows that this test asks."""
    session = session_of(request.config)
    session.asked(request.node)
    return session


def clock_of(request: pytest.FixtureRequest) -> Iterator[FakeClock]:
    """Time the rest of a test by a clock that stands still; it is what is yielded."""
    from volnux.telemetry.testing import FakeClock

    clock, session = FakeClock(), asked(request)
    session.set_clock(clock)
    yield clock
    session.set_clock(None)


def check(
    mark: pytest.Mark, node: pytest.Collector | pytest.Item, report: pytest.CollectReport
) -> None:
    """See whether a marker makes sense; if it does not, that is what its file is reported with."""
    from pytest_volnux._budgets import check_mark

    try:
        check_mark(mark)
    except ValueError as error:
        if report.outcome == "passed":
            report.outcome, report.result = "failed", []
            report.longrepr = f"{node.nodeid}: @pytest.mark.volnux: {error}"


def find(name: str) -> object:
    """Return one of the names that the package is said to have."""
    places = {"LintWarning": "_lint", "TelemetryOffWarning": "_off", "VolnuxFixture": "_fixture"}
    found: object = getattr(import_module(f"pytest_volnux.{places[name]}"), name)
    return found
