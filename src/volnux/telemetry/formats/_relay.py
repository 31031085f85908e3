"""From forked children to the process that they come from, by a pair of sockets."""

from __future__ import annotations

import errno
import json
import socket
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: Seconds that a child waits where its parent does not get on with reading.
PATIENCE = 5.0
_LARGEST = 1 << 20


class Relay:
    """Made before a fork: whatever children `send`, the parent's thread hands to `receive`.

    A message arrives whole or not at all, also from a child that is killed, and messages of several
    children do not mix.

    Args:
        receive: called in a thread of the parent's with what `send` was given, as JSON has it.
    """

    def __init__(self, receive: Callable[[list[Any]], None]) -> None:
        self._receive = receive
        self._reading, self._writing = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._writing.settimeout(PATIENCE)
        self._thread = threading.Thread(target=self._read, name="volnux-relay", daemon=True)
        self._thread.start()

    def send(self, items: list[Any]) -> None:
        """Send items to the parent, in as many messages as it takes.

        Raises:
            OSError: it is gone, or does not read.
        """
        message = json.dumps(items, separators=(",", ":")).encode()
        try:
            self._writing.send(message)
        except OSError as error:
            if error.errno not in (errno.EMSGSIZE, errno.ENOBUFS) or len(items) == 1:
                raise
            middle = len(items) // 2
            self.send(items[:middle])
            self.send(items[middle:])

    def close(self) -> None:
        """End it: children that send get an error from now on."""
        try:
            self._writing.send(b"")
            self._thread.join()
        except OSError:  # full of what nobody reads any more: the thread ends with the process
            pass
        self._reading.close()
        self._writing.close()

    def leave_to_parent(self) -> None:
        """In a child: let go of the end that is read from, so that it is noticed when the parent is gone."""
        self._reading.close()

    def _read(self) -> None:
        while message := self._reading.recv(_LARGEST):
            try:
                self._receive(json.loads(message))
            except Exception:  # noqa: BLE001, S112  # nobody but our own children writes here
                continue
