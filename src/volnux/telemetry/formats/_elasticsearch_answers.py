"""What Elasticsearch answers, and what that means for the records that were sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from volnux.telemetry._certificates import certificate_fault
from volnux.telemetry.errors import PublishError
from volnux.telemetry.formats._retry_after import seconds_of

if TYPE_CHECKING:
    from typing import Any

    from volnux.telemetry._publisher import Verdict


def verdicts_of(answer: Any, count: int) -> tuple[list[Verdict], str | None]:
    """Return what became of each document of a bulk request, and why the last that was refused was so.

    Raises:
        PublishError: that is no answer to it.
    """
    items = answer.get("items") if isinstance(answer, dict) else None
    if not isinstance(items, list) or len(items) != count:
        raise PublishError(f"the answer is not that of a bulk request for {count} documents")
    try:
        results = [next(iter(item.values())) for item in items]
        verdicts = [_verdict(result["status"]) for result in results]
        refused = [
            one for one, verdict in zip(results, verdicts, strict=True) if verdict == "reject"
        ]
    except (AttributeError, KeyError, StopIteration, TypeError):
        raise PublishError("the answer to a bulk request is not understood") from None
    return verdicts, _said(refused[-1].get("error")) if refused else None


def _verdict(status: int) -> Verdict:
    if status < 300:  # these lines are the policy of Elastic's own Beats
        return "ok"
    if status == 409:  # there already
        return "duplicate"
    return "retry" if status == 429 or status >= 500 else "reject"


def status_of(error: Exception) -> int | None:
    """Return the HTTP status that an error of the client stands for; None if there was no answer."""
    return getattr(getattr(error, "meta", None), "status", None)


def cause_of(error: BaseException) -> str:
    """Return what kept a request from being answered, by its type: texts hold addresses."""
    if (fault := certificate_fault(error)) is not None:
        return fault
    inner = [one for one in getattr(error, "errors", ()) if isinstance(one, BaseException)]
    names = [type(error).__name__, *(type(one).__name__ for one in inner[:1])]
    return " by ".join(dict.fromkeys(names))


def reason_of(error: Exception) -> str:
    """Return the server's own words, short."""
    body = getattr(error, "body", None)
    said = body.get("error", body) if isinstance(body, dict) else body
    return _said(said) if said else type(error).__name__


def _said(error: Any) -> str:
    if isinstance(error, dict):
        error = f"{error.get('type', '')}: {error.get('reason', '')}"
    return str(error)[:200]


def retry_after_of(error: Exception) -> float | None:
    """Return the seconds that the answer asks to wait, if it does."""
    headers = getattr(getattr(error, "meta", None), "headers", None) or {}
    return seconds_of(headers.get("retry-after"))
