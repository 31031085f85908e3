"""Records in Grafana Cloud, by OTLP."""

from __future__ import annotations

import os
from threading import Lock
from typing import TYPE_CHECKING

from volnux.telemetry.errors import PublishError
from volnux.telemetry.formats._grafana_stacks import API, find_stack
from volnux.telemetry.formats._otlp_answers import UNTIL_MENDED
from volnux.telemetry.formats._otlp_settings import (
    ENDPOINT,
    basic,
    target,
    variable_headers,
)
from volnux.telemetry.formats._prometheus import BOUNDS
from volnux.telemetry.formats._together import Call
from volnux.telemetry.publishers._otlp import OTLPPublisher

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from volnux.telemetry.formats._otlp_settings import Target


class GrafanaCloudPublisher(OTLPPublisher):
    """Sends the records of a program to a stack of Grafana Cloud, as traces and metrics, by its OTLP endpoint.

    Nothing is sent when it is made. Where the stack is, is found out with the first records: it is what `endpoint` and
    `instance_id` say, else what the variables of OpenTelemetry do if they hold an address and credentials, else it
    is asked of grafana.com, for which the token needs the scope `stacks:read`.

    Args:
        api_key: a token of an access policy with the scopes `metrics:write` and `traces:write`.
        org_slug: the name of the organization, as in its address at grafana.com.
        stack: the name or number of the stack; needed where there are several.
        endpoint: the address on the stack's OpenTelemetry card.
        instance_id: the number there.
        interval: seconds between two pushes of metrics.
        signals: "metrics", "traces" or both.
        service_name: what the traces and metrics are of.
        resource_attributes: what else is the same for all of them.
        ca_certs: a file with the certificates of the authorities to trust; those of requests by default.
        timeout: seconds that a request may take; 10 by default.
        max_request_bytes, buckets, max_names: as for `OTLPPublisher`.

    Raises:
        MissingDependencyError: a package is not installed: pip install "volnux[grafana]".
        TypeError, ValueError: an argument is none of those above, or the token would go to another
            machine in the clear.
    """

    _hint = (
        "the token needs the scopes metrics:write and traces:write, and instance_id= is the number on the "
        "stack's OpenTelemetry card"
    )
    _extra = "grafana"
    _api = API

    def __init__(
        self,
        api_key: str,
        org_slug: str,
        *,
        stack: str | int | None = None,
        endpoint: str | None = None,
        instance_id: str | int | None = None,
        interval: float = 60.0,
        signals: Sequence[str] = ("metrics", "traces"),
        service_name: str | None = None,
        resource_attributes: Mapping[str, Any] | None = None,
        ca_certs: str | os.PathLike[str] | None = None,
        timeout: float | None = None,
        max_request_bytes: int = 4 << 20,
        buckets: Sequence[float] = BOUNDS,
        max_names: int = 500,
    ) -> None:
        self._token = _checked("api_key", api_key)
        self.org_slug: str = _checked("org_slug", org_slug)
        self._stack = stack
        self._endpoint = endpoint
        self._instance = None if instance_id is None else str(instance_id)
        self._finding = Lock()
        super().__init__(
            endpoint,
            signals=signals,
            interval=interval,
            service_name=service_name,
            resource_attributes=resource_attributes,
            compression="gzip",
            ca_certs=ca_certs,
            timeout=timeout,
            max_request_bytes=max_request_bytes,
            buckets=buckets,
            max_names=max_names,
        )

    def __repr__(self) -> str:
        return f"GrafanaCloudPublisher({self.org_slug!r})"

    def _known_targets(
        self, endpoint: str | None, headers: Mapping[str, str] | None
    ) -> dict[str, Target]:
        if endpoint is not None:
            # Also where the number is asked for later: an address that cannot be used is said at once.
            made = self._made_targets(endpoint, self._instance or "0")
            return made if self._instance is not None else {}
        if self._instance is None and _is_in_environment(self.signals):
            return {signal: target(signal, **self._how) for signal in self.signals}
        return {}

    def _made_targets(self, endpoint: str, instance_id: str) -> dict[str, Target]:
        headers = {"authorization": basic(instance_id, self._token)}
        return {
            signal: target(signal, endpoint=endpoint, headers=headers, **self._how)
            for signal in self.signals
        }

    def _target(self, signal: str) -> Target:
        with self._finding:
            if not self._targets:
                self._targets = self._found_in_time()
        return self._targets[signal]

    def _found_in_time(self) -> dict[str, Target]:
        patience = 4 * self._timeout  # that of a connection begins anew with every byte that comes
        call = Call(self._found_targets)
        call.begin()
        try:
            return call.result(patience)
        except TimeoutError:
            self._sending.close()
            raise PublishError(f"no answer of grafana.com within {patience} s") from None

    def _found_targets(self) -> dict[str, Target]:
        place = find_stack(
            self._sending,
            self._api,
            self._token,
            org_slug=self.org_slug,
            stack=self._stack,
            timeout=self._timeout,
        )
        endpoint = self._endpoint or place.endpoint
        try:
            return self._made_targets(endpoint, self._instance or place.instance_id)
        except ValueError as error:
            raise PublishError(
                f"grafana.com gives an address that cannot be used: {error}",
                retry_after=UNTIL_MENDED,
            ) from None

    def _after_fork(self) -> None:
        self._finding = Lock()
        super()._after_fork()


def _is_in_environment(signals: Sequence[str]) -> bool:
    """Whether OpenTelemetry's variables say where to send to and who one is: one without the other is for others."""
    return bool(os.environ.get(ENDPOINT, "").strip()) and all(
        "authorization" in variable_headers(signal) for signal in signals
    )


def _checked(name: str, value: object) -> str:
    """Return a text that may stand in a header; errors must not hold it."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a text, not {type(value).__name__}")
    if not value.strip() or value != value.strip() or not (value.isascii() and value.isprintable()):
        raise ValueError(f"{name} has characters that cannot stand there, or none")
    return value
