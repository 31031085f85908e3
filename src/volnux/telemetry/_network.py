"""`network_op`: one exchange with a host and port, as a with-block.

On the hot path: an entry is a list whose places `_raw` names (5 end, 7 late, 9 sent, 10 received,
11 first byte).
"""

from __future__ import annotations

from volnux.telemetry._extension import SPEEDUPS
from volnux.telemetry._ids import show_id
from volnux.telemetry._outcome import OVERRUN_OP, fail_op, note_in
from volnux.telemetry._raw import PLAIN_OP, identify, op_extra_of
from volnux.telemetry._records import Status
from volnux.telemetry._seam import get_current
from volnux.telemetry._sites import KNOWN_OPS, op_site, redactor
from volnux.telemetry._switch import SWITCH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, TypeVar

    from volnux.telemetry._raw import Raw

    Self = TypeVar("Self", bound="_Op")


#: Where an entry holds the one that was open on the same instance before it, if there was one.
NESTED = 13

#: More bytes than one call can mean: what back ends hold in a signed 64-bit number.
MOST = (1 << 63) - 1


class _Op:
    """The half of an operation that has to be fast, as it is where `_speedups` is not."""

    __slots__ = ("_given", "_key", "_raw")

    def __init__(
        self,
        host: str,
        port: int | None,
        operation: str = "exchange",
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        self._key = (host, port, operation)
        self._given = attributes
        self._raw: Raw | None = None

    def __enter__(self: Self) -> Self:
        parent = get_current()
        scope = parent[1]
        outer = self._raw
        if not SWITCH.on or scope is None:
            self._raw = None if outer is None or outer[5] is not None else _unrecorded(outer)
            return self
        try:
            site = KNOWN_OPS[self._key]
        except Exception:  # noqa: BLE001  # not known yet, or not even hashable
            site = op_site(*self._key)
        now, append, _ = scope.hot
        raw = [site, scope, parent, now(), 0, None, PLAIN_OP, False, None, 0, 0, None]
        self._raw = raw
        if self._given is not None:
            op_extra_of(raw).attributes = redactor().attributes(self._given)
        if outer is not None and outer[5] is None:
            _nest(raw, outer)
        append(raw)
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        raw = self._raw
        if raw is None or raw[5] is not None:
            return
        scope = raw[1]
        now, _, pending = scope.hot
        end = now()
        if error is not None:
            try:
                fail_op(raw, error)
            except RecursionError:  # no stack is left for that
                raw[6] = OVERRUN_OP
        raw[5] = end
        if raw[7]:
            scope.late(raw)
            if len(raw) > NESTED:
                self._raw = raw.pop()
        elif len(pending) > pending.limit:
            scope.fold()

    def sent(self, count: int) -> None:
        """Count bytes that went to the host. Callable as often as there is something to count."""
        raw = self._raw
        if raw is None:
            return
        if type(count) is not int or count >> 63 or raw[5] is not None:
            count = _checked(raw, count)
        raw[9] += count

    def received(self, count: int) -> None:
        """Count bytes that came from the host; the first call marks the time to first byte."""
        raw = self._raw
        if raw is None:
            return
        if type(count) is not int or count >> 63 or raw[5] is not None:
            count = _checked(raw, count)
        if raw[11] is None and count:
            now = raw[1].now  # fetched apart, as a method it would be looked up slowly
            raw[11] = now()
        raw[10] += count


def _checked(raw: Raw, count: Any) -> int:
    """Return a count that is no plain number as one; 0, and say so, if it cannot be."""
    if raw[5] is not None:
        note_in(raw, "network", "counted after its end")
        return 0
    try:
        number = int(count.__index__())
        if 0 <= number <= MOST:
            return number
    except Exception as error:  # noqa: BLE001  # whatever was given, it must not hurt
        note_in(raw, "network", "count is no number of bytes", error)
        return 0
    reason = "count is negative" if number < 0 else "count is too large"
    note_in(raw, "network", reason, ValueError(reason))
    return 0


def _nest(raw: Raw, outer: Raw) -> None:
    """Have an operation bring back another one, of the same instance, that it began inside of."""
    raw[12:] = (None, outer)
    # Announced although no fold has met it, which does no harm: the hot path has no test to spare.
    raw[7] = True


def _unrecorded(outer: Raw) -> Raw:
    """Return an entry that no registry knows, for an operation that ends inside of another one."""
    raw = outer[:NESTED]
    raw[6], raw[8] = PLAIN_OP, None
    _nest(raw, outer)
    return raw


if TYPE_CHECKING or SPEEDUPS is None:
    _Base = _Op
else:
    SPEEDUPS.bind_op(
        *(KNOWN_OPS, PLAIN_OP, fail_op, OVERRUN_OP),
        *(_Op.__enter__, _Op.__exit__, _Op.sent, _Op.received),
    )
    _Base = SPEEDUPS.Op


class NetworkOp(_Base):
    """Record one exchange with a host and port.

    A context manager for sync and async code. Whatever happens in the block, the operation has
    exactly one end, and the bytes counted up to a failure are kept. It runs under the current
    event. While telemetry is off nothing is recorded. An instance may be entered again; each time
    is an operation of its own, and bytes count for the one that was entered last.

    Args:
        host: a name or address. Of a URL only the host is kept.
        port: its port, or None. What is no port becomes None; that, and what is no host, is counted
            in `health().errors`.
        operation: what is done, in few words that many exchanges share, such as "GET /users/{id}".
        attributes: part of the record's attributes; bounded and redacted.

    Example:
        >>> with network_op("db.internal", 5432, "query") as op:
        ...     op.sent(connection.send(request))
        ...     op.received(len(connection.recv(4096)))
    """

    __slots__ = ()

    def __repr__(self) -> str:
        sent, received = (0, 0) if self._raw is None else self._raw[9:11]
        operation, host = redactor().name(self._key[2]), redactor().host(self._key[0])
        return f"<NetworkOp {operation!r} host={host!r} sent={sent} received={received}>"

    async def __aenter__(self: Self) -> Self:
        return self.__enter__()

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self.__exit__(kind, error, traceback)

    def set_attribute(self, key: str, value: Any) -> None:
        """Say something about this operation; see `Event.set_attribute`."""
        raw = self._raw
        if raw is None:
            return
        if raw[5] is not None:
            note_in(raw, "network", "changed after its end")
            return
        extra, rule = op_extra_of(raw), redactor()
        key = key if type(key) is str else rule.name(key)
        attributes = {**(extra.attributes or {}), **rule.attributes({key: value})}
        if len(attributes) > rule.max_attributes:
            attributes = rule.attributes(attributes)
        extra.attributes = attributes

    @property
    def task_id(self) -> str | None:
        """The identifier that the record will have; None while telemetry is off."""
        return None if self._raw is None else show_id(identify(self._raw))


def conclude(
    op: NetworkOp,
    attributes: dict[str, Any],
    error: BaseException | None = None,
    failure: tuple[str, str] | None = None,
) -> None:
    """End an operation that one of our own instruments began; nothing if it has ended.

    Args:
        op: the operation, entered before.
        attributes: plain, short and harmless already; what the user has set besides stays.
        error: what it failed with.
        failure: the error type and text of what failed without an exception.
    """
    raw = op._raw
    if raw is None or raw[5] is not None:
        return
    if attributes:
        extra = op_extra_of(raw)
        extra.attributes = {**attributes, **extra.attributes} if extra.attributes else attributes
    if failure is not None and error is None:
        extra = op_extra_of(raw)
        extra.status, (extra.error_type, extra.error) = Status.FAILED, failure
    op.__exit__(None, error, None)


network_op = NetworkOp
