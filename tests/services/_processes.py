"""Servers as groups of processes, which outlive the run that starts them.

A process id alone says little, as it is given away again: with it goes when that process began.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.services._errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PROCESSES = Path("/proc")
#: Seconds that a group has to end by itself, and how often it is looked at.
PATIENCE, PAUSE = 20.0, 0.1


class Process(NamedTuple):
    """The first process of a group.

    Attributes:
        pid: its id, and its group's.
        began: the boot of the machine, and the kernel's count of ticks from there.
    """

    pid: int
    began: str


class _Entry(NamedTuple):
    """What the kernel says of a process that is alive."""

    group: int
    ticks: str


def start(command: Sequence[str], environment: Mapping[str, str], log: Path) -> Process:
    """Start a server in a group of its own; what it says goes to *log*."""
    with log.open("ab") as output:
        started = subprocess.Popen(
            command,
            cwd=log.parent,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    # It outlives this run, which is not to warn of that.
    started.returncode = 0
    return Process(started.pid, _began(started.pid))


def is_running(process: Process) -> bool:
    """Whether it is alive, and not another one that got its id."""
    began = _began(process.pid)
    return bool(began) and began == process.began


def stop(process: Process, patience: float = PATIENCE) -> None:
    """End a group: ask, wait, then kill.

    Raises:
        ServiceError: when even that does not end it.
    """
    if not is_running(process):
        return
    for sign, seconds in (signal.SIGTERM, patience), (signal.SIGKILL, PATIENCE):
        try:
            os.killpg(process.pid, sign)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not _has_members(process.pid):
                return
            time.sleep(PAUSE)
    raise ServiceError(f"the processes of group {process.pid} do not end, not even when killed")


def _began(pid: int) -> str:
    """When a process began; empty if it is not alive."""
    entry = _entry(str(pid))
    boot = PROCESSES / "sys" / "kernel" / "random" / "boot_id"
    return f"{boot.read_text('ascii').strip()} {entry.ticks}" if entry else ""


def _has_members(group: int) -> bool:
    entries = (_entry(name) for name in os.listdir(PROCESSES) if name.isdecimal())
    return any(entry and entry.group == group for entry in entries)


def _entry(pid: str) -> _Entry | None:
    """A process, unless it is gone, or dead and only not yet taken note of by its parent."""
    try:
        text = (PROCESSES / pid / "stat").read_text("utf-8", "replace")
    except OSError:
        return None
    # The second field is the program's name in brackets, in which anything may stand.
    state, _, group, *others = text[text.rindex(")") + 2 :].split()
    return None if state in "ZX" else _Entry(int(group), others[16])
