"""`VOLNUX_TELEMETRY=off`: nothing is looked at, which nobody is to take for a proof."""

from __future__ import annotations

import pytest

SUITE = """
import pytest
from program import *

def test_fixture(volnux):
    fetch()
    volnux.assert_no_network()

@pytest.mark.volnux(max_calls=0)
def test_marker():
    load()

def test_plain():
    load()
"""
UNSEEN = (
    "limits, and asserts that only forbid something, pass unseen. Unset it to have them checked"
)


@pytest.fixture(autouse=True)
def _off(monkeypatch):
    monkeypatch.setenv("VOLNUX_TELEMETRY", "off")


def warned(result):
    """What a run warns of."""
    lines = [line.strip() for line in result.outlines]
    return [line.partition("TelemetryOffWarning: ")[2] for line in lines if "OffWarning: " in line]


def said(who):
    """The text about something that needs recording."""
    return f"VOLNUX_TELEMETRY=off switches recording off, which {who}: {UNSEEN}"


def test_a_run_warns_once(suite):
    """However many tests need it, of which it says how many they are; nothing else is different."""
    result = suite(SUITE)
    result.assert_outcomes(passed=3, warnings=1)
    assert warned(result) == [said("2 tests need")]


def test_workers_warn_once(suite):
    """All of them have collected the same."""
    result = suite(SUITE, "-n2")
    result.assert_outcomes(passed=3, warnings=1)
    assert warned(result) == [said("2 tests need")]


def test_the_text_names_what_was_set(suite, monkeypatch):
    """As it stands in the environment."""
    monkeypatch.setenv("VOLNUX_TELEMETRY", "No")
    result = suite(SUITE, "-k", "fixture")
    assert warned(result) == [said("1 test needs").replace("=off", "=No")]


@pytest.mark.parametrize("fixture", ["volnux", "volnux_session", "volnux_clock"])
def test_each_fixture_needs_it(suite, fixture):
    """Whatever it is asked."""
    result = suite(f"def test_it({fixture}):\n    pass\n")
    result.assert_outcomes(passed=1, warnings=1)
    assert warned(result) == [said("1 test needs")]


@pytest.mark.parametrize("arguments", [(), ("-Werror",)])
def test_a_fixture_that_is_asked_for_late_needs_it(suite, arguments):
    """Collection knows nothing of it."""
    text = "def test_it(request):\n    request.getfixturevalue('volnux')\n"
    result = suite(text + text.replace("it(", "again("), *arguments)
    if arguments:
        result.assert_outcomes(failed=2)
        assert result.outlines.count(said("1 test needs")) == 2
    else:
        result.assert_outcomes(passed=2, warnings=1)
        assert warned(result) == [said("1 test needs")]


def test_a_budget_of_a_function_needs_it(suite):
    """No test says so, but the program does."""
    result = suite(
        "from volnux.telemetry import Budget, traced_event\n"
        "@traced_event(budget=Budget(max_calls=0))\n"
        "def work():\n    pass\n"
        "def test_it():\n    work()\n"
    )
    result.assert_outcomes(passed=1, warnings=1)
    assert warned(result) == [said("budgets of functions need")]


@pytest.mark.parametrize("workers", [(), ("-n2",)])
def test_keys_of_the_ini_file_need_it(suite, workers):
    """They hold for every run, also for one that is meant to be without."""
    ini = "volnux_lint = warn\nvolnux_run_max_failed = 0\nvolnux_hosts = *.example.org\n"
    result = suite(SUITE, *workers, ini=ini)
    result.assert_outcomes(passed=3, warnings=1)
    assert warned(result) == [
        said("volnux_run_max_failed, volnux_lint, volnux_hosts of the ini file need")
    ]


@pytest.mark.parametrize("workers", [(), ("-n2",)])
def test_a_filter_fails_the_tests_that_need_it(suite, workers):
    """If they pass; the others are none of its business."""
    result = suite(SUITE, "-W", "error::pytest_volnux.TelemetryOffWarning", *workers)
    result.assert_outcomes(passed=1, failed=2)
    lines = [line for line in result.outlines if line.startswith("VOLNUX_TELEMETRY")]
    assert lines == [said("2 tests need")] * 2


def test_a_filter_fails_all_tests_for_a_budget_of_a_function(suite):
    """Any of them may call it."""
    result = suite(
        "from volnux.telemetry import Budget, traced_event\n"
        "@traced_event(budget=Budget(max_calls=0))\n"
        "def work():\n    pass\n"
        "def test_it():\n    work()\n",
        "-Werror",
    )
    result.assert_outcomes(failed=1)
    assert said("budgets of functions need") in result.outlines


@pytest.mark.parametrize("workers", [(), ("-n2",)])
def test_a_filter_ends_a_run_whose_ini_file_needs_it(suite, workers):
    """One line, before any test runs."""
    result = suite(SUITE, "-Werror", *workers, ini="volnux_max_failed = 0\n")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "ERROR: " + said("volnux_max_failed of the ini file needs") in result.stderr.lines


def test_a_filter_may_say_that_it_is_meant(suite):
    """Nothing is said then."""
    ignored = "ignore::pytest_volnux.TelemetryOffWarning"
    result = suite(SUITE, "-W", ignored)
    result.assert_outcomes(passed=3)
    result = suite(SUITE, "-W", ignored, ini="volnux_max_failed = 0\n")
    result.assert_outcomes(passed=3)


@pytest.mark.parametrize("workers", [(), ("-n2",)])
@pytest.mark.parametrize(
    "option",
    ["--volnux-report", "--volnux-report=md", "--volnux-lint=fail", "--volnux-max-failed=0"],
)
def test_an_option_ends_the_run(suite, option, workers):
    """Who asks on the command line asks for this run."""
    result = suite(SUITE, option, *workers)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert result.stderr.lines[0] == (
        f"ERROR: VOLNUX_TELEMETRY=off switches recording off, which {option.partition('=')[0]} "
        "needs: unset it, or leave it out"
    )


def test_all_options_are_named(suite):
    """In one line."""
    result = suite(SUITE, "--volnux-max-slow=1", "--volnux-report")
    assert result.stderr.lines[0] == (
        "ERROR: VOLNUX_TELEMETRY=off switches recording off, which --volnux-report, "
        "--volnux-max-slow need: unset it, or leave them out"
    )


def test_nothing_is_said_where_nothing_needs_it(suite):
    """A suite that happens to run without."""
    result = suite("from program import *\ndef test_it():\n    load()\n", "-Werror")
    result.assert_outcomes(passed=1)
    result = suite(SUITE, "-Werror", "--volnux-slow=2", "-k", "plain")
    result.assert_outcomes(passed=1, deselected=2)


@pytest.mark.parametrize("value", ["on", "", "1"])
def test_nothing_is_said_where_it_is_on(suite, monkeypatch, value):
    """And limits are looked at."""
    monkeypatch.setenv("VOLNUX_TELEMETRY", value)
    result = suite(SUITE, "-Werror")
    result.assert_outcomes(passed=1, failed=2)
