"""What the record of an exchange says besides its bytes and times, found out when somebody looks."""

from __future__ import annotations

from volnux.telemetry._raw import OpExtra
from volnux.telemetry.clients._framing import Framing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


HEAD_END = b"\r\n\r\n"
#: Bytes of a head that may stay until somebody looks at the record.
SHORT_HEAD = 1 << 11
#: The first digit of a status code that another one follows.
_INTERIM = ord("1")


def late_facts(
    method: str, out: bytes, sent: int, piece: bytes, told: tuple[Any, ...]
) -> tuple[Any, ...] | None:
    """Return what `LateExtra` makes its attributes of; None where the messages have to be read now.

    Args:
        method: of the request.
        out: the request, or its beginning.
        sent: bytes of all of it.
        piece: the response.
        told: see `described`.
    """
    end = piece.find(HEAD_END) + 4
    head = piece[:end]
    bare = out.endswith(HEAD_END)
    out_end = len(out) if bare else out.find(HEAD_END) + 4
    # In one piece each, and framed by their lengths.
    if (
        12 < end <= SHORT_HEAD
        and out_end > 3
        and head[9] != _INTERIM
        and b"chunked" not in head.lower()
        and (bare or b"chunked" not in out.lower())
    ):
        return method, sent - out_end, head, len(piece) - end, *told
    return None


def where_cut(response: Framing) -> str:
    """Return where a response has ended before its end."""
    if not response.is_begun:
        return "the connection ended before the response"
    text = f"the connection ended after {response.body} bytes of the body"
    return text if response.declared is None else f"{text}, of {response.declared}"


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


class LateExtra(OpExtra):
    """What a finished exchange says: found out when somebody looks."""

    __slots__ = ("_facts", "_found", "_own")

    def __init__(self) -> None:
        self.status = "completed"
        self.error = self.error_type = None
        self._facts: tuple[Any, ...] | None = None
        self._found: dict[str, Any] | None = None
        #: What the user has set.
        self._own: dict[str, Any] | None = None

    @property
    def attributes(self) -> dict[str, Any] | None:
        """What the record says besides."""
        facts = self._facts
        if facts is not None:  # whoever comes at the same time finds the same
            (method, sent, head, behind), told = facts[:4], facts[4:]
            response = Framing(method, is_response=True)
            response.feed(head, len(head))
            if behind:
                response.feed(b"", behind)
            self._found = described(method, sent, response, told)
            self._facts = None
        found, own = self._found, self._own
        return found if not own else {**(found or {}), **own}

    @attributes.setter
    def attributes(self, value: dict[str, Any] | None) -> None:
        self._facts, self._found, self._own = None, None, value
