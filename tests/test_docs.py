"""Every example in the documentation runs, and prints what the page says it prints."""

from __future__ import annotations

import doctest
import inspect
import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

import volnux.telemetry

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
REQUIREMENT = ROOT / "docs/telemetry.rst"
SKIP = re.compile(r"<!-- not run: (.+) -->")
MARK = "\x1e"

# The examples that no test can run, and why: a page marks each with `<!-- not run: why -->`.
NOT_RUN = {
    "cli.md": ["run by a test of its own, as the command below says"],
    "prometheus.md": [
        "is a configuration of gunicorn; tests/publishers starts one like it",
        "is a part of a celery app; tests/publishers starts one like it",
    ],
    "elasticsearch.md": ["needs a server; tests/publishers runs it against a real one"],
    "grafana.md": ["needs a stack of Grafana Cloud; tests/publishers runs it against a stand-in"],
    "otlp.md": ["needs a server; tests/publishers runs it against a real one"],
}

# Blocks of the requirement that need a server: tests/publishers runs them.
WAITING = [
    "ElasticsearchPublisher",
    "PrometheusPublisher",
    "GrafanaCloudPublisher",
    "CompositePublisher",
]


class Block(NamedTuple):
    """A fenced block of a page: its language, its first line's number, its text."""

    language: str
    line: int
    text: str
    not_run: str | None


def blocks_of(page: Path) -> list[Block]:
    """The fenced blocks of a Markdown page, in order."""
    found, lines = [], page.read_text("utf-8").splitlines()
    starts = [n for n, line in enumerate(lines) if line.startswith("```")]
    for start, end in zip(starts[::2], starts[1::2], strict=True):
        mark = SKIP.fullmatch(lines[start - 1]) if start else None
        text = "".join(f"{line}\n" for line in lines[start + 1 : end])
        found.append(Block(lines[start][3:], start + 2, text, mark and mark[1]))
    return found


def script_of(blocks: list[Block]) -> str:
    """One program of all blocks, its lines numbered as the page's, with a mark between outputs."""
    program = ""
    for block in blocks:
        program += "\n" * (block.line - program.count("\n") - 2)
        program += f"print({MARK!r}, end='', flush=True)\n{block.text}"
    return program


def run(program: str, folder: Path, name: str = "page") -> list[str]:
    """What each block of a program prints, run apart with warnings as errors."""
    # Not by the page's name, which may be that of a library it imports.
    script = folder / f"{name}_page.py"
    script.write_text(program, "utf-8")
    command = [sys.executable, "-W", "error", str(script)]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, encoding="utf-8"
    )
    assert done.returncode == 0, f"{name}, by its line numbers:\n{done.stderr}"
    return done.stdout.split(MARK)[1:]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_examples_of_a_page_run(page, tmp_path):
    """A page's Python blocks run in order, and print the `text` block that follows them."""
    blocks = blocks_of(page)
    python = [block for block in blocks if block.language == "python" and not block.not_run]
    printed = dict(zip(python, run(script_of(python), tmp_path, page.stem), strict=True))
    checker = doctest.OutputChecker()
    for block, following in pairwise(blocks):
        if block in printed and following.language == "text":
            where = f"{page.name}, line {block.line}, printed:\n{printed[block]}"
            same = checker.check_output(following.text, printed[block], doctest.ELLIPSIS)
            assert same, where


def test_no_example_is_left_out_unsaid():
    """What is not run is listed here with the page's own reason."""
    left_out = {
        page.name: [block.not_run for block in blocks_of(page) if block.not_run] for page in PAGES
    }
    assert {name: reasons for name, reasons in left_out.items() if reasons} == NOT_RUN


def without_times(text: str) -> list[str]:
    """A report's lines without what differs between two runs: times, and the room they take."""
    text = re.sub(r"<?[\d.,]+(ms|µs|ns|s|%)(?!\w)", "#", text)
    text = re.sub(r"\d{4}-\d\d-\d\d|\d\d:\d\d:\d\d", "#", text)
    return [" ".join(line.split()) for line in text.splitlines()]


@pytest.mark.extras
def test_the_command_of_the_page_reports_as_shown(tmp_path):
    """The report of docs/cli.md is what `volnux run` says of the program above it."""
    [program] = [block for block in blocks_of(ROOT / "docs/cli.md") if block.not_run]
    session = next(b for b in blocks_of(ROOT / "docs/cli.md") if "orders.py" in b.text)
    command, _, shown = session.text.partition("\n")
    shown, _, status = shown.partition("$ echo $?\n")
    (tmp_path / "orders.py").write_text(program.text, "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", *command.removeprefix("$ ").split()],
        cwd=tmp_path,
        env={**os.environ, "COLUMNS": "80", "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert without_times(done.stderr) == without_times(shown)
    assert done.returncode == int(status)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_links_of_a_page_lead_somewhere(page):
    """Each link to a file of ours finds it."""
    links = re.findall(r"\]\((?!https://)([^)#:]+)[^)]*\)", page.read_text("utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_setting_of_the_environment_is_in_the_table():
    """The table of docs/settings.md is the list of what the code reads, and the code's is its."""
    source = Path(volnux.telemetry.__file__).parent.parent
    read = {
        name
        for path in source.rglob("*.py")
        for name in re.findall(r"VOLNUX_[A-Z_]+", path.read_text("utf-8"))
    }
    table = (ROOT / "docs/settings.md").read_text("utf-8")
    assert set(re.findall(r"^\| `(VOLNUX_[A-Z_]+)` \|", table, re.MULTILINE)) == read


def test_every_argument_of_monitor_events_is_in_the_table():
    """The settings of docs/publishing.md are those of the function, in its order."""
    table = (ROOT / "docs/publishing.md").read_text("utf-8").partition("## Settings")[2]
    parameters = inspect.signature(volnux.telemetry.monitor_events).parameters
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(parameters)


def required() -> list[str]:
    """The Python blocks of the requirement, as written."""
    text = REQUIREMENT.read_text("utf-8")
    found = re.findall(r"\.\. code-block:: python\n\n((?:    .*\n|\n)+)", text + "\n")
    return [re.sub(r"^    ", "", block, flags=re.MULTILINE) for block in found]


def waits_for(block: str) -> str | None:
    return next((name for name in WAITING if f"{name}(" in block), None)


def test_the_requirement_has_the_blocks_we_know():
    """Seven blocks, of which four need a server."""
    assert [waits_for(block) for block in required()] == [None, None, *WAITING, None]


def test_the_requirement_runs_as_written(tmp_path):
    """Each block that needs no server runs as it stands, in order, after its imports."""
    program = "from volnux.telemetry import *\n"
    for block in required():
        if not waits_for(block):
            program += f"print({MARK!r}, end='')\n{block}"
    basic, network, custom = run(program, tmp_path)
    assert basic.startswith("{")
    assert (network, custom) == ("", "")


def test_the_requirement_answers_for_a_pipeline(tmp_path):
    """The basic block, with a pipeline where it says so, knows what failed and was retried."""
    pipeline = """
@traced_event
def load():
    record_retry(OSError("busy"), delay=0.0)
    raise ValueError("no such table")

try:
    load()
except ValueError:
    pass
"""
    basic = required()[0].replace("# Run your pipeline...", pipeline)
    assert pipeline in basic
    check = """
import json
assert json.loads(metrics_json)["event_stats"]["load"]["failed"] == 1
assert [event.error for event in failed_events] == ["no such table"]
assert slow_events == []
assert retry_stats.total_retries == 1
"""
    run(f"from volnux.telemetry import *\n{basic}\n{check}", tmp_path)


@pytest.mark.parametrize("name", WAITING)
def test_a_block_that_needs_a_server_is_run_with_one(name):
    """By a test of the publisher that it is about."""
    texts = [path.read_text("utf-8") for path in (ROOT / "tests/publishers").glob("test_*.py")]
    assert [text for text in texts if "docs/telemetry.rst" in text and name in text]
