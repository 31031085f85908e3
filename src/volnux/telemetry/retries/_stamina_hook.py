"""stamina's hook, and to which call what it is told belongs."""

from __future__ import annotations

from contextvars import ContextVar
from threading import Lock

from stamina.instrumentation import get_on_retry_hooks, set_on_retry_hooks

from volnux.telemetry._current import record_retry
from volnux.telemetry._fork import on_fork

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from stamina.instrumentation import RetryDetails

    class Account(Protocol):
        """What may be current where the hook is called."""

        def takes(self, details: RetryDetails) -> bool:
            """Put a retry down, and return whether it belongs here."""
            ...


#: The account of the traced call that runs here, if one does.
ACCOUNT: ContextVar[Account | None] = ContextVar("volnux_stamina", default=None)


class _Hook:
    """What stamina calls when it has scheduled a retry."""

    def __init__(self) -> None:
        #: Whether retries of what is not traced are recorded, too.
        self.everywhere = False
        self._lock = Lock()
        on_fork(self)

    def _after_fork(self) -> None:
        self._lock = Lock()

    def __call__(self, details: RetryDetails) -> None:
        account = ACCOUNT.get()
        if (account is None or not account.takes(details)) and self.everywhere:
            record_retry(details.caused_by, details.wait_for)

    def install(self) -> None:
        """Have stamina call this, also if the program has set its own hooks since."""
        if any(hook is self for hook in get_on_retry_hooks()):
            return
        with self._lock:
            hooks = get_on_retry_hooks()
            if not any(hook is self for hook in hooks):
                # In front of those that may raise.
                set_on_retry_hooks((self, *hooks))

    def remove(self) -> None:
        """Take `install` back."""
        with self._lock:
            hooks = get_on_retry_hooks()
            others = tuple(hook for hook in hooks if hook is not self)
            if len(others) < len(hooks):
                set_on_retry_hooks(others)


HOOK = _Hook()


def instrument() -> None:
    """Record every retry of stamina; see `instrument_stamina`."""
    HOOK.everywhere = True
    HOOK.install()


def uninstrument() -> None:
    """Take `instrument` back."""
    HOOK.everywhere = False
    HOOK.remove()
