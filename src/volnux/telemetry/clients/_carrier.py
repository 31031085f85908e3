"""What the socket of an HTTP connection carries."""

from __future__ import annotations

from ssl import SSLSocket
from weakref import ref

from volnux.telemetry.clients._socket import IDLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from volnux.telemetry.clients._socket import Account


class Carrier:
    """What a connection's socket carries, an exchange at a time.

    Attributes:
        exchange: a weak reference to it: to whom it matters, the connection or the response's file, has it.
        is_tls: whether the socket is one of TLS.
        is_used: whether it has carried an exchange before.
        is_copy: whether it is a copy of the socket, which may be closed before the exchange is over.
    """

    __slots__ = ("_sock", "exchange", "is_copy", "is_tls", "is_used")

    def __init__(self, sock: Any) -> None:
        self.is_tls = isinstance(sock, SSLSocket)
        self.is_used = self.is_copy = False
        number = id(sock)
        self._sock = ref(sock, lambda _: CARRIERS.pop(number, None))
        self.exchange: Callable[[], Account | None] = nobody
        CARRIERS[number] = self

    @property
    def account(self) -> Account:
        """Where bytes count."""
        return self.exchange() or IDLE


def nobody() -> None:
    return None


#: By the identity of the socket, for as long as it is there and open.
CARRIERS: dict[int, Carrier] = {}
