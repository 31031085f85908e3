"""The composition root: the one place that knows both the registry and the publishers."""

from __future__ import annotations

import os
from _thread import RLock
from math import isnan
from time import monotonic

from volnux.telemetry._fork import on_fork
from volnux.telemetry._publisher import MetricsPublisher, check_publisher, is_publisher
from volnux.telemetry._registry import Registry
from volnux.telemetry._scope import default_registry, switch_off, switch_on
from volnux.telemetry._switch import is_disabled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType
    from typing import Literal

    from volnux.telemetry._delivery import Delivery
    from volnux.telemetry._queues import Settings
    from volnux.telemetry._totals import Health
    from volnux.telemetry.publishers import CompositePublisher

#: Records, and bytes of them by estimate, that may wait for one publisher.
QUEUE_ITEMS = 100_000
QUEUE_BYTES = 64 * 1024 * 1024
#: Bytes on disk that may wait for one publisher, and seconds that a record may.
SPOOL_BYTES = 1 << 30
SPOOL_AGE = 7 * 86_400.0
#: What delivery calls of a publisher.
_CALLED = (
    "publish_event_metrics",
    "publish_network_metrics",
    "publish_batch",
    "flush",
    "close",
)


class Monitor:
    """Telemetry is on while at least one of these is open: what `monitor_events` returns.

    ```python
    with monitor_events([JSONLinesPublisher("events.jsonl")]) as monitor:
        run()
    ```

    Leaving the block closes it; without a block, the end of the process does. Every method is safe
    from any thread.
    """

    def __init__(self, registry: Registry, deliveries: list[Delivery], *, is_off: bool) -> None:
        self._registry = registry
        self._deliveries = deliveries
        self._is_off = is_off
        self._is_open = not is_off

    def __enter__(self) -> Monitor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        if self._is_off:
            return "<Monitor off: VOLNUX_TELEMETRY says so>"
        names = ", ".join(delivery.name for delivery in self._deliveries) or "no publishers"
        return f"<Monitor {'open' if self._is_open else 'closed'}: {names}>"

    def flush(self, timeout: float | None = 5.0) -> bool:
        """Wait until everything finished so far has been published.

        Args:
            timeout: seconds to wait at most, for all publishers together; None for no limit.

        Returns:
            True when each record has been delivered, or refused for good, and counted; False when
            time was up first. Called inside a publisher it is False at once.

        Raises:
            TypeError, ValueError: the timeout is no number; nothing has been done.
            Exception: what a publisher raised since the last time, in strict mode only.
        """
        _check_timeout(timeout)
        self._registry.fold()
        deadline = _deadline(timeout)
        flushes = [(one, one.begin_flush(deadline)) for one in self._deliveries]
        done = [delivery.finish_flush(flush) for delivery, flush in flushes]
        self._raise_errors()
        return all(done)

    def close(self, timeout: float | None = 5.0) -> bool:
        """Publish what is left, close the publishers, and switch off if nobody else is on.

        A publisher that another monitor uses as well is flushed and stays open. Closing again does
        nothing.

        Args:
            timeout: seconds that it may take, for all publishers together; None for no limit.

        Returns:
            True when each record has been delivered, or refused for good, and counted; False when
            some were given up because time was up, or are left in the spool.

        Raises:
            TypeError, ValueError: the timeout is no number; nothing has been done.
            Exception: what a publisher raised since the last time, in strict mode only.
        """
        _check_timeout(timeout)
        if not self._is_open:
            return True
        self._is_open = False
        self._registry.fold()
        deadline = _deadline(timeout)  # of the publishers: the fold may have waited for room
        own = [one for one in self._deliveries if _ATTACHED.release(one)]
        shared = [one for one in self._deliveries if one not in own]
        flushes = [(delivery, delivery.begin_flush(deadline)) for delivery in shared]
        for delivery in own:
            delivery.begin_close(deadline)
        done = [delivery.finish_close() for delivery in own]
        done += [delivery.finish_flush(flush) for delivery, flush in flushes]
        switch_off(self._registry)
        self._raise_errors()
        return all(done)

    def health(self) -> Health:
        """Return the registry's health, with what has become of each publisher's records.

        In `publishers`, by name: `accepted` is always the sum of `delivered`, `dropped` (by reason:
        "queue_full", "queue_bytes", "rejected", "poison", "closed", "shutdown", and of a spool
        "spool_full", "spool_age", "spool_lost") and `pending`, of which `spooled` are on disk.
        """
        health = self._registry.health()
        counts = {one.name: one.counts().to_dict() for one in self._deliveries}
        return health.__replace__(publishers=counts)

    def _raise_errors(self) -> None:
        for delivery in self._deliveries:
            delivery.raise_errors()


def monitor_events(
    publishers: MetricsPublisher | Iterable[MetricsPublisher] | None = None,
    *,
    registry: Registry | None = None,
    strict: bool | None = None,
    queue_items: int = QUEUE_ITEMS,
    queue_bytes: int = QUEUE_BYTES,
    interval: float = 1.0,
    when_full: Literal["drop", "block"] = "drop",
    spool: str | os.PathLike[str] | None = None,
    spool_bytes: int = SPOOL_BYTES,
    spool_age: float = SPOOL_AGE,
) -> Monitor:
    """Switch telemetry on, and publish what is recorded from now on.

    Each call adds its publishers to those of earlier calls. Every publisher, also each member of a
    plain `CompositePublisher`, has a queue and a thread of its own, so that one that hangs keeps
    nobody waiting; the same object given twice is used once. `VOLNUX_TELEMETRY=off` wins over
    everything.

    Args:
        publishers: one publisher or several: any objects with the two methods of
            `MetricsPublisher`. None records without publishing.
        registry: where to record; the registry of the process by default.
        strict: let `flush` and `close` of the monitor raise what publishers raise; by default as
            the registry does.
        queue_items: how many records may wait for one publisher. The newest beyond that are dropped
            and counted.
        queue_bytes: how many bytes these may occupy, by estimate.
        interval: seconds after which what has been recorded is published at the latest, however
            little it is.
        when_full: "drop", or "block" to hold up the program while a queue is full, until 5 seconds
            have passed without any progress; for programs that would rather wait than lose records.
        spool: a folder where records wait on disk, in one file for each publisher; by default what
            `VOLNUX_SPOOL` says, else they wait in memory. What has been accepted then outlives the
            process, and an outage, and is delivered at least once: by this program, when it runs the
            next time, or by another that uses the same folder.
        spool_bytes: how large each of these files may grow. The newest beyond that are dropped and
            counted.
        spool_age: seconds after which a record is given up, and counted.

    Returns:
        Monitor: flushes, closes, and tells how it goes.

    Raises:
        TypeError: one of the publishers is none.
        ValueError: a number or a word is out of range.
    """
    found = _flatten(publishers)
    _check_settings(queue_items, queue_bytes, interval, when_full)
    _check_spool(spool_bytes, spool_age)
    folder = os.fspath(spool or os.environ.get("VOLNUX_SPOOL", "").strip() or "") or None
    if registry is not None and not isinstance(registry, Registry):
        raise TypeError(f"registry must be a volnux.telemetry.Registry, not {registry!r}")
    if is_disabled():
        return Monitor(registry or default_registry(), [], is_off=True)
    chosen = switch_on(registry)
    if not found:
        return Monitor(chosen, [], is_off=False)

    from volnux.telemetry._queues import Settings

    is_strict = chosen.strict if strict is None else strict
    settings = Settings(
        *(queue_items, queue_bytes, interval, when_full == "block", is_strict),
        *(folder and os.path.abspath(folder), spool_bytes, spool_age),
    )
    deliveries = [_ATTACHED.attach(one, chosen, settings) for one in found]
    monitor = Monitor(chosen, deliveries, is_off=False)
    for one in found:
        if isinstance(one, MetricsPublisher):
            one.watch(monitor.health)
    return monitor


class _Attached:
    """The deliveries at work in this process: one for each publisher, however many use it."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._users: dict[Delivery, int] = {}
        on_fork(self)

    def _after_fork(self) -> None:
        self._lock = RLock()

    def attach(self, publisher: MetricsPublisher, registry: Registry, to: Settings) -> Delivery:
        """Return the delivery to a publisher, fed by a registry, and count one more user of it."""
        from volnux.telemetry._delivery import Delivery

        with self._lock:
            for delivery in self._users:
                if delivery.publisher is publisher:
                    break
            else:
                delivery = Delivery(publisher, self._free_name(publisher), to)
            self._users[delivery] = self._users.get(delivery, 0) + 1
            delivery.attach(registry)
        return delivery

    def release(self, delivery: Delivery) -> bool:
        """Count one user less; whether that was the last."""
        with self._lock:
            left = self._users.get(delivery, 1) - 1
            self._users[delivery] = left
            if not left:
                del self._users[delivery]
        return not left

    def _free_name(self, publisher: MetricsPublisher) -> str:
        wanted = str(getattr(publisher, "name", None) or type(publisher).__name__)
        taken = {delivery.name for delivery in self._users}
        name, number = wanted, 1
        while name in taken:
            number += 1
            name = f"{wanted}-{number}"
        return name


_ATTACHED = _Attached()


def _flatten(
    publishers: MetricsPublisher | Iterable[MetricsPublisher] | None,
) -> list[MetricsPublisher]:
    """Return every single publisher once, members of composites instead of these."""
    if publishers is None:
        return []
    from volnux.telemetry.publishers import CompositePublisher

    if is_publisher(publishers):
        given: list[object] = [publishers]
    else:
        try:
            given = list(publishers)  # type: ignore[arg-type]  # what is left after the test above
        except TypeError:
            given = [publishers]  # and so refused below, with the way out
    found: dict[int, MetricsPublisher] = {}
    for one in given:
        publisher = check_publisher(one)
        if isinstance(publisher, CompositePublisher) and _is_plain(publisher):
            found.update((id(member), member) for member in _flatten(publisher.publishers))
        else:
            found[id(publisher)] = publisher
    return list(found.values())


def _is_plain(composite: CompositePublisher) -> bool:
    """Whether its members can stand for a composite: it does nothing else with a record."""
    from volnux.telemetry.publishers import CompositePublisher

    kind = type(composite)
    return all(getattr(kind, name) is getattr(CompositePublisher, name) for name in _CALLED)


def _check_settings(queue_items: int, queue_bytes: int, interval: float, when_full: str) -> None:
    for name, number in (("queue_items", queue_items), ("queue_bytes", queue_bytes)):
        if not _is_whole(number) or number < 1:
            raise ValueError(f"{name} must be a whole number above 0, not {number!r}")
    if not _is_number(interval) or not 0 < interval < float("inf"):
        raise ValueError(f"interval must be a number of seconds above 0, not {interval!r}")
    if when_full not in {"drop", "block"}:
        raise ValueError(f'when_full must be "drop" or "block", not {when_full!r}')


def _check_spool(most: int, age: float) -> None:
    if not _is_whole(most) or most < 1:
        raise ValueError(f"spool_bytes must be a whole number above 0, not {most!r}")
    if not _is_number(age) or not age > 0:
        raise ValueError(f"spool_age must be a number of seconds above 0, not {age!r}")


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _check_timeout(timeout: float | None) -> None:
    wanted = f"timeout must be a number of seconds, or None for no limit, not {timeout!r}"
    if timeout is not None and not _is_number(timeout):
        raise TypeError(wanted)
    if timeout is not None and isnan(timeout):
        raise ValueError(wanted)


def _deadline(timeout: float | None) -> float:
    return float("inf") if timeout is None else monotonic() + timeout
