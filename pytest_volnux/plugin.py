"""The entry point `volnux`: options, markers, fixtures. All else is loaded when it is asked for.

`-W error::pytest_volnux.LintWarning` may load it before pytest would, which is no matter for a warning:
there is no assert statement in it to rewrite, so PYTEST_DONT_REWRITE.
"""

from __future__ import annotations

import sys
from os import environ
from os.path import exists

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from pytest_volnux._fixture import VolnuxFixture
    from pytest_volnux._session import Session
    from pytest_volnux._waiting import Waiting
    from volnux.telemetry import Registry
    from volnux.telemetry.testing import FakeClock

#: The sinks of a report, and where each writes unless told otherwise; None for those that write no file.
TYPES = {
    "term": None,
    "json": "volnux-report.json",
    "html": "volnux-report.html",
    "md": "volnux-report.md",
    "junit": None,
}
#: Keys of budgets: of the marker, and with `volnux_` before them of the ini file.
BUDGET = {
    "max_failed": "failures in a test at most",
    "max_seconds": "seconds that an event takes at most",
    "max_retries": "retries in a test at most",
    "max_bytes": "bytes to and from hosts in a test at most",
    "max_calls": "events in a test at most",
    "hosts": "the only hosts that a test may speak to (globs)",
    "events": "budgets of single events: a glob, then KEY=NUMBER (a line each)",
    "allow_failed": "events that may fail (globs)",
}
_MARKER = (
    "volnux(max_failed, max_seconds, max_retries, max_bytes, max_calls, hosts, events, allow_failed, "
    "lint): what may happen inside the test at most; what nearer markers and the ini file say of other "
    "keys holds too."
)
_NAME, _WAITING = "volnux-session", "volnux-waiting"
_FIXTURES = frozenset({"volnux", "volnux_session", "volnux_clock"})


def pytest_addoption(parser: pytest.Parser) -> None:
    """Say what can be asked for."""
    group = parser.getgroup("volnux", "volnux: what happened inside the tests")
    group.addoption(
        "--volnux-report",
        action="append",
        nargs="?",
        const="term",
        metavar="TYPE[:DEST]",
        help="report what happened inside the tests; may be repeated. TYPE is term (as without one), "
        "json, html, md or junit (properties of the JUnit file). DEST is a file.",
    )
    group.addoption(
        "--volnux-slow",
        metavar="SECONDS",
        help="what takes longer is slow (default: 1.0)",
    )
    group.addoption(
        "--volnux-top", metavar="N", help="lines of a table of the report at most (default: 10)"
    )
    group.addoption(
        "--volnux-max-failed",
        metavar="N",
        help="fail the run if more than N failures were recorded in all of its tests",
    )
    group.addoption(
        "--volnux-max-slow",
        metavar="N",
        help="fail the run if more than N events were slow",
    )
    group.addoption(
        "--volnux-lint",
        nargs="?",
        const="warn",
        metavar="warn|fail",
        help="warn of tests that pass although something in them failed, was retried in vain, never "
        "ended, or ended on another thread; or fail them",
    )
    parser.addini("volnux_lint", "--volnux-lint")
    parser.addini("volnux_report", "--volnux-report, a TYPE[:DEST] a line", "linelist", default=[])
    parser.addini("volnux_slow", "--volnux-slow")
    parser.addini("volnux_top", "--volnux-top")
    parser.addini("volnux_run_max_failed", "--volnux-max-failed")
    parser.addini("volnux_run_max_slow", "--volnux-max-slow")
    for key, text in BUDGET.items():
        about = f"{text}, where no marker says otherwise"
        if key in {"hosts", "events", "allow_failed"}:
            parser.addini(f"volnux_{key}", about, "linelist", default=[])
        else:
            parser.addini(f"volnux_{key}", about)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(
    early_config: pytest.Config, parser: pytest.Parser, args: list[str]
) -> None:
    """Have `--volnux-report tests/` report on tests/, which is no TYPE; and so for `--volnux-lint`."""
    alone = {"--volnux-report": "term", "--volnux-lint": "warn"}
    changed = False
    for place, argument in enumerate(args[:-1]):
        if argument in alone and exists(args[place + 1].partition("::")[0]):
            args[place] += "=" + alone[argument]
            changed = True
    if changed:
        known = parser.parse_known_args(args, namespace=None)
        early_config.known_args_namespace.file_or_dir = known.file_or_dir


def pytest_configure(config: pytest.Config) -> None:
    """Begin, if the whole run is asked about."""
    config.addinivalue_line("markers", _MARKER)
    asked = ("report", "max_failed", "max_slow", "lint")
    keys = ("report", "run_max_failed", "run_max_slow", "lint", *BUDGET)
    if any(config.getoption(f"volnux_{name}") is not None for name in asked) or any(
        config.getini(f"volnux_{key}") for key in keys
    ):
        if _may_wait(config):
            from pytest_volnux._waiting import Waiting

            config.pluginmanager.register(Waiting(config, lambda: _session(config)), _WAITING)
        else:
            _session(config).watch_all()
    elif config.getoption("volnux_slow") or config.getoption("volnux_top"):
        from pytest_volnux._settings import read_settings

        read_settings(config)  # which sees whether they make sense


def _may_wait(config: pytest.Config) -> bool:
    """Return whether nothing has to be done before the process loads volnux.telemetry."""
    return (
        "volnux.telemetry" not in sys.modules
        and not environ.get("VOLNUX_TELEMETRY")  # of which something may have to be said
        and not any(config.getini(f"volnux_{key}") for key in BUDGET)
        and config.getoption("dist", "no") == "no"  # workers send what they have recorded
    )


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Have a marker that makes no sense be an error of the file that it stands in."""
    report = yield
    for node in (collector, *(report.result or ())):
        for mark in node.own_markers:
            if mark.name == "volnux" and report.outcome == "passed":
                from pytest_volnux._budgets import check_mark

                try:
                    check_mark(mark)
                except ValueError as error:
                    report.outcome, report.result = "failed", []
                    report.longrepr = f"{node.nodeid}: @pytest.mark.volnux: {error}"
    return report


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin, if one of the tests asks for it."""
    session = config.pluginmanager.get_plugin(_NAME)
    marked: dict[object, bool] = {}  # by what holds the tests: their file, or class
    asking = [item for item in items if _asks(item, marked)]
    if asking:
        session = _session(config)
    # What the program says of its own steps, if it has been imported, and says anything.
    budget = sys.modules.get("volnux.telemetry._budget")
    if budget is not None and budget.BUDGETS:
        session = _session(config)
        session.watch_all()
    if session is not None:
        session.collected(items, asking)


def _asks(item: pytest.Item, marked: dict[object, bool]) -> bool:
    parent = item.parent
    if parent not in marked:
        marked[parent] = parent is not None and parent.get_closest_marker("volnux") is not None
    if marked[parent] or not _FIXTURES.isdisjoint(getattr(item, "fixturenames", ())):
        return True
    for mark in item.own_markers:  # noqa: SIM110  # of thousands of tests, few have one
        if mark.name == "volnux":
            return True
    return False


def _session(config: pytest.Config) -> Session:
    session: Session | None = config.pluginmanager.get_plugin(_NAME)
    if session is None:
        waiting: Waiting | None = config.pluginmanager.get_plugin(_WAITING)
        if waiting is not None:
            waiting.stop()
            config.pluginmanager.unregister(waiting)
        from pytest_volnux._session import Session

        session = Session(config, waiting)
        config.pluginmanager.register(session, _NAME)
        if waiting is not None:
            waiting.make_way(session)
    return session


def _asked(request: pytest.FixtureRequest) -> Session:
    session = _session(request.config)
    session.asked(request.node)
    return session


@pytest.fixture
def volnux(request: pytest.FixtureRequest) -> VolnuxFixture:
    """What is recorded in this test: questions, and asserts that say what happened."""
    return _asked(request).fixture()


@pytest.fixture
def volnux_session(request: pytest.FixtureRequest) -> Registry:
    """What has been recorded in the whole run so far, all tests and their fixtures together."""
    return _asked(request).so_far()


@pytest.fixture
def volnux_clock(request: pytest.FixtureRequest) -> Iterator[FakeClock]:
    """A clock that stands still, by which everything in this test is timed from here on."""
    from volnux.telemetry.testing import FakeClock

    clock, session = FakeClock(), _asked(request)
    session.set_clock(clock)
    yield clock
    session.set_clock(None)
