"""Programs run by `volnux run` and by `python`, and files of records."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from volnux.telemetry import EventMetrics, NetworkMetrics

SNAPSHOTS = Path(__file__).parent / "snapshots"
#: 2026-01-02 03:04:05 UTC.
EPOCH = 1_767_323_045.0


@dataclass
class Ended:
    """How a program ended, and what it wrote."""

    status: int
    out: str
    err: str

    @property
    def report(self) -> dict[str, Any]:
        """The report at the end of its standard error, written with `--format json`."""
        return json.loads(self.err[self.err.index('{\n  "schema"') :])


class Machine:
    """Runs programs in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {
            name: value
            for name, value in os.environ.items()
            if name not in {"NO_COLOR", "FORCE_COLOR", "COLUMNS", "VOLNUX_RUN_DIR"}
        }

    def write(self, text: str, name: str = "program.py") -> str:
        """Write a program; return its name."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        return name

    def start(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        """Start Python with these arguments."""
        return subprocess.Popen(
            [sys.executable, *words],
            cwd=self.folder,
            env=self.env,
            stdin=options.get("stdin", subprocess.DEVNULL),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            start_new_session=options.get("start_new_session", False),
        )

    def python(self, *words: str, stdin: str | None = None) -> Ended:
        """Run Python with these arguments."""
        return self._ended(self._begun(words, stdin), stdin)

    def volnux(self, *words: str, stdin: str | None = None) -> Ended:
        """Run `volnux` with these arguments."""
        return self.python("-m", "volnux", *words, stdin=stdin)

    def both(self, *words: str, stdin: str | None = None) -> tuple[Ended, Ended]:
        """Run the same program plainly and under `volnux run`, at the same time."""
        plain = self._begun(words, stdin)
        ours = self._begun(("-m", "volnux", "run", "--no-report", *words), stdin)
        return self._ended(plain, stdin), self._ended(ours, stdin)

    def counted(self, *words: str) -> dict[str, Any]:
        """Run a program under `volnux run`; return its report."""
        ended = self.volnux("run", "--format", "json", *words)
        assert ended.status == 0, ended.err
        return ended.report

    def _begun(self, words: tuple[str, ...], stdin: str | None) -> subprocess.Popen[str]:
        return self.start(*words, stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE)

    def _ended(self, process: subprocess.Popen[str], stdin: str | None) -> Ended:
        out, err = process.communicate(stdin, timeout=120)
        return Ended(process.returncode, out, err)


@pytest.fixture(name="machine")
def _machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


class Lines:
    """A file of records under construction."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path)
        self._count = 0

    def event(self, event_name: str = "step", **fields: Any) -> str:
        """Add an event; return its identifier."""
        self._count += 1
        values = {"task_id": f"{self._count:016x}", "process_id": 10, "duration": 0.25, **fields}
        values.setdefault("start_time", EPOCH + self._count)
        values.setdefault("end_time", values["start_time"] + values["duration"])
        self.add(EventMetrics(event_name=event_name, **values).to_dict())
        return values["task_id"]

    def op(self, host: str = "api.internal", **fields: Any) -> str:
        """Add a network operation; return its identifier."""
        self._count += 1
        values = {"task_id": f"{self._count:016x}", "process_id": 10, "latency": 0.05, **fields}
        values.setdefault("start_time", EPOCH + self._count)
        values.setdefault("end_time", values["start_time"] + values["latency"])
        self.add(NetworkMetrics(host=host, **values).to_dict())
        return values["task_id"]

    def add(self, data: Any) -> None:
        """Add one line of JSON."""
        self.raw(json.dumps(data).encode() + b"\n")

    def raw(self, data: bytes) -> None:
        """Add bytes as they are."""
        with self.path.open("ab") as file:
            file.write(data)


@pytest.fixture(name="lines")
def _lines(tmp_path: Path) -> Lines:
    return Lines(tmp_path / "records.jsonl")


@pytest.fixture(name="snapshot")
def _snapshot():
    """Compares a text with a file; VOLNUX_UPDATE_SNAPSHOTS=1 writes the file instead."""

    def check(name: str, text: str) -> None:
        path = SNAPSHOTS / name
        if os.environ.get("VOLNUX_UPDATE_SNAPSHOTS"):
            SNAPSHOTS.mkdir(exist_ok=True)
            path.write_text(text, "utf-8")
        assert text == path.read_text("utf-8")

    return check
