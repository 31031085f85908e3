"""What the record of an exchange says besides its bytes and times, found out when somebody looks."""

from __future__ import annotations

from volnux.telemetry._render import find_later_by
from volnux.telemetry.clients._framing import Framing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from volnux.telemetry._raw import Raw

    class Exchange(Protocol):
        """An exchange, at its end; see there."""

        method: str
        status: int | None
        decoded: int | None
        source: str
        _out: bytes | Framing | None
        _in: bytes | Framing | None
        _head: bytes
        _lower: bytes | None
        _is_cut: bool
        _reused: bool | None
        _notes: dict[str, Any] | None

        @property
        def request(self) -> Framing: ...
        @property
        def response(self) -> Framing: ...
        def head_in_lower_case(self) -> bytes: ...


HEAD_END = b"\r\n\r\n"
#: Bytes of a head that may stay until somebody looks at the record.
SHORT_HEAD = 1 << 11
#: Status codes from which a response is a failure of its operation, as the semantic conventions for
#: HTTP client spans have it.
FAILED_FROM = 400


def told(exchange: Exchange, raw: Raw) -> tuple[Any, ...] | dict[str, Any]:
    """Return what the record of an exchange says besides, or what that will be made of."""
    out = exchange._out
    if type(out) is bytes and type(exchange._in) is bytes:
        # In one piece each. Not looked for by `in`: bytes try to take a word as a number first.
        site = raw[0]
        lower = exchange._lower
        if lower is None:
            lower = exchange.head_in_lower_case()
        said, known = site.said
        if lower and (lower is known or lower.find(b"chunked") < 0):
            end = len(out) if out.endswith(HEAD_END) else _end_of_head(out)
            if end:
                late = (
                    exchange.method,
                    raw[9] - end,
                    exchange._head,
                    raw[10] - len(lower),
                    exchange.decoded,
                    exchange.source,
                    exchange._reused,
                    exchange._notes,
                )
                if late == said:
                    return said  # type: ignore[no-any-return]  # a tuple like this one
                site.said = late, lower
                return late
    found = exchange.decoded, exchange.source, exchange._reused, exchange._notes
    return described(exchange.method, exchange.request.body, exchange.response, found)


def _end_of_head(request: bytes) -> int:
    """Return where the head of a request ends; 0 if it does not, or its body comes in chunks."""
    end = request.find(HEAD_END) + 4
    return 0 if end < 4 or request.lower().find(b"chunked") >= 0 else end


def failure(exchange: Exchange) -> tuple[str, str] | None:
    """Return the error type and text of an exchange that ended without an exception; None of a good one."""
    if exchange._is_cut:
        return where_cut(exchange.response)
    status = exchange.status
    if status is None and exchange._in is not None:
        status = exchange.response.status
    return failed_by(status)


def where_cut(response: Framing) -> tuple[str, str]:
    """Return the error type and text of a response that has ended before its end."""
    text = f"the connection ended after {response.body} bytes of the body"
    if not response.is_begun:
        text = "the connection ended before the response"
    elif response.declared is not None:
        text = f"{text}, of {response.declared}"
    return "IncompleteRead", text


def failed_by(status: int | None) -> tuple[str, str] | None:
    """Return the error type and text of a response that says it is a failure; None of any other."""
    if status is None or status < FAILED_FROM:
        return None
    return str(status), f"HTTP status {status}"


def described(method: str, sent: int, response: Framing, told: tuple[Any, ...]) -> dict[str, Any]:
    """Return what the record of an exchange says besides its bytes and times.

    Args:
        method: of the request.
        sent: bytes of its body.
        response: as far as it came.
        told: the bytes after decoding if that is known, the source of all these numbers, whether the
            connection was there before if that is known, and what else was noted, or None.
    """
    decoded, source, reused, notes = told
    found: dict[str, Any] = {"http.request.method": method, "source": source}
    if reused is not None:
        found["connection_reused"] = reused
    if notes is not None:
        found.update(notes)
    if response.status is not None:
        found["http.response.status_code"] = response.status
    if source == "counted":
        found["complete"] = not response.is_broken and (response.is_complete or response.is_free)
        found["http.request.body.size"] = sent
        found["http.response.body.size"] = response.body
        declared = response.declared
        if declared is not None and declared != response.body and method != "HEAD":
            found["declared"] = declared
        if response.excess:
            found["excess"] = response.excess
        if decoded is None and response.encoding is None:
            decoded = response.body
    if decoded is not None:
        found["decoded"] = decoded
    return found


def _found_later(method: str, sent: int, head: bytes, behind: int, *told: Any) -> dict[str, Any]:
    response = Framing(method, is_response=True)
    response.feed(head, len(head))
    if behind:
        response.feed(b"", behind)
    return described(method, sent, response, told)


find_later_by(_found_later)
