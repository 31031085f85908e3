"""What the record of an exchange says besides its bytes and times, found out when somebody looks."""

from __future__ import annotations

from volnux.telemetry._render import find_later_by
from volnux.telemetry.clients._framing import Framing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


HEAD_END = b"\r\n\r\n"
#: Bytes of a head that may stay until somebody looks at the record.
SHORT_HEAD = 1 << 11
#: Status codes from which a response is a failure of its operation, as the semantic conventions for
#: HTTP client spans have it.
FAILED_FROM = 400
#: The first digit of a status code that another one follows.
_INTERIM = ord("1")


def short_head(piece: bytes) -> bytes:
    """Return the head of a response that comes in one piece; nothing if it is long.

    There is none, either, where the head is that of an interim response, which another one follows.
    """
    end = piece.find(HEAD_END, 0, SHORT_HEAD) + 4
    return b"" if end < 13 or piece[9] == _INTERIM else piece[:end]


def says(lower: bytes, word: bytes) -> bool:
    """Return whether a head, in lower case, has a word in it."""
    # Not by `in`: bytes try to take what they are asked for as a number first, by an exception.
    return lower.find(word) >= 0


def late_facts(
    out: bytes, lower: bytes, head: bytes, sent: int, received: int
) -> tuple[int, bytes, int] | None:
    """Return what `_found_later` is given of two messages; None where they have to be read now.

    Args:
        out: the request, or its beginning.
        lower, head: that of the response, as `short_head` has it, and in lower case.
        sent, received: bytes of the request, and of the response.
    """
    # In one piece each, and framed by their lengths.
    if not head or lower.find(b"chunked") >= 0:
        return None
    if out.endswith(HEAD_END):
        return sent - len(out), head, received - len(head)
    end = out.find(HEAD_END) + 4
    if end < 4 or says(out.lower(), b"chunked"):
        return None
    return sent - end, head, received - len(head)


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
