"""The registry keeps finished records and their running totals, and answers questions about them."""

from __future__ import annotations

import os
from _operator import itemgetter

from volnux.telemetry._calls import RemoteCalls
from volnux.telemetry._clock import Clock
from volnux.telemetry._guard import PROCESS
from volnux.telemetry._ids import read_id
from volnux.telemetry._intake import OTHER, OTHER_OP, Intake
from volnux.telemetry._raw import END, EXTRA, SCOPE, SITE, START, Adopted
from volnux.telemetry._records import EventMetrics, NetworkMetrics, Status
from volnux.telemetry._render import record_of, records_of_kind, running_record
from volnux.telemetry._sites import event_site, op_site
from volnux.telemetry._totals import Health, Totals, retry_stats

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, TypeAlias

    from volnux.telemetry._groups import Groups
    from volnux.telemetry._raw import Raw
    from volnux.telemetry._sites import Site
    from volnux.telemetry._totals import EventStats, NetworkStats, RetryStats

    Record: TypeAlias = EventMetrics | NetworkMetrics

SCHEMA = "volnux.registry/1"


class Registry(Intake):
    """Where records and their running totals live.

    Totals are exact for the life of the registry. Single records are bounded: the newest are kept,
    and before them up to a quarter of failed ones and a quarter of the slowest. Every method is
    safe from any thread, and right after `fork` the child's copy is empty: what was recorded before
    belongs to the parent.

    Args:
        capacity: how many single records to keep of each kind, events and network operations.
        clock: what to read time from; the system's by default.
        strict: raise errors inside volnux, instead of counting them in `health().errors`.

    Raises:
        TypeError: the capacity is no number, or the clock no `Clock`.
        ValueError: the capacity is negative.
    """

    def __init__(
        self, capacity: int = 10_000, *, clock: Clock | None = None, strict: bool = False
    ) -> None:
        if not isinstance(capacity, int):
            raise TypeError(f"capacity must be a number of records, not {capacity!r}")
        if capacity < 0:
            raise ValueError(f"capacity must be 0 or more, not {capacity}")
        if clock is not None and not isinstance(clock, Clock):
            raise TypeError(
                "clock must be a volnux.telemetry.Clock, such as testing.FakeClock(), "
                f"not {clock!r}"
            )
        self.remote: RemoteCalls = RemoteCalls()
        self._has_adopted = False
        self._before = _shared_errors()
        super().__init__(capacity, clock, strict=strict)

    def __repr__(self) -> str:
        health = self.health()
        return f"<Registry finished={health.finished} in_flight={health.in_flight}>"

    # -- asking ----------------------------------------------------------------------------------

    def events(self, name: str | None = None, status: str | None = None) -> list[EventMetrics]:
        """Return the kept events, oldest first, those in flight included.

        Args:
            name: only events of this name.
            status: only events of this status: "running", "completed", "failed", "cancelled".
        """
        finished, running = self.entries(network=False)
        if name is not None:
            finished = [raw for raw in finished if raw[SITE].name == name]
            running = [raw for raw in running if raw[SITE].name == name]
        return self.in_order(*_with_status(finished, running, status))

    def network_ops(
        self, host: str | None = None, port: int | None = None, status: str | None = None
    ) -> list[NetworkMetrics]:
        """Return the kept network operations, oldest first, those in flight included.

        Args:
            host, port: only operations with this host, and this port.
            status: only operations of this status.
        """
        finished, running = self.entries(network=True)
        for attribute, wanted in (("host", host), ("port", port)):
            if wanted is not None:
                finished = [raw for raw in finished if getattr(raw[SITE], attribute) == wanted]
                running = [raw for raw in running if getattr(raw[SITE], attribute) == wanted]
        return self.in_order(*_with_status(finished, running, status))

    def entries(self, *, network: bool) -> tuple[list[Raw], list[Raw]]:
        """Return the kept finished entries of one kind and those in flight, in no order."""
        with self._lock:
            self._fold()
            running = [raw for raw in self._open.values() if raw[SITE].network is network]
            return self._kept[network].kept(), running

    def in_order(self, finished: list[Raw], running: list[Raw]) -> list[Any]:
        """Return the records of entries of one kind, oldest first."""
        # Entries timed by several clocks compare only by date.
        finished.sort(key=_date_of if self.has_foreign_clocks else itemgetter(START))
        return self.records(finished, running)

    def records(self, finished: list[Raw], running: list[Raw]) -> list[Any]:
        """Return the records of entries of one kind in the order given, those in flight by start."""
        network = bool(finished) and finished[0][SITE].network
        kind: type[Any] = NetworkMetrics if network else EventMetrics
        records = records_of_kind(kind, finished)
        if self._has_adopted:
            for place, raw in enumerate(finished):
                if raw[EXTRA].__class__ is Adopted:
                    records[place] = raw[EXTRA].record
        if running:
            records += map(running_record, running)
            records.sort(key=lambda record: record.start_time)
        return records

    def event_stats(self) -> dict[str, EventStats]:
        """Return the exact totals of finished events by name."""
        with self._lock:
            self._fold()
            return {name: one.event_stats() for name, one in self._event_totals.items()}

    def network_stats(self) -> dict[tuple[str, int | None, str], NetworkStats]:
        """Return the exact totals of finished operations by host, port and operation."""
        with self._lock:
            self._fold()
            return {key: one.network_stats() for key, one in self._op_totals.items()}

    def retry_stats(self) -> RetryStats:
        """Return what retrying came to, over all finished events."""
        with self._lock:
            self._fold()
            return retry_stats(self._event_totals)

    def health(self) -> Health:
        """Return what was recorded, lost and swallowed; `started == finished + in_flight`."""
        with self._lock:
            self._fold()
            in_flight = len(self._open)
            return Health(
                started=self._finished + in_flight,
                finished=self._finished,
                in_flight=in_flight,
                evicted=self._finished - sum(map(len, self._kept)),
                errors=self._all_errors(),
                publishers={},
                remote=self.remote.counts(),
            )

    def _all_errors(self) -> dict[str, dict[str, int]]:
        errors = self._errors.nested()
        for (stage, reason), count in _shared_errors().items():
            since = count - self._before.get((stage, reason), 0)
            if since > 0:
                mine = errors.setdefault(stage, {})
                mine[reason] = mine.get(reason, 0) + since
        return errors

    def clear(self) -> None:
        """Forget all finished records, totals and counted errors. What is in flight stays."""
        with self._lock:
            self._fold()
            self._start_again()
            self._errors.clear()
            self._before = _shared_errors()
            self.remote.clear()

    # -- from elsewhere --------------------------------------------------------------------------

    def add(self, record: Record) -> None:
        """Take in a finished record that was made elsewhere: totals, keeping, listeners.

        Raises:
            ValueError: the record is still running.
        """
        if record.status == Status.RUNNING:
            raise ValueError("only finished records can be added, and this one is running")
        with self._lock:
            self._fold()
            raw = self._adopt(record)
            totals = self._totals_of(raw[SITE], 1)
            totals.durations.buffer.append(raw[END] - raw[START])
            totals.count_outcome(record.status)
            if isinstance(record, NetworkMetrics):
                totals.bytes_sent += record.bytes_sent
                totals.bytes_received += record.bytes_received
            else:
                # An attempt number 1 begins a call; of what is cut, some may be missing.
                calls = sum(attempt.number == 1 for attempt in record.attempts)
                totals.count_retries(record.retry_count, record.status, max(1, calls))
            self._counted(1)
            self._kept[raw[SITE].network].keep([raw])
            self._tell([raw])

    def _adopt(self, record: Record) -> Raw:
        self._has_adopted = True
        site: Site
        if isinstance(record, NetworkMetrics):
            site = op_site(record.host, record.port, record.operation)
            duration = record.latency
        else:
            site = event_site(record.event_name)
            duration = record.duration
        anchor = self.scope.anchor
        start = round(record.start_time * 1e9) - anchor.wall_ns(0)
        end = start + round(duration * 1e9)
        extra = Adopted(record, network=site.network)
        return [site, self.scope, 0, start, 0, end, extra, True, read_id(record.task_id)]

    def export(self, *, records: bool = True) -> dict[str, Any]:
        """Return everything as JSON-ready data, for `merge` in another process.

        Args:
            records: single records as well, and not the totals alone, which takes much less time.
        """
        with self._lock:
            self._fold()
            raws = (raw for one in self._kept for raw in one.kept()) if records else ()
            kept = [record_of(raw).to_dict() for raw in raws]
            return {
                "schema": SCHEMA,
                "process_id": os.getpid(),
                "finished": self._finished,
                "in_flight": len(self._open),
                "events": [[name, one.export()] for name, one in self._event_totals.items()],
                "network_ops": [[*key, one.export()] for key, one in self._op_totals.items()],
                "records": kept,
                "errors": self._errors.nested(),
            }

    def merge(self, state: Mapping[str, Any]) -> None:
        """Add what another registry has exported: totals, records, counters.

        What was still in flight there is lost, and counted in `health().errors` as such.

        Raises:
            ValueError: the state has a schema that this version does not know.
        """
        if state.get("schema") != SCHEMA:
            raise ValueError(f"cannot merge schema {state.get('schema')!r}, only {SCHEMA!r}")
        with self._lock:
            self._fold()
            for name, totals in state["events"]:
                self._named(self._event_totals, name, OTHER).merge(Totals.restore(totals))
            for host, port, operation, totals in state["network_ops"]:
                mine = self._named(self._op_totals, (host, port, operation), OTHER_OP)
                mine.merge(Totals.restore(totals))
            self._finished += state["finished"]
            self._merge_records(map(read_record, state["records"]))
            for stage, reasons in state["errors"].items():
                for reason, count in reasons.items():
                    self._errors.add(stage, reason, count)
            if state["in_flight"]:
                self._errors.add("remote", "unfinished", state["in_flight"])

    def take_groups(self, groups: Groups, size: int) -> None:
        """Count so many entries of another registry of this process, which are kept nowhere."""
        with self._lock:
            self._total(groups, size)

    def take_totals(
        self,
        events: Mapping[Any, Totals],
        operations: Mapping[Any, Totals],
        finished: int,
    ) -> None:
        """Add what another registry of this process has counted in so many entries."""
        with self._lock:
            self._fold()
            for name, totals in events.items():
                self._named(self._event_totals, name, OTHER).merge(totals)
            for key, totals in operations.items():
                self._named(self._op_totals, key, OTHER_OP).merge(totals)
            self._counted(finished)

    def _merge_records(self, records: Iterable[Record]) -> None:
        batch = [self._adopt(record) for record in records]
        for network in (False, True):
            self._kept[network].keep([raw for raw in batch if raw[SITE].network is network])
        if batch:
            self._tell(batch)

    def _after_fork(self) -> None:
        super()._after_fork()
        # Not cleared: that would wait for a lock which, in the child, nobody may ever give back.
        self.remote = RemoteCalls()
        self._before = _cuts()


def _shared_errors() -> dict[tuple[str, str], int]:
    """Return what has been swallowed and cut in the whole process, where no registry was at hand."""
    return {**PROCESS.counts(), **_cuts()}


def _cuts() -> dict[tuple[str, str], int]:
    from volnux.telemetry._redaction import cuts

    return {("bounds", reason): count for reason, count in cuts().items()}


def read_record(data: Mapping[str, Any]) -> Record:
    """Return the record whose `to_dict` gave this data.

    Raises:
        KeyError, TypeError, ValueError: the data has another shape.
    """
    if data["kind"] == "event":
        return EventMetrics.from_dict(data)
    if data["kind"] == "network":
        return NetworkMetrics.from_dict(data)
    raise ValueError(f"unknown kind of record: {data['kind']!r}")


def _date_of(raw: Raw) -> int:
    return raw[SCOPE].anchor.wall_ns(raw[START])  # type: ignore[no-any-return]  # raw is untyped


def _with_status(
    finished: list[Raw], running: list[Raw], status: str | None
) -> tuple[list[Raw], list[Raw]]:
    if status is None:
        return finished, running
    if status == Status.RUNNING:
        return [], running
    if status == Status.COMPLETED:
        plain = (raw for raw in finished if raw[EXTRA] is None or raw[EXTRA].status == status)
        return list(plain), []
    return [raw for raw in finished if raw[EXTRA] is not None and raw[EXTRA].status == status], []
