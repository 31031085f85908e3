"""What sockets are given to send and to fill, as bytes that can be counted."""

from __future__ import annotations

import select
import socket
from math import ceil

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

#: Looks at what came in without taking it, or at what had been sent: such bytes do not count.
APART = int(socket.MSG_PEEK) | int(getattr(socket, "MSG_ERRQUEUE", 0))
#: Bytes that went past without being seen: as many as anybody asks for.
UNSEEN = memoryview(b"")


class Watched:
    """A file that remembers where it was set to."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.place: int | None = None

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._file, name)
        return self._seek if name == "seek" else found

    def _seek(self, place: int, *args: Any) -> Any:
        self.place = place
        return self._file.seek(place, *args)


def bytes_of(data: Any) -> memoryview:
    """Return what can be sent as plain bytes, to be given back."""
    return memoryview(data).cast("B")


def is_ready_to_send(sock: Any, seconds: float) -> bool:
    """Wait until a socket can send, or says why it cannot; return False if it takes longer."""
    number: int = sock.fileno()
    if seconds <= 0 or number < 0:
        return number < 0
    if not hasattr(select, "poll"):  # as in Windows, where `select` takes a socket of any number
        return any(select.select((), (number,), (number,), seconds))
    look = select.poll()
    look.register(number, select.POLLOUT)
    return bool(look.poll(ceil(seconds * 1000)))


def spread(count_bytes: Callable[[int, Any], None], count: int, parts: Iterable[Any]) -> None:
    """Count bytes that lie in several buffers."""
    for part in parts:
        step = min(count, memoryview(part).nbytes)
        count_bytes(step, part)
        count -= step
        if not count:
            return
    if count:
        count_bytes(count, UNSEEN)
