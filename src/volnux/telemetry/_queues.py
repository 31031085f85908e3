"""Which queue a delivery has: in memory, or on disk with a thread that writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from volnux.telemetry._queue import RecordQueue

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from volnux.telemetry._spool_queue import SpoolQueue
    from volnux.telemetry._writer import Writer

    Queue: TypeAlias = RecordQueue | SpoolQueue


class Settings(NamedTuple):
    """How a delivery behaves; see `monitor_events`."""

    queue_items: int
    queue_bytes: int
    interval: float
    blocks: bool
    strict: bool
    spool: str | None = None
    spool_bytes: int = 0
    spool_age: float = 0.0


def new_queue(
    name: str,
    settings: Settings,
    trouble: Callable[[Exception], None],
    fold: Callable[[], None],
    has_room: Callable[[], None],
) -> tuple[Queue, Writer | None]:
    """Return a queue before a publisher of this name, and what writes it to disk, if that is asked for.

    Args:
        name: the publisher's.
        settings: bounds, and where the disk is.
        trouble: is told what the disk refuses.
        fold: makes registries hand over what they have.
        has_room: is told when there is room again.
    """
    if settings.spool is None:
        return RecordQueue(settings.queue_items, settings.queue_bytes), None
    from volnux.telemetry._spool_file import SpoolFile
    from volnux.telemetry._spool_queue import SpoolQueue
    from volnux.telemetry._spool_shelf import Shelf
    from volnux.telemetry._writer import Writer

    shelf = Shelf(SpoolFile(settings.spool, name, settings.spool_bytes), trouble)
    queue = SpoolQueue(shelf, settings.queue_items, settings.queue_bytes, settings.spool_age)
    return queue, Writer(queue, name, settings.interval, fold, has_room)
