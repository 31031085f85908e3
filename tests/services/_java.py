"""Finding a Java that is new enough."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from tests.services._errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterator

MACHINES = Path("/usr/lib/jvm")


def java_home(oldest: int) -> Path:
    """The oldest Java that will do: servers are built before the newest ones are out."""
    fitting = sorted((version, home) for version, home in _found() if version >= oldest)
    if not fitting:
        raise ServiceError(
            f"it needs Java {oldest} or newer, and none is at JAVA_HOME or in {MACHINES}: install "
            f"openjdk-{oldest}-jre-headless or temurin-{oldest}-jdk, or set JAVA_HOME"
        )
    return fitting[0][1]


def _found() -> Iterator[tuple[int, Path]]:
    chosen = os.environ.get("JAVA_HOME")
    for home in [*([Path(chosen)] if chosen else []), *MACHINES.glob("*")]:
        release = home / "release"
        if (home / "bin" / "java").exists() and release.is_file():
            named = re.search(r'JAVA_VERSION="(\d+)', release.read_text("utf-8"))
            if named:
                yield int(named[1]), home
