"""What a back end answers to OTLP over HTTP, and what that means for what was sent.

The rules: https://opentelemetry.io/docs/specs/otlp/#otlphttp-response.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from volnux.telemetry._bounds import one_line
from volnux.telemetry.errors import PublishError
from volnux.telemetry.formats._retry_after import seconds_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

#: Seconds until the next try where another answer is to be expected only after somebody has acted.
UNTIL_MENDED = 60.0
#: Characters of a back end's own words.
_LONGEST = 200
_TO_RETRY = (429, 502, 503, 504)
_PROTOBUF = "application/x-protobuf"


class Answer(NamedTuple):
    """What came back.

    Attributes:
        status: of HTTP.
        kind: the media type, in lower case and without parameters.
        retry_after: that header, if there is one.
        content: the body.
    """

    status: int
    kind: str
    retry_after: str | None
    content: bytes


class Taken(NamedTuple):
    """What became of a request's items.

    Attributes:
        refused: how many of them the back end would not take; all, where it refused the request.
        why: its own words.
        is_too_large: whether it would take them in smaller requests.
    """

    refused: int = 0
    why: str | None = None
    is_too_large: bool = False


def meaning(answer: Answer, count: int, service: Any, hint: str, secrets: Iterable[str]) -> Taken:
    """Return what an answer means for a request with so many items.

    Args:
        answer: to that request.
        count: spans or data points in it.
        service: the module `trace_service_pb2` of opentelemetry-proto, whose answer has the fields of that to metrics.
        hint: what to do where the back end does not let one in.
        secrets: what must not be in the words that are passed on, whoever repeats them.

    Raises:
        PublishError: the back end cannot take them now.
    """
    status = answer.status
    if 200 <= status < 300:
        number, words = _left_out(answer, service)
        refused = min(max(0, number), count)
        return Taken(refused, _shown(words, secrets) if refused else None)
    words = _shown(_words(answer, service), secrets)
    said = f"{status}: {words}" if words else str(status)
    if status in _TO_RETRY:
        raise PublishError(said, retry_after=seconds_of(answer.retry_after))
    if status in (401, 403):
        # The cure first: what is logged is cut where it is too long.
        told = f"{status}: {hint}" + (f"; it says {words}" if words else "")
        raise PublishError(told, retry_after=UNTIL_MENDED)
    if status < 400:
        raise PublishError(
            f"{status}: it has moved, and nothing is sent after it: give the address it has moved to",
            retry_after=UNTIL_MENDED,
        )
    if status == 404:
        said += " (is there a receiver of OTLP at this address, for this signal?)"
    return Taken(count, said, is_too_large=status == 413)


def _left_out(answer: Answer, service: Any) -> tuple[int, str]:
    """Return how many items a success does not extend to, and why.

    Raises:
        PublishError: that is no answer to OTLP, so what was sent is nowhere.
    """
    try:
        if answer.kind == "application/json":
            found = json.loads(answer.content or b"{}").get("partialSuccess") or {}
            number = found.get("rejectedSpans") or found.get("rejectedDataPoints") or 0
            return int(number), str(found.get("errorMessage") or "")
        is_text = answer.kind.startswith("text/")
        content = None if is_text and answer.content else answer.content  # text is no message
        partial = service.ExportTraceServiceResponse.FromString(content).partial_success
    except Exception:  # noqa: BLE001  # each version of the library has its own, and JSON several
        raise PublishError(
            f"what answers there is no receiver of OTLP by HTTP: it says {answer.kind or 'something'}",
            retry_after=UNTIL_MENDED,
        ) from None
    return partial.rejected_spans, partial.error_message


def _words(answer: Answer, service: Any) -> str:
    """Return what a back end says of an error: in a `Status`, in JSON or as plain text."""
    if answer.kind == _PROTOBUF:
        try:  # a `Status` has a number and a text, too, in fields of these numbers
            words: str = service.ExportTracePartialSuccess.FromString(answer.content).error_message
        except Exception:  # noqa: BLE001  # likewise
            return ""
        return words
    text = answer.content.decode("utf-8", "replace")
    if answer.kind == "application/json":
        try:
            found = json.loads(text)
        except ValueError:
            return text
        if isinstance(found, dict):
            return str(found.get("message") or found.get("error") or "")
    return "" if answer.kind == "text/html" else text


def _shown(words: str, secrets: Iterable[str]) -> str:
    for secret in secrets:
        words = words.replace(secret, "…")
    return one_line(words.strip())[:_LONGEST]
