"""run.py sets a clone up, once, and says what is missing when it cannot."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def script(monkeypatch, tmp_path):
    """A fresh copy of run.py as a module, in a folder of its own, that starts no process."""
    copy = tmp_path / "run.py"
    copy.write_bytes((ROOT / "run.py").read_bytes())
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    spec = importlib.util.spec_from_file_location("run_script", copy)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.started = []

    def call(command, **_):
        module.started.append(command)
        module.BIN.mkdir(parents=True, exist_ok=True)
        return 0

    def become(path, command):
        module.started.append(command)

    monkeypatch.setattr(module.subprocess, "call", call)
    monkeypatch.setattr(module.subprocess, "check_call", call)
    monkeypatch.setattr(module.os, "execv", become)
    monkeypatch.setattr(module.os, "name", "posix")
    monkeypatch.chdir(tmp_path)
    return module


def test_the_first_run_makes_the_environment(script):
    """A virtual environment, a pip that knows groups, what the command needs, the command."""
    script.main(["tests", "-q"])
    venv, pip, install, command = script.started
    assert venv[:3] == [sys.executable, "-m", "venv"]
    assert pip[-1] == "pip>=25.1"
    assert install[-4:] == ["-e", ".[cli]", "--group", "test"]
    assert command == [script.PYTHON, "-m", "pytest", "-n", "auto", "--dist", "worksteal", "-q"]


def test_the_second_run_starts_at_once(script):
    """Nothing is installed again."""
    script.main(["demo"])
    script.started.clear()
    script.main(["demo"])
    [command] = script.started
    assert command[1:] == ["run", "--report", "examples/telemetry/pipeline.py"]


def test_the_other_command_adds_to_the_environment(script):
    """Both commands share one environment."""
    script.main(["demo"])
    script.started.clear()
    script.main(["tests"])
    install, _ = script.started
    assert install[-2:] == ["--group", "test"]


def test_changed_requirements_are_installed(script, tmp_path):
    """A pull that changes pyproject.toml takes effect."""
    script.main(["demo"])
    script.started.clear()
    with (tmp_path / "pyproject.toml").open("a") as file:
        file.write("# changed\n")
    script.main(["demo"])
    assert len(script.started) == 2


def test_an_interrupted_setup_starts_over(script):
    """Half an environment is not taken for a whole one."""
    script.VENV.mkdir(parents=True)
    script.main(["demo"])
    assert script.started[0][1:3] == ["-m", "venv"]


def test_a_failed_install_ends_with_its_status(script, monkeypatch, capsys):
    """The status of pip is the status of run.py, and the command can be read."""
    monkeypatch.setattr(script.subprocess, "call", lambda command, **_: 7)
    with pytest.raises(SystemExit) as stopped:
        script.main(["demo"])
    assert stopped.value.code == 7
    assert "installing failed" in capsys.readouterr().err


def test_an_old_python_is_told_so(script, monkeypatch, capsys):
    """The message has the version that is needed and the one that is there."""
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    with pytest.raises(SystemExit) as stopped:
        script.main(["demo"])
    assert stopped.value.code == 2
    assert "volnux needs Python 3.10 or newer" in capsys.readouterr().err


def test_a_missing_venv_module_is_named(script, monkeypatch, capsys):
    """Debian's Python comes without it; the message has the command that installs it."""
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    with pytest.raises(SystemExit) as stopped:
        script.main(["tests"])
    assert stopped.value.code == 2
    assert "apt install python3-venv" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["test"]])
def test_an_unknown_command_lists_the_known_ones(script, capsys, arguments):
    """A typing mistake costs nothing."""
    with pytest.raises(SystemExit) as stopped:
        script.main(arguments)
    assert stopped.value.code == 2
    assert "python3 run.py demo|tests" in capsys.readouterr().err
