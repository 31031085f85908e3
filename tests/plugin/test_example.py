"""docs/pytest.md shows examples/testing as it is, and what pytest prints for it; its tables are complete.

A block of the page says in its first line what it is a copy of: `python FILE`, `python FILE::NAME`, `text TEST`
(how that test fails) or `text pytest ...` (what a run prints). VOLNUX_UPDATE_SNAPSHOTS=1 writes them anew.
"""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import pytest_volnux
from pytest_volnux import VolnuxFixture
from pytest_volnux._budgets import KEYS
from tests.plugin.conftest import INHERITED

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples/testing"
PAGE = ROOT / "docs/pytest.md"
PAGES = [PAGE, ROOT / "README.md"]
BLOCK = re.compile(r"^```(python|ini|text) (\S.*)\n((?:.*\n)*?)```$", re.MULTILINE)
LOADED = ("-p", "pytest_volnux", "-p", "no:cacheprovider")
#: Rows of a report that have real times.
REAL = re.compile(r"\(session\)|leaves_a_thread")
#: Tests that fail on purpose.
ALL = "pytest test_asserts.py test_budgets.py"


@cache
def printed_by(command: str, **variables: str) -> str:
    """What a command prints in the folder of the example, with this plugin and no other."""
    name, *arguments = shlex.split(command)
    assert name == "pytest"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *LOADED, *arguments],
        cwd=EXAMPLE,
        env={
            **{name: value for name, value in os.environ.items() if name not in INHERITED},
            "COLUMNS": "110",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTHONPATH": str(Path(pytest_volnux.__file__).parents[1]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONIOENCODING": "utf-8",
            **variables,
        },
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    return done.stdout


def body_of(output: str) -> str:
    """What a run prints between the dots and the summary."""
    lines = output.rstrip("\n").split("\n")
    start = max(n for n, line in enumerate(lines) if re.search(r"\[ *\d+%\]$", line)) + 1
    ends = [n for n, line in enumerate(lines) if "short test summary" in line]
    return "\n".join(lines[start : ends[0] if ends else -1]).strip("\n") + "\n"


@cache
def failures_of(output: str) -> dict[str, str]:
    """The failed tests of a run by name, each with its text; of a test that raised, from the error on."""
    parts = re.split(r"^_{3,} (\S+) _{3,}$", body_of(output), flags=re.MULTILINE)
    found = {}
    for name, text in zip(parts[1::2], parts[2::2], strict=True):
        lines = text.strip("\n").split("\n")
        errors = [n for n, line in enumerate(lines) if line.startswith("E  ")]
        shown = [n for n, line in enumerate(lines) if "Captured volnux" in line]
        if errors:
            rest = lines[shown[0] :] if shown else []
            lines = lines[errors[0] : errors[-1] + 1] + rest
        found[name] = "\n".join(line.rstrip() for line in lines) + "\n"
    return found


def source_of(what: str) -> str:
    """A file of the example, or something in it."""
    file, *names = what.split("::")
    text = (EXAMPLE / file).read_text("utf-8")
    if not names:
        return text
    nodes, start = ast.parse(text).body, 0
    for name in names:
        [node] = [it for it in nodes if getattr(it, "name", None) == name]
        start = min([node.lineno, *(it.lineno for it in node.decorator_list)]) - 1
        nodes = getattr(node, "body", [])
    return "".join(text.splitlines(keepends=True)[start : node.end_lineno])


def original_of(language: str, what: str) -> str:
    """What a block should hold."""
    if language != "text":
        return source_of(what)
    if what.startswith("pytest "):
        return body_of(printed_by(what))
    return failures_of(printed_by(ALL))[what]


def without_times(text: str) -> str:
    """A text without the times of what is not on the clock of a test, and the room that they take."""
    lines = [
        re.sub(r" [\d.]+[nµm]?s\b", " TIME", line) if REAL.search(line) else line
        for line in text.splitlines()
    ]
    return "\n".join(re.sub(" {2,}", "  ", line) for line in lines)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_page_shows_the_example(page):
    """Its code, and the whole text of each failure and report."""
    text = page.read_text("utf-8")

    def anew(block: re.Match[str]) -> str:
        original = original_of(block[1], block[2])
        if without_times(original) == without_times(block[3]):
            return block[0]
        return f"```{block[1]} {block[2]}\n{original}```"

    new = BLOCK.sub(anew, text)
    if os.environ.get("VOLNUX_UPDATE_SNAPSHOTS"):
        page.write_text(new, "utf-8")
    assert BLOCK.search(text)
    assert new == page.read_text("utf-8")


def test_every_test_that_fails_on_purpose_is_shown():
    """And nothing else fails."""
    shown = {block[2] for block in BLOCK.finditer(PAGE.read_text("utf-8")) if block[1] == "text"}
    failed = failures_of(printed_by(ALL))
    assert set(failed) == {it for it in shown if not it.startswith("pytest ")}
    assert " passed" not in printed_by(ALL)


def asserts() -> set[str]:
    return {name for name in vars(VolnuxFixture) if name.startswith("assert_")}


def test_every_assert_and_limit_fails_once():
    """The example leaves none out."""
    called = set(re.findall(r"volnux\.(assert_\w+)\(", source_of("test_asserts.py")))
    assert called == asserts()
    broken = {
        key
        for text in failures_of(printed_by(ALL)).values()
        for line in text.splitlines()
        if line.startswith("over budget: ")
        for key in re.findall(r"\w+(?=,|$)", line)
    }
    assert broken == set(KEYS) - {"events", "allow_failed", "lint"}


def test_every_key_of_the_json_report_is_in_the_table(tmp_path):
    """And those of its lists."""
    printed_by(f"pytest --volnux-report=json:{tmp_path}/out.json test_shop.py")
    data = json.loads((tmp_path / "out.json").read_text("utf-8"))
    text = PAGE.read_text("utf-8").partition("### The JSON report\n")[2]
    rows = re.findall(r"^\| (`.+?`) \| (.+) \|$", text, re.MULTILINE)
    cells = {key: rest for keys, rest in rows for key in re.findall(r"`(\w+)`", keys)}
    assert set(cells) == set(data)
    for key in ("hosts", "slowest", "failures", "fixtures", "orphans"):
        assert [it for it in data[key][0] if f"`{it}`" not in cells[key]] == []


def rows_of(heading: str) -> list[str]:
    """The first cells of the table below a heading of the page."""
    text = PAGE.read_text("utf-8").partition(f"### {heading}\n")[2].partition("\n#")[0]
    return re.findall(r"^\| `([^`]+)`", text, re.MULTILINE)


def test_every_method_is_in_the_table():
    """As it is written."""
    methods = {
        name: inspect.signature(method)
        for name, method in vars(VolnuxFixture).items()
        if inspect.isfunction(method) and not name.startswith("_")
    }
    expected = {
        f"{name}({', '.join(_said(it) for it in list(signature.parameters.values())[1:])})"
        for name, signature in methods.items()
    }
    found = rows_of("The fixture `volnux`")
    assert set(found) - {"allowed"} == expected
    assert len(found) == len(set(found))


def _said(parameter: inspect.Parameter) -> str:
    if parameter.kind is parameter.VAR_POSITIONAL:
        return f"*{parameter.name}"
    if parameter.default is parameter.empty:
        return parameter.name
    return f"{parameter.name}={parameter.default!r}".replace("'", '"')


class Parser:
    """Writes down what the plugin adds."""

    def __init__(self) -> None:
        self.options, self.inis = [], []

    def getgroup(self, *about):
        return self

    def addoption(self, name, **about):
        self.options.append(name)

    def addini(self, name, *about, **more):
        self.inis.append(name)


def test_every_option_and_key_is_in_the_tables():
    """Options with their keys, and the keys of budgets with the marker's."""
    parser = Parser()
    pytest_volnux.pytest_addoption(parser)
    text = PAGE.read_text("utf-8")
    options = rows_of("Options")
    assert [option.split("=")[0].split("[")[0] for option in options] == parser.options
    keys = set(re.findall(r"`(volnux_\w+)", text.partition("### Budgets\n")[2]))
    assert set(parser.inis) <= keys
    assert rows_of("Budgets") == list(KEYS)


def test_every_fixture_is_in_the_table():
    """Those of the plugin."""
    names = [
        name
        for name in ("volnux", "volnux_session", "volnux_clock")
        if hasattr(pytest_volnux, name)
    ]
    assert rows_of("Fixtures") == names
