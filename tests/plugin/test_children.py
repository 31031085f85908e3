"""What the processes that a test starts have recorded is the test's."""

from __future__ import annotations

import json
import os

import pytest

from tests.plugin.test_capture import attributed  # noqa: F401

WORK = """
from program import *
import multiprocessing, os, subprocess, sys
from concurrent.futures import ProcessPoolExecutor

def run(*code):
    subprocess.run([sys.executable, "-c", "; ".join(code)], check=True)
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_of_multiprocessing(attributed, method):  # noqa: F811
    """By any start method, alone and in a pool."""
    assert attributed(
        WORK
        + f"""
CONTEXT = multiprocessing.get_context("{method}")

def test_process():
    child = CONTEXT.Process(target=load)
    child.start()
    child.join()
    assert child.exitcode == 0

def test_pool():
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        pool.submit(parse).result()
        pool.submit(parse).result()

def test_after():
    fetch()
""",
        passed=3,
        apart=True,
    ) == {"test_process": "load", "test_pool": "parse parse", "test_after": "fetch"}


def test_of_other_programs(attributed):  # noqa: F811
    """Any Python that imports volnux, and whatever it starts itself."""
    assert attributed(
        WORK
        + """
def test_one():
    run("from program import *", "load()")

def test_two():
    run("import subprocess, sys", "from program import *", "parse()",
        "subprocess.run([sys.executable, '-c', 'from program import *; fetch()'])")

def test_three():
    run("print(1)")
""",
        passed=3,
        apart=True,
    ) == {"test_one": "load", "test_two": "parse fetch", "test_three": ""}


def test_the_test_can_ask_about_them(suite):
    """As soon as they have ended, from several threads at once, too."""
    suite(
        WORK
        + """
import threading

def test_it(volnux):
    run("from program import *", "load()")
    volnux.assert_recorded("load", count=1)
    run("from program import *", "parse()")
    found = []
    threads = [threading.Thread(target=lambda: found.append(len(volnux.events()))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [2] * 8
"""
    ).assert_outcomes(passed=1)


def test_budgets_know_them(suite):
    """And the failure shows what they did."""
    result = suite(
        WORK
        + """
import pytest

@pytest.mark.volnux(max_calls=1)
def test_it():
    run("from program import *", "load()", "load()")
"""
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["  max_calls=1  2 events: load", "> load  *", "> load  *"])


def test_what_propagate_brings_home_counts_once(attributed):  # noqa: F811
    """It comes with the result, under the event that sent it."""
    assert attributed(
        WORK
        + """
from volnux.telemetry import propagate

def test_it(volnux):
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        with traced_event("outer"):
            pool.submit(propagate(load)).result()
    (load_event,) = volnux.events("load")
    (outer,) = volnux.events("outer")
    assert load_event.parent_id == outer.task_id
""",
        passed=1,
        apart=True,
    ) == {"test_it": "outer load"}


def test_one_that_outlives_its_test_is_its_orphan(suite, pytester):
    """It is not the next one's, in whose time it ends."""
    result = suite(
        WORK
        + """
children = []

def test_one(volnux):
    code = "import sys; from program import *; load(); sys.stdin.read()"
    children.append(subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE))

def test_two(volnux):
    children[0].communicate(b"")
    assert volnux.events() == []
""",
        "--volnux-report=json:out.json",
        apart=True,
    )
    result.assert_outcomes(passed=2)
    data = json.loads((pytester.path / "out.json").read_text("utf-8"))
    assert data["events"] == []
    assert [(it["name"], it["events"][0]["name"]) for it in data["orphans"]] == [
        ("test_it.py::test_one", "load")
    ]


def test_by_workers(suite, pytester):
    """Each has its own children, and is nobody's."""
    result = suite(
        WORK
        + """
import pytest

@pytest.mark.parametrize("number", range(4))
def test_it(number):
    run("from program import *", "load()")
    parse()
""",
        "--volnux-report=json:out.json",
        "-n2",
        apart=True,
    )
    result.assert_outcomes(passed=4)
    data = json.loads((pytester.path / "out.json").read_text("utf-8"))
    assert {it["name"]: it["count"] for it in data["events"]} == {"load": 4, "parse": 4}


def test_nothing_is_left_behind(suite, pytester, monkeypatch):
    """Neither in the environment nor in the folder for temporary files."""
    monkeypatch.setenv("TMPDIR", str(pytester.mkdir("tmp")))
    monkeypatch.setattr("tempfile.tempdir", None)
    result = suite(
        "import os\n"
        "def test_it(volnux):\n"
        "    assert os.path.isdir(os.path.dirname(os.environ['VOLNUX_TEST_HOME']))\n"
    )
    result.assert_outcomes(passed=1)
    assert list((pytester.path / "tmp").glob("volnux-*")) == []
    assert "VOLNUX_TEST_HOME" not in os.environ
