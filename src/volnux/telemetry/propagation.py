"""`inject` and `extract`: what runs in another process goes on under the event that asked for it.

By W3C Trace Context, so that whatever else traces can join in. For the processes of a pool there is
`propagate`, which brings the records home as well.
"""

from __future__ import annotations

from volnux.telemetry._guard import note
from volnux.telemetry._ids import show_id
from volnux.telemetry._scope import (
    CURRENT,
    PROCESS_ROOT,
    _Scoped,
    _waiting,
    enclosing_event,
    enclosing_id,
    root,
)
from volnux.telemetry._traces import Continued, within
from volnux.telemetry._w3c import current_span, headers_at, parent_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from typing import Any

    from volnux.telemetry._network import NetworkOp
    from volnux.telemetry._raw import Raw, Scope
    from volnux.telemetry._traces import Elsewhere
    from volnux.telemetry._w3c import Headers

#: Stands for headers that were not given, which None does not: a message without any has that.
_NO_HEADERS: Any = object()


def inject(headers: MutableMapping[str, str], operation: NetworkOp | None = None) -> None:
    """Have whoever gets these headers go on under the current event: add `traceparent` to them.

    For clients made by hand, message queues, and `os.environ`. `tracestate` goes along. What stands
    there under these names, in whatever case, is replaced. While nothing is recorded, and outside of
    any event, the headers are left alone. Never raises; safe from any thread.

    Args:
        headers: those of a request or a message that is about to be sent.
        operation: the network operation that it is part of, which then is the parent.

    Example:
        >>> with network_op("queue.internal", 5672, "publish") as op:
        ...     inject(message.headers, op)
        ...     op.sent(channel.publish(message))
    """
    here = CURRENT.get()
    raw = None if operation is None else operation._raw
    try:
        for name, value in headers_at(here if raw is None else raw):
            known = [key for key in headers if key.lower() == name]
            headers[known[0] if known else name] = value
    except Exception as error:  # noqa: BLE001  # whatever the headers are, it must not hurt
        _note_in(here, "inject", error)


class extract(_Scoped):  # noqa: N801  # a verb, used as one
    """Give everything that runs in a with-block the parent that headers name.

    The other half of `inject`, and of clients with `propagate_trace`. The block is no event; what is
    recorded in it belongs to the tree of the process that sent the headers, and so does what is sent
    on from it. It holds for this context and what is started from it, as `capture` does.

    Headers that name no parent, or are not valid by W3C Trace Context, change nothing; neither do those
    that what runs here goes on from already, as under a middleware. What the sender has decided about sampling goes on unchanged, and everything is recorded whatever that is. Of
    `tracestate` our own member is used, the others are sent on. Never raises; safe from any thread.

    Args:
        headers: a mapping, the environment of WSGI or of the process, or pairs of name and value, all
            as text or bytes. Without this argument, the current span of OpenTelemetry is the parent,
            if there is one.

    Yields:
        str | None: the identifier of the parent, or None if there is none.

    Example:
        >>> with extract(request.headers):
        ...     handle(request)
    """

    __slots__ = ("_parent",)

    def __init__(self, headers: Headers | None = _NO_HEADERS) -> None:
        super().__init__()
        self._parent: Elsewhere | None = None
        try:
            if headers is _NO_HEADERS:
                self._parent = current_span()
            elif headers is not None:
                self._parent = parent_in(headers)
        except Exception as error:  # noqa: BLE001  # whatever the headers are, it must not hurt
            _note_in(CURRENT.get(), "extract", error)

    def __enter__(self) -> str | None:
        parent = self._parent
        if parent is None:
            return None
        outside = CURRENT.get()
        scope: Scope | None = outside[1]
        event = enclosing_event(outside)
        if scope is None:  # as in `pipeline`
            raw = root(None, parent, event, outside[3])
            if outside is PROCESS_ROOT or id(outside) in _waiting:
                _waiting[id(raw)] = raw
        elif type(scope) is Continued and scope.origin == parent:
            raw = root(scope, enclosing_id(outside), event)
        else:
            raw = root(within(scope, parent.trace, parent), parent, event)
        self._set(raw)
        return show_id(parent)

    def __exit__(self, *exc_info: object) -> None:
        if self._parent is not None:
            _waiting.pop(id(self._unset()), None)


def _note_in(raw: Raw, reason: str, error: Exception) -> None:
    scope = raw[1]
    note(None if scope is None else scope.registries[0], "trace", reason, error)
