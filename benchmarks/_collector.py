"""A collector of OpenTelemetry that counts what it gets, for as long as a block lasts.

It is the one that ``python -m tests.services up collector`` installs. That one writes out every span, which takes
longer than sending it: this one writes how many there were in each request.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from tests.services import _http
from tests.services._cache import root
from tests.services._collector import PROGRAM, Collector
from tests.services._ports import LOOPBACK, free_ports

if TYPE_CHECKING:
    from types import TracebackType

_COUNT = re.compile(rb'"spans": (\d+)')


def program() -> Path:
    """Where the collector is, if it is installed."""
    return root() / Collector.distribution / PROGRAM


class Counting:
    """The collector's process: its address, and how many spans it has got."""

    def __enter__(self) -> Counting:
        self._folder = TemporaryDirectory()
        folder = Path(self._folder.name)
        (port,) = free_ports(1)
        self.url = f"http://{LOOPBACK}:{port}"
        self._output = folder / "output"
        pipeline = {"receivers": ["otlp"], "exporters": ["debug"]}
        # By itself it leaves out most of what it has to say when there is much.
        logs = {"output_paths": [str(self._output)], "sampling": {"enabled": False}}
        level = {"metrics": {"level": "none"}, "logs": logs}
        settings = {
            "receivers": {"otlp": {"protocols": {"http": {"endpoint": f"{LOOPBACK}:{port}"}}}},
            "exporters": {"debug": {"verbosity": "basic"}},
            "service": {"telemetry": level, "pipelines": {"traces": pipeline}},
        }
        (folder / "collector.json").write_text(json.dumps(settings), "utf-8")
        command = [str(program()), f"--config=file:{folder / 'collector.json'}"]
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 30
        while _http.status(f"{self.url}/v1/traces") != 405:
            if time.monotonic() > deadline or self._process.poll() is not None:
                self.__exit__(None, None, None)
                raise RuntimeError("the collector does not start")
            time.sleep(0.1)
        return self

    def spans(self) -> int:
        """How many spans have come so far."""
        return sum(map(int, _COUNT.findall(self._output.read_bytes())))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.wait()
        self._folder.cleanup()
