"""Where a stack of Grafana Cloud takes OTLP, as the API of grafana.com says it.

The API: https://github.com/grafana/grafana-com-public-clients/blob/main/openapi.json, its operations
`getOrgInstances` and `getStackConnectionsV1`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from volnux.telemetry._bounds import one_line
from volnux.telemetry.errors import PublishError
from volnux.telemetry.formats._otlp_answers import UNTIL_MENDED
from volnux.telemetry.formats._otlp_settings import Target
from volnux.telemetry.formats._retry_after import seconds_of

if TYPE_CHECKING:
    from typing import Any

    from volnux.telemetry.formats._otlp_sending import Sending

API = "https://grafana.com/api"
# Short, since what is logged is cut.
WAY_OUT = (
    "give endpoint= and instance_id= (on the stack's OpenTelemetry card) or OTEL_EXPORTER_OTLP_ENDPOINT and "
    "OTEL_EXPORTER_OTLP_HEADERS"
)
_SCOPE = "the token lacks the scope stacks:read"
#: What a stack is that takes nothing any more.
_GONE = {"archived", "archiving", "deleted", "deleting", "migrated"}
_LONGEST = 200


class Stack(NamedTuple):
    """Where a stack takes OTLP: the address before `/v1/…`, and the user to whom tokens belong."""

    endpoint: str
    instance_id: str


def find_stack(
    sending: Sending,
    api: str,
    token: str,
    *,
    org_slug: str,
    stack: str | int | None,
    timeout: float,
) -> Stack:
    """Ask where the stack of an organization takes OTLP.

    Args:
        sending: what asks.
        api: the address of the API.
        token: of an access policy.
        org_slug: the organization.
        stack: the slug or the number of the stack; None for the only one.
        timeout: seconds for each of two requests.

    Raises:
        PublishError: that cannot be found out; the message says what to do.
    """

    def ask(path: str) -> Any:
        return _asked(sending, f"{api}{path}", token, timeout)

    organization = f"/orgs/{quote(org_slug, safe='')}/instances"
    if stack is not None:
        kind = "id" if str(stack).isdigit() else "slug"
        organization += f"?{kind}={quote(str(stack), safe='')}"
    found = _chosen(ask(organization), org_slug, stack)
    number = found.get("id")
    if isinstance(number, float):
        number = int(number)
    connections = ask(f"/v1/stacks/{quote(str(number), safe='')}/connections")
    otlp = connections.get("otlp") if isinstance(connections, dict) else None
    url = otlp.get("url") if isinstance(otlp, dict) else None
    if not isinstance(url, str) or not url:
        raise PublishError(
            f"grafana.com does not say where stack {_shown(found.get('slug'))} takes OTLP: {WAY_OUT}",
            retry_after=UNTIL_MENDED,
        )
    return Stack(url, str(number))


def _chosen(answer: Any, org_slug: str, wanted: str | int | None) -> dict[str, Any]:
    """Return the stack that is meant."""
    items = answer.get("items") if isinstance(answer, dict) else None
    if not isinstance(items, list) or not all(isinstance(one, dict) for one in items):
        raise PublishError(f"the answer of grafana.com is not understood: {WAY_OUT}")
    there = [one for one in items if one.get("status") not in _GONE]
    if wanted is not None:
        there = [one for one in there if str(wanted) in (one.get("slug"), _digits(one.get("id")))]
    if len(there) == 1:
        only: dict[str, Any] = there[0]
        return only
    slugs = ", ".join(sorted(_shown(one.get("slug")) for one in there))
    if there:
        said = f"{org_slug} has several stacks: give stack= one of {slugs}"
    elif wanted is not None:
        said = f"{org_slug} has no stack {wanted}, or {_SCOPE}"
    else:
        said = f"{org_slug} has no stack, or {_SCOPE}: {WAY_OUT}"
    raise PublishError(said, retry_after=UNTIL_MENDED)


def _asked(sending: Sending, url: str, token: str, timeout: float) -> Any:
    headers = {"authorization": f"Bearer {token}", "accept": "application/json"}
    place = Target(url, headers, timeout=timeout)
    answer = sending.ask("GET", place, headers, b"", timeout)
    status = answer.status
    if status in (401, 403):
        raise PublishError(
            f"grafana.com answers {status}: {WAY_OUT}, or a token with the scope stacks:read",
            retry_after=UNTIL_MENDED,
        )
    if status == 404:
        raise PublishError(
            f"grafana.com knows no such organization (404): check org_slug=, or {WAY_OUT}",
            retry_after=UNTIL_MENDED,
        )
    if status != 200:
        wait = seconds_of(answer.retry_after)
        raise PublishError(
            f"grafana.com answers {status} when asked where the stack is", retry_after=wait
        )
    try:
        return json.loads(answer.content)
    except ValueError:
        raise PublishError(f"the answer of grafana.com is not understood: {WAY_OUT}") from None


def _digits(number: Any) -> str:
    return str(int(number)) if isinstance(number, (int, float)) else str(number)


def _shown(slug: Any) -> str:
    return one_line(str(slug))[:_LONGEST]
