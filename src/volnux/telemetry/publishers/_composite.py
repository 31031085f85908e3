"""Several publishers as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from volnux.telemetry._publisher import MetricsPublisher, check_publisher, is_publisher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from volnux.telemetry._records import EventMetrics


class CompositePublisher(MetricsPublisher):
    """Publishes to several back ends at once.

    `monitor_events` gives each member a queue and a thread of its own, as if they had been given
    one by one: a member that hangs or fails keeps no other waiting. Called directly, it calls its
    members in order, all of them whatever happens, and then raises the first error.

    A subclass that overrides a method, to filter records for instance, is a publisher like any
    other: called directly, with one queue for all of its members.

    Args:
        publishers: the members; other composites may be among them.

    Raises:
        TypeError: a member is no publisher, or what was given is no list of them.
    """

    def __init__(self, publishers: Iterable[MetricsPublisher]) -> None:
        _check_list(publishers)
        self.publishers: tuple[MetricsPublisher, ...] = tuple(map(check_publisher, publishers))

    def __repr__(self) -> str:
        return f"CompositePublisher({list(self.publishers)!r})"

    def publish_event_metrics(self, metrics: EventMetrics) -> None:
        """Publish the record of one finished event to every member."""
        self._each(lambda member: member.publish_event_metrics(metrics))

    def publish_network_metrics(self, metrics: dict[str, Any]) -> None:
        """Publish one finished network operation to every member, a dict of its own to each."""
        self._each(lambda member: member.publish_network_metrics(dict(metrics)))

    def flush(self, timeout: float | None = None) -> bool:
        """Flush every member; True when nothing is left in any of them."""
        return all(self._each(lambda member: member.flush(timeout)))

    def close(self, timeout: float | None = None) -> None:
        """Close every member."""
        self._each(lambda member: member.close(timeout))

    def _each(self, call: Callable[[MetricsPublisher], Any]) -> list[Any]:
        results = []
        errors: list[Exception] = []
        for member in self.publishers:
            try:
                results.append(call(member))
            except Exception as error:  # noqa: BLE001  # the others have a right to their turn
                errors.append(error)
        if errors:
            raise errors[0]
        return results


def _check_list(publishers: object) -> None:
    if not hasattr(publishers, "__iter__"):
        way_out = (
            f": write CompositePublisher([{publishers!r}])" if is_publisher(publishers) else ""
        )
        raise TypeError(f"publishers must be a list of publishers, not {publishers!r}{way_out}")
