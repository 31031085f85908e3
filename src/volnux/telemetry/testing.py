"""The test kit: a clock that stands still, and publishers that remember or fail."""

from __future__ import annotations

from volnux.telemetry._clock import Clock
from volnux.telemetry._publisher import MetricsPublisher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from volnux.telemetry._records import EventMetrics

__all__ = ["FailingPublisher", "FakeClock", "RecordingPublisher"]


class FakeClock(Clock):
    """A clock that moves only when told to.

    Args:
        start: seconds since the epoch at which the wall clock stands.

    Example:
        >>> clock = FakeClock()
        >>> with capture(clock=clock) as registry:
        ...     with traced_event("step"):
        ...         clock.advance(1.5)
        >>> registry.events()[0].duration
        1.5
    """

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._monotonic = 0
        self._wall = round(start * 1e9)

    def advance(self, seconds: float) -> None:
        """Let time pass: both clocks move by so many seconds, backwards if negative."""
        self._monotonic += round(seconds * 1e9)
        self._wall += round(seconds * 1e9)

    def wall_jump(self, seconds: float) -> None:
        """Move the wall clock alone, as an operator or NTP does."""
        self._wall += round(seconds * 1e9)

    def monotonic_ns(self) -> int:
        """Return the nanoseconds that have passed."""
        return self._monotonic

    def time_ns(self) -> int:
        """Return nanoseconds since the epoch."""
        return self._wall


class RecordingPublisher(MetricsPublisher):
    """A publisher that remembers what it is given.

    Attributes:
        events: the records of events, in the order of delivery.
        network_ops: the dicts of network operations.
    """

    def __init__(self) -> None:
        self.events: list[EventMetrics] = []
        self.network_ops: list[dict[str, Any]] = []

    def publish_event_metrics(self, metrics: EventMetrics) -> None:
        """Remember the record of an event."""
        self.events.append(metrics)

    def publish_network_metrics(self, metrics: dict[str, Any]) -> None:
        """Remember the dict of a network operation."""
        self.network_ops.append(metrics)


class FailingPublisher(RecordingPublisher):
    """A publisher that raises, and remembers what came through once it stops doing so.

    Args:
        error: what it raises; an `OSError` by default.
        times: how many calls fail; all of them by default.
    """

    def __init__(self, error: Exception | None = None, times: int | None = None) -> None:
        super().__init__()
        self.error: Exception = OSError("this back end is down") if error is None else error
        self.left = times

    def _fail(self) -> None:
        if self.left is None:
            raise self.error
        if self.left > 0:
            self.left -= 1
            raise self.error

    def publish_event_metrics(self, metrics: EventMetrics) -> None:
        """Raise, or remember the record."""
        self._fail()
        super().publish_event_metrics(metrics)

    def publish_network_metrics(self, metrics: dict[str, Any]) -> None:
        """Raise, or remember the dict."""
        self._fail()
        super().publish_network_metrics(metrics)
