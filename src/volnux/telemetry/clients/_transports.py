"""Transports and protocols that count: transparent proxies around those of asyncio and uvloop.

What a transport is given counts as sent at once. What it still held when the connection was lost is
taken off again: it did not cross. What comes counts when the loop hands it to the protocol. With TLS
both are the plain bytes.
"""

from __future__ import annotations

import sys
from types import MethodType
from weakref import WeakKeyDictionary

from volnux.telemetry._proxy import Proxy, proxy_class
from volnux.telemetry._records import Status
from volnux.telemetry.clients._connection import Connection, ConnectionExchange, kind_of, peer_of
from volnux.telemetry.clients._kernel import is_accepted, taken_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class TransportConnection(Connection):
    """The account of a connection that a transport carries."""

    __slots__ = (
        "_given",
        "_held",
        "_is_aborted",
        "_is_closing",
        "_sock",
        "_taken",
        "_taken_before",
    )

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name or "")
        #: Bytes that transports were given, and how many of them they held when last looked at.
        self._given = self._held = 0
        #: Bytes that the kernel had taken before and at the last; None where it does not say.
        self._taken_before: int | None = None
        self._taken: int | None = None
        self._is_closing = self._is_aborted = False
        #: The loop's own, for a transport that is being closed does not always tell any more.
        self._sock: Any = None

    def made(self, transport: Any) -> None:
        """Say what carries it, from now on or since before; the operation begins if it has not."""
        self._given = self._held = 0
        self._taken = None
        self._is_closing = self._is_aborted = False
        sock = self._sock = transport.get_extra_info("socket")
        self.name = self.name or (kind_of(sock) if sock is not None else "pipe")
        peer = transport.get_extra_info("peername")
        if not self.is_open and (peer is not None or self.name != "udp"):
            self.begin(peer_of(peer))
            self._is_accepted = is_accepted(sock)
        if transport.get_extra_info("sslcontext") is not None:
            self.upgraded()
            return
        taken = taken_bytes(sock)
        if taken is not None:
            self._taken_before = taken + held_by(transport)

    def spoken(self, address: Any) -> None:
        """Say to or from whom a datagram went, of a socket that is not connected."""
        if address is not None and not self.is_open and not self._is_closing:
            self.begin(peer_of(address))

    def upgraded(self) -> None:
        """Say that from here on it is TLS: the kernel's count tells nothing of plain bytes any more."""
        super().upgraded()
        self._taken_before = None

    # --- what crosses ---------------------------------------------------------------------------

    def given(self, transport: Any, count: int) -> None:
        """Count bytes that a transport has taken."""
        self._given += count
        raw = self._raw
        if raw is not None and raw[5] is None:
            raw[9] += count
        self.look(transport)

    def came(self, transport: Any, count: int) -> None:
        """Count bytes that the loop hands to the protocol."""
        raw = self._raw
        if raw is not None and raw[5] is None:
            if raw[11] is None and count:
                now = raw[1].now
                raw[11] = now()
            raw[10] += count
        if self._held:
            self.look(transport)

    def caught_up(self, transport: Any) -> bool:
        """Count what went past the transport; return False if the kernel does not say how much."""
        taken = None if self._taken_before is None else taken_bytes(self._sock)
        if taken is None or self._taken_before is None:
            return False
        missing = taken - self._taken_before - (self._given - held_by(transport))
        if missing > 0:
            self.given(transport, missing)
        return True

    def look(self, transport: Any) -> None:
        """See what a transport holds; not where the kernel says better what has left it."""
        if self._taken_before is None:
            self._held = held_by(transport)

    def _take_off(self, count: int) -> None:
        """Take off what has not crossed, from what was sent last."""
        for op in (*reversed(self._open), self._op):
            raw = None if op is None else op._raw
            if raw is not None and raw[5] is None:
                step = min(count, raw[9])
                raw[9] -= step
                count -= step

    # --- its end --------------------------------------------------------------------------------

    def failed(self, error: BaseException) -> None:
        """Remember what a call of the program failed with, if that lies with the connection."""
        if not self._is_closing and (
            isinstance(error, (OSError, EOFError)) or not isinstance(error, Exception)
        ):
            self.trouble(error)

    def mended(self) -> None:
        """Say that a call of the program has gone well, which makes good what failed before."""
        if not self._is_closing:
            self._trouble = None

    def closing(self) -> None:
        """Say that the program closes it: what troubles it now stays so, and nothing later does."""
        error = sys.exc_info()[1]
        was_cancelled = self._trouble is not None and self._trouble[0] == Status.CANCELLED
        if was_cancelled and isinstance(error, Exception) and not self._is_closing:
            # A timeout cancels who waits, and is raised further out: the latter is what it was.
            self.trouble(error)
        self._is_closing = True

    def aborting(self, transport: Any) -> None:
        """Say that the program closes it without waiting for what the transport holds."""
        self.closing()
        self._held = held_by(transport)
        self._is_aborted = True

    def about_to_lose(self, transport: Any) -> None:
        """Ask the kernel and the transport once more, while they can be asked."""
        if self.is_open and self._sock is not None:
            self.about_to_close(self._sock)
            self._taken = taken_bytes(self._sock)
            # Zero says little: many a transport has forgotten by now what it held.
            self._held = held_by(transport) or self._held

    def lost(self, error: BaseException | None) -> None:
        """End the operation with what the loop says."""
        if self._taken is not None and self._taken_before is not None:
            self._take_off(max(0, self._given - (self._taken - self._taken_before)))
        elif error is not None or self._is_aborted:
            self._take_off(self._held)
        self._sock = None
        self.end(error)

    def __del__(self) -> None:
        # Neither closed nor lost: the loop is gone, or nobody has kept anything of it.
        try:
            self.end()
        except (AttributeError, TypeError):
            pass  # half of the interpreter is gone


class TracedTransport(Proxy):
    """A transport that counts what it is given."""

    _self_connection: TransportConnection
    #: See `CountedSocket`.
    __getattribute__ = object.__getattribute__

    def __init__(self, transport: Any, connection: TransportConnection) -> None:
        super().__init__(transport)
        self._self_connection = connection

    def exchange(self, operation: str) -> ConnectionExchange:
        """Have what crosses in a with-block count as an operation of its own; see `traced_protocol`."""
        return ConnectionExchange(self._self_connection, operation)

    def close(self) -> None:
        self._self_connection.closing()
        self.__wrapped__.close()

    def abort(self) -> None:
        self._self_connection.aborting(self.__wrapped__)
        self.__wrapped__.abort()

    def set_protocol(self, protocol: Any) -> None:
        self.__wrapped__.set_protocol(traced_of(protocol, self._self_connection))

    def get_protocol(self) -> Any:
        protocol = self.__wrapped__.get_protocol()
        return protocol.__wrapped__ if isinstance(protocol, TracedProtocol) else protocol

    def _self_is_deaf(self) -> bool:
        """Return whether it lets everything drop: it is closed, and has nothing left to send."""
        transport = self.__wrapped__
        return transport.is_closing() and not held_by(transport)


def _write(self: Any, data: Any) -> None:
    transport, is_deaf = self.__wrapped__, self._self_is_deaf()
    transport.write(data)
    if not is_deaf:
        self._self_connection.given(transport, _size_of(data))


def _writelines(self: Any, lines: Any) -> None:
    transport, is_deaf = self.__wrapped__, self._self_is_deaf()
    parts = list(lines)  # it may be an iterator, and is needed twice
    transport.writelines(parts)
    if not is_deaf:
        self._self_connection.given(transport, sum(map(_size_of, parts)))


def _sendto(self: Any, data: Any, addr: Any = None) -> None:
    transport, is_deaf = self.__wrapped__, self._self_is_deaf()
    self._self_connection.spoken(addr)
    transport.sendto(data, addr)
    if not is_deaf:
        self._self_connection.given(transport, _size_of(data))


class TracedProtocol(Proxy):
    """A protocol that counts what it is handed, and gives the program a transport that counts."""

    _self_connection: TransportConnection
    #: See `CountedSocket`.
    __getattribute__ = object.__getattribute__

    def __init__(self, protocol: Any, connection: TransportConnection) -> None:
        super().__init__(protocol)
        self._self_connection = connection
        self._self_transport: Any = None

    def _self_traced(self, transport: Any) -> Any:
        """Return the transport as the program is to have it, the same at every call."""
        if isinstance(transport, TracedTransport):
            return transport
        traced = self._self_transport
        if traced is None or traced.__wrapped__ is not transport:
            kind: Any = proxy_class(TracedTransport, type(transport), _TRANSPORT, _transports)
            traced = self._self_transport = kind(transport, self._self_connection)
        return traced

    @property
    def _self_bare(self) -> Any:
        return None if self._self_transport is None else self._self_transport.__wrapped__

    def connection_made(self, transport: Any) -> None:
        self._self_connection.made(transport)
        self.__wrapped__.connection_made(self._self_traced(transport))

    @property
    def connection_lost(self) -> Any:
        # Looked up while the socket is still open, but under TLS called only when it is not.
        self._self_connection.about_to_lose(self._self_bare)
        return MethodType(_lost, self)


def _lost(self: Any, error: BaseException | None) -> None:
    self._self_connection.lost(error)
    self._self_transport = None
    self.__wrapped__.connection_lost(error)


def _data_received(self: Any, data: Any) -> None:
    self._self_connection.came(self._self_bare, len(data))
    self.__wrapped__.data_received(data)


def _buffer_updated(self: Any, count: int) -> None:
    self._self_connection.came(self._self_bare, count)
    self.__wrapped__.buffer_updated(count)


def _resume_writing(self: Any) -> None:
    self._self_connection.look(self._self_bare)
    self.__wrapped__.resume_writing()


def _datagram_received(self: Any, data: Any, address: Any) -> None:
    self._self_connection.spoken(address)
    self._self_connection.came(self._self_bare, len(data))
    self.__wrapped__.datagram_received(data, address)


def _error_received(self: Any, error: Exception) -> None:
    self._self_connection.failed(error)
    self.__wrapped__.error_received(error)


_TRANSPORT = {"write": _write, "writelines": _writelines, "sendto": _sendto}
_PROTOCOL = {
    "data_received": _data_received,
    "buffer_updated": _buffer_updated,
    "resume_writing": _resume_writing,
    "datagram_received": _datagram_received,
    "error_received": _error_received,
}
_transports: WeakKeyDictionary[type, Any] = WeakKeyDictionary()
_protocols: WeakKeyDictionary[type, Any] = WeakKeyDictionary()


def traced_of(protocol: Any, connection: TransportConnection) -> Any:
    """Return a protocol as one that counts."""
    if isinstance(protocol, TracedProtocol):
        return protocol
    return proxy_class(TracedProtocol, type(protocol), _PROTOCOL, _protocols)(protocol, connection)


def held_by(transport: Any) -> int:
    """Return how many bytes wait in a transport."""
    try:
        return int(transport.get_write_buffer_size())
    except (AttributeError, NotImplementedError, TypeError):
        return 0  # one that only reads, or is gone


def _size_of(data: Any) -> int:
    if isinstance(data, (bytes, bytearray)):
        return len(data)
    return memoryview(data).nbytes
