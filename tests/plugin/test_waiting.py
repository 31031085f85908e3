"""Runs that are asked about, of programs that load volnux.telemetry late, or never."""

from __future__ import annotations

import json

import pytest

#: A program that says what one of its steps may come to, and does more.
STEP = """
from volnux.telemetry import Budget, traced_event

@traced_event(budget=Budget(max_calls=1))
def once():
    pass

once()
once()
"""


@pytest.fixture
def report(suite, pytester, monkeypatch):
    """Run a suite in a process of its own, and return its result and its report."""
    monkeypatch.delenv("VOLNUX_TELEMETRY", raising=False)

    def run(text, *arguments, **more):
        result = suite(text, "--volnux-report=json:report.json", *arguments, apart=True, **more)
        return result, json.loads((pytester.path / "report.json").read_text("utf-8"))

    return run


def counts(events):
    return {event["name"]: event["count"] for event in events}


def test_one_that_is_never_loaded(report):
    """The plugin does not load it either, while tests run; there is a report all the same."""
    result, data = report(
        "import sys\n"
        "def test_it():\n"
        "    assert 'volnux.telemetry' not in sys.modules\n"
        "    assert 'pytest_volnux._session' not in sys.modules\n"
    )
    result.assert_outcomes(passed=1)
    assert (data["tests"], data["events"], data["outside"]) == (0, [], [])


def test_one_that_is_loaded_with_the_tests(report):
    """What it records before any test is seen, too."""
    result, data = report(
        "from program import *\nload()\ndef test_it():\n    parse()\ndef test_next():\n    pass\n"
    )
    result.assert_outcomes(passed=2)
    assert (data["tests"], counts(data["events"]), counts(data["outside"])) == (
        *(1, {"parse": 1}),
        {"load": 1},
    )


def test_one_that_is_loaded_in_a_test(report):
    """From there on it is recorded: in that test, which is told from its set-up, and in all that follow."""
    result, data = report(
        """
import pytest

@pytest.fixture
def step():
    import program
    program.load()
    with pytest.raises(ValueError):
        program.parse(fails=True)
    return program

def test_before():
    pass

def test_it(step):
    step.load()

def test_after():
    import program
    program.parse()
"""
    )
    result.assert_outcomes(passed=3)
    assert (data["tests"], counts(data["events"])) == (2, {"load": 2, "parse": 2})
    assert [(it["where"], it["phase"]) for it in data["failures"]] == [
        ("test_it.py::test_it", "setup")
    ]


def test_one_that_is_loaded_by_a_test_that_fails(report):
    """The failure says what happened; budgets of functions, the lint and the limits of the run count it."""
    result, _ = report(
        """
def test_fails():
    import program
    program.load()
    program.parse(fails=True)
""",
        "--volnux-max-failed=0",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*Captured volnux call*",
            "> parse  *  failed  ValueError: no such thing",
            "*--volnux-max-failed allows 0",
        ]
    )
    text = """
def test_passes():
    import program
    try:
        program.parse(fails=True)
    except ValueError:
        pass
"""
    result, _ = report(text, "--volnux-lint=fail")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["1 failed, and the test passed: parse (ValueError)"])
    result, _ = report(text.replace("program.parse(fails=True)", "import step"), step=STEP)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["over budget: once: max_calls", "  once: max_calls=1  2 events: once"]
    )
    result, _ = report(text, ini="volnux_max_failed = 0\n")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["over budget: max_failed"])


def test_one_that_is_loaded_in_shared_fixtures(report):
    """What they record is theirs, also when they are taken down; the outer one goes on in its turn."""
    result, data = report(
        """
import pytest

@pytest.fixture(scope="session")
def inner():
    from program import load, parse
    load()
    yield parse
    load()

@pytest.fixture(scope="module")
def outer(request):
    parse = request.getfixturevalue("inner")
    parse()
    yield parse
    parse()

def test_it(outer):
    outer()
"""
    )
    result.assert_outcomes(passed=1)
    assert counts(data["events"]) == {"parse": 1}
    assert {it["name"]: counts(it["events"]) for it in data["fixtures"]} == {
        "inner (session)": {"load": 2},
        "outer (module)": {"parse": 2},
    }


def test_one_that_only_other_processes_load(report):
    """They come home: those that are waited for to their test, those of a fork as well, a late one to its test."""
    result, data = report(
        """
import multiprocessing, subprocess, sys

def work(times):
    from program import load
    for _ in range(times):
        load()

PROGRAM = "import program; program.load()"

def test_program():
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)
    assert "volnux.telemetry" not in sys.modules

def test_forked():
    process = multiprocessing.get_context("fork").Process(target=work, args=(2,))
    process.start()
    process.join()

def test_spawned():
    process = multiprocessing.get_context("spawn").Process(target=work, args=(3,))
    process.start()
    process.join()
""",
        "-p",
        "no:faulthandler",
    )
    result.assert_outcomes(passed=3)
    assert (data["tests"], counts(data["events"])) == (3, {"load": 6})


def test_one_that_is_loaded_late_by_workers(report):
    """Each of them begins when it is."""
    result, data = report(
        """
import pytest

@pytest.mark.parametrize("n", range(6))
def test_it(n):
    import program
    program.load()
""",
        "-n2",
    )
    result.assert_outcomes(passed=6)
    assert (data["tests"], counts(data["events"])) == (6, {"load": 6})


def test_junit_properties_of_a_test_that_loads_it(suite, pytester):
    """As of any other."""
    suite(
        "def test_it():\n    import program\n    program.load()\n",
        "--volnux-report=junit",
        "--junit-xml=out.xml",
        apart=True,
    )
    assert 'name="volnux.events" value="1"' in (pytester.path / "out.xml").read_text("utf-8")
