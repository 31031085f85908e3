"""The pytest side of volnux: options, markers and fixtures. All else is loaded when it is asked for.

This package is the plugin, one module on purpose, and types are comments: pytest reads it whether volnux
is used or not, constant by constant, and looks at each of its names.
`-W error::pytest_volnux.LintWarning` may load it before pytest would, which is no matter for a warning:
there is no assert statement in it to rewrite, so PYTEST_DONT_REWRITE.
"""

import sys

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from pytest_volnux._fixture import VolnuxFixture
    from pytest_volnux._lint import LintWarning
    from pytest_volnux._off import TelemetryOffWarning
    from volnux.telemetry import Registry
    from volnux.telemetry.testing import FakeClock

__all__ = ["LintWarning", "TelemetryOffWarning", "VolnuxFixture"]

#: Options that ask about the whole run, as pytest keeps them, and keys of the ini file that do.
OPTIONS = ("volnux_report", "volnux_max_failed", "volnux_max_slow", "volnux_lint")
KEYS = ("volnux_report", "volnux_run_max_failed", "volnux_run_max_slow", "volnux_lint")
#: Keys of the ini file for budgets; without `volnux_`, those of the marker.
BUDGET = {
    "volnux_max_failed": "failures in a test at most",
    "volnux_max_seconds": "seconds that an event takes at most",
    "volnux_max_retries": "retries in a test at most",
    "volnux_max_bytes": "bytes to and from hosts in a test at most",
    "volnux_max_calls": "events in a test at most",
    "volnux_hosts": "the only hosts that a test may speak to (globs)",
    "volnux_events": "budgets of single events: a glob, then KEY=NUMBER (a line each)",
    "volnux_allow_failed": "events that may fail (globs)",
}
_MARKER = (
    "volnux(max_failed, max_seconds, max_retries, max_bytes, max_calls, hosts, events, allow_failed, "
    "lint): what may happen inside the test at most; what nearer markers and the ini file say of other "
    "keys holds too."
)


def pytest_addoption(parser):
    # type: (pytest.Parser) -> None
    """Say what can be asked for."""
    # A `dest` that pytest derives is compared with those of all options there are.
    group = parser.getgroup("volnux", "volnux: what happened inside the tests")
    group.addoption(
        "--volnux-report",
        dest="volnux_report",
        action="append",
        nargs="?",
        const="term",
        metavar="TYPE[:DEST]",
        help="report what happened inside the tests; may be repeated. TYPE is term (as without one), "
        "json, html, md or junit (properties of the JUnit file). DEST is a file.",
    )
    group.addoption(
        "--volnux-slow",
        dest="volnux_slow",
        metavar="SECONDS",
        help="what takes longer is slow (default: 1.0)",
    )
    group.addoption(
        "--volnux-top",
        dest="volnux_top",
        metavar="N",
        help="lines of a table of the report at most (default: 10)",
    )
    group.addoption(
        "--volnux-max-failed",
        dest="volnux_max_failed",
        metavar="N",
        help="fail the run if more than N failures were recorded in all of its tests",
    )
    group.addoption(
        "--volnux-max-slow",
        dest="volnux_max_slow",
        metavar="N",
        help="fail the run if more than N events were slow",
    )
    group.addoption(
        "--volnux-lint",
        dest="volnux_lint",
        nargs="?",
        const="warn",
        metavar="warn|fail",
        help="warn of tests that pass although something in them failed, was retried in vain, never "
        "ended, or ended on another thread; or fail them",
    )
    parser.addini("volnux_lint", "--volnux-lint")
    parser.addini("volnux_report", "--volnux-report, a TYPE[:DEST] a line", "linelist", [])
    parser.addini("volnux_slow", "--volnux-slow")
    parser.addini("volnux_top", "--volnux-top")
    parser.addini("volnux_run_max_failed", "--volnux-max-failed")
    parser.addini("volnux_run_max_slow", "--volnux-max-slow")
    lists = ("volnux_hosts", "volnux_events", "volnux_allow_failed")
    for key, text in BUDGET.items():
        about = f"{text}, where no marker says otherwise"
        if key in lists:
            parser.addini(key, about, "linelist", [])
        else:
            parser.addini(key, about)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config, parser, args):
    # type: (pytest.Config, pytest.Parser, list[str]) -> None
    """Have `--volnux-report tests/` report on tests/, which is no TYPE; and so for `--volnux-lint`."""
    # pytest rewrites the assert statements of all that is distributed with a plugin. In volnux there are
    # none, and a program that imports it starts 11 ms sooner if it is read as Python does (of 80, 3.11).
    rewritten = getattr(early_config.pluginmanager.rewrite_hook, "_must_rewrite", set())  # type: set[str]
    rewritten -= {"volnux", "pytest_volnux"}
    if "--volnux-report" in args or "--volnux-lint" in args:
        from pytest_volnux._beginning import part_from_paths

        part_from_paths(early_config, parser, args)


def pytest_configure(config):
    # type: (pytest.Config) -> None
    """Begin, if the whole run is asked about."""
    config.addinivalue_line("markers", _MARKER)
    asked = [*map(config.getoption, (*OPTIONS, "volnux_slow", "volnux_top"))]
    if asked.count(None) < len(asked) or any(map(config.getini, (*KEYS, *BUDGET))):
        from pytest_volnux._beginning import begin

        begin(config)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    # type: (pytest.Collector) -> Generator[None, pytest.CollectReport, pytest.CollectReport]
    """Have a marker that makes no sense be an error of the file that it stands in."""
    report = yield
    for node in (collector, *(report.result or ())):
        for mark in node.own_markers:
            if mark.name == "volnux":
                from pytest_volnux._beginning import check

                check(mark, node, report)
    return report


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    # type: (pytest.Config, list[pytest.Item]) -> None
    """Begin, if one of the tests asks for it, or the program has budgets for its own steps."""
    fixtures = {"volnux", "volnux_session", "volnux_clock"}
    marked: dict[object, bool] = {}  # by what holds the tests: their file, or class
    asking = []
    for item in items:
        parent = item.parent
        if parent not in marked:
            marked[parent] = parent is not None and parent.get_closest_marker("volnux") is not None
        if (
            marked[parent]
            or not fixtures.isdisjoint(getattr(item, "fixturenames", ()))
            or (item.own_markers and item.get_closest_marker("volnux"))
        ):
            asking.append(item)
    budget = sys.modules.get("volnux.telemetry._budget")
    if asking or (budget and budget.BUDGETS) or config.pluginmanager.has_plugin("volnux-session"):
        from pytest_volnux._beginning import collected

        collected(config, items, asking)


@pytest.fixture
def volnux(request):
    # type: (pytest.FixtureRequest) -> VolnuxFixture
    """What is recorded in this test: questions, and asserts that say what happened."""
    from pytest_volnux._beginning import asked

    return asked(request).fixture()


@pytest.fixture
def volnux_session(request):
    # type: (pytest.FixtureRequest) -> Registry
    """What has been recorded in the whole run so far, all tests and their fixtures together."""
    from pytest_volnux._beginning import asked

    return asked(request).so_far()


@pytest.fixture
def volnux_clock(request):
    # type: (pytest.FixtureRequest) -> Iterator[FakeClock]
    """A clock that stands still, by which everything in this test is timed from here on."""
    from pytest_volnux._beginning import clock_of

    yield from clock_of(request)


def __dir__():
    # type: () -> list[str]
    # What pytest looks for in a plugin.
    return [
        "pytest_addoption",
        "pytest_collection_modifyitems",
        "pytest_configure",
        "pytest_load_initial_conftests",
        "pytest_make_collect_report",
        "volnux",
        "volnux_clock",
        "volnux_session",
    ]


def __getattr__(name):
    # type: (str) -> object
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pytest_volnux._beginning import find

    return find(name)
