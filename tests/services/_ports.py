"""Free ports on the loopback."""

from __future__ import annotations

import random
import socket

LOOPBACK = "127.0.0.1"
#: Below those that the kernel gives to whoever asks for any: none is taken before its server binds.
RANGE = range(20_000, 32_000)


def free_ports(count: int) -> list[int]:
    """So many ports that nobody listens on."""
    shuffled = random.SystemRandom().sample(RANGE, len(RANGE))
    free = (port for port in shuffled if _is_free(port))
    return [next(free) for _ in range(count)]


def _is_free(port: int) -> bool:
    with socket.socket() as sock:
        try:
            sock.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
