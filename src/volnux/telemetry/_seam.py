"""Beginning and ending an entry, where two lines of the hot path do not do it in place."""

from __future__ import annotations

from _thread import get_ident

from volnux.telemetry._extension import SPEEDUPS
from volnux.telemetry._outcome import OVERRUN, fail
from volnux.telemetry._scope import CURRENT
from volnux.telemetry._switch import SWITCH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from volnux.telemetry._raw import Raw
    from volnux.telemetry._sites import EventSite

get_current = CURRENT.get
set_current = CURRENT.set
#: Half the price of setting what was current before, but only in the context of the token.
reset_current = CURRENT.reset


if SPEEDUPS is not None:
    SPEEDUPS.bind(CURRENT, SWITCH, fail, OVERRUN)


def begin(site: EventSite) -> tuple[Raw, Raw] | None:
    """Begin an event that is not current yet; None where nothing is recorded."""
    parent = get_current()
    scope = parent[1]
    if not SWITCH.on or scope is None:
        return None
    event = [site, scope, parent, scope.now(), get_ident(), None, None, False, None]
    scope.append(event)
    return event, parent


def close(raw: Raw) -> None:
    """Announce an ended entry where the hot path's own two lines would be in the way."""
    scope = raw[1]
    if raw[7]:
        scope.late(raw)
    elif len(scope.pending) > scope.pending.limit:
        scope.fold()


def finish(event: Raw, parent: Raw, error: BaseException | None = None) -> None:
    """End an event that outlived the call that began it."""
    if event[5] is not None:
        return
    end = event[1].now()
    if error is not None:
        fail(event, parent, error)
    event[5] = end
    close(event)
