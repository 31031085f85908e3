"""One request and its response, as a network operation from the request to the end of the body.

It costs little on its way. A short request and a short response each come in one piece: only that piece is
kept, and how many bytes there were, and what the record says of them is found out when somebody looks. What
is longer, or framed in chunks, is followed as it comes.
"""

from __future__ import annotations

import sys

from volnux.telemetry._network import NetworkOp
from volnux.telemetry._outcome import note_in
from volnux.telemetry._raw import PLAIN_OP, op_extra_of
from volnux.telemetry._records import Status
from volnux.telemetry._seam import get_current
from volnux.telemetry._sites import KNOWN_OPS, op_site
from volnux.telemetry._switch import SWITCH
from volnux.telemetry.clients._buffers import bytes_of
from volnux.telemetry.clients._framing import Framing
from volnux.telemetry.clients._kernel import wire_bytes
from volnux.telemetry.clients._roots import root_of
from volnux.telemetry.clients._told import FAILED_FROM, HEAD_END, SHORT_HEAD, failure, told

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from volnux.telemetry._raw import Raw
    from volnux.telemetry.clients._framing import Data
    from volnux.telemetry.clients._gate import Settings

#: Bytes of a head and a body that may be kept until the exchange ends.
_SHORT = 1 << 16
#: The first digit of a status code that another one follows.
_INTERIM = ord("1")


class Exchange:
    """A request and its response. It has exactly one end, whoever comes first to say so.

    What crosses the socket is given to `sent` and `received`. The end comes from the library: when the
    body has been read, closed or let go. An exchange belongs to one connection at a time; only its end
    may come from any thread.

    Attributes:
        method: of the request, in upper case.
        status: the status code, where the library has told it.
        decoded: bytes of the body after decoding, as far as the program has taken them; None if unknown.
        source: where the numbers of bytes come from: "counted" or "declared".
        is_sending: whether its request is on its way, and not only its connection.
        is_held: while set, that a file or a socket is closed does not end it: who set it does.
        is_decoded_later: whether the body, if it is encoded, is decoded after it has been read.
        is_read: whether such a body has been read to its end; the exchange ends when it is decoded.
    """

    # Slots, all set at the beginning: what is found in the class instead costs 20 times as much to read.
    __slots__ = (
        "__weakref__",
        "_ended",
        "_head",
        "_in",
        "_is_cut",
        "_lower",
        "_notes",
        "_out",
        "_raw",
        "_reused",
        "_trouble",
        "_wire",
        "decoded",
        "is_decoded_later",
        "is_held",
        "is_read",
        "is_sending",
        "method",
        "source",
        "status",
    )

    def __init__(
        self, method: str, host: str, port: int | None, target: str, settings: Settings
    ) -> None:
        """Begin it, under the current event.

        Args:
            method: of the request, in upper case.
            host: the server that the request is for.
            port: its port.
            target: path and query, of which nothing but the template of the path is ever kept.
            settings: those of the client.
        """
        self.method = method
        self.status: int | None = None
        self.decoded: int | None = None
        self.source = "counted"
        self.is_sending = self.is_held = self.is_decoded_later = self.is_read = False
        self._ended = self._is_cut = False
        #: What has crossed: the only piece so far, or what has followed them.
        self._out: bytes | Framing | None = None
        self._in: bytes | Framing | None = None
        #: The head of the response in lower case; `_head`, as it is, is set with it.
        self._lower: bytes | None = None
        self._reused: bool | None = None
        self._notes: dict[str, Any] | None = None
        self._wire: tuple[Any, int, int] | None = None
        self._trouble: BaseException | None = None
        self._raw: Raw | None = None
        operation = method
        if settings.route is not None:
            template = settings.template(target)
            if template is not None:
                operation = f"{method} {template}"
                self.note("url.template", template)
        # As `NetworkOp` begins: in one step here, which is half the price.
        parent = get_current()
        scope = parent[1]
        if not SWITCH.on or scope is None:
            return
        try:
            site = KNOWN_OPS[host, port, operation]
        except KeyError:
            site = op_site(host, port, operation)
        now, append, _ = scope.hot
        raw = [site, scope, parent, now(), 0, None, PLAIN_OP, False, None, 0, 0, None, None]
        self._raw = raw
        append(raw)

    @property
    def op(self) -> NetworkOp:
        """The operation, which is under the event that was current at the beginning."""
        op = NetworkOp("", None)
        op._raw = self._raw
        return op

    @property
    def is_ended(self) -> bool:
        """Whether it has ended: nothing is counted any more."""
        return self._ended

    @property
    def request(self) -> Framing:
        """The request as far as it is known."""
        found = self._out
        if found is None or type(found) is bytes:
            self._out = found = self._followed(found, is_response=False)
        return found  # type: ignore[return-value]  # bytes are followed

    @request.setter
    def request(self, message: Framing) -> None:
        self._out = message

    @property
    def response(self) -> Framing:
        """The response as far as it is known."""
        found = self._in
        if found is None or type(found) is bytes:
            self._in = found = self._followed(found, is_response=True)
        return found  # type: ignore[return-value]  # as above

    @response.setter
    def response(self, message: Framing) -> None:
        self._in = message

    def _followed(self, piece: bytes | None, *, is_response: bool) -> Framing:
        message = Framing(self.method, is_response=is_response)
        if piece is not None:
            message.feed(piece, len(piece))
        return message

    @property
    def is_in_trouble(self) -> bool:
        """Whether something has gone wrong with its connection."""
        return self._is_cut or self._trouble is not None

    def head_in_lower_case(self) -> bytes:
        """Return the head of the response, where it came in one piece, is short and the only one."""
        lower = self._lower
        if lower is None:
            piece = self._in
            if type(piece) is not bytes:
                return b""
            said, known = (None, b"") if self._raw is None else self._raw[0].said
            if said is not None and piece.startswith(said[2]):  # as it was the last time
                self._head, lower = said[2], known
            else:
                end = piece.find(HEAD_END, 0, SHORT_HEAD) + 4
                self._head = head = b"" if end < 13 or piece[9] == _INTERIM else piece[:end]
                lower = head.lower()
            self._lower = lower
        return lower

    def note(self, key: str, value: Any) -> None:
        """Say something of ours about it: a number, a truth value or a word that holds no secret."""
        if self._notes is None:
            self._notes = {key: value}
        else:
            self._notes[key] = value

    def note_error(self, reason: str, error: BaseException | None = None) -> None:
        """Count something that went wrong in the instrument, never in the program."""
        if self._raw is not None:
            note_in(self._raw, "client", reason, error)

    def connected(self, sock: Any, *, reused: bool, is_tls: bool) -> None:
        """Say which connection carries it, as soon as that is known."""
        self._reused = reused
        if is_tls:
            # A new connection's handshake is part of the exchange that it was made for.
            before = wire_bytes(sock) if reused else (0, 0)
            if before is not None:
                self._wire = (sock, *before)

    def sent(self, count: int, data: Data) -> None:
        """Count bytes of the request: the first `count` of the data have crossed the socket."""
        raw = self._raw
        if raw is None or self._ended:
            return
        raw[9] += count
        if self._out is None and type(data) is bytes and count == len(data) < SHORT_HEAD:
            self._out = data
            return
        try:
            self.request.feed(data, count)
        except Exception as error:  # noqa: BLE001  # what follows the bytes must not stop them
            self.note_error("framing", error)

    def received(self, count: int, data: Data) -> None:
        """Count bytes of the response: the first `count` of the data have crossed the socket."""
        raw = self._raw
        if raw is None or self._ended:
            return
        if raw[11] is None:
            raw[11] = raw[1].hot[0]()
        raw[10] += count
        if self._in is None and count <= _SHORT:
            # The buffer is used again, and what is read late has to be kept.
            if type(data) is memoryview and data.itemsize == 1:
                data = data[:count].tobytes()
            elif type(data) is not bytes:
                data = bytes_of(data)[:count].tobytes()
            self._in = data if count == len(data) else data[:count]
            return
        try:
            self.response.feed(data, count)
        except Exception as error:  # noqa: BLE001  # as above
            self.note_error("framing", error)

    def closed_by_peer(self) -> None:
        """Say that the other side has closed: a body without a length ends there."""
        response = self.response
        if not response.is_free:
            response.close()
            self._is_cut = not response.is_complete

    def parted(self) -> None:
        """Ask the kernel for the last time: the connection may carry another exchange from now on."""
        if self._wire is not None and not self._ended:
            self._note_wire(*self._wire)
            self._wire = None

    def about_to_close(self, sock: Any) -> None:
        """Ask the kernel once more, while the connection can still be asked."""
        if self._wire is not None and not self._ended:
            self._note_wire(sock, *self._wire[1:])

    def file_closed(self) -> None:
        """End it: whoever read the response from its own file has let go of it."""
        if self.is_held:
            return
        if self.is_decoded_later:
            found = self.response
            self.is_read = found.encoding is not None and found.is_complete and found.body > 0
        if not self.is_read:
            self.end()

    def closed(self) -> None:
        """End it with its connection."""
        if not self.is_held and not self.is_read:
            # Before any answer that is no way to end: what made the library do it is being handled.
            has_answer = type(self._in) is bytes or self.response.is_begun
            self.end(None if has_answer else self._trouble or sys.exc_info()[1])

    def add_decoded(self, count: int) -> None:
        """Count bytes of the body after decoding."""
        if not self._ended:
            self.decoded = (self.decoded or 0) + count

    def trouble(self, error: BaseException) -> None:
        """Remember what failed, where the library may yet go on; its end tells whether it did."""
        if self._trouble is None:
            self._trouble = error

    def __del__(self) -> None:
        # Let go of with its connection, which nobody has closed.
        try:
            if not self._ended:
                self.end()
        except (AttributeError, TypeError):
            pass  # half made, or half of the interpreter is gone

    def end(self, error: BaseException | None = None) -> None:
        """End it; nothing happens if it has ended.

        Args:
            error: what the library raised; what lies at its root is recorded, so that one fault has
                one name whichever library met it.
        """
        if self._ended:
            return
        self._ended = True
        raw = self._raw
        if raw is None or raw[5] is not None:
            return
        if self._wire is not None:
            self._note_wire(*self._wire)
            self._wire = None
        found = self._trouble if error is None else error
        self._trouble = None  # whose traceback would keep the socket, and more
        status = self.status
        try:
            if found is not None:
                found = root_of(found)
            elif self._is_cut or status is None or status >= FAILED_FROM:
                said = failure(self)
                if said is not None:
                    extra = op_extra_of(raw)
                    extra.status, (extra.error_type, extra.error) = Status.FAILED, said
            raw[12] = told(self, raw)
        except Exception as mistake:  # noqa: BLE001  # the record says less
            self.note_error("record", mistake)
        if found is not None:
            self.op.__exit__(None, found, None)
            return
        scope = raw[1]
        now, _, pending = scope.hot
        raw[5] = now()
        if raw[7]:
            scope.late(raw)
        elif len(pending) > pending.limit:
            scope.fold()

    def _note_wire(self, sock: Any, sent: int, received: int) -> None:
        now = wire_bytes(sock)
        if now is not None:
            self.note("wire_bytes_sent", now[0] - sent)
            self.note("wire_bytes_received", now[1] - received)
            self.note("wire_source", "tcp_info")
