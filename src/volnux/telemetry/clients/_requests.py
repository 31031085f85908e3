"""requests: sessions. What they send goes through urllib3, whose taps do the counting."""

from __future__ import annotations

from functools import wraps

import requests

from volnux.telemetry.clients import _urllib3
from volnux.telemetry.clients._gate import enter, leave
from volnux.telemetry.clients._patching import Patches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from volnux.telemetry.clients._gate import Settings

_patches = Patches()
_everywhere: list[Settings] = []


def _sending(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def send(self: Any, *args: Any, **kwargs: Any) -> Any:
        token = enter(_everywhere[0]) if _everywhere else None
        try:
            return original(self, *args, **kwargs)
        finally:
            leave(token)

    return send


def instrument(settings: Settings) -> None:
    """Record the exchanges of all sessions of the process."""
    _everywhere[:] = [settings]
    _urllib3.TAP.use("requests")
    if not _patches:
        _patches.wrap(requests.Session, "send", _sending)


def uninstrument() -> None:
    """Take it back."""
    _everywhere.clear()
    _patches.undo()
    _urllib3.TAP.drop("requests")


def is_client(client: object) -> bool:
    """Return whether it is a session."""
    return isinstance(client, requests.Session)


def trace(client: Any, settings: Settings) -> None:
    """Record the exchanges of one session."""
    _urllib3.gated(client, "send", settings)
    _urllib3.TAP.use_for(client)


def untrace(client: Any) -> None:
    """Take it back."""
    vars(client).pop("send", None)
    _urllib3.TAP.drop_for(client)
