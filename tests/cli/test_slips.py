"""What is easily mistyped, misplaced or cut short costs nobody their records or their patience."""

from __future__ import annotations

import gzip
import json
import os
from importlib.metadata import version

import pytest

from volnux.cli import main
from volnux.cli._children import Household

TORN = b'{"kind": "event", "event_name": "st'
STEP = """
from volnux.telemetry import traced_event

@traced_event
def step(n=0):
    return n * n
"""

#: Reads a pipe from the moment when somebody writes to it until nobody does any more.
READER = """
import os, select, sys
pipe = os.open(sys.argv[1], os.O_RDONLY | os.O_NONBLOCK)
print("open", flush=True)
poll = select.poll()
poll.register(pipe, select.POLLIN)
poll.poll()
os.set_blocking(pipe, True)
print(open(pipe).read().count("event_name"))
"""


@pytest.fixture(name="said")
def _said(capsys):
    """Runs a command; returns its status, standard output and standard error."""

    def run(*words):
        status = main(list(words))
        return status, *capsys.readouterr()

    return run


@pytest.fixture(name="report")
def _report(said):
    """Runs `volnux report --format json`; returns status, the report and standard error."""

    def run(*words):
        status, out, err = said("report", "--format", "json", *words)
        return status, json.loads(out), err

    return run


# -- where a report is written ------------------------------------------------------------------------


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_a_report_never_replaces_what_it_reports_on(said, lines, tmp_path, link):
    """Also where the same file goes by two names."""
    lines.event()
    before = lines.path.read_bytes()
    other = str(tmp_path / "other.jsonl")
    link(lines.name, other)
    assert said("report", "-o", other, lines.name) == (
        2,
        "",
        f"volnux report: will not overwrite {other!r}: it is one of the files to report on\n",
    )
    assert lines.path.read_bytes() == before


def test_an_input_without_any_records_is_not_replaced_either(said, tmp_path):
    """A wrong file is no reason to lose it."""
    path = tmp_path / "notes.txt"
    path.write_text("remember the milk\n")
    assert said("report", "-o", str(path), str(path))[0] == 2
    assert path.read_text() == "remember the milk\n"


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_report_never_replaces_other_records(said, lines, tmp_path, pack):
    """`-o` with too few names after it takes the first file for its own."""
    lines.event()
    other = tmp_path / "other.jsonl"
    other.write_bytes(pack(lines.path.read_bytes()))
    before = other.read_bytes()
    assert said("report", "-o", str(other), lines.name) == (
        2,
        "",
        f"volnux report: will not overwrite {str(other)!r}: it is a file of records\n",
    )
    assert other.read_bytes() == before


def test_a_report_is_refused_before_anything_is_read(said, tmp_path, lines):
    """There is one line, whatever else is wrong."""
    lines.event()
    assert said("report", "-o", lines.name, str(tmp_path / "gone"))[2].count("\n") == 1


def test_a_report_replaces_an_earlier_one(said, lines, tmp_path):
    """That is what it is for."""
    lines.event()
    path = tmp_path / "report.json"
    path.write_text("{}")
    assert said("report", "--format", "json", "-o", str(path), lines.name) == (0, "", "")
    assert json.loads(path.read_text("utf-8"))["source"]["records"] == 1


# -- lines that were never finished -------------------------------------------------------------------


def test_a_torn_line_in_the_middle_is_a_note(report, lines):
    """A crash has left it, and who went on writing has ended it."""
    lines.event()
    lines.raw(TORN + b"\n")
    lines.event()
    status, data, err = report(lines.name)
    note = f"{lines.name}:2: a line that was never finished, left out"
    assert (status, err) == (0, f"volnux report: note: {note}\n")
    assert (data["source"]["records"], data["source"]["notes"]) == (2, [note])


def test_torn_lines_are_one_note(report, lines):
    """The first is named, the others are counted."""
    for _ in range(3):
        lines.raw(TORN + b"\n")
        lines.event()
    status, _, err = report(lines.name)
    assert status == 0
    assert err == (
        f"volnux report: note: {lines.name}:1: a line that was never finished, left out"
        " (2 more such lines)\n"
    )


def test_what_is_not_json_stays_an_error_beside_a_torn_line(report, lines):
    """Each is said for itself."""
    lines.event()
    lines.raw(b"nonsense\n" + TORN + b"\n")
    status, _, err = report(lines.name)
    assert (status, err.splitlines()) == (
        2,
        [
            f"volnux report: {lines.name}:2: not JSON",
            f"volnux report: note: {lines.name}:3: a line that was never finished, left out",
        ],
    )


def test_a_file_of_nothing_but_torn_lines_is_an_error(said, lines):
    """There is no report on it."""
    lines.raw(b"{\n" + b"nonsense\n")
    assert said("report", lines.name) == (
        2,
        "",
        f"volnux report: {lines.name}:1: a line that was never finished (1 more bad line)\n",
    )


# -- where records are written ------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_program_that_goes_elsewhere_takes_no_records_along(machine, method):
    """Its workers write to the file that was named where the command was given."""
    (machine.folder / "sub").mkdir()
    machine.write(
        STEP
        + f"""
import multiprocessing, os
if __name__ == "__main__":
    os.chdir("sub")
    with multiprocessing.get_context({method!r}).Pool(2) as pool:
        pool.map(step, range(20))
    step()
"""
    )
    ended = machine.volnux("run", "--no-report", "--out", "rel.jsonl", "program.py")
    assert (ended.status, ended.err) == (0, "")
    assert len((machine.folder / "rel.jsonl").read_text("utf-8").splitlines()) == 21
    assert list((machine.folder / "sub").iterdir()) == []


def test_a_pipe_that_nobody_reads_is_refused(said, tmp_path):
    """The program would wait for a reader, and never start."""
    pipe, script = str(tmp_path / "pipe"), tmp_path / "script.py"
    os.mkfifo(pipe)
    script.write_text("raise SystemExit('it ran')")
    assert said("run", "--out", pipe, str(script)) == (
        2,
        "",
        f"volnux run: can't write {pipe!r}: nobody reads it\n",
    )


def test_a_pipe_that_somebody_reads_gets_the_records(machine):
    """Every line, and the end when the program has ended."""
    machine.write(STEP + "for _ in range(3): step()")
    pipe = str(machine.folder / "pipe")
    os.mkfifo(pipe)
    reader = machine.start("-c", READER, pipe)
    assert reader.stdout.readline() == "open\n"
    ended = machine.volnux("run", "--no-report", "--out", pipe, "program.py")
    out, _ = reader.communicate(timeout=60)
    assert (ended.status, out) == (0, "3\n")


def test_ctrl_c_at_the_end_ends_every_wait(tmp_path, monkeypatch):
    """Whoever has interrupted the last flush does not want to wait for another."""
    monkeypatch.setenv("VOLNUX_EXIT_TIMEOUT", "5")

    def finish():
        raise KeyboardInterrupt

    household = Household(str(tmp_path), None, finish)
    household.end()
    household.monitor.close()
    assert os.environ["VOLNUX_EXIT_TIMEOUT"] == "0"


# -- what is reported on ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pattern",
    ["GET", "api.*", "api.example.org:443", "GET api.example.org:443", "GET api*"],
)
def test_an_exchange_goes_by_its_operation_its_host_and_the_name_that_is_shown(
    report, lines, pattern
):
    """`--name` takes any of them."""
    lines.op("api.example.org", port=443, operation="GET")
    lines.op("elsewhere", port=443, operation="POST", status="failed", error="no")
    data = report("--name", pattern, lines.name)[1]
    assert [row["host"] for row in data["network"]] == ["api.example.org"]
    assert data["failures"]["count"] == 0


def test_a_failed_exchange_is_found_by_the_name_that_is_shown(report, lines):
    """What is printed can be asked for."""
    lines.op("api.example.org", port=443, operation="GET", status="failed", error_type="E")
    data = report("--name", "GET api.example.org:443", lines.name)[1]
    assert [row["name"] for row in data["failures"]["groups"]] == ["GET api.example.org:443"]


# -- what is said -------------------------------------------------------------------------------------


def test_the_version_can_be_asked_for(said):
    """It is that of the package."""
    assert said("--version") == (0, f"volnux {version('volnux')}\n", "")


@pytest.mark.parametrize("command", ["run", "report"])
def test_an_unknown_format_is_refused_in_plain_words(said, lines, command):
    """With those that there are."""
    status, _, err = said(command, "--format", "xml", lines.name)
    assert status == 2
    assert "there is no format 'xml': take term, json or md" in " ".join(err.split())


@pytest.mark.parametrize(
    "program", ["def f(:\n", "import no_such_module", "raise SystemExit('no such option')"]
)
def test_a_program_that_failed_is_not_told_how_to_record(machine, program):
    """It has other worries."""
    machine.write(program)
    ended = machine.volnux("run", "program.py")
    assert ended.status == 1
    assert ended.err.endswith("volnux run: program.py\n  nothing was recorded\n")


@pytest.mark.parametrize("end", ["", "raise SystemExit", "raise SystemExit(0)"])
def test_a_program_that_ended_well_is_told_how_to_record(machine, end):
    """Also where it says itself that it has ended."""
    machine.write(end)
    ended = machine.volnux("run", "program.py")
    assert ended.status == 0
    assert "mark steps with @traced_event" in ended.err
