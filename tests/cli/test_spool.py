"""`volnux spool`: what waits on disk, seen, delivered and removed without its program."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from volnux.cli import main
from volnux.telemetry import Registry, monitor_events, read_jsonlines, traced_event
from volnux.telemetry.spools import drop_spooled, spool_status
from volnux.telemetry.testing import FailingPublisher, RecordingPublisher

#: What `--publisher` finds.
RECORDER = RecordingPublisher()


class Renamed(RecordingPublisher):
    """What the failing one is called."""

    name = "FailingPublisher"


def delivered_by():
    """A function that makes publishers, and remembers them."""
    MADE.append(Renamed())
    return [MADE[-1], RECORDER]


MADE = []


@pytest.fixture
def spool(tmp_path):
    """A folder with three records that a program could not deliver."""
    folder = tmp_path / "spool"
    with monitor_events([FailingPublisher()], spool=folder, registry=Registry()):
        for name in "abc":
            with traced_event(name):
                pass
    return folder


class TestStatus:
    def test_says_what_waits(self, spool, capsys):
        """How much, and how long."""
        assert main(["spool", "status", str(spool)]) == 0
        said = capsys.readouterr().out
        assert said.startswith("FailingPublisher: 3 records, ")
        assert "the oldest " in said

    def test_says_it_to_machines(self, spool, capsys):
        """As JSON."""
        assert main(["spool", "status", "--json", str(spool)]) == 0
        [one] = json.loads(capsys.readouterr().out)
        assert (one["name"], one["records"], one["in_use"]) == ("FailingPublisher", 3, 0)
        assert one["bytes"] > 0

    def test_knows_what_a_program_that_runs_delivers_itself(self, spool, capsys):
        """It belongs to that."""
        program = """
            import sys
            from volnux.telemetry import monitor_events, traced_event
            from volnux.telemetry.testing import FailingPublisher
            monitor = monitor_events([FailingPublisher()], spool=sys.argv[1])
            with traced_event("d"):
                pass
            monitor.flush(0.5)
            print("ready", flush=True)
            sys.stdin.read()
        """
        command = [sys.executable, "-c", textwrap.dedent(program), str(spool)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        with subprocess.Popen(command, **pipes) as running:
            assert running.stdout.readline() == b"ready\n"
            [one] = spool_status(spool)
            assert main(["spool", "drop", "--yes", str(spool)]) == 0
            assert main(["spool", "flush", "--out", str(spool / "out"), str(spool)]) == 0
        assert (one.records, one.in_use) == (4, 4)
        assert "dropped 0 records" in capsys.readouterr().out
        assert spool_status(spool)[0].records == 4

    def test_says_what_is_empty(self, tmp_path, capsys):
        """A spool whose records were delivered, and a folder without any."""
        assert main(["spool", "status", str(tmp_path)]) == 0
        monitor = monitor_events([RecordingPublisher()], spool=tmp_path, registry=Registry())
        with monitor, traced_event("a"):
            pass
        assert main(["spool", "status", str(tmp_path)]) == 0
        first, second = capsys.readouterr().out.splitlines()
        assert first.startswith("nothing")
        assert second == "RecordingPublisher: empty"

    def test_tells_of_a_file_that_cannot_be_read(self, tmp_path, capsys):
        """And of those that were set aside."""
        (tmp_path / "Bad.sqlite").write_bytes(b"no database" * 100)
        (tmp_path / "Bad.corrupt-20260101T000000-1.db").write_bytes(b"")
        assert main(["spool", "status", str(tmp_path)]) == 1
        said = capsys.readouterr().out
        assert said.startswith("Bad: cannot be read: file is not a database\n")
        assert "set aside, since it could not be read: Bad.corrupt-20260101T000000-1.db" in said

    def test_needs_a_folder(self, tmp_path, capsys):
        """One line says what is wrong."""
        for command in ("status", "drop"):
            assert main(["spool", command, str(tmp_path / "none")]) == 2
        assert main(["spool", "flush", "--out", "x", str(tmp_path / "none")]) == 2
        said = capsys.readouterr().err.splitlines()
        assert len(said) == 3
        assert all("No such file or directory" in line for line in said)


class TestFlush:
    def test_delivers_to_a_publisher_of_the_name(self, spool, capsys):
        """That a function makes; another is left alone."""
        target = f"{__name__}:delivered_by"
        assert main(["spool", "flush", "--publisher", target, str(spool)]) == 0
        assert [event.event_name for event in MADE[-1].events] == ["a", "b", "c"]
        assert capsys.readouterr().out == "FailingPublisher: delivered 3 records\n"
        assert spool_status(spool)[0].records == 0

    def test_writes_to_a_file(self, spool, tmp_path):
        """As JSON lines, instead of to the publisher."""
        out = tmp_path / "out.jsonl"
        assert main(["spool", "flush", "--out", str(out), str(spool)]) == 0
        assert [record.event_name for record in read_jsonlines(out)] == ["a", "b", "c"]

    def test_says_what_no_publisher_takes(self, spool, capsys):
        """It stays."""
        assert main(["spool", "flush", "--publisher", f"{__name__}:RECORDER", str(spool)]) == 1
        assert "no publisher is called FailingPublisher" in capsys.readouterr().err
        assert spool_status(spool)[0].records == 3

    def test_gives_up_on_a_back_end_that_is_away(self, spool, tmp_path, capsys):
        """It says how many are left."""
        out = tmp_path / "folder"
        out.mkdir()
        (tmp_path / "away.py").write_text(
            "from volnux.telemetry.testing import FailingPublisher\npublisher = FailingPublisher()\n"
        )
        command = [
            "spool",
            "flush",
            "--publisher",
            "away:publisher",
            "--timeout",
            "0.3",
            str(spool),
        ]
        sys.path.insert(0, str(tmp_path))
        try:
            assert main(command) == 1
        finally:
            sys.path.remove(str(tmp_path))
        assert "delivered 0 records, 3 left" in capsys.readouterr().out
        assert spool_status(spool)[0].records == 3

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ([], "--out FILE"),
            (["--publisher", "nothing"], "MODULE:NAME"),
            (["--publisher", "no_such_module:x"], "No module named"),
            (["--publisher", f"{__name__}:nothing"], "no attribute"),
        ],
    )
    def test_says_what_it_needs(self, spool, capsys, options, said):
        """In one line, before anything is done."""
        assert main(["spool", "flush", *options, str(spool)]) == 2
        assert said in capsys.readouterr().err


class TestDrop:
    def test_removes_what_waits(self, spool, capsys):
        """Of the one that is named, or of all."""
        assert main(["spool", "drop", "--yes", "--name", "Other", str(spool)]) == 2
        assert main(["spool", "drop", "--yes", "--name", "FailingPublisher", str(spool)]) == 0
        captured = capsys.readouterr()
        assert "there is no spool of Other" in captured.err
        assert captured.out == "FailingPublisher: dropped 3 records\n"
        assert spool_status(spool)[0].records == 0

    @pytest.mark.parametrize(("answer", "left"), [("y\n", 0), ("\n", 3), ("no\n", 3)])
    def test_asks_first(self, spool, monkeypatch, capsys, answer, left):
        """And takes nothing but a yes for one."""
        import io

        monkeypatch.setattr("sys.stdin", io.StringIO(answer))
        assert main(["spool", "drop", str(spool)]) == (1 if left else 0)
        assert "Remove 3 records for good?" in capsys.readouterr().err
        assert spool_status(spool)[0].records == left

    def test_keeps_what_is_new(self, spool):
        """With `older_than`."""
        assert drop_spooled(spool, older_than=3_600) == {"FailingPublisher": 0}
        assert drop_spooled(spool) == {"FailingPublisher": 3}

    def test_says_what_cannot_be_read(self, tmp_path, capsys):
        """In one line."""
        (tmp_path / "Bad.sqlite").write_bytes(b"no database" * 100)
        assert main(["spool", "drop", "--yes", str(tmp_path)]) == 2
        assert "file is not a database" in capsys.readouterr().err
        assert Path(tmp_path / "Bad.sqlite").exists()
