"""`volnux dashboards export`: the dashboards and alerts that volnux comes with, as files."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

#: The `index_prefix` of a publisher that was not told another, and what the shipped file is made for.
PREFIX: Final = "volnux-telemetry"
GRAFANA: Final = "prometheus_dashboard.json"
KIBANA: Final = "elasticsearch_dashboard.ndjson"
ALERTS: Final = "alerts.rules.yml"
_USES: Final = {
    GRAFANA: "Grafana: Dashboards, New, Import",
    KIBANA: "Kibana: Stack Management, Saved Objects, Import",
    ALERTS: "Prometheus: rule_files",
}
#: What no name of an index holds.
_BAD: Final = re.compile(r'[A-Z\\/*?"<>|\s,#:\x00-\x1f\x7f]')


def wrong_prefix(prefix: str) -> str | None:
    """Return what speaks against beginning the names of indices like that; None if nothing does."""
    if not prefix or prefix[0] in "-_+." or len(prefix) > 200 or _BAD.search(prefix):
        return (
            f"{prefix!r} cannot begin the name of an index: take lower-case letters, digits "
            "and hyphens"
        )
    return None


@dataclass(frozen=True)
class Export:
    """What `volnux dashboards export` was asked to do; calling it does it.

    Attributes:
        folder: where to write; it is made if it is not there.
        names: the files to write.
        prefix: the `index_prefix` whose indices Kibana looks at.
        overwrites: whether a file that is there may be replaced.
    """

    folder: str
    names: tuple[str, ...]
    prefix: str = PREFIX
    overwrites: bool = False

    def __call__(self) -> int:
        """Write the files; return 0, or 2 if nothing or not everything was written."""
        paths = {name: os.path.join(self.folder, name) for name in self.names}
        if not self.overwrites:
            for path in paths.values():
                if os.path.lexists(path):
                    return _fail(f"{path!r} is there already: --force replaces it")
        try:
            os.makedirs(self.folder, exist_ok=True)
        except OSError as error:
            return _fail(f"can't make the folder {self.folder!r}: {error.strerror}")
        for name, path in paths.items():
            try:
                with open(path, "wb" if self.overwrites else "xb") as file:
                    file.write(self._content(name))
            except OSError as error:
                return _fail(f"can't write {path!r}: {error.strerror}")
            sys.stdout.write(f"{path}  ({_USES[name]})\n")
        return 0

    def _content(self, name: str) -> bytes:
        content = shipped(name)
        if name == KIBANA:
            return content.replace(PREFIX.encode(), self.prefix.encode())
        return content


def shipped(name: str) -> bytes:
    """Return a file that volnux comes with."""
    package = files("volnux")
    inside = package / "dashboards" / name
    if not inside.is_file():  # in a clone they are where its readers look for them
        inside = package / ".." / ".." / "examples" / "telemetry" / name
    return inside.read_bytes()


def _fail(text: str) -> int:
    sys.stderr.write(f"volnux dashboards export: {text}\n")
    return 2
