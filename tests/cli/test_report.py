"""`volnux report` tells what files of records hold, in three formats."""

from __future__ import annotations

import gzip
import io
import json
import signal
import subprocess
import sys

import pytest

from volnux.cli import main
from volnux.telemetry import Attempt

EPOCH = 1_767_323_045.0


@pytest.fixture(name="plain", autouse=True)
def _plain(monkeypatch):
    """A stream that is no terminal, 80 columns wide."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture(name="report")
def _report(capsys):
    """Runs `volnux report`; returns status, standard output and standard error."""

    def run(*words):
        status = main(["report", *words])
        return status, *capsys.readouterr()

    return run


@pytest.fixture(name="story")
def _story(lines):
    """A file with a bit of everything, from two processes."""
    root = "f" * 16
    for number in range(30):
        fetch = f"{0xA000 + number:016x}"
        failed = number in {7, 11}
        for attempt in range(3 if failed else 1):
            lines.op(
                "files.internal",
                port=8080,
                operation="GET /{path}",
                parent_id=fetch,
                bytes_sent=210,
                bytes_received=0 if failed else 30_000 + number,
                latency=0.031 + number / 1000,
                status="failed" if failed else "completed",
                error="[Errno 104] Connection reset by peer" if failed else None,
                error_type="ConnectionResetError" if failed else None,
                attributes={"try": attempt + 1} if failed else {},
            )
        lines.event(
            "fetch",
            task_id=fetch,
            parent_id=root,
            duration=0.04 + number / 1000,
            status="failed" if failed else "completed",
            error="[Errno 104] Connection reset by peer" if failed else None,
            error_type="ConnectionResetError" if failed else None,
            retry_count=2 if failed else 0,
            attempts=tuple(Attempt(number=n, outcome="failed") for n in (1, 2, 3))
            if failed
            else (),
            attributes={"path": f"Lib/module_{number}.py", "kind": "source"},
        )
        if not failed:
            lines.event(
                "parse",
                parent_id=root,
                process_id=11,
                duration=2.5 if number == 20 else 0.0021,
                status="failed" if number % 10 == 3 else "completed",
                error="invalid syntax (bad.py, line 3)" if number % 10 == 3 else None,
                error_type="SyntaxError" if number % 10 == 3 else None,
                attributes={"path": f"Lib/module_{number}.py"},
            )
    lines.event("store", parent_id=root, duration=1.25, retry_count=1, attributes={"rows": 120_000})
    lines.event("watch", duration=0.5, status="cancelled", error_type="CancelledError")
    lines.event("index stdlib", task_id=root, start_time=EPOCH, duration=64.0)
    return lines


@pytest.mark.parametrize("columns", [60, 80, 140])
def test_the_report_for_a_terminal(report, story, snapshot, monkeypatch, columns):
    """It fits the width, shows the worst first, and leaves out what there is nothing to say of."""
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.chdir(story.path.parent)
    status, out, err = report("records.jsonl")
    assert (status, err) == (0, "")
    assert max(map(len, out.splitlines())) <= columns
    snapshot(f"story-{columns}.txt", out)


def test_the_report_as_markdown(report, story, snapshot, monkeypatch):
    """Tables and lists, with nothing in a name taken for markup."""
    monkeypatch.chdir(story.path.parent)
    snapshot("story.md", report("--format", "md", "records.jsonl")[1])


def test_markdown_says_what_its_tables_and_trees_leave_open(report, lines):
    """That shares add up to more than all, and that something is missing above."""
    for _ in range(3):
        lines.event("same time", start_time=EPOCH, duration=2.0)
    lines.event("orphan", parent_id="e" * 16, start_time=EPOCH, duration=2.0)
    out = report("--format", "md", lines.name)[1].splitlines()
    assert "share above 100%: several ran at once" in out
    assert out[out.index("*… in an event that is not kept*") + 2] == "- 2.00s **orphan**"


def test_the_report_as_json(report, story, snapshot):
    """The document is the one that the module describes."""
    _, out, _ = report("--format", "json", story.name)
    data = json.loads(out)
    data["generated_at"] = "then"
    data["source"]["files"] = ["records.jsonl"]
    snapshot("story.json", json.dumps(data, indent=2) + "\n")


def test_totals_are_exact(report, story):
    """They are those of the lines, whatever is kept in detail."""
    data = json.loads(report("--format", "json", story.name)[1])
    rows = {row["name"]: row for row in data["events"]}
    assert {name: (row["count"], row["failed"]) for name, row in rows.items()} == {
        "index stdlib": (1, 0),
        "fetch": (30, 2),
        "parse": (28, 3),
        "store": (1, 0),
        "watch": (1, 0),
    }
    assert rows["watch"]["cancelled"] == 1
    [row] = data["network"]
    assert (row["count"], row["failed"], row["bytes_sent"]) == (34, 6, 34 * 210)
    assert data["source"]["records"] == 95
    assert data["source"]["processes"] == 2
    assert data["retries"]["by_event"]["fetch"]["exhausted"] == 2


def test_an_error_that_came_from_the_network_is_told_once(report, story):
    """The operation is its origin; the events around it only carry its type."""
    out = report(story.name)[1]
    assert out.count("Connection reset by peer") == 1


def test_an_error_that_passed_through_is_told_once(report, lines):
    """The ancestors of a failure are part of its tree, and no failures of their own."""
    root, middle = "a" * 16, "b" * 16
    origin = lines.event("inner", parent_id=middle, status="failed", error="no", error_type="E")
    for name, task_id, parent in (("middle", middle, root), ("outer", root, None)):
        lines.event(
            name,
            task_id=task_id,
            parent_id=parent,
            status="failed",
            error_type="E",
            error_origin=origin,
        )
    data = json.loads(report("--format", "json", lines.name)[1])
    [group] = data["failures"]["groups"]
    assert (group["name"], group["error"], group["count"]) == ("inner", "no", 1)
    [inner] = group["tree"]["children"][0]["children"]
    assert (group["tree"]["name"], inner["name"], inner["matters"]) == ("outer", "inner", True)


def test_slow_is_what_lasts_longer_than_said(report, story):
    """`--slow` is strict, and counts network operations too."""
    for seconds, count in (("1.25", 2), ("1.2", 3), ("100", 0)):
        data = json.loads(report("--slow", seconds, "--format", "json", story.name)[1])
        assert data["slow"]["count"] == count


def test_name_selects(report, story):
    """`--name` is a pattern for events and operations alike."""
    data = json.loads(report("--name", "fe*", "--format", "json", story.name)[1])
    assert [row["name"] for row in data["events"]] == ["fetch"]
    assert (data["network"], data["slow"]["count"]) == ([], 0)
    assert list(data["retries"]["by_event"]) == ["fetch"]
    text = report("--name", "fe*", story.name)[1]
    assert "30 events, 2 failed · of 95 records, matching fe*" in text


def test_top_limits_the_lists(report, lines):
    """`--top` is how many single ones are shown; the counts are of all."""
    for number in range(30):
        lines.event(f"kind {number:02d}", duration=2 + number, status="failed", error_type="E")
    out = report("--top", "2", lines.name)[1]
    assert "FAILED  28 more failures not shown" in out
    assert "SLOWEST  longer than 1.00s; 28 more not shown" in out
    data = json.loads(report("--top", "2", "--format", "json", lines.name)[1])
    assert [tree["name"] for tree in data["slow"]["trees"]] == ["kind 29", "kind 28"]
    assert (len(data["failures"]["groups"]), data["failures"]["count"]) == (2, 30)


def test_output_goes_to_a_file(report, story, tmp_path):
    """`--output` writes there, and standard output stays empty."""
    assert report("-o", str(tmp_path / "report.md"), "--format", "md", story.name) == (0, "", "")
    assert (tmp_path / "report.md").read_text("utf-8").startswith("# volnux report: ")


def test_output_that_cannot_be_written_is_status_2(report, story):
    """One line says why."""
    status, _, err = report("-o", "/nowhere/report.md", story.name)
    assert (status, err) == (
        2,
        "volnux report: can't write '/nowhere/report.md': No such file or directory\n",
    )


@pytest.mark.parametrize("name", ["records.jsonl.gz", "compressed"])
def test_compressed_files_are_read(report, story, tmp_path, name):
    """Whatever they are called."""
    path = tmp_path / name
    path.write_bytes(gzip.compress(story.path.read_bytes()))
    status, out, _ = report(str(path))
    assert (status, out.splitlines()[1:]) == (0, report(story.name)[1].splitlines()[1:])


def test_standard_input_is_read(report, story, monkeypatch):
    """`-` stands for it."""
    data = io.BytesIO(story.path.read_bytes())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(data))
    status, out, _ = report("-")
    assert (status, out.splitlines()[1:]) == (0, report(story.name)[1].splitlines()[1:])


def test_several_files_are_one_report(report, story, tmp_path):
    """Counts add up; the gap between files is not part of the time; a file counts once."""
    other = tmp_path / "other.jsonl"
    later = {"start_time": "2026-01-03T00:00:00.000000Z", "end_time": "2026-01-03T00:00:10.000000Z"}
    other.write_text(
        json.dumps(
            {
                "kind": "event",
                "event_name": "night",
                "task_id": "1",
                "status": "completed",
                "duration": 10.0,
                **later,
            }
        )
        + "\n"
    )
    status, out, err = report("--format", "json", story.name, str(other), str(other))
    source = json.loads(out)["source"]
    assert (status, source["records"], len(source["files"])) == (0, 96, 2)
    alone = json.loads(report("--format", "json", story.name)[1])["source"]
    assert source["wall_seconds"] == pytest.approx(alone["wall_seconds"] + 10, abs=1e-3)
    assert err == f"volnux report: note: {other}: given twice, read once\n"


def test_control_characters_do_nothing(report, lines):
    """Names, errors and attributes cannot move the cursor, change colours, or be markup."""
    nasty = "\x1b[2J[bold]x[/bold]\r\n\u202e\x9b31m\x00"
    lines.event(
        nasty,
        duration=5.0,
        status="failed",
        error=nasty,
        error_type=nasty,
        attributes={nasty: nasty},
    )
    lines.op(nasty, operation=nasty, latency=4.0)
    for form in ("term", "md"):
        out = report("--format", form, lines.name)[1]
        assert [char for char in out if not char.isprintable() and char != "\n"] == []
        assert "bold" in out
        assert "\\u202e" in out


@pytest.mark.parametrize("form", ["term", "md", "json"])
def test_secrets_in_a_file_stay_there(report, lines, form):
    """Whoever has written it: attributes and errors are redacted before they are shown."""
    lines.event(
        duration=2.0,
        status="failed",
        error="cannot open postgres://me:hunter2@db/x?token=abcdef123",
        error_type="E",
        attributes={"a": "yes", "password": "hunter2", "url": "https://x/?api_key=hunter2"},
    )
    out = report("--format", form, lines.name)[1]
    assert "yes" in out
    assert [secret for secret in ("hunter2", "abcdef123") if secret in out] == []


def test_plain_encodings_get_plain_characters(story, tmp_path, machine):
    """Where the encoding cannot take boxes and arrows, there are none."""
    machine.env |= {"PYTHONIOENCODING": "ascii", "COLUMNS": "80"}
    ended = machine.volnux("report", story.name)
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.isascii()
    assert "`- " in ended.out


@pytest.mark.parametrize(
    ("env", "coloured"),
    [({}, False), ({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False)],
)
def test_colour_is_where_it_is_wanted(story, machine, env, coloured):
    """Not into a file or pipe, unless FORCE_COLOR is set; never with NO_COLOR."""
    machine.env |= {**env, "TERM": "xterm-256color"}
    out = machine.volnux("report", story.name).out
    assert ("\x1b[31m" in out) is coloured


def test_a_reader_that_has_seen_enough_ends_it_quietly(story, machine):
    """As with `volnux report | head`."""
    process = machine.start("-m", "volnux", "report", story.name)
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert (process.wait(60), err) == (0, "")


def test_a_narrow_terminal_wraps_nothing(report, story, monkeypatch):
    """Below 60 columns the report stays 60 wide, rather than fall to pieces."""
    monkeypatch.setenv("COLUMNS", "20")
    narrow = report(story.name)[1]
    monkeypatch.setenv("COLUMNS", "60")
    assert narrow == report(story.name)[1]


def test_numbers_that_fit_nowhere_are_cut_at_the_edge(report, lines, monkeypatch):
    """When no column is left that could be spared, the line ends where the terminal does."""
    monkeypatch.setenv("COLUMNS", "60")
    lines.event("patient", retry_count=10**15)
    out = report(lines.name)[1].splitlines()
    assert max(map(len, out)) == 60
    [row] = [line for line in out if line.startswith("  patient 1,000,000,000,000,000 ")]
    assert row.endswith("1,000,000,000,000,001      …")


def test_a_long_error_is_three_lines(report, lines, monkeypatch):
    """What is left out is marked; the file has it all."""
    monkeypatch.setenv("COLUMNS", "60")
    lines.event(status="failed", error_type="E", error="word " * 60)
    out = report(lines.name)[1].splitlines()
    [start] = [number for number, line in enumerate(out) if "word" in line][:1]
    told = out[start : start + 4]
    assert [line.strip().removesuffix(" …").split() for line in told[:3]] == [["word"] * 9] * 3
    assert told[2].endswith("word …")
    assert told[3:] in ([], [""])


def test_deep_trees_are_cut_above(report, lines):
    """A recursion of hundreds shows its last levels, and says how many are above."""
    for level in range(300):
        failed = {"status": "failed", "error_type": "E"} if level == 299 else {}
        lines.event(
            "down",
            task_id=f"{level + 1:016x}",
            parent_id=f"{level:016x}" if level else None,
            duration=300.0 - level,
            **failed,
        )
    out = report(lines.name)[1]
    assert "… in 287 more levels" in out
    assert max(map(len, out.splitlines())) <= 80


def test_a_parent_that_is_not_there_is_said(report, lines):
    """The record stands alone, and the report does not pretend that it ran by itself."""
    lines.event("orphan", parent_id="e" * 16, duration=3.0)
    assert "… in an event that is not kept" in report(lines.name)[1]


def test_circles_are_cut(report, lines):
    """No program writes them; a file may hold anything."""
    lines.event("a", task_id="a" * 16, parent_id="b" * 16, duration=3.0)
    lines.event("b", task_id="b" * 16, parent_id="a" * 16, duration=2.0, status="failed")
    lines.event("c", task_id="c" * 16, parent_id="c" * 16, duration=4.0)
    status, out, err = report(lines.name)
    assert (status, err) == (0, "")
    assert "SLOWEST" in out


def test_the_details_are_bounded_and_the_totals_are_not(report, lines, monkeypatch):
    """Failed and slowest records are kept before others, and the report says what it left out."""
    monkeypatch.setattr("volnux.cli._load.CAPACITY", 100)
    lines.event("slow", duration=9.0)
    for _ in range(500):
        lines.event("step", duration=0.001)
    out = report(lines.name)[1]
    assert "  501 events\n" in out
    assert "9.00s  slow" in out
    assert "details are of 100 of 501 records; totals are of all" in out


def test_a_long_file_shows_how_far_it_is(story, machine):
    """On a terminal a bar moves; it is gone when the report comes."""
    big = machine.folder / "big.jsonl"
    big.write_bytes(story.path.read_bytes() * 200)
    code = f"""
import pty, os, sys
sys.exit(os.waitstatus_to_exitcode(
    pty.spawn([sys.executable, "-m", "volnux", "report", {str(big)!r}])))
"""
    machine.env |= {"TERM": "xterm", "COLUMNS": "80"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=machine.env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "reading" in done.stdout
    assert "19,000 records" in done.stdout or "12,200 events" in done.stdout


def test_a_full_disk_is_status_2(story, machine):
    """One line says why there is no report."""
    code = f"""
import os, sys
os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
from volnux.cli import main
sys.exit(main(["report", {story.name!r}]))
"""
    ended = machine.python("-c", code)
    assert (ended.status, ended.out) == (2, "")
    assert ended.err == "volnux report: can't write: No space left on device\n"


def test_ctrl_c_while_it_reads_is_status_130(story, machine):
    """There is no report on a part, and no traceback either."""
    process = machine.start("-m", "volnux", "report", "-", stdin=subprocess.PIPE)
    # More than a pipe holds: when it is written, somebody reads.
    process.stdin.write(story.path.read_text("utf-8") * 10)
    process.stdin.flush()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "")
