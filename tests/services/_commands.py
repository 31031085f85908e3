"""Running the package managers that servers come from."""

from __future__ import annotations

import os
import subprocess
import sys
from shutil import which
from typing import TYPE_CHECKING

from tests.services._errors import ServiceError, with_tail

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

#: Seconds that one command may take: a cold build of Prometheus takes five minutes on two cores.
LIMIT = 1800
#: How to get a program that is missing.
ORIGINS = {
    "mvn": "install Maven (Debian: apt install maven)",
    "go": "install Go 1.21 or newer, which gets itself a newer one where a server needs it",
    "setpriv": "install it (Debian: apt install util-linux), or do not run this as root",
}


def say(text: str) -> None:
    """Write one line of progress, in one piece, as threads do so at the same time."""
    sys.stderr.write(f"{text}\n")


def program(name: str) -> str:
    """The path of a program, or an error that says how to get it."""
    found = which(name)
    if found is None:
        raise ServiceError(f"{name} is not on the PATH: {ORIGINS[name]}")
    return found


def run(command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None) -> None:
    """Run a command in *folder*; it gives way to everything else on the machine.

    Raises:
        ServiceError: when it fails or takes too long; with the end of what it said.
    """
    line = ["nice", "-n", "19", program(command[0]), *command[1:]]
    log = folder / "install.log"
    with log.open("ab") as output:
        try:
            status = subprocess.call(
                line,
                cwd=folder,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=LIMIT,
            )
        except subprocess.TimeoutExpired:
            text = f"{' '.join(command)}: not done after {LIMIT} s; is the network slow? Try again."
            raise ServiceError(with_tail(text, log)) from None
    if status:
        text = f"{' '.join(command)}: failed with status {status}; when that is mended, try again."
        raise ServiceError(with_tail(text, log))
