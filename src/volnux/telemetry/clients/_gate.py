"""Which calls of a client are recorded: those that run inside of a traced one."""

from __future__ import annotations

from contextvars import ContextVar

from volnux.telemetry._guard import note
from volnux.telemetry._scope import CURRENT
from volnux.telemetry._switch import SWITCH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Token
    from typing import TypeAlias

    #: Gives the template of a path, "/users/7" -> "/users/{id}", or None if it knows none.
    Route: TypeAlias = Callable[[str], str | None]


class Settings:
    """How the exchanges of a client are recorded.

    Attributes:
        route: gives the template of a path, which then is part of the operation's name.
        propagate_trace: whether requests carry a `traceparent` header.
    """

    __slots__ = ("propagate_trace", "route")

    def __init__(self, *, route: Route | None = None, propagate_trace: bool = False) -> None:
        self.route = route
        self.propagate_trace = propagate_trace

    def template(self, target: str) -> str | None:
        """Return the template of the path of a target; None if there is none."""
        path = target.partition("?")[0].partition("#")[0]
        try:
            template = None if self.route is None else self.route(path)
        except Exception as error:  # noqa: BLE001  # a route of the user's must not hurt the request
            mishap("route", error)
            return None
        return template if template is None else str(template)


#: The settings of the traced client whose call is running here, or None. The outermost one's count:
#: a session that calls a pool that calls a connection is one traced client.
ACTIVE: ContextVar[Settings | None] = ContextVar("volnux_client", default=None)


def enter(settings: Settings) -> Token[Settings | None] | None:
    """Open the gate for a call of a traced client; None if there is nothing to close afterwards."""
    if not SWITCH.on or ACTIVE.get() is not None:
        return None
    return ACTIVE.set(settings)


def leave(token: Token[Settings | None] | None) -> None:
    """Close the gate that `enter` opened."""
    if token is not None:
        ACTIVE.reset(token)


def mishap(reason: str, error: BaseException) -> None:
    """Count something that went wrong in an instrument, in the registry that is current here."""
    scope = CURRENT.get()[1]
    note(None if scope is None else scope.registries[0], "client", reason, error)
