"""What a back end implements, and how it asks for a package it needs."""

from __future__ import annotations

from abc import ABC, abstractmethod

from volnux.telemetry._records import NetworkMetrics
from volnux.telemetry.errors import MissingDependencyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType
    from typing import Any, Literal, TypeAlias

    from volnux.telemetry._records import EventMetrics

    Record: TypeAlias = EventMetrics | NetworkMetrics
    Verdict: TypeAlias = Literal["ok", "duplicate", "retry", "reject"]


class MetricsPublisher(ABC):
    """The base of every back end: implement two methods, and delivery does the rest.

    ```python
    class Shout(MetricsPublisher):
        def publish_event_metrics(self, metrics: EventMetrics) -> None:
            print(metrics.event_name, metrics.duration)

        def publish_network_metrics(self, metrics: dict[str, Any]) -> None:
            print(metrics["host"], metrics["latency"])
    ```

    All methods are called in one thread that belongs to this publisher, never in the thread whose
    work is recorded, and nothing that happens inside is recorded. They may block, and they may
    raise: `PublishError` and `OSError` mean that the back end is away and the same records come
    again later, any other exception counts against the record that caused it.
    """

    #: How many records `publish_batch` gets at once, at most.
    batch_size: int = 256
    #: Why the back end has refused a record the last time, for the log; without secrets.
    refusal: str | None = None

    @property
    def name(self) -> str:
        """The name of this publisher in `Monitor.health()`; the class's name unless overridden."""
        return type(self).__name__

    @abstractmethod
    def publish_event_metrics(self, metrics: EventMetrics) -> None:
        """Publish the record of one finished event."""

    @abstractmethod
    def publish_network_metrics(self, metrics: dict[str, Any]) -> None:
        """Publish one finished network operation, as `NetworkMetrics.to_dict()` gives it."""

    def publish_batch(self, records: Sequence[Record]) -> Sequence[Verdict] | None:
        """Publish several records, oldest first; override it where one request can carry many.

        Returns:
            None when all of them are delivered, else one verdict for each: "ok", "duplicate" (it
            was there before: counts as delivered), "retry" (send it again later) or "reject" (give
            it up and count it).

        Raises:
            PublishError: nothing of the batch was delivered.
        """
        for record in records:
            publish_one(self, record)
        return None

    def watch(self, health: Callable[[], Any]) -> None:
        """Take note of how telemetry itself can be asked how it goes; called by `monitor_events`.

        Args:
            health: `Monitor.health` of the monitor that this publisher is given to.
        """

    def flush(self, timeout: float | None = None) -> bool:
        """Push out what this publisher itself holds back; True when nothing is left.

        Args:
            timeout: seconds it may take; None for no limit.
        """
        return True

    def close(self, timeout: float | None = None) -> None:
        """Let go of files and connections; nothing is published afterwards.

        Args:
            timeout: seconds it may take; None for no limit.
        """


def publish_one(publisher: MetricsPublisher, record: Record) -> None:
    """Give `record` to the method of its kind."""
    if isinstance(record, NetworkMetrics):
        publisher.publish_network_metrics(record.to_dict())
    else:
        publisher.publish_event_metrics(record)


def is_publisher(thing: object) -> bool:
    """Whether an object has what delivery needs: the two methods, by whatever class."""
    return not isinstance(thing, type) and _has_methods(thing)


def _has_methods(thing: object) -> bool:
    return all(
        callable(getattr(thing, method, None))
        for method in ("publish_event_metrics", "publish_network_metrics")
    )


def check_publisher(thing: object) -> MetricsPublisher:
    """Return the object if it is a publisher.

    Raises:
        TypeError: it is none; the message says what one needs.
    """
    if is_publisher(thing):
        return thing  # type: ignore[return-value]  # one by its methods is as good
    if isinstance(thing, type) and _has_methods(thing):
        raise TypeError(f"{thing.__name__} is a class: give an instance, {thing.__name__}(...)")
    raise TypeError(
        f"{thing!r} is no publisher: subclass volnux.telemetry.MetricsPublisher, or give it the "
        "methods publish_event_metrics and publish_network_metrics"
    )


def require(module: str, extra: str) -> ModuleType:
    """Import the optional package `module`, which `extra` installs.

    Raises:
        MissingDependencyError: it is not installed; the message says what to run.
        ImportError: it is installed and fails to import: its own error, unchanged.
    """
    from importlib import import_module

    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and (module + ".").startswith(error.name + "."):
            raise MissingDependencyError(module, extra) from error
        raise
