"""`--volnux-lint`: tests that pass, although what happened inside them is not as it should be."""

from __future__ import annotations

import re

import pytest

from tests.plugin._output import between

SUITE = """
import pytest
from program import *

def test_well():
    load()
    flaky()

def test_error():
    try:
        parse(fails=True)
    except ValueError:
        pass

@pytest.mark.volnux(allow_failed=["parse"])
def test_error_that_may_be():
    test_error()

@pytest.mark.volnux(lint=False)
def test_left_alone():
    test_error()

def test_error_that_is_expected(volnux):
    volnux.allow_failed("parse")
    test_error()

def test_never_ended():
    traced_event("left open").__enter__()

def test_failing():
    with pytest.raises(ValueError):
        parse(fails=True)
    assert 0
"""


def warned(result):
    """The warnings of a run: the test, and what was said of it."""
    lines = [line.strip() for line in result.outlines]
    return [line.partition("LintWarning: ")[2] for line in lines if "LintWarning" in line]


def test_it_warns(suite):
    """Of what is wrong, each test by its line; tests that fail say enough by themselves."""
    result = suite(SUITE, "--volnux-lint")
    result.assert_outcomes(passed=6, failed=1, warnings=2)
    assert warned(result) == [
        "1 failed, and the test passed: parse (ValueError)",
        "1 never ended: left open",
    ]


def test_it_fails_tests_if_asked(suite):
    """With the tree, and what would allow it."""
    result = suite(SUITE, "--volnux-lint=fail")
    result.assert_outcomes(passed=4, failed=3)
    text = between(result, "_ test_never_ended _", "____").split("\n")[1:]
    assert text[0] == "1 never ended: left open"
    assert text[2].startswith("> left open  ")
    assert text[2].endswith("  running")
    assert text[4] == "to allow it: @pytest.mark.volnux(lint=False)"


def test_a_filter_of_warnings_decides_as_well(suite):
    """As for any warning: an error fails the test, and ignored ones are not shown."""
    result = suite(SUITE, "--volnux-lint", "-W", "error::pytest_volnux.LintWarning")
    result.assert_outcomes(passed=4, failed=3)
    result = suite(SUITE, "--volnux-lint", "-W", "ignore::pytest_volnux.LintWarning")
    result.assert_outcomes(passed=6, failed=1)


def test_retries_in_vain(suite):
    """What gave up, and nobody heard of it."""
    result = suite(
        """
from tenacity import RetryError, retry, stop_after_attempt
from volnux.telemetry import traced_event
from volnux.telemetry.retries import traced_retrying

@traced_event
def step():
    try:
        ask()
    except RetryError:
        pass

@traced_retrying
@retry(stop=stop_after_attempt(2))
def ask():
    raise OSError("down")

def test_it():
    step()
""",
        "--volnux-lint",
    )
    result.assert_outcomes(passed=1, warnings=1)
    assert warned(result) == [
        "1 event retried in vain, and went on as if nothing was: step",
    ]


STRAYS = """
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor
import pytest
from program import *

@traced_event
def prices():
    while True:
        yield 1

def by(name, function, *args):
    thread = threading.Thread(target=function, args=args, name=name)
    thread.start()
    thread.join()

def enter(block):
    contextvars.copy_context().run(block.__enter__)
    return block

def test_handed_over():
    by("worker-3", enter(traced_event("load")).__exit__, None, None, None)

def test_several():
    test_handed_over()
    stream = prices()
    next(stream)
    by("worker-4", stream.close)

@pytest.mark.volnux(lint=False)
def test_left_alone():
    test_handed_over()

def test_forgotten(volnux):
    test_handed_over()
    volnux.clear()

def test_by_design():
    op = network_op("api.example.org", 443)
    op.__enter__()
    by("callback", op.__exit__, None, None, None)
    with ThreadPoolExecutor(1) as pool:
        stream = prices()
        pool.submit(next, stream).result()
        stream.close()

def test_failing():
    test_handed_over()
    assert 0
"""
STRAYED = [
    "1 ended on another thread than it began on: load (worker-3)",
    (
        "2 ended on another thread than they began on: load (worker-3), "
        "prices (closed or collected on worker-4)"
    ),
]


def test_what_ends_on_another_thread(suite):
    """By its name and that of the thread; not what is meant to, nor another test's."""
    result = suite(STRAYS, "--volnux-lint")
    result.assert_outcomes(passed=5, failed=1, warnings=2)
    assert warned(result) == STRAYED


def test_what_ends_on_another_thread_by_workers(suite):
    """As without."""
    result = suite(STRAYS, "--volnux-lint", "-n2")
    result.assert_outcomes(passed=5, failed=1, warnings=2)
    assert sorted(warned(result)) == STRAYED


def test_what_ends_on_another_thread_fails_tests_if_asked(suite):
    """With the tree, and what would allow it."""
    result = suite(STRAYS, "--volnux-lint=fail")
    result.assert_outcomes(passed=3, failed=3)
    text = re.sub(r"  [0-9.]+[nµm]?s", "  TIME", between(result, "_ test_several _", "____"))
    assert text.split("\n")[1:] == [
        STRAYED[1],
        "",
        "> load  TIME",
        "> prices  TIME",
        "",
        "to allow it: @pytest.mark.volnux(lint=False)",
    ]


def test_several_things_at_once(suite):
    """A sentence each, in one order."""
    result = suite(
        STRAYS
        + """
def test_all_of_it():
    enter(traced_event("left open"))
    test_handed_over()
    with pytest.raises(ValueError):
        parse(fails=True)
""",
        "--volnux-lint=fail",
        "-k=all_of_it",
    )
    text = re.sub(r"  [0-9.]+[nµm]?s", "  TIME", between(result, "_ test_all_of_it _", "===="))
    assert text.split("\n")[1:] == [
        "1 never ended: left open",
        "1 ended on another thread than it began on: load (worker-3)",
        "1 failed, and the test passed: parse (ValueError)",
        "",
        "> left open  TIME  running",
        "> load  TIME",
        "> parse  TIME  failed  ValueError: no such thing",
        "",
        "to allow it: @pytest.mark.volnux(lint=False)",
    ]


def test_the_ini_file(suite):
    """The option is nearer."""
    result = suite(SUITE, ini="volnux_lint = fail\n")
    result.assert_outcomes(passed=4, failed=3)
    result = suite(SUITE, "--volnux-lint", "test_it.py", ini="volnux_lint = fail\n")
    result.assert_outcomes(passed=6, failed=1, warnings=2)


def test_by_workers(suite):
    """Their warnings come home."""
    result = suite(SUITE, "--volnux-lint", "-n1")
    result.assert_outcomes(passed=6, failed=1, warnings=2)


@pytest.mark.parametrize("argument", ["--volnux-lint=no", "--volnux-lint=Fail"])
def test_what_it_does_not_know_is_an_error(suite, argument):
    """One line, before any test runs."""
    result = suite(SUITE, argument)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    value = argument.partition("=")[2]
    assert f"ERROR: --volnux-lint is warn or fail, not {value!r}" in result.stderr.lines
