"""The examples run as a newcomer would run them, and what they report is true."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from volnux.telemetry import EventMetrics, NetworkMetrics, read_jsonlines

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLES = Path(__file__).parents[1] / "examples" / "telemetry"
PIPELINE = EXAMPLES / "pipeline.py"
PLAIN = [sys.executable]
RUN = [sys.executable, "-m", "volnux", "run"]
MODULES = 50

# Python sources that no Python 3 takes, as the test folders of CPython have them.
BROKEN = {
    "broken/bad_coding.py": b"# coding: uft-8\n",
    "broken/py2_print.py": b'print "hi"\n',
    "broken/not_utf8.py": b"x = '\xf6'\n",
}
# With the default seed, all three attempts fail for these: by 503, and by cuts.
UNLUCKY = {"_pyio.py", "modulefinder.py", "distutils/command/install_scripts.py"}


def run(*command: object) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, which has to come soon."""
    return subprocess.run(
        [*map(str, command)], capture_output=True, text=True, timeout=60, check=False
    )


def number(pattern: str, text: str) -> tuple[int, ...]:
    """Return the numbers that a line of the output has where `pattern` has a `#`."""
    match = re.search(re.escape(pattern).replace(r"\#", "([0-9,]+)"), text)
    assert match, f"no {pattern!r} in:\n{text}"
    return tuple(int(group.replace(",", "")) for group in match.groups())


def row(event: str, text: str) -> tuple[int, ...]:
    """Return count, failed, cancelled and retries of an event in the printed table."""
    match = re.search(rf"^  {event} +([\d,]+) +([\d,]+) +([\d,]+) +([\d,]+) ", text, re.MULTILINE)
    assert match, f"no row {event!r} in:\n{text}"
    return tuple(int(group.replace(",", "")) for group in match.groups())


@pytest.fixture(name="sources", scope="module")
def fixture_sources(tmp_path_factory) -> Path:
    """A folder of real modules, of three that do not parse, and of one with a difficult name."""
    root = tmp_path_factory.mktemp("sources")
    library = Path(sysconfig.get_path("stdlib"))
    modules = sorted(path.name for path in library.glob("*.py"))
    for name in {*modules[:MODULES], "_pyio.py", "modulefinder.py"}:
        shutil.copy(library / name, root / name)
    for name, text in {
        **BROKEN,
        "distutils/command/install_scripts.py": b"import distutils\n" * 20,
        "imports.py": b"import _no_such_module, sys\n",
        "with space/\u00fc#?%41.py": b"def f():\n    pass\n",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(text)
    return root


@pytest.fixture(name="plain", scope="module")
def fixture_plain(sources) -> str:
    """What the pipeline prints, run by itself with telemetry off."""
    result = run(*PLAIN, PIPELINE, "--root", sources)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


@pytest.fixture(name="reported", scope="module")
def fixture_reported(sources) -> str:
    """What it prints with `--report`."""
    result = run(*PLAIN, PIPELINE, "--root", sources, "--report")
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


@pytest.fixture(name="records", scope="module")
def fixture_records(sources, plain, tmp_path_factory):
    """The records of a run, whose output is that of a plain one."""
    out = tmp_path_factory.mktemp("records") / "records.jsonl"
    result = run(*RUN, "--no-report", "--out", out, PIPELINE, "--root", sources)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == plain
    return [*read_jsonlines(out)]


@pytest.fixture(name="events", scope="module")
def fixture_events(records):
    """Its events by task id."""
    return {record.task_id: record for record in records if isinstance(record, EventMetrics)}


@pytest.fixture(name="ops", scope="module")
def fixture_ops(records):
    """Its network operations."""
    return [record for record in records if isinstance(record, NetworkMetrics)]


class TestResults:
    """What the pipeline finds is right, telemetry or not."""

    def test_every_file_is_indexed_or_reported(self, plain, sources):
        """The files taken are those there are; those not indexed are named with their error."""
        files = len([*sources.rglob("*.py")])
        taken, indexed = number("Files: # taken, # indexed", plain)
        assert (taken, indexed) == (files, files - len(BROKEN) - len(UNLUCKY))
        assert f"{len(BROKEN)}  SyntaxError: {', '.join(sorted(BROKEN))}\n" in plain
        assert "2  Unavailable: _pyio.py, modulefinder.py\n" in plain
        assert "1  ChunkedEncodingError: distutils/command/install_scripts.py\n" in plain
        assert re.search(r"ModuleNotFoundError: .*_no_such_module", plain)

    def test_the_host_misbehaved(self, plain):
        """There were refusals and cuts to get over: the rest of these tests is about something."""
        requests, refused, cut = number("Server: # requests, # answered 503, # cut", plain)
        assert min(refused, cut) > 2
        assert requests > MODULES

    @pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
    def test_start_methods_and_telemetry_change_nothing(self, method, plain, sources):
        """The same seed gives the same output, to the byte, however the workers start."""
        options = ["--root", sources, "--start-method", method, "--jobs", 3, "--report"]
        result = run(*PLAIN, PIPELINE, *options)
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout.partition("\nTelemetry\n")[0] == plain
        assert "Telemetry" not in plain

    def test_another_seed_gives_other_faults(self, plain, sources):
        """The faults come from `--seed`."""
        result = run(*PLAIN, PIPELINE, "--root", sources, "--seed", 5, "--limit", 40)
        assert result.returncode == 0
        assert "Files: 40 taken" in result.stdout
        assert result.stdout.splitlines()[-1] != plain.splitlines()[-1]

    def test_the_index_is_an_sqlite_file(self, sources, tmp_path):
        """`--db` keeps modules and symbols, and a second run replaces them."""
        path = tmp_path / "index.db"
        for _ in range(2):
            assert run(*PLAIN, PIPELINE, "--root", sources / "with space", "--db", path).stdout
        with sqlite3.connect(path) as db:
            assert [*db.execute("SELECT path, size, lines FROM module")] == [
                ("\u00fc#?%41.py", 18, 2)
            ]
            assert [*db.execute("SELECT kind, name, line, lines FROM symbol")] == [
                ("function", "f", 1, 2)
            ]
        db.close()

    @pytest.mark.parametrize(
        ("options", "complaint"),
        [
            (["--root", "/no/such/folder"], "--root: /no/such/folder is not a folder"),
            (["--limit", "0"], "argument --limit: 0 is less than 1"),
            (["--db", "/no/such/folder/index.db"], "unable to open database file"),
            (["--db", str(PIPELINE)], "file is not a database"),
        ],
    )
    def test_bad_options_are_refused_before_anything_runs(self, options, complaint):
        """Exit status 2 and a line that names the option."""
        result = run(*PLAIN, PIPELINE, *options)
        assert (result.returncode, result.stdout) == (2, "")
        assert complaint in result.stderr.splitlines()[-1]
        assert options[0] in result.stderr.splitlines()[-1]


class TestTelemetry:
    """What telemetry says is what the server counted at the other end."""

    def test_operations_and_bytes_are_those_of_the_server(self, reported):
        """Every request is one operation; the bytes agree exactly, those of broken ones too."""
        requests, refused, cut = number("Server: # requests, # answered 503, # cut", reported)
        received, sent = number("stalled; # bytes in, # bytes out", reported)
        assert number("GET 127.0.0.1: # operations, # failed", reported) == (
            requests,
            refused + cut,
        )
        assert number("failed; # bytes sent, # received", reported) == (received, sent)

    def test_retries_are_the_faults_that_were_tried_again(self, reported):
        """Each fault was retried, but for the last one of an event that gave up."""
        requests, refused, cut = number("Server: # requests, # answered 503, # cut", reported)
        count, failed, cancelled, retries = row("fetch", reported)
        assert (failed, cancelled) == (len(UNLUCKY), 0)
        assert retries == refused + cut - failed == requests - count
        total, events, recovered, exhausted = number(
            "retries: # in # events; # recovered, # gave up", reported
        )
        assert (total, exhausted) == (retries, failed)
        assert events == recovered + exhausted

    def test_stages_add_up(self, reported):
        """What fails in one stage does not reach the next, and fails the file it belongs to."""
        (taken,) = number("Files: # taken", reported)
        (unresolved,) = number("#  ModuleNotFoundError", reported)
        lost = len(UNLUCKY)
        assert row("fetch", reported)[:2] == (taken, lost)
        assert row("parse", reported)[:2] == (taken - lost, len(BROKEN))
        assert row("load", reported)[:2] == (taken - lost - len(BROKEN), 0)
        assert row("index_file", reported)[:2] == (taken, lost + len(BROKEN))
        assert row("resolve", reported)[1] == unresolved
        assert row("discover", reported)[:3] == row("index", reported)[:3] == (1, 0, 0)

    def test_nothing_is_lost(self, reported):
        """All that started has finished, and every worker's call has reported."""
        assert number("health: # started, # finished, # in flight", reported)[2] == 0
        assert "errors {}" in reported
        sent, back, missing = number("workers {'sent': #, 'reported': #, 'missing': #}", reported)
        assert (sent, missing) == (back, 0)


@pytest.mark.extras
class TestCommandLine:
    """Under `volnux run` the same file, unchanged, leaves its records."""

    def test_the_report_shows_what_went_wrong(self, sources, plain):
        """`--report` names failed and retried events and the host, after the program's own output."""
        result = run(*RUN, "--report", PIPELINE, "--root", sources)
        assert (result.returncode, result.stdout) == (0, plain)
        for text in ("index_file", "SyntaxError", "Unavailable", "127.0.0.1", "fetch"):
            assert text in result.stderr

    def test_stages_hang_under_their_file(self, events):
        """Whatever thread or process a stage ran in, its parent is the event of its file."""
        for event in events.values():
            parent = events[event.parent_id].event_name if event.parent_id else None
            assert (event.event_name, parent) in {
                ("index", None),
                ("resolve", None),
                ("discover", "index"),
                ("index_file", "index"),
                ("fetch", "index_file"),
                ("parse", "index_file"),
                ("load", "index_file"),
            }
            assert event.pipeline_id == "stdlib-index"
        parsers = {event.process_id for event in events.values() if event.event_name == "parse"}
        others = {event.process_id for event in events.values() if event.event_name != "parse"}
        assert len(others) == 1
        assert parsers
        assert not parsers & others

    def test_operations_hang_under_their_fetch(self, events, ops, plain):
        """Each exchange belongs to a fetch, which has one attempt for each."""
        requests, refused = number("Server: # requests, # answered 503", plain)
        assert len(ops) == requests
        assert sum(op.error_type == "503" for op in ops) == refused
        names = {"503": "Unavailable", "IncompleteRead": "ChunkedEncodingError", None: None}
        fetches = [event for event in events.values() if event.event_name == "fetch"]
        for fetch in fetches:
            mine = sorted(
                (op for op in ops if op.parent_id == fetch.task_id), key=lambda op: op.start_time
            )
            assert len(mine) == len(fetch.attempts) == fetch.retry_count + 1
            assert [op.status for op in mine] == [attempt.outcome for attempt in fetch.attempts]
            met = [names[op.error_type] for op in mine]
            assert met == [one.error_type for one in fetch.attempts]
            assert all(one.backoff >= 0.05 for one in fetch.attempts[:-1])

    def test_bytes_of_a_cut_connection_are_kept(self, ops, plain):
        """The sums are the server's, with the halves that arrived."""
        assert number("# bytes in, # bytes out", plain) == (
            sum(op.bytes_sent for op in ops),
            sum(op.bytes_received for op in ops),
        )
        assert all(op.bytes_received > 0 for op in ops if op.error_type == "IncompleteRead")

    def test_an_error_is_recorded_where_it_arose(self, events):
        """A file that does not parse has its error on the event in the worker, and refers to it."""
        failed = [one for one in events.values() if one.event_name == "parse" and one.error]
        assert len(failed) == len(BROKEN)
        for parse in failed:
            assert parse.error_type == "SyntaxError"
            parent = events[parse.parent_id]
            assert (parent.error, parent.error_type) == (None, "SyntaxError")
            assert parent.error_origin == parse.task_id
            assert parent.attributes["path"] in BROKEN

    def test_the_generator_is_timed_while_it_produces(self, events, plain):
        """It yields each file once, and is not billed for what is done with it."""
        [discover] = [event for event in events.values() if event.event_name == "discover"]
        assert (discover.items,) == number("Files: # taken", plain)
        assert discover.active_time < discover.duration / 2


def press_ctrl_c(pid: int) -> None:
    """Do what a terminal does: the signal goes to the whole group."""
    os.killpg(pid, signal.SIGINT)


def kill_a_worker(pid: int) -> None:
    """Do what the kernel does when memory runs out: one worker is gone without a word."""
    workers = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    os.kill(int(workers[-1]), signal.SIGKILL)


def interrupt(
    command: list[object], at: int, strike: Callable[[int], None] = press_ctrl_c
) -> tuple[int, str, str]:
    """Run it on a terminal, strike after `at` files; return status, output and errors."""
    control, terminal = pty.openpty()
    process = subprocess.Popen(
        [*map(str, command)],
        stdout=subprocess.PIPE,
        stderr=terminal,
        text=True,
        start_new_session=True,
    )
    os.close(terminal)
    errors, pressed = "", False
    while True:
        try:
            errors += os.read(control, 4096).decode()
        except OSError:  # the other end is closed
            break
        progress = re.findall(r"\r([0-9][0-9,]*) files", errors)
        if not pressed and progress and int(progress[-1].replace(",", "")) >= at:
            strike(process.pid)
            pressed = True
    os.close(control)
    output, _ = process.communicate(timeout=30)
    return process.returncode, output, errors


class TestInterrupt:
    """Ctrl-C ends it at once, and what was done is told."""

    @pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
    def test_it_ends_cleanly(self, method):
        """Status 130, no traceback from any process, results of the part that was done."""
        status, output, errors = interrupt(
            [*PLAIN, PIPELINE, "--report", "--start-method", method], at=30
        )
        assert status == 130
        assert "Traceback" not in errors
        assert "Interrupted: what follows is what was done." in errors
        taken, indexed = number("Files: # taken, # indexed", output)
        assert taken >= indexed > 0
        assert "Largest modules" in output
        # What was under way is recorded as cancelled, or finished; none of it is left open.
        assert number("health: # started, # finished, # in flight", output)[2] == 0
        assert row("index", output)[:3] == (1, 0, 1)
        assert row("load", output)[0] == indexed
        (requests,) = number("Server: # requests", output)
        assert number("GET 127.0.0.1: # operations", output) == (requests,)

    def test_a_killed_worker_ends_it(self, tmp_path):
        """Status 1, what was done, and every call that was sent is accounted for."""
        # Small files: up to CPython 3.11.4 a pool whose worker dies while a large argument is on
        # its way waits for ever (python/cpython#94777).
        for place in range(500):
            (tmp_path / f"module_{place}.py").write_text(f"def function_{place}(): pass\n")
        command = [*PLAIN, PIPELINE, "--report", "--start-method", "fork", "--root", tmp_path]
        status, output, errors = interrupt(command, at=30, strike=kill_a_worker)
        assert status == 1
        assert "Traceback" not in errors
        (broken,) = number("#  BrokenProcessPool", output)
        assert broken > 0
        assert number("health: # started, # finished, # in flight", output)[2] == 0
        sent, back, missing = number("workers {'sent': #, 'reported': #, 'missing': #}", output)
        assert sent == back + missing

    @pytest.mark.extras
    def test_volnux_run_still_reports(self):
        """The status is the program's, and the report comes after its last words."""
        status, output, errors = interrupt([*RUN, "--report", PIPELINE], at=30)
        assert status == 130
        assert "Traceback" not in errors
        _, _, report = errors.partition("Interrupted: what follows is what was done.")
        assert "index_file" in report
        assert "Files: " in output


def test_the_quickstart_prints_what_it_says():
    """Its output is the comment at its end; the metrics are one JSON document."""
    source = (EXAMPLES / "quickstart.py").read_text()
    expected = [line[2:] for line in source.splitlines()[-7:]]
    result = run(*PLAIN, EXAMPLES / "quickstart.py")
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[:3] + lines[4:] == expected[:3] + expected[4:]
    metrics = json.loads(lines[3])
    assert metrics["schema"] == "volnux.telemetry/1"
    assert [event["status"] for event in metrics["events"]] == [
        *["completed"] * 4,
        "failed",
        "completed",
    ]


class TestOthers:
    """The smaller examples print what their servers would."""

    def test_five_clients_see_the_same(self):
        """One body is compressed, one in chunks, one behind a redirect, one is not there."""
        result = run(*PLAIN, EXAMPLES / "http_clients.py")
        assert (result.returncode, result.stderr) == (0, "")
        clients = re.split(r"^(\S+)\n  status .*\n", result.stdout, flags=re.MULTILINE)[1:]
        rows = {
            name: [line.split() for line in text.splitlines()]
            for name, text in zip(clients[::2], clients[1::2], strict=True)
        }
        assert list(rows) == ["http.client", "urllib3", "requests", "httpx", "aiohttp"]
        for name, found in rows.items():
            follows = name != "http.client"
            statuses = ["200", "200", "302", *["200"] * follows, "404"]
            assert [row[0] for row in found] == statuses, name
            assert [row[5] for row in found] == ["new", *["reused"] * (len(found) - 1)], name
            assert found[0][4] == ("19000" if follows else "-"), name
            assert found[1][3:5] == ["1,000", "1000"], name

    def test_sockets_are_counted_at_every_level(self):
        """Parts of a connection, the rest of it, TLS inside and on the wire, a stream."""
        result = run(*PLAIN, EXAMPLES / "sockets.py")
        assert result.returncode == 0
        rows = [line.split() for line in result.stdout.splitlines()[1:]]
        assert [row[:3] for row in rows[:4]] == [
            ["tcp", "3", "3"],
            ["GREET", "5", "5"],
            ["STORE", "100,000", "100,000"],
            ["stream", "50,000", "50,000"],
        ]
        if shutil.which("openssl"):
            assert rows[4][:3] == ["vault", "100,000", "100,000"]
            assert int(rows[4][3].replace(",", "")) > 100_000
