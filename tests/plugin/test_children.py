"""What the processes that a test starts have recorded is the test's."""

from __future__ import annotations

import json
import os
import sys

import pytest

from tests.plugin.conftest import PROGRAM
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


BY_RUN = """
import subprocess, sys
import pytest

def run(*words):
    subprocess.run([sys.executable, "-m", "volnux", "run", "--no-report", *words], check=True)

def assert_counts(volnux, **counts):
    assert {name: len(volnux.events(name)) for name in counts} == counts
    assert len(volnux.events()) == sum(counts.values())
"""
WORKERS = """
from program import *
import multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
from volnux.telemetry import propagate

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    load()
    with context.Pool(2) as pool:
        pool.map(parse, [False] * 4)
    process = context.Process(target=fetch)
    process.start()
    process.join()
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        pool.submit(flaky).result()
        pool.submit(propagate(load)).result()
"""


@pytest.mark.parametrize(
    ("arguments", "early"),
    [
        pytest.param((), {}, id="alone"),
        pytest.param(("-n2",), {}, id="by workers"),
        # What ends a process of multiprocessing is then registered before anything of volnux.
        pytest.param((), {"sitecustomize": "import multiprocessing.util"}, id="imported before"),
    ],
)
def test_of_a_program_under_volnux_run(suite, pytester, arguments, early):
    """What its children record comes home with what it records itself, and once, by any start method."""
    result = suite(
        BY_RUN
        + """
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_it(method, volnux):
    run("work.py", method)
    assert_counts(volnux, load=2, parse=4, fetch=1, flaky=1)
""",
        "--volnux-report=json:out.json",
        *arguments,
        apart=True,
        work=WORKERS,
        **early,
    )
    result.assert_outcomes(passed=3)
    data = json.loads((pytester.path / "out.json").read_text("utf-8"))
    counts = {it["name"]: it["count"] for it in data["events"]}
    assert counts == {"load": 6, "parse": 12, "fetch": 3, "flaky": 3}
    assert (data["orphans"], data["outside"]) == ([], [])


def test_of_all_that_a_program_under_volnux_run_starts(suite):
    """Another Python and its children, another run and its own, a child without any clean-up, nor has it."""
    suite(
        BY_RUN
        + """
def test_it(volnux):
    run("outer.py")
    assert_counts(volnux, load=1, parse=3, fetch=2, flaky=1)
""",
        apart=True,
        outer="""
from program import *
import os, subprocess, sys

load()
for words in ([], ["-m", "volnux", "run", "--no-report"]):
    subprocess.run([sys.executable, *words, "inner.py"], check=True)
if not os.fork():
    flaky()
    os._exit(0)
os.wait()
parse()
os._exit(0)
""",
        inner="""
from program import *
import multiprocessing

if __name__ == "__main__":
    parse()
    process = multiprocessing.get_context("spawn").Process(target=fetch)
    process.start()
    process.join()
""",
    ).assert_outcomes(passed=1)


def test_of_a_program_that_loses_its_run(suite):
    """What nobody collects any more comes home by itself: it has left its run, or that is over."""
    suite(
        BY_RUN
        + """
def test_it(volnux):
    run("outer.py")
    assert_counts(volnux, load=1, parse=1, fetch=1)
""",
        apart=True,
        outer="""
from program import *
import multiprocessing, os, shutil, subprocess, sys

if __name__ == "__main__":
    load()
    shutil.rmtree(os.environ["VOLNUX_RUN_DIR"])
    process = multiprocessing.get_context("spawn").Process(target=fetch)
    process.start()
    process.join()
    code = [sys.executable, "-m", "volnux", "run", "--no-report", "inner.py"]
    subprocess.run(code, check=True)
""",
        inner="from program import *\nparse()\n",
    ).assert_outcomes(passed=1)


def test_a_run_around_the_tests_has_it_too(pytester, monkeypatch):
    """It is another one that asks: what a test starts belongs to both."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(
        inner="from program import *\nparse()\n",
        program=PROGRAM,
        test_it=BY_RUN
        + """
from program import load

def test_it(volnux):
    load()
    run("inner.py")
    assert_counts(volnux, load=1, parse=1)
""",
    )
    words = [
        "-m",
        "volnux",
        "run",
        "--format",
        "json",
        "-m",
        "pytest",
        "-p",
        "pytest_volnux",
    ]
    result = pytester.run(sys.executable, *words)
    result.assert_outcomes(passed=1)
    data = json.loads(result.stderr.str())
    assert {it["name"]: it["count"] for it in data["events"]} == {"load": 1, "parse": 1}


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_run_around_the_tests_and_their_report_have_the_same(pytester, monkeypatch, method):
    """Of processes that do not have the environment of the one that they are started by."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(
        program=PROGRAM,
        test_it=WORK
        + f"""
def test_it():
    context = multiprocessing.get_context("{method}")
    for _ in range(2):
        child = context.Process(target=load)
        child.start()
        child.join()
    load()
""",
    )
    words = ["-m", "volnux", "run", "--out", "run.jsonl", "-m", "pytest"]
    words += ["-p", "pytest_volnux", "--volnux-report=json:tests.json"]
    pytester.run(sys.executable, *words).assert_outcomes(passed=1)
    lines = (pytester.path / "run.jsonl").read_text("utf-8").splitlines()
    tests = json.loads((pytester.path / "tests.json").read_text("utf-8"))
    names = [json.loads(line).get("event_name") for line in lines]
    assert (names.count("load"), tests["events"][0]["count"]) == (3, 3)
