"""Budgets of tests: by markers, nearest first, and by the ini file."""

from __future__ import annotations

import re
import sys

import pytest

from tests.plugin._output import between


def told(result, test="test_it"):
    """The text of a test's failure, with times that say nothing."""
    text = between(result, f"_ {test} _", "short test summary").split("\n", 1)[1]
    text = text.partition("\n---")[0].partition("\n____")[0]
    return re.sub(r"[\d.]+(ns|µs|ms)\b", "TIME", text).rstrip()


def test_every_limit_says_what_was(suite):
    """The whole text: what is broken, what happened with what is to blame marked, what allows it."""
    result = suite(
        """
import pytest
from program import *

@pytest.mark.volnux(
    max_failed=0, max_retries=1, max_bytes=1000, max_calls=2, hosts=["localhost", "127.*"]
)
def test_it():
    load()
    fetch(times=2)
    flaky(retries=2)
    try:
        parse(fails=True)
    except ValueError:
        pass
"""
    )
    result.assert_outcomes(failed=1)
    assert told(result).split("\n") == [
        "over budget: max_failed, max_retries, max_bytes, max_calls, hosts",
        "  max_failed=0                  1 failed: parse (ValueError)",
        "  max_retries=1                 2 retries of flaky after TimeoutError",
        "  max_bytes=1000                200 B sent, 1.95 KiB received, in 2 operations",
        "  max_calls=2                   4 events: load, fetch, flaky, parse",
        "  hosts=['localhost', '127.*']  2 operations with api.example.org:443",
        "",
        "> load  TIME",
        "> fetch  TIME",
        ">   GET api.example.org:443  TIME  100 B sent, 1000 B received",
        ">   GET api.example.org:443  TIME  100 B sent, 1000 B received",
        "> flaky  TIME  3 attempts",
        "> parse  TIME  failed  ValueError: no such thing",
        "",
        (
            "to allow it: @pytest.mark.volnux(allow_failed=['parse'], max_retries=2, max_bytes=2200, "
            "max_calls=4, hosts=['127.*', 'api.example.org', 'localhost'])"
        ),
    ]
    result.stdout.fnmatch_lines(
        ["FAILED test_it.py::test_it - Failed: over budget: max_failed, max_retries, max_b*"]
    )


def test_single_events_have_their_own(suite):
    """By a glob, and on a clock that stands still the text is exact."""
    result = suite(
        """
import pytest
from program import *

@pytest.mark.volnux(events={"slow": {"max_seconds": 1, "max_calls": 1}, "load": {"max_calls": 5}})
def test_it(volnux_clock):
    load()
    slow(volnux_clock, 0.5)
    slow(volnux_clock, 2.5)
"""
    )
    assert between(result, "over budget", "short test summary").split("\n") == [
        "over budget: slow: max_seconds, slow: max_calls",
        "  slow: max_seconds=1  slow took 2.50s",
        "  slow: max_calls=1    2 events: slow",
        "",
        "  load  0s",
        "> slow  500ms",
        "> slow  2.50s",
        "",
        "to allow it: @pytest.mark.volnux(events={'slow': {'max_seconds': 2.6, 'max_calls': 2}})",
    ]


ALLOWED = {
    "by the marker": ('allow_failed=["parse"]', ""),
    "by a glob": ('allow_failed="pa*"', ""),
    "in the test": ("", "volnux.allow_failed('parse')"),
}


@pytest.mark.parametrize("case", ALLOWED)
def test_what_may_fail(suite, case):
    """It is no failure to the budget."""
    mark, call = ALLOWED[case]
    suite(
        f"""
import pytest
from program import *

@pytest.mark.volnux(max_failed=0, {mark})
def test_it(volnux):
    {call or "pass"}
    try:
        parse(fails=True)
    except ValueError:
        pass
"""
    ).assert_outcomes(passed=1)


def test_what_may_fail_already_stands_in_the_marker_that_is_proposed(suite):
    """It would not hold any more otherwise, as the nearest marker wins."""
    result = suite(
        """
import pytest
from program import *

@pytest.mark.volnux(max_failed=0, allow_failed=["load"])
def test_it():
    try:
        parse(fails=True)
    except ValueError:
        pass
"""
    )
    assert "to allow it: @pytest.mark.volnux(allow_failed=['load', 'parse'])" in result.outlines


def test_the_nearest_marker_wins_key_by_key(suite):
    """A test over its class, a class over its module, all of them over the ini file."""
    result = suite(
        """
import pytest
from program import *
pytestmark = pytest.mark.volnux(max_calls=1, max_bytes=0)

def test_of_module():
    load(); load()

@pytest.mark.volnux(max_calls=2)
class TestClass:
    def test_of_class(self):
        load(); load()

    @pytest.mark.volnux(max_calls=3)
    def test_own(self):
        load(); load(); load()

    def test_of_both(self):
        fetch()

    def test_of_the_ini_file(self):
        flaky()
""",
        ini="volnux_max_retries = 0\nvolnux_max_calls = 0",
    )
    result.assert_outcomes(passed=2, failed=3)
    result.stdout.fnmatch_lines(
        [
            "FAILED test_it.py::test_of_module - Failed: over budget: max_calls",
            "FAILED test_it.py::TestClass::test_of_both - Failed: over budget: max_bytes",
            "FAILED test_it.py::TestClass::test_of_the_ini_file - Failed: over budget: max_retries",
        ]
    )


def test_the_ini_file_alone(suite):
    """A default for all tests, without any marker."""
    result = suite(
        "from program import *\n"
        "def test_calls():\n    load(); load()\n"
        "def test_hosts():\n    fetch(host='localhost')\n"
        "def test_other_hosts():\n    fetch()\n"
        "def test_well():\n    load()\n",
        ini="volnux_hosts =\n    localhost\n    127.*\n"
        "volnux_events =\n    lo* max_calls=1 max_seconds=5\n    fetch max_calls=9\n"
        "volnux_allow_failed = parse\n",
    )
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines(
        [
            "FAILED test_it.py::test_calls - Failed: over budget: lo*: max_calls",
            "FAILED test_it.py::test_other_hosts - Failed: over budget: hosts",
        ]
    )


def test_a_broken_budget_fails_the_call(suite, pytester):
    """It is the test that fails, and everything in pytest sees it so."""
    text = """
import pytest
from program import *

@pytest.mark.xfail(strict=True)
@pytest.mark.volnux(max_calls=0)
def test_expected():
    load()

@pytest.mark.volnux(max_calls=0)
def test_broken():
    load()

def test_after():
    pass
"""
    result = suite(text, "-x", "--junitxml=junit.xml")
    result.assert_outcomes(xfailed=1, failed=1)
    assert '<failure message="Failed: over budget: max_calls' in (
        pytester.path / "junit.xml"
    ).read_text("utf-8")
    result = pytester.runpytest_inprocess("-p", "pytest_volnux", "--lf")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*rerun previous 1 failure*"])


def test_a_debugger_is_entered_where_a_budget_is_broken(suite, pytester):
    """`--pdb` says first what is wrong, and has the test at hand."""
    result = suite(
        "from program import *\nimport pytest\n@pytest.mark.volnux(max_calls=0)\ndef test_it():\n    load()\n"
    )
    result.assert_outcomes(failed=1)
    program = "import sys, pytest; sys.exit(pytest.main(sys.argv[1:]))"
    arguments = ("-p", "pytest_volnux", "-p", "no:cacheprovider", "--pdb", "test_it.py")
    result = pytester.run(sys.executable, "-c", program, *arguments, stdin=b"p item.name\nq\n")
    result.stdout.fnmatch_lines(
        ["over budget: max_calls", "  max_calls=0  1 event: load", "*entering PDB*", "*'test_it'*"]
    )


def test_a_test_that_fails_by_itself_says_so_alone(suite):
    """Its budget is not looked at; what happened is shown beside it."""
    result = suite(
        "import pytest\nfrom program import *\n"
        "@pytest.mark.volnux(max_calls=0)\n"
        "def test_it():\n    load()\n    assert 1 == 2\n"
    )
    result.assert_outcomes(failed=1)
    assert "over budget" not in result.stdout.str()
    result.stdout.fnmatch_lines(["*Captured volnux call*", "  load  *s"])


def test_an_assert_of_the_fixture_says_it_once(suite):
    """Its text shows what happened already."""
    result = suite(
        "from program import *\n"
        "def test_it(volnux):\n    load()\n    volnux.assert_not_recorded('load')\n"
    )
    result.assert_outcomes(failed=1)
    assert "Captured volnux" not in result.stdout.str()


def test_failures_of_several_limits_are_allowed_together(suite):
    """The way out is one marker."""
    result = suite(
        """
import pytest
from program import *

@pytest.mark.volnux(max_failed=0, events={"parse": {"max_failed": 0}, "outer": {"max_failed": 0}})
def test_it():
    for name in ("outer", "other"):
        try:
            with traced_event(name):
                parse(fails=True)
        except ValueError:
            pass
"""
    )
    result.stdout.fnmatch_lines(["to allow it: @pytest.mark.volnux(allow_failed=*'parse'*)"])


class TestOfTheProgram:
    """`traced_event(budget=Budget(...))`: no test says anything, and each is held to it."""

    PROGRAM = """
import pytest
from volnux.telemetry import Budget, traced_event

@traced_event(budget=Budget(max_calls=1))
def ask():
    pass

@traced_event("named", budget=Budget(max_calls=1))
async def other():
    pass

@traced_event(budget=Budget(max_calls=1))
class Repository:
    @staticmethod
    def find():
        pass
    def save(self):
        pass
"""

    def test_a_test_in_which_it_does_more_fails(self, suite):
        """Each by the name of its event."""
        result = suite(
            self.PROGRAM
            + """
import asyncio

def test_well():
    ask()
    Repository.find()
    Repository().save()

def test_function():
    ask()
    ask()

def test_coroutine():
    asyncio.run(other())
    asyncio.run(other())

def test_method():
    for _ in range(3):
        Repository.find()

def test_block():
    for _ in range(2):
        with traced_event("block", budget=Budget(max_calls=1)):
            pass
"""
        )
        result.assert_outcomes(passed=1, failed=4)
        result.stdout.fnmatch_lines(
            [
                "FAILED test_it.py::test_function - Failed: over budget: ask: max_calls",
                "FAILED test_it.py::test_coroutine - Failed: over budget: named: max_calls",
                "FAILED test_it.py::test_method - Failed: over budget: Repository.find: max_calls",
                "FAILED test_it.py::test_block - Failed: over budget: block: max_calls",
            ]
        )

    def test_a_marker_is_nearer(self, suite):
        """It can allow more, key by key."""
        result = suite(
            self.PROGRAM
            + """
@pytest.mark.volnux(events={"ask": {"max_calls": 2}})
def test_more():
    ask()
    ask()

@pytest.mark.volnux(events={"ask": {"max_seconds": 60}})
def test_as_before():
    ask()
    ask()
"""
        )
        result.assert_outcomes(passed=1, failed=1)


WRONG = {
    "a typo": ("max_cals=1", "it knows no 'max_cals'; did you mean max_calls?"),
    "a stranger": (
        "colour=1",
        (
            "it knows no 'colour'; it knows max_failed, max_seconds, max_retries, max_bytes, max_calls, "
            "hosts, events, allow_failed, lint"
        ),
    ),
    "a text": ("max_calls='3'", "max_calls is a whole number, not '3'"),
    "a fraction": ("max_bytes=1.5", "max_bytes is a whole number, not 1.5"),
    "a truth": ("max_failed=True", "max_failed is a whole number, not True"),
    "less than none": ("max_calls=-1", "max_calls is 0 or more, not -1"),
    "less than no time": ("max_seconds=-1.0", "max_seconds is 0 or more, not -1.0"),
    "no number": (
        "max_seconds=float('nan')",
        "max_seconds is a number of seconds, not nan",
    ),
    "no name": ("hosts=[1]", "hosts is a list of names, such as ['api.*'], not [1]"),
    "no dict": (
        "events=['load']",
        'events is a dict such as {"fetch*": {"max_calls": 2}}, not [\'load\']',
    ),
    "no limits": (
        "events={'load': 3}",
        'events is a dict such as {"fetch*": {"max_calls": 2}}; \'load\' has 3',
    ),
    "a typo inside": (
        "events={'load': {'max_call': 3}}",
        "it knows no 'max_call' in events['load']; did you mean max_calls?",
    ),
    "a text inside": (
        "events={'load': {'max_calls': '3'}}",
        "events['load'] max_calls is a whole number, not '3'",
    ),
    "no truth": ("lint='no'", "lint is True or False, not 'no'"),
    "no key": ("3", "it takes its limits by name, such as max_failed=0, and not 3"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_marker_that_makes_no_sense_is_an_error_at_collection(suite, case):
    """The file does not collect; one line names the test, and what would be right."""
    argument, text = WRONG[case]
    result = suite(f"import pytest\n@pytest.mark.volnux({argument})\ndef test_it():\n    pass\n")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.assert_outcomes(errors=1)
    assert f"test_it.py::test_it: @pytest.mark.volnux: {text}" in result.stdout.lines


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("pytestmark = pytest.mark.volnux(max_cals=1)\n", "test_it.py"),
        (
            "@pytest.mark.volnux(max_cals=1)\nclass TestIt:\n    def test_it(self): pass\n",
            "test_it.py::TestIt",
        ),
    ],
)
def test_so_is_one_of_a_class_or_module(suite, text, where):
    """It names what it stands at."""
    result = suite(f"import pytest\n{text}def test_it():\n    pass\n")
    result.assert_outcomes(errors=1)
    assert (
        f"{where}: @pytest.mark.volnux: it knows no 'max_cals'; did you mean max_calls?"
        in result.stdout.lines
    )


WRONG_INI = {
    "volnux_max_calls = many": "volnux_max_calls is a whole number, not 'many'",
    "volnux_max_seconds = -1": "volnux_max_seconds is 0 or more, not '-1'",
    "volnux_events = load": "volnux_events: 'load' has no limit, such as max_calls=2",
    "volnux_events = load max_cals=1": (
        "it knows no 'max_cals' in volnux_events, 'load max_cals=1'; did you mean max_calls?"
    ),
    "volnux_report = term\nvolnux_slow = soon": "volnux_slow is a number, not 'soon'",
}


@pytest.mark.parametrize("line", WRONG_INI)
def test_an_ini_file_that_makes_no_sense_is_an_error(suite, line):
    """One line that names the key."""
    result = suite("def test_it():\n    pass\n", ini=line)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert f"ERROR: {WRONG_INI[line]}" in result.stderr.lines
