"""Who it is that sends by OTLP: the resource that all spans and metrics of a process belong to."""

from __future__ import annotations

import os
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING
from urllib.parse import unquote
from uuid import uuid4
from warnings import warn

from volnux.telemetry.errors import TelemetryWarning
from volnux.telemetry.formats._otlp_wire import pairs, part

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

INSTANCE = "service.instance.id"
SERVICE = "service.name"
_VARIABLE = "OTEL_RESOURCE_ATTRIBUTES"


def attributes_of(service_name: str | None, given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what is the same in all processes of a program: by arguments, then by OpenTelemetry's variables."""
    found: dict[str, Any] = {SERVICE: f"unknown_service:{_program()}"}
    found.update(_from_environment())
    if name := os.environ.get("OTEL_SERVICE_NAME", "").strip():
        found[SERVICE] = name
    found.update(given or {})
    if service_name:
        found[SERVICE] = service_name
    return found


def resource_of(attributes: Mapping[str, Any], *, is_child: bool) -> bytes:
    """Return the `Resource` of this process, encoded.

    Each process has a `service.instance.id` of its own, or its totals would stand in for those of another: one
    that was given is that of the process which it was given to, and of none that was forked from it.
    """
    own = {
        INSTANCE: str(uuid4()),
        "process.pid": os.getpid(),
        "telemetry.sdk.name": "volnux",
        "telemetry.sdk.language": "python",
        "telemetry.sdk.version": own_version(),
    }
    kept = {key: value for key, value in attributes.items() if not (is_child and key == INSTANCE)}
    return pairs(b"\x0a", {**own, **kept})


def scope_of() -> bytes:
    """Return the `InstrumentationScope` of all that volnux sends, encoded."""
    return part(b"\x0a", b"volnux.telemetry") + part(b"\x12", own_version().encode())


def own_version() -> str:
    """Return volnux's version; "0" where it is used without having been installed."""
    try:
        return version("volnux")
    except PackageNotFoundError:
        return "0"


def _program() -> str:
    return os.path.basename(sys.executable or "") or "python"


def _from_environment() -> dict[str, str]:
    """Return what the variable says; nothing of it where a part cannot be read, as the specification has it."""
    found = {}
    for item in os.environ.get(_VARIABLE, "").split(","):
        if not item.strip():
            continue
        key, equals, value = item.partition("=")
        if not equals or not key.strip():
            warn(f"{_VARIABLE} is no list of key=value: it is left out", TelemetryWarning, 2)
            return {}
        found[unquote(key.strip())] = unquote(value.strip())
    return found
