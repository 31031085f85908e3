"""What the command line understands, and what it refuses before anything runs or is written."""

from __future__ import annotations

import json

import pytest

from volnux.cli import main


@pytest.fixture(name="refused")
def _refused(capsys):
    """Gives a command that cannot be carried out; returns what it says on standard error."""

    def run(*words):
        assert main(list(words)) == 2
        out, err = capsys.readouterr()
        assert out == ""
        return err

    return run


@pytest.mark.parametrize(
    ("command", "usage"),
    [
        ("run", "[OPTIONS] SCRIPT|-m MODULE [ARGS]..."),
        ("report", "[OPTIONS] FILE..."),
    ],
)
def test_help_says_what_a_command_takes(capsys, monkeypatch, command, usage):
    """The usage names the program, or the files, that the options are followed by."""
    monkeypatch.setenv("COLUMNS", "80")
    assert main([command, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"Usage: volnux {command} {usage}\n")


@pytest.mark.parametrize("words", [(), ("--no-report",), ("--slow", "2")])
def test_there_must_be_something_to_run(refused, words):
    """Options alone are no program."""
    assert "give a script, or -m and a module" in refused("run", *words)


@pytest.mark.parametrize("command", ["run", "report"])
@pytest.mark.parametrize("seconds", ["inf", "nan", "-1", "soon"])
def test_slow_is_a_number_of_seconds(refused, lines, command, seconds):
    """Nothing lasts longer than for ever, and nothing compares with what is no number."""
    lines.event()
    assert "'--slow'" in refused(command, "--slow", seconds, lines.name)


def test_a_file_that_is_not_ours_is_not_overwritten(refused, tmp_path):
    """`--out` in front of the script by mistake leaves the script as it is."""
    script = tmp_path / "script.py"
    script.write_text("print('precious')\n")
    said = refused("run", "--out", str(script), str(script))
    assert said == f"volnux run: will not overwrite {str(script)!r}: it is not a file of records\n"
    assert script.read_text() == "print('precious')\n"


@pytest.mark.parametrize(
    ("name", "reason"),
    [(".", "Is a directory"), ("gone/records.jsonl", "No such file or directory")],
)
def test_a_file_that_cannot_be_written_is_said_before_the_program_runs(
    refused, tmp_path, name, reason
):
    """An hour's run that leaves no records would be a pity."""
    script, out = tmp_path / "script.py", str(tmp_path / name)
    script.write_text("raise SystemExit('it ran')")
    said = refused("run", "--out", out, str(script))
    assert said == f"volnux run: can't write {out!r}: {reason}\n"


def test_a_null_character_in_the_name_of_a_script_is_refused(refused):
    """The system has no such file, whatever it is called."""
    assert refused("run", "a\0b") == "volnux run: can't open 'a\\x00b': embedded null byte\n"


def test_the_records_of_an_earlier_run_make_room(machine):
    """What `--out` names holds the records of one run, the last."""
    program = "from volnux.telemetry import traced_event\nwith traced_event('{}'): pass"
    for name in ("first", "second"):
        machine.write(program.format(name))
        ended = machine.volnux("run", "--no-report", "--out", "records.jsonl", "program.py")
        assert (ended.status, ended.err) == (0, "")
    [line] = (machine.folder / "records.jsonl").read_text("utf-8").splitlines()
    assert json.loads(line)["event_name"] == "second"


def test_the_modules_of_the_commands_can_be_imported(machine):
    """Tools that look at every module of a package start nothing by that."""
    ended = machine.python("-c", "import volnux.__main__, volnux.cli.__main__", "run", "-h")
    assert (ended.status, ended.out, ended.err) == (0, "", "")
