"""Starting and stopping several servers at a time."""

from __future__ import annotations

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from tests.services import _processes, _state
from tests.services._cache import folder_of_run, installed, locked, root
from tests.services._commands import say
from tests.services._errors import ServiceError, with_tail
from tests.services._server import PREFIX
from tests.services._state import Running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.services._server import Server

#: Seconds between two looks at a server that is not ready.
PAUSE = 0.1
LOG = "log"


def up(servers: Iterable[Server]) -> list[Running]:
    """Start the servers that do not run, and return all that are ready; failures are told."""
    return _at_once(servers, start)


def down(servers: Iterable[Server]) -> list[Running]:
    """Stop the servers that run, and return them."""
    return _at_once(servers, stop)


def start(server: Server) -> Running:
    """Return the server that runs, else a new one, when it is ready.

    Raises:
        ServiceError: when it cannot be installed or started, or does not get ready in time.
    """
    with locked(server.name):
        running = _state.load(server.name)
        if running and running.distribution != server.distribution:
            _end(running)
            running = None
        verb = "runs already" if running else "started"
        running = running or _started(server)
        before = time.monotonic()
        _wait_until_ready(server, running)
        say(f"{server.name}: {verb}, ready after {time.monotonic() - before:.1f} s")
        return running


def stop(server: Server) -> Running | None:
    """Stop the server and return what it was, if it runs."""
    with locked(server.name):
        running = _state.load(server.name)
        if running:
            _end(running)
            say(f"{server.name}: stopped")
        _state.forget(server.name)
        return running


def _started(server: Server) -> Running:
    distribution = installed(server.distribution, server.install)
    folder = folder_of_run(server.name)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    launch = server.launch(distribution, folder)
    say(f"{server.name}: starting …")
    process = _processes.start(launch.command, launch.environment, folder / LOG)
    variables = {PREFIX + name: value for name, value in launch.variables.items()}
    running = Running(server.name, server.distribution, process, str(folder), variables)
    # Before it is ready: whatever becomes of this run, the next one knows of the process.
    _state.save(running)
    return running


def _wait_until_ready(server: Server, running: Running) -> None:
    deadline = time.monotonic() + server.limit
    while not server.is_ready(running.variables):
        if not _processes.is_running(running.process):
            raise ServiceError(_failed(running, "it ended before it was ready"))
        if time.monotonic() > deadline:
            _end(running)
            raise ServiceError(_failed(running, f"it was not ready within {server.limit:.0f} s"))
        time.sleep(PAUSE)


def _failed(running: Running, text: str) -> str:
    again = f"python -m tests.services up {running.name}"
    cure = f"If it was installed badly, delete {root() / running.distribution}; then: {again}"
    return with_tail(f"{text}. {cure}", Path(running.folder) / LOG)


def _end(running: Running) -> None:
    _processes.stop(running.process)
    _state.forget(running.name)


def _at_once(servers: Iterable[Server], do: Callable[[Server], Running | None]) -> list[Running]:
    def attempt(server: Server) -> Running | None:
        try:
            return do(server)
        except (ServiceError, OSError) as error:
            say(f"{server.name}: {error}")
            return None

    chosen = list(servers)
    with ThreadPoolExecutor(len(chosen)) as threads:
        return [one for one in threads.map(attempt, chosen) if one]
