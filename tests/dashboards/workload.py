"""A workload of which everything is known: what every panel has to show follows from it."""

from __future__ import annotations

import time
from asyncio import CancelledError
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from volnux.telemetry import MetricsPublisher, Registry, monitor_events, network_op, traced_event
from volnux.telemetry.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from volnux.telemetry import Monitor


class Event(NamedTuple):
    """Executions of one event that are all alike; in a network operation, `error` is its end as well."""

    name: str
    times: int
    seconds: float
    error: type[BaseException] | None = None
    retries: int = 0

    @property
    def status(self) -> str:
        """How it ends."""
        return _status(self.error)


class Operation(NamedTuple):
    """Network operations that are all alike."""

    name: str
    host: str
    port: int
    times: int
    seconds: float
    sent: int
    received: int
    error: type[BaseException] | None = None

    @property
    def status(self) -> str:
        """How it ends."""
        return _status(self.error)


def _status(error: type[BaseException] | None) -> str:
    if error is None:
        return "completed"
    return "cancelled" if error is CancelledError else "failed"


EVENTS = [
    Event("load", 8, 0.03),
    Event("load", 2, 0.3, ValueError),
    Event("fetch", 3, 0.003, retries=1),
    Event("fetch", 1, 2.0, ConnectionError, retries=2),
    Event("parse", 20, 0.0004),
    Event("export", 1, 0.7, CancelledError),
]
OPERATIONS = [
    Operation("query", "db.internal", 5432, 4, 0.02, 100, 2_000),
    Operation("query", "db.internal", 5432, 1, 0.6, 50, 0, ConnectionResetError),
    Operation("GET", "api.internal", 443, 7, 0.004, 10, 500),
]
RECORDS = sum(one.times for one in [*EVENTS, *OPERATIONS])
#: Of records that a text was cut in.
CUT = 8
#: What is recorded twice, so that counters have a beginning and an end.
ROUNDS = 2


class Refusing(MetricsPublisher):
    """A back end that takes nothing: what is dropped can be seen there."""

    def publish_event_metrics(self, metrics: Any) -> None:
        pass

    def publish_network_metrics(self, metrics: dict[str, Any]) -> None:
        pass

    def publish_batch(self, records: Any) -> list[str]:
        return ["reject"] * len(records)


class Recorder:
    """Records rounds of the workload, on a clock of its own."""

    def __init__(self, monitor: Monitor, clock: FakeClock) -> None:
        self._monitor = monitor
        self._clock = clock

    def once_more(self) -> None:
        """Record one round, and publish it."""
        for one in EVENTS:
            for _ in range(one.times):
                self._event(one)
        for one in OPERATIONS:
            for _ in range(one.times):
                self._operation(one)
        # Twice: what pushes may have pushed before the other publisher had dropped everything.
        assert self._monitor.flush(timeout=30)
        assert self._monitor.flush(timeout=30)

    def _event(self, one: Event) -> None:
        attributes = {"text": "x" * 100_000} if one == EVENTS[0] else {}
        with suppress(BaseException), traced_event(one.name, attributes=attributes) as event:
            for _ in range(one.retries):
                event.retry(ConnectionError("again"), delay=0.0)
            self._clock.advance(one.seconds)
            if one.error:
                raise one.error(f"no {one.name}")

    def _operation(self, one: Operation) -> None:
        with suppress(OSError), network_op(one.host, one.port, one.name) as op:
            op.sent(one.sent)
            op.received(one.received)
            self._clock.advance(one.seconds)
            if one.error:
                raise one.error("cut")


@contextmanager
def recording(*publishers: MetricsPublisher, waits: bool = True) -> Iterator[Recorder]:
    """Record one round, with an event in flight as long as the block lasts, unless it is told not to."""
    # In the past, and all of it in one half of an hour: what is shown over time is then one point.
    clock = FakeClock(start=(time.time() - 60) // 1800 * 1800 + 1)
    with monitor_events([*publishers, Refusing()], registry=Registry(clock=clock)) as monitor:
        recorder = Recorder(monitor, clock)
        with traced_event("waiting") if waits else nullcontext():
            recorder.once_more()
            yield recorder
