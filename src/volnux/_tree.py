"""The trees around the records that matter: what they ran under, and what ran in them."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from volnux.telemetry import EventMetrics, NetworkMetrics, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import TypeAlias

    from volnux.telemetry import Redactor

    Record: TypeAlias = EventMetrics | NetworkMetrics

#: Levels shown above a record that matters, children shown in it, and what part of its duration a
#: child must have taken to be shown.
LEVELS: Final = 12
CHILDREN: Final = 4
SHARE: Final = 0.05


class Node(NamedTuple):
    """A record with what is shown of the records in it.

    Attributes:
        kind: "event" or "network".
        name: the event's name, or `operation host:port`.
        task_id, process_id, status, start, duration, attributes, error, error_type: the record's.
        attempts: how often it was tried, 1 without retries; 0 for a network operation.
        sent, received: bytes, of a network operation.
        matters: whether the tree is shown for its sake.
        children: the records in it that are shown.
        more: how many kept records in it are not shown.
        above: levels above it that are not shown, only for a root.
        lost: whether its parent is not kept, only for a root.
    """

    kind: str
    name: str
    task_id: str
    process_id: int
    status: str
    start: float
    duration: float
    attributes: Mapping[str, Any]
    error: str | None
    error_type: str | None
    attempts: int
    sent: int
    received: int
    matters: bool
    children: tuple[Node, ...]
    more: int
    above: int = 0
    lost: bool = False


class Forest:
    """The kept records of a registry, joined by their parents.

    Args:
        records: events and network operations.
        redactor: hides secrets in records that others have written; None where they are our own.
    """

    def __init__(self, records: Iterable[Record], redactor: Redactor | None = None) -> None:
        self._redactor = redactor
        self._records: dict[str, Record] = {record.task_id: record for record in records}
        self._parents = {
            record.task_id: record.parent_id
            for record in self._records.values()
            if record.parent_id in self._records
        }
        self._cut_circles()
        self._inside: dict[str, list[str]] = defaultdict(list)
        for child, parent in self._parents.items():
            self._inside[str(parent)].append(child)
        # An error that arose in a network operation passes through the event around it.
        self._from_below = {
            (record.parent_id, record.error_type, record.error)
            for record in self._records.values()
            if isinstance(record, NetworkMetrics) and record.status == Status.FAILED
        }

    def is_origin(self, record: Record) -> bool:
        """Return whether an error arose in this record, and did not only pass through."""
        if record.status != Status.FAILED:
            return False
        if isinstance(record, NetworkMetrics):
            return True
        below = (record.task_id, record.error_type, record.error) in self._from_below
        return not (record.error_origin or below)

    def error_of(self, record: Record) -> str | None:
        """Return the text of a record's error, without secrets."""
        if record.error is None or self._redactor is None:
            return record.error
        return self._redactor.text(record.error)

    def _attributes_of(self, record: Record) -> Mapping[str, Any]:
        if self._redactor is None:
            return record.attributes
        return self._redactor.attributes(record.attributes)

    def trees(self, focus: Iterable[Record], *, by_time: bool = False) -> list[Node]:
        """Return the trees that hold these records, with no record twice.

        Shown are the records themselves, what they ran under, and what took a good part of them.
        The slowest are first, or, inside a tree, what began first if `by_time`.
        """
        wanted = {record.task_id for record in focus}
        shown: dict[str, set[str]] = {}
        roots: dict[str, int] = {}
        for task_id in wanted:
            self._climb(task_id, shown, roots)
        for task_id in wanted:
            shown[task_id].update(self._longest(task_id, shown[task_id]))
        # A child of one tree may have been taken for the root of another, cut off by its depth.
        below = {child for children in shown.values() for child in children}
        trees = [
            self._node(root, shown, wanted, above, by_time=by_time) for root, above in roots.items()
        ]
        return sorted(
            (tree for tree in trees if tree.task_id not in below),
            key=lambda tree: tree.duration,
            reverse=True,
        )

    def _cut_circles(self) -> None:
        # No program makes any, but a file may say anything.
        checked: set[str] = set()
        for task_id in self._records:
            path: dict[str, None] = {}
            here: str | None = task_id
            while here is not None and here not in checked and here not in path:
                path[here] = None
                here = self._parents.get(here)
            if here in path:
                del self._parents[str(here)]
            checked.update(path)

    def _climb(self, task_id: str, shown: dict[str, set[str]], roots: dict[str, int]) -> None:
        """Have a record shown, and the levels above it."""
        shown.setdefault(task_id, set())
        here = task_id
        for _ in range(LEVELS):
            parent = self._parents.get(here)
            if parent is None:
                break
            known = parent in shown
            shown.setdefault(parent, set()).add(here)
            here = parent
            if known:
                return
        roots[here] = self._height(here)

    def _height(self, task_id: str) -> int:
        levels, here = 0, self._parents.get(task_id)
        while here is not None:
            levels, here = levels + 1, self._parents.get(here)
        return levels

    def _longest(self, task_id: str, shown: set[str]) -> list[str]:
        """Return the longest of what ran in a record, beside what is shown, if they matter."""
        least = duration_of(self._records[task_id]) * SHARE
        rest = [
            (duration_of(self._records[child]), child)
            for child in self._inside.get(task_id, ())
            if child not in shown
        ]
        rest = sorted(one for one in rest if one[0] >= least)
        return [child for _, child in rest[::-1][: max(0, CHILDREN - len(shown))]]

    def _node(
        self,
        task_id: str,
        shown: Mapping[str, set[str]],
        wanted: set[str],
        above: int = 0,
        *,
        by_time: bool,
    ) -> Node:
        children = [
            self._node(child, shown, wanted, by_time=by_time) for child in shown.get(task_id, ())
        ]
        children.sort(key=lambda node: (node.start if by_time else -node.duration, node.task_id))
        record = self._records[task_id]
        return Node(
            **_fields_of(record),
            error=self.error_of(record) if self.is_origin(record) else None,
            attributes=self._attributes_of(record),
            matters=task_id in wanted,
            children=tuple(children),
            more=len(self._inside.get(task_id, ())) - len(children),
            above=above,
            lost=record.parent_id is not None and task_id not in self._parents,
        )


def duration_of(record: Record) -> float:
    """Return the seconds that an event or a network operation took."""
    return record.duration if isinstance(record, EventMetrics) else record.latency


def name_of(record: Record) -> str:
    """Return an event's name, or `operation host:port`."""
    if isinstance(record, EventMetrics):
        return record.event_name
    return f"{record.operation} {place_of(record.host, record.port)}"


def place_of(host: str, port: int | None) -> str:
    """Return `host:port`, in brackets where the host is an IPv6 address."""
    if port is None:
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _fields_of(record: Record) -> dict[str, Any]:
    common = {
        "name": name_of(record),
        "task_id": record.task_id,
        "process_id": record.process_id,
        "status": record.status,
        "start": record.start_time,
        "duration": duration_of(record),
        "error_type": record.error_type,
    }
    if isinstance(record, EventMetrics):
        return {
            **common,
            "kind": "event",
            "attempts": max(record.retry_count + 1, len(record.attempts)),
            "sent": 0,
            "received": 0,
        }
    return {
        **common,
        "kind": "network",
        "attempts": 0,
        "sent": record.bytes_sent,
        "received": record.bytes_received,
    }
