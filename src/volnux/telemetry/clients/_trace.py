"""What a client sends along, so that the server's records hang under the operation of the request."""

from __future__ import annotations

from volnux.telemetry._w3c import headers_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from volnux.telemetry._network import NetworkOp

    class HasOperation(Protocol):
        """A request and its response, as every client's exchange is one."""

        @property
        def op(self) -> NetworkOp: ...


def trace_headers(exchange: HasOperation) -> list[tuple[str, str]]:
    """Return the headers of a request by which its server goes on: `traceparent`, then `tracestate`.

    Where a span of OpenTelemetry is current, `traceparent` names that, and only `tracestate` names the
    operation; a server with volnux prefers the latter. Empty while nothing is recorded. A request that
    has a `traceparent` already, from the program or another tracer, is to be left as it is.
    """
    raw = exchange.op._raw
    return [] if raw is None else headers_at(raw)
