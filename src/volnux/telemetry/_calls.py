"""Which calls that went to other processes have reported, and which are still out."""

from __future__ import annotations

from volnux.telemetry._ids import IDS


class RemoteCalls:
    """Calls that `propagate` sent to other processes, by the token each of them carries.

    Attributes:
        number: what another process knows the registry by.
    """

    def __init__(self) -> None:
        self.number: int = IDS.take()
        self._sent = 0
        self._out: set[int] = set()

    def send(self, token: int) -> None:
        """Count a call as sent."""
        with IDS.lock:
            self._sent += 1
            self._out.add(token)

    def report(self, token: int) -> None:
        """Count a call as reported."""
        with IDS.lock:
            self._out.discard(token)

    def counts(self) -> dict[str, int]:
        """Return `sent`, `reported` and `missing`."""
        with IDS.lock:
            missing = len(self._out)
            return {"sent": self._sent, "reported": self._sent - missing, "missing": missing}

    def clear(self) -> None:
        """Start again from nothing."""
        with IDS.lock:
            self._sent = 0
            self._out.clear()
