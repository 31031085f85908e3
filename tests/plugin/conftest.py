"""Suites inside of the suite: each is a pytest of its own."""

from __future__ import annotations

import contextvars
import warnings

import pytest

# Loaded once and for all: inner runs forget what they have loaded, and the compiled part would stay
# with the volnux of the first of them.
import pytest_volnux._session  # noqa: F401

#: The plugins that an inner run loads, where something of it says so: all of them take their time.
PLUGINS = {
    "-n": "xdist",
    "--reruns": "pytest_rerunfailures",
    "--parallel-threads": "pytest_run_parallel.plugin",
    "--random-order": "random_order.plugin",
    "pytest_asyncio": "pytest_asyncio.plugin",
    "anyio": "anyio.pytest_plugin",
}
#: What makes the inner run another than that of a user's.
INHERITED = (
    "PYTEST_ADDOPTS",
    "PYTEST_XDIST_WORKER",
    "PYTEST_XDIST_WORKER_COUNT",
    "PYTEST_XDIST_TESTRUNUID",
    "PYTEST_XDIST_AUTO_NUM_WORKERS",
    "GITHUB_ACTIONS",
    "GITHUB_STEP_SUMMARY",
    "GITHUB_WORKSPACE",
    "CI",
    "BUILD_NUMBER",
)

#: A program that tests may record; time passes only by the clock that it is given.
PROGRAM = """
from volnux.telemetry import network_op, record_retry, traced_event

@traced_event
def load(number=1):
    return number

@traced_event
def parse(fails=False):
    if fails:
        raise ValueError("no such thing")

@traced_event
def fetch(host="api.example.org", times=1):
    for _ in range(times):
        with network_op(host, 443, "GET") as op:
            op.sent(100)
            op.received(1000)

@traced_event
def flaky(retries=1, fails=False):
    for _ in range(retries):
        record_retry(TimeoutError("too slow"), delay=0.0)
    if fails:
        raise TimeoutError("for good")

@traced_event
def slow(clock, seconds):
    clock.advance(seconds)
"""


@pytest.fixture
def suite(pytester, monkeypatch):
    """Make a suite of one file that can import the program, and run it; the result comes back."""
    for name in INHERITED:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    # What the steps of one suite may come to is not said of the next.
    monkeypatch.setattr("volnux.telemetry._events.BUDGETS", budgets := {})
    monkeypatch.setattr("volnux.telemetry._budget.BUDGETS", budgets)
    monkeypatch.setattr("pytest_volnux._session.BUDGETS", budgets)
    pytester.makepyfile(program=PROGRAM)

    def run(text, *arguments, ini="", apart=False, autoload=False, **files):
        pytester.makepyfile(test_it=text, **files)
        loaded = [
            plugin
            for word, plugin in PLUGINS.items()
            if word in text or any(argument.startswith(word) for argument in arguments)
        ]
        if autoload or "pytest_asyncio.plugin" in loaded:
            ini += "asyncio_default_fixture_loop_scope = function\n"
        pytester.makeini("[pytest]\npythonpath = .\n" + ini)
        if not autoload:
            monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
            plugins = ["pytest_volnux", *loaded]
            arguments = (*(word for name in plugins for word in ("-p", name)), *arguments)
        if apart:  # in a process of its own
            return pytester.runpytest_subprocess(*arguments)
        # In a context of its own: what it leaves open is not current in the next one. And a warning
        # is no error there, as it is here.
        context = contextvars.copy_context()
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            return context.run(pytester.runpytest_inprocess, *arguments)

    return run
