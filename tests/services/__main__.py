"""``python -m tests.services up|down|status [NAME...]``: the real servers that integration tests talk to.

``up`` installs what is missing into a cache folder (``VOLNUX_SERVICES_CACHE``, else
``~/.cache/volnux-services``), starts the servers on free ports of the loopback, waits until they are ready, and
prints the variables by which tests find them; ``eval "$(python -m tests.services up)"`` sets them. Servers that run
already are used again. ``down`` stops them. ``status`` says what runs, and prints the variables of that. Without
names, each of these is about all servers.

The exit status is 1 if a server could not be started, or if one that ``status`` is asked for does not run.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from typing import TYPE_CHECKING

from tests.services import _fleet, _state
from tests.services._catalogue import SERVERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.services._server import Server
    from tests.services._state import Running


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what was asked for with the servers that were named."""
    if sys.platform != "linux":
        sys.exit("The servers run in Linux only: use a container, or a virtual machine.")
    options = _parser().parse_args(arguments)
    unknown = [name for name in options.names if name not in SERVERS]
    if unknown:
        sys.exit(f"there is no server {', '.join(unknown)}; there are {', '.join(SERVERS)}")
    return COMMANDS[options.command]([SERVERS[name] for name in options.names or SERVERS])


def up(servers: Sequence[Server]) -> int:
    """Start servers and print how to find them."""
    running = _fleet.up(servers)
    _print_exports(running)
    return int(len(running) < len(servers))


def down(servers: Sequence[Server]) -> int:
    """Stop servers."""
    _fleet.down(servers)
    return 0


def status(servers: Sequence[Server]) -> int:
    """Say what runs, in comments, so that this can be read by a shell as well."""
    found = {server.name: _state.load(server.name) for server in servers}
    for name, running in found.items():
        if running is None:
            print(f"# {name} does not run")
            continue
        print(
            f"# {name} runs from {running.distribution}, process {running.process.pid}, in {running.folder}"
        )
        _print_exports([running])
    return int(None in found.values())


COMMANDS = {"up": up, "down": down, "status": status}


def _print_exports(servers: Iterable[Running]) -> None:
    for running in servers:
        for name, value in running.variables.items():
            print(f"export {name}={shlex.quote(value)}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m tests.services",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SERVERS))
    return parser


if __name__ == "__main__":
    # Ctrl-C ends this at once: whatever has been started is written down for the next time.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(main())
