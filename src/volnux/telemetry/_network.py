"""`network_op`: one exchange with a host and port, as a with-block."""

from __future__ import annotations

from _thread import get_ident

from volnux.telemetry._ids import show_id
from volnux.telemetry._outcome import fail_op, note_in
from volnux.telemetry._raw import OpState, identify
from volnux.telemetry._scope import CURRENT, SWITCH
from volnux.telemetry._seam import close
from volnux.telemetry._sites import op_site, redactor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, TypeVar

    from volnux.telemetry._raw import Raw

    Self = TypeVar("Self", bound="NetworkOp")


class NetworkOp(OpState):
    """Record one exchange with a host and port.

    A context manager for sync and async code. Whatever happens in the block, the operation has
    exactly one end, and the bytes counted up to a failure are kept. It runs under the current
    event. While telemetry is off nothing is recorded. An instance may be entered again after it
    was left; each time is an operation of its own.

    Args:
        host: a name or address. Of a URL only the host is kept.
        port: its port, or None.
        operation: what is done, in few words that many exchanges share, such as "GET /users/{id}".
        attributes: part of the record's attributes; bounded and redacted.

    Example:
        >>> with network_op("db.internal", 5432, "query") as op:
        ...     op.sent(connection.send(request))
        ...     op.received(len(connection.recv(4096)))
    """

    __slots__ = ("_given", "_host", "_operation", "_port", "_raw")

    def __init__(
        self,
        host: str,
        port: int | None,
        operation: str = "exchange",
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._operation = operation
        self._given = attributes
        self._raw: Raw | None = None
        self.bytes_sent = 0
        self.bytes_received = 0
        self.first = None
        self.status = "completed"
        self.error = self.error_type = self.attributes = None

    def __repr__(self) -> str:
        return (
            f"<NetworkOp {self._operation!r} sent={self.bytes_sent} received={self.bytes_received}>"
        )

    def __enter__(self: Self) -> Self:
        if self._raw is not None:
            self._begin_again()
        parent = CURRENT.get()
        scope = parent[1]
        if SWITCH.on and scope is not None:
            if self._given is not None:
                self.attributes = redactor().attributes(self._given)
            site = op_site(self._host, self._port, self._operation)
            raw = [site, scope, parent, scope.now(), get_ident(), None, self, False, None]
            self._raw = raw
            scope.append(raw)
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        raw = self._raw
        if raw is None or raw[5] is not None:
            return
        end = raw[1].now()
        if error is not None:
            fail_op(self, error)
        raw[5] = end
        close(raw)

    async def __aenter__(self: Self) -> Self:
        return self.__enter__()

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self.__exit__(kind, error, traceback)

    def sent(self, count: int) -> None:
        """Count bytes that went to the host. Callable as often as there is something to count."""
        raw = self._raw
        if raw is None:
            return
        if raw[5] is not None or type(count) is not int or count < 0:
            count = self._checked(raw, count)
        self.bytes_sent += count

    def received(self, count: int) -> None:
        """Count bytes that came from the host; the first call marks the time to first byte."""
        raw = self._raw
        if raw is None:
            return
        if raw[5] is not None or type(count) is not int or count < 0:
            count = self._checked(raw, count)
        if self.first is None and count:
            self.first = raw[1].now()
        self.bytes_received += count

    def set_attribute(self, key: str, value: Any) -> None:
        """Say something about this operation; see `Event.set_attribute`."""
        raw = self._raw
        if raw is None:
            return
        if raw[5] is not None:
            note_in(raw, "network", "changed after its end")
            return
        self.attributes = {**(self.attributes or {}), **redactor().attributes({key: value})}
        if len(self.attributes) > redactor().max_attributes:
            self.attributes = redactor().attributes(self.attributes)

    @property
    def task_id(self) -> str | None:
        """The identifier that the record will have; None while telemetry is off."""
        return None if self._raw is None else show_id(identify(self._raw))

    def _checked(self, raw: Raw, count: Any) -> int:
        """Return a count that is no plain number as one; 0, and say so, if it cannot be."""
        if raw[5] is not None:
            note_in(raw, "network", "counted after its end")
            return 0
        try:
            number = int(count.__index__())
            if number >= 0:
                return number
        except Exception as error:  # noqa: BLE001  # whatever was given, it must not hurt
            note_in(raw, "network", "count is no number of bytes", error)
            return 0
        note_in(raw, "network", "count is negative", ValueError(f"{number} bytes"))
        return 0

    def _begin_again(self) -> None:
        # The finished entry keeps what it counted; this object starts from nothing.
        raw = self._raw
        if raw is not None and raw[6] is self:
            kept = OpState()
            for name in OpState.__slots__:
                setattr(kept, name, getattr(self, name))
            raw[6] = kept
        self.__init__(self._host, self._port, self._operation, self._given)  # type: ignore[misc]


network_op = NetworkOp
