"""What is wrong with a file is one line; the good lines count all the same."""

from __future__ import annotations

import gzip
import json
import os

import pytest

from volnux.cli import main

EVENT = {
    "kind": "event",
    "event_name": "step",
    "task_id": "1" * 16,
    "status": "completed",
    "start_time": "2026-01-02T03:04:05.000000Z",
    "end_time": "2026-01-02T03:04:06.000000Z",
    "duration": 1.0,
}


@pytest.fixture(name="report")
def _report(capsys):
    """Runs `volnux report --format json`; returns status, number of records, standard error."""

    def run(*words):
        status = main(["report", "--format", "json", *words])
        out, err = capsys.readouterr()
        return status, json.loads(out)["source"]["records"] if out else 0, err

    return run


def without(key):
    return {name: value for name, value in EVENT.items() if name != key}


BAD = {
    "text": (b"hello\n", "not JSON"),
    "bytes": (b"\xff\xfe\x00\x01\n", "not JSON lines but binary data"),
    "null bytes": (b"\x00\x00\x00\n", "not JSON lines but binary data"),
    "deep": (b"[" * 100_000 + b"\n", "JSON nested too deeply"),
    "a list": (b"[1, 2]\n", "JSON, but not a record"),
    "a number": (b"5\n", "JSON, but not a record"),
    "an object": (b'{"a": 1}\n', "JSON, but not a record"),
    "a newer kind": (
        b'{"kind": "span"}\n',
        "a record of unknown kind 'span'; from a newer volnux?",
    ),
    "another document": (
        b'{"schema": "volnux.telemetry/1"}\n',
        "not a record but a document of schema 'volnux.telemetry/1'",
    ),
    "no name": (without("event_name"), "not a whole record: event_name is missing"),
    "no duration": (without("duration"), "not a whole record: duration is missing"),
    "odd duration": ({**EVENT, "duration": "1"}, "not a whole record: duration is '1'"),
    "below zero": ({**EVENT, "duration": -1}, "not a whole record: duration is -1"),
    "endless": ({**EVENT, "duration": float("inf")}, "not a whole record: duration is inf"),
    "running": ({**EVENT, "status": "running"}, "not a whole record: status is 'running'"),
    "odd status": ({**EVENT, "status": "fine"}, "not a whole record: status is 'fine'"),
    "odd attributes": ({**EVENT, "attributes": [1]}, "not a whole record: attributes is [1]"),
    "odd attempts": ({**EVENT, "attempts": [{"x": 1}]}, "not a whole record: "),
    "odd attempt": ({**EVENT, "attempts": [5]}, "not a whole record: "),
    "odd stamp": ({**EVENT, "start_time": "yesterday"}, "not a whole record: "),
    "odd port": (
        {**without("event_name"), "kind": "network", "host": "h", "latency": 1.0, "port": "x"},
        "not a whole record: port is 'x'",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_line_is_named_and_the_others_count(report, lines, name):
    """Status 2, one line with file and number, and the report on the rest."""
    bad, reason = BAD[name]
    lines.event()
    if isinstance(bad, bytes):
        lines.raw(bad)
    else:
        lines.add(bad)
    lines.event()
    status, records, err = report(lines.name)
    assert (status, records) == (2, 2)
    assert err.startswith(f"volnux report: {lines.name}:2: {reason}")
    assert err.count("\n") == 1


def test_many_bad_lines_are_one_line(report, lines):
    """The first is named, the others are counted."""
    lines.event()
    for _ in range(1200):
        lines.raw(b"nonsense\n")
    assert report(lines.name) == (
        2,
        1,
        f"volnux report: {lines.name}:2: not JSON (1,199 more bad lines)\n",
    )


def test_a_torn_last_line_is_a_note(report, lines):
    """A crash leaves one behind; everything before it is whole."""
    lines.event()
    lines.raw(json.dumps(EVENT).encode()[:50])
    assert report(lines.name) == (
        0,
        1,
        f"volnux report: note: {lines.name}:2: the last line is cut short, left out\n",
    )


def test_a_last_line_without_its_end_counts(report, lines):
    """If it is whole, the missing line break is nobody's business."""
    lines.raw(json.dumps(EVENT).encode())
    assert report(lines.name) == (0, 1, "")


def test_empty_lines_are_nothing(report, lines):
    """They are neither records nor errors, but count as lines."""
    lines.raw(b"\n  \n\n")
    lines.event()
    lines.raw(b"x\n")
    assert report(lines.name) == (2, 1, f"volnux report: {lines.name}:5: not JSON\n")


@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_an_empty_file_is_said_to_be_empty(report, lines, content):
    """There is no report on nothing."""
    lines.raw(content)
    assert report(lines.name) == (2, 0, f"volnux report: {lines.name}: is empty\n")


def test_a_file_that_is_not_there(report):
    """Named, with the system's reason."""
    assert report("no-such.jsonl") == (
        2,
        0,
        "volnux report: no-such.jsonl: no such file or directory\n",
    )


def test_a_folder(report, tmp_path):
    """Named, with the system's reason."""
    assert report(str(tmp_path)) == (2, 0, f"volnux report: {tmp_path}: is a directory\n")


def test_the_good_files_are_reported(report, lines):
    """Beside those that are not there."""
    lines.event()
    status, records, err = report("gone.jsonl", lines.name)
    assert (status, records) == (2, 1)
    assert err == "volnux report: gone.jsonl: no such file or directory\n"


def test_a_binary_file_is_no_records(report, tmp_path):
    """One line, however large it is and without any line break."""
    path = tmp_path / "picture"
    path.write_bytes(os.urandom(1 << 16).replace(b"\n", b"x") * 300)
    status, records, err = report(str(path))
    assert (status, records) == (2, 0)
    assert err == f"volnux report: {path}:1: not JSON lines but binary data\n"


def test_a_damaged_gzip_file_gives_what_it_has(report, lines, tmp_path):
    """The records before the damage count."""
    for _ in range(2000):
        lines.event(attributes={"random": os.urandom(16).hex()})
    path = tmp_path / "cut.gz"
    data = gzip.compress(lines.path.read_bytes())
    path.write_bytes(data[: len(data) // 2])
    status, records, err = report(str(path))
    assert (status, 100 < records < 2000) == (2, True)
    assert err == (f"volnux report: {path}:{records + 1}: the gzip data is damaged or cut short\n")


def test_control_characters_in_the_name_of_a_file_do_nothing(report):
    """They are spelled out in the message."""
    assert report("\x1b[31mred") == (
        2,
        0,
        "volnux report: \\x1b[31mred: no such file or directory\n",
    )
