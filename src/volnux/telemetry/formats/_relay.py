"""From forked children to the process that they come from, by a pair of sockets."""

from __future__ import annotations

import json
import socket
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: Seconds that a child waits where its parent does not get on with reading.
PATIENCE = 5.0
#: Bytes of a message: less than the kernel lets pass at once.
_LARGEST = 1 << 16


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

    def send(self, items: list[Any]) -> int:
        """Send items to the parent, in as many messages as it takes; return how many have arrived, from the first on.

        Raises:
            OSError: none, since it is gone or does not read.
            ValueError: none, since the first is larger than a message.
        """
        done, size = 0, len(items)
        while done < len(items):
            message = json.dumps(items[done : done + size], separators=(",", ":")).encode()
            if len(message) > _LARGEST:
                if size > 1:
                    size = (size + 1) // 2
                    continue
                if not done:
                    raise ValueError("an item is larger than a message")
                break
            try:
                self._writing.send(message)
            except OSError:
                if not done:
                    raise
                break
            done = min(done + size, len(items))
        return done

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
            self._receive(json.loads(message))  # nobody but our own children writes here
