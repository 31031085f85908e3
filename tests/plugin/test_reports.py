"""`--volnux-report`: what it says, where it goes, and what it makes of bad input."""

from __future__ import annotations

import json
import re

import pytest

from tests.plugin._output import between

SUITE = """
import pytest
from program import *

@pytest.fixture(scope="module")
def clock():
    from volnux.telemetry.testing import FakeClock
    return FakeClock()

@pytest.fixture(scope="session")
def database():
    load()

def test_one(database, volnux_clock):
    slow(volnux_clock, 2.0)
    fetch()

def test_two(database, volnux_clock):
    slow(volnux_clock, 0.5)
    flaky(retries=2)
    try:
        parse(fails=True)
    except ValueError:
        pass
"""

REPORT = """\
==================================== volnux: what happened inside 2 tests =====================================

events
  event  count  failed  retries     p50    p95    max  total
  slow       2       0        0   500ms  2.00s  2.00s  2.50s
  fetch      1       0        0      0s     0s     0s     0s
  flaky      1       0        2      0s     0s     0s     0s
  parse      1       1        0      0s     0s     0s     0s

slowest
   took  event  in
  2.00s  slow   test_it.py::test_one
  500ms  slow   test_it.py::test_two
   TIME  load   database (session)

failed
  event  error                      in
  parse  ValueError: no such thing  test_it.py::test_two

hosts
  host                 operations  failed   sent  received  max
  api.example.org:443           1       0  100 B    1000 B   0s

shared fixtures
  in                  events  failed  total  network ops
  database (session)       1       0   TIME            0
"""


def told(text):
    """The section of the report, with times that say nothing, and columns that follow them."""
    text = re.sub(r"[\d.]+[µn]s", "TIME", text.partition("\n")[2].strip())
    return re.sub(" {2,}", "  ", text)


def test_alone_it_is_in_the_terminal(suite):
    """The whole section."""
    result = suite(SUITE, "--volnux-report")
    result.assert_outcomes(passed=2)
    assert told(between(result, "volnux: what happened", "=====")) == told(REPORT)


def test_it_is_the_same_by_workers(suite):
    """The same numbers in the same order."""
    result = suite(SUITE, "--volnux-report", "-n2")
    result.assert_outcomes(passed=2)
    # A fixture of the session is set up in each worker that needs it.
    assert told(between(result, "volnux: what happened", "shared fixtures")) == (
        told(REPORT.partition("shared fixtures")[0]).replace(
            "TIME  load  database (session)",
            "TIME  load  database (session)\n  TIME  load  database (session)",
        )
    )


def test_nothing_is_said_where_nothing_was_recorded(suite):
    """Not even a headline."""
    result = suite("def test_it():\n    pass\n", "--volnux-report")
    result.assert_outcomes(passed=1)
    assert "volnux:" not in result.stdout.str()


def test_what_follows_it_may_be_a_path(suite, pytester):
    """`pytest --volnux-report tests/` reports on tests/."""
    pytester.mkpydir("elsewhere")
    result = suite(SUITE, "--volnux-report", "test_it.py::test_one")
    result.assert_outcomes(passed=1)
    assert "what happened inside 1 test " in result.stdout.str()
    result = pytester.runpytest_inprocess("-p", "pytest_volnux", "--volnux-report", "elsewhere")
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_json(suite, pytester):
    """All of it as data, in a folder that is made for it."""
    result = suite(SUITE, "--volnux-report=json:out/report.json")
    result.stdout.fnmatch_lines(["volnux: wrote out/report.json"])
    data = json.loads((pytester.path / "out/report.json").read_text("utf-8"))
    assert data["schema"] == "volnux.pytest/1"
    assert (data["tests"], data["failed"], data["slow"]) == (2, 1, 1)
    slow = data["events"][0]
    assert (slow["name"], slow["count"], slow["total"], slow["max"]) == ("slow", 2, 2.5, 2.0)
    assert data["failures"] == [
        {
            "where": "test_it.py::test_two",
            "phase": "call",
            "name": "parse",
            "seconds": 0.0,
            "error_type": "ValueError",
            "error": "no such thing",
        }
    ]
    assert data["retries"]["total_retries"] == 2
    assert data["hosts"][0]["bytes_received"] == 1000


def test_markdown(suite, pytester, monkeypatch):
    """A file, and what GitHub shows of the step, to which others have written before."""
    summary = pytester.path / "summary.md"
    summary.write_text("# before\n", "utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    suite(SUITE, "--volnux-report=md:report.md")
    text = (pytester.path / "report.md").read_text("utf-8")
    assert "| slow | 2 | 0 | 0 | 500ms | 2.00s | 2.00s | 2.50s |" in text
    assert "| parse | ValueError: no such thing | test\\_it.py::test\\_two |" in text
    assert summary.read_text("utf-8") == "# before\n" + text


def test_markdown_says_what_it_leaves_out(suite, pytester):
    """And that nothing was recorded, if so."""
    suite(
        "from program import *\ndef test_it():\n    load()\n    parse()\n    flaky()\n",
        "--volnux-report=md:report.md",
        "--volnux-top=1",
    )
    assert "\nand 2 more\n" in (pytester.path / "report.md").read_text("utf-8")
    suite("def test_it():\n    pass\n", "--volnux-report=md:report.md")
    assert (pytester.path / "report.md").read_text("utf-8") == (
        "## volnux: what happened inside 0 tests\n\nNothing was recorded.\n"
    )


def test_long_names_are_cut_in_the_middle(suite):
    """Both ends say something; what is outside of tests has a table as well."""
    name = "first " + "x" * 100 + " last"
    result = suite(
        "from program import *\n"
        "load()\n"
        f"def test_it():\n    with traced_event({name!r}):\n        pass\n",
        "--volnux-report",
    )
    assert any(line.startswith("  first x") and "…" in line for line in result.outlines)
    assert "outside of tests" in result.outlines


def test_junit_properties(suite, pytester):
    """Of each attempt of a test that recorded something."""
    suite(
        "from program import *\n"
        "tries = []\n"
        "def test_it():\n"
        "    tries.append(1)\n"
        "    fetch(times=len(tries))\n"
        "    assert len(tries) == 2\n"
        "def test_other():\n    pass\n",
        "--volnux-report=junit",
        "--junitxml=junit.xml",
        "--reruns=1",
    )
    text = (pytester.path / "junit.xml").read_text("utf-8")
    found = re.findall(r'<property name="volnux\.(\w+)" value="(\d+)"', text)
    numbers = {"events": "1", "failed": "0", "retries": "0"}
    assert found == [
        *{**numbers, "network_ops": "1", "bytes": "1100"}.items(),
        *{**numbers, "network_ops": "2", "bytes": "2200"}.items(),
    ]


def test_long_tables_say_what_they_leave_out(suite):
    """`--volnux-top` says how much that is."""
    result = suite(
        "from program import *\n"
        "def test_it():\n"
        "    for number in range(5):\n"
        "        with traced_event(f'step {number}'):\n            pass\n",
        "--volnux-report",
        "--volnux-top=3",
    )
    lines = between(result, "volnux: what happened", "=====").split("\n")
    events = lines[lines.index("events") : lines.index("slowest")]
    assert len([line for line in events if line.startswith("  step")]) == 3
    assert "  and 2 more" in events


def test_the_phase_is_said_unless_it_is_the_call(suite):
    """Of what was slow, and of what failed."""
    result = suite(
        """
from program import *
import pytest

@pytest.fixture
def around(volnux_clock):
    slow(volnux_clock, 2.0)
    yield
    slow(volnux_clock, 3.0)
    with pytest.raises(ValueError):
        parse(fails=True)

def test_it(around, volnux_clock):
    slow(volnux_clock, 1.0)
""",
        "--volnux-report",
    )
    lines = told(between(result, "volnux: what happened", "=====")).split("\n")
    assert [line for line in lines if "test_it.py" in line][:3] == [
        "  3.00s  slow  test_it.py::test_it (teardown)",
        "  2.00s  slow  test_it.py::test_it (setup)",
        "  1.00s  slow  test_it.py::test_it",
    ]
    assert "  parse  ValueError: no such thing  test_it.py::test_it (teardown)" in lines


def test_a_run_that_is_interrupted_has_its_report(suite):
    """With what its shared fixtures record when they are taken down after that."""
    result = suite(
        """
from program import *
import pytest

@pytest.fixture(scope="module")
def database():
    load()
    yield
    parse()

def test_it(database):
    fetch()
    raise KeyboardInterrupt
""",
        "--volnux-report",
        apart=True,
    )
    assert result.ret == pytest.ExitCode.INTERRUPTED
    lines = told(between(result, "volnux: what happened", "=====")).split("\n")
    assert [line.split()[:2] for line in lines if line.startswith("  fetch")] == [["fetch", "1"]]
    shared = lines[lines.index("shared fixtures") + 2]
    assert shared.split()[:4] == ["database", "(module)", "2", "0"]


class TestGates:
    def test_too_many_failures_fail_the_run(self, suite):
        """Though each test passes."""
        result = suite(SUITE, "--volnux-max-failed=0", "--volnux-max-slow=0")
        result.assert_outcomes(passed=2)
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        assert told(between(result, "over the limits", "====")).split("\n") == [
            "1 failure was recorded, --volnux-max-failed allows 0",
            "1 slow event was recorded, --volnux-max-slow allows 0",
            "",
            "slowest",
            "  took  event  in",
            "  2.00s  slow  test_it.py::test_one",
            "",
            "failed",
            "  event  error  in",
            "  parse  ValueError: no such thing  test_it.py::test_two",
        ]

    def test_it_shows_what_there_is_too_much_of(self, suite):
        """And not what else failed, or was slow."""
        result = suite(SUITE, "--volnux-max-slow=0")
        assert told(between(result, "over the limits", "====")).split("\n") == [
            "1 slow event was recorded, --volnux-max-slow allows 0",
            "",
            "slowest",
            "  took  event  in",
            "  2.00s  slow  test_it.py::test_one",
        ]

    def test_what_may_fail_is_not_counted(self, suite):
        """Neither what a marker or the test itself allows, nor attempts that a retry got over."""
        result = suite(
            """
from program import *
import pytest, stamina

@stamina.retry(on=ValueError, attempts=2, wait_initial=0)
@traced_event
def attempt(numbers):
    parse(fails=bool(numbers and numbers.pop()))

@traced_event
def outer(numbers):
    attempt(numbers)

@pytest.mark.volnux(allow_failed=["parse"])
def test_marked():
    with pytest.raises(ValueError):
        parse(fails=True)

def test_itself(volnux):
    volnux.allow_failed("parse")
    with pytest.raises(ValueError):
        parse(fails=True)

def test_counted():
    with pytest.raises(ValueError):
        parse(fails=True)
""",
            "--volnux-max-failed=0",
        )
        result.assert_outcomes(passed=3)
        assert told(between(result, "over the limits", "====")).split("\n") == [
            "1 failure was recorded, --volnux-max-failed allows 0",
            "",
            "failed",
            "  event  error  in",
            "  parse  ValueError: no such thing  test_it.py::test_counted",
            "  not counted: 2 that may fail, or that a retry got over",
        ]

    def test_enough_is_allowed(self, suite):
        """And nothing is said."""
        result = suite(SUITE, "--volnux-max-failed=1", "--volnux-slow=0.1", "--volnux-max-slow=2")
        assert result.ret == pytest.ExitCode.OK
        assert "volnux:" not in result.stdout.str()

    def test_by_workers_and_the_ini_file(self, suite):
        """They hold for all of them together."""
        result = suite(SUITE, "-n2", ini="volnux_run_max_slow = 1\nvolnux_slow = 0.4")
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        result.stdout.fnmatch_lines(["2 slow events were recorded, --volnux-max-slow allows 1"])


WRONG = {
    "--volnux-report=jsn:out.json": "--volnux-report=jsn:out.json: it knows no 'jsn'; did you mean json?",
    "--volnux-report=pdf": "--volnux-report=pdf: it knows no 'pdf'; it knows term, json, html, md, junit",
    "--volnux-report=term:out.txt": (
        "--volnux-report=term:out.txt: term is written to no file of its own"
    ),
    "--volnux-report=json:.": "--volnux-report=json:.: {path} is a folder; name a file, such as json:./volnux-report.json",
    "--volnux-report=json:test_it.py/out": "--volnux-report=json:test_it.py/out: {path}/test_it.py is no folder",
    "--volnux-report=json:/proc/out": "--volnux-report=json:/proc/out: /proc/out cannot be written: No such file or directory",
    "--volnux-slow=-1": "--volnux-slow is 0 or more, not '-1'",
    "--volnux-slow=soon": "--volnux-slow is a number, not 'soon'",
    "--volnux-top=x": "--volnux-top is a whole number, not 'x'",
    "--volnux-max-failed=-1": "--volnux-max-failed is 0 or more, not '-1'",
    "--volnux-max-slow=1.5": "--volnux-max-slow is a whole number, not '1.5'",
}


@pytest.mark.parametrize(
    ("argument", "workers"),
    [*((argument, ()) for argument in WRONG), ("--volnux-report=pdf", ("-n1",))],
)
def test_what_makes_no_sense_is_a_usage_error(suite, pytester, argument, workers):
    """One line, before any test runs."""
    result = suite("def test_it():\n    pass\n", argument, *workers)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    text = WRONG[argument].format(path=pytester.path)
    assert f"ERROR: {text}" in result.stderr.lines
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()


def test_a_disk_that_is_full_later_is_said(suite, pytester):
    """The tests have passed all the same."""
    result = suite(
        "import os\nfrom program import *\ndef test_it():\n    load()\n    os.mkdir('out.json')\n",
        "--volnux-report=json:out.json",
    )
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["volnux: *out.json could not be written: *"])


class TestNames:
    @pytest.mark.parametrize("workers", [[], ["-n1"]], ids=["alone", "by workers"])
    def test_of_any_script_and_none(self, suite, pytester, workers):
        """Non-ASCII, control characters, half a surrogate pair: shown, and never an error."""
        names = ["größe", "日本", "a\nb\x1b[31m", "\ud800", "a|b`c`"]
        result = suite(
            "from program import *\n"
            f"def test_it(volnux):\n"
            f"    for name in {names!r}:\n"
            "        with traced_event(name):\n            pass\n"
            "    assert len(volnux.events()) == 5\n",
            "--volnux-report",
            "--volnux-report=json:out.json",
            "--volnux-report=md:out.md",
            *workers,
        )
        result.assert_outcomes(passed=1)
        assert "INTERNALERROR" not in result.stdout.str()
        data = json.loads((pytester.path / "out.json").read_text("utf-8"))
        assert len(data["events"]) == 5
        text = (pytester.path / "out.md").read_text("utf-8")
        assert "größe" in text
        assert "a\\|b\\`c\\`" in text
        assert "\x1b" not in text + result.stdout.str()


class TestWorkers:
    def test_that_are_killed_lose_the_running_test_only(self, suite, pytester):
        """What the tests before it recorded is in the report."""
        result = suite(
            "import os, pytest\nfrom program import *\n"
            "@pytest.mark.parametrize('number', range(6))\n"
            "def test_it(number):\n"
            "    load()\n"
            "    if number == 4:\n        os._exit(1)\n",
            "-n1",
            "--volnux-report=json:out.json",
        )
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        data = json.loads((pytester.path / "out.json").read_text("utf-8"))
        assert [(event["name"], event["count"]) for event in data["events"]] == [("load", 5)]

    def test_see_a_marker_that_makes_no_sense(self, suite):
        """It is said once, as without them."""
        result = suite(
            "import pytest\n@pytest.mark.volnux(max_cals=1)\ndef test_it():\n    pass\n", "-n2"
        )
        assert result.ret != 0
        output = result.stdout.str() + result.stderr.str()
        assert "it knows no 'max_cals'; did you mean max_calls?" in output
        assert "INTERNALERROR" not in output
