"""What one process has counted for the metrics of OTLP, each record once."""

from __future__ import annotations

from threading import Lock
from time import time_ns
from typing import TYPE_CHECKING

from volnux.telemetry.formats._otlp_metrics import Metrics
from volnux.telemetry.formats._prometheus import Accumulator, brief_observation, observation

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from volnux.telemetry._publisher import Record
    from volnux.telemetry.formats._otlp_metrics import Point


class Tally:
    """Counts records, and gives the totals as points. Safe from several threads.

    The rule: a record is counted once nothing more becomes of it here, be its span taken or refused. One that will come
    again is not counted yet, whether it comes by itself or in a batch, in this process or, out of a spool, in another.

    Args:
        library: as for `Metrics`.
        bounds: upper bounds of the buckets.
        max_names: as for `Accumulator`.

    Attributes:
        is_begun: whether anything has been counted.
    """

    def __init__(self, library: Sequence[Any], bounds: Sequence[float], max_names: int) -> None:
        self._lock = Lock()
        self._accumulator = Accumulator(bounds, max_names)
        self._metrics = Metrics(library, bounds, time_ns())
        self.is_begun = False

    def count(self, records: Sequence[Record], briefs: Sequence[Sequence[Any] | None]) -> None:
        """Count records.

        Args:
            records: those to which nothing more happens.
            briefs: what `brief_of` says of each.
        """
        observations = [
            observation(record) if brief is None else brief_observation(brief)
            for record, brief in zip(records, briefs, strict=True)
        ]
        with self._lock:
            self._accumulator.add(observations)
        self.is_begun = True

    def points(self, health: Any) -> list[Point]:
        """Return everything as it is now; with the health of a monitor, or None."""
        with self._lock:
            totals, now = self._accumulator.totals(), time_ns()
        return self._metrics.points(totals, health, now)

    def request(self, resource: bytes, scope: bytes, points: Iterable[Point]) -> bytes:
        """Return a request with some of the points."""
        return self._metrics.request(resource, scope, points)
