"""What the plugin costs a suite that does not use it: nothing."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import pytest_volnux
from tests.plugin.conftest import INHERITED

LOADED = """
import sys

def test_it():
    names = sorted(name for name in sys.modules if name.startswith(("volnux", "pytest_volnux")))
    assert names == ["pytest_volnux"], names
"""


#: What is installed here and takes its time to load.
OTHERS = (
    "asyncio",
    "run-parallel",
    "anyio",
    "hypothesispytest",
    "rerunfailures",
    "random_order",
    "cacheprovider",
)


OFF = [word for name in OTHERS for word in ("-p", f"no:{name}")]


@pytest.fixture
def inherits_nothing(monkeypatch):
    """What this suite is run with is nothing to a program that it starts."""
    for name in (*INHERITED, "COVERAGE_PROCESS_START", "COVERAGE_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def bare(pytester, inherits_nothing):
    """Run pytest as a program of its own on one file, and return what it printed."""

    def run(text, *arguments):
        pytester.makepyfile(test_it=text)
        command = [sys.executable, "-W", "error::pytest.PytestAssertRewriteWarning", "-c"]
        command += ["import sys, pytest; sys.exit(pytest.main(sys.argv[1:]))", *OFF]
        done = subprocess.run(
            [*command, *arguments, "test_it.py"],
            capture_output=True,
            text=True,
            cwd=pytester.path,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_it_imports_nothing_of_volnux(bare):
    """Neither the library nor the rest of itself."""
    bare(LOADED)


def test_it_writes_nothing(bare, pytester):
    """No file beside those that pytest writes."""
    bare("def test_it():\n    pass\n")
    names = {path.name for path in pytester.path.iterdir()}
    assert names <= {"test_it.py", "__pycache__"}


def test_it_says_nothing(bare):
    """But for its name among the plugins, and what `--help` and `--markers` are for."""
    lines = bare("def test_it():\n    pass\n").splitlines()
    assert [line for line in lines if "volnux" in line and not line.startswith("plugins:")] == []


def test_volnux_may_be_imported_before_pytest(pytester):
    """The package cannot be rewritten any more then, and a warning of that may be an error."""
    pytester.makepyfile(test_it="import volnux.telemetry\ndef test_it():\n    pass\n")
    program = "import sys, volnux.telemetry, pytest; sys.exit(pytest.main(['-W', 'error', '-p', 'no:asyncio', 'test_it.py']))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=pytester.path,
        check=False,
        timeout=120,
    )
    assert "PytestAssertRewriteWarning" not in done.stdout + done.stderr


def test_it_can_be_switched_off(suite):
    """By the name of its entry point."""
    result = suite("def test_it(volnux):\n    pass\n", "-p", "no:volnux", autoload=True)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*fixture 'volnux' not found*"])


def test_help_and_markers_say_what_there_is(suite):
    """Everything that can be asked for, in the terminal."""
    text = suite("", "--help").stdout.str()
    for option in ("--volnux-report", "--volnux-slow", "--volnux-top", "--volnux-max-failed"):
        assert option in text
    for key in ("volnux_report", "volnux_hosts", "volnux_max_calls"):
        assert key in text
    text = suite("", "--markers").stdout.str()
    assert "@pytest.mark.volnux(max_failed, max_seconds," in text


def test_pytest_is_shown_all_of_its_hooks_and_fixtures():
    """It asks for the names of a plugin, of which ours are written down."""
    there = {
        name
        for name, value in vars(pytest_volnux).items()
        if name.startswith("pytest_") or type(value).__name__ == "FixtureFunctionDefinition"
    }
    assert set(dir(pytest_volnux)) == there


def test_an_unknown_name_is_an_attribute_error():
    """Of the plugin, too, whose public names are loaded when they are asked for."""
    with pytest.raises(AttributeError, match="'pytest_volnux' has no attribute 'Volnux'"):
        pytest_volnux.Volnux  # noqa: B018


LOADERS = """
import sys

def test_it():
    import volnux.telemetry
    loaders = {
        name: type(module.__spec__.loader).__name__
        for name, module in sys.modules.items()
        if name.startswith(("volnux", "pytest_volnux."))
    }
    assert ("pytest_volnux._session" in loaders) is ASKED
    assert "volnux.telemetry" in loaders
    assert "AssertionRewritingHook" not in loaders.values()
"""


@pytest.mark.parametrize("options", [(), ("--volnux-report",), ("--volnux-report", ".")])
def test_volnux_is_not_rewritten(bare, options):
    """There is no assert statement in it, and it would take longer to load."""
    bare(LOADERS.replace("ASKED", str(bool(options))), *options)


def test_nor_looked_for_where_pytest_rewrites_nothing(bare):
    """With `--assert=plain`."""
    bare("def test_it():\n    pass\n", "--assert=plain")


PROGRAM = """
from volnux.telemetry import traced_event

@traced_event
def load(number):
    if number > 1:
        return number
    return [number for number in range(number)]

def never():
    return 1
"""


def test_coverage_sees_the_same(pytester, inherits_nothing):
    """Of the program, line by line and branch by branch: nothing of it is loaded before its time."""
    pytester.makepyfile(
        program=PROGRAM, test_it="from program import load\ndef test_it():\n    load(2)\n"
    )
    coverage = (sys.executable, "-m", "coverage")

    def seen(*more):
        run = ("run", "--branch", "--source=.", "-m", "pytest", *OFF, *more, "test_it.py")
        assert pytester.run(*coverage, *run).ret == 0
        assert pytester.run(*coverage, "json", "-o", "out.json").ret == 0
        files = json.loads((pytester.path / "out.json").read_text("utf-8"))["files"]
        return {
            name: (found["executed_lines"], found["executed_branches"])
            for name, found in files.items()
        }

    without = seen("-p", "no:volnux")
    lines, branches = without["program.py"]
    assert (branches, {7, 10}.isdisjoint(lines)) == ([[5, 6]], True)
    for options in ((), ("--volnux-report",), ("--volnux-lint",)):
        assert seen(*options) == without
