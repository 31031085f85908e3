"""What each panel has to show of the workload, worked out without any server."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from tests.dashboards.workload import CUT, EVENTS, OPERATIONS, RECORDS
from volnux.telemetry.formats._prometheus import BOUNDS, OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.dashboards.in_prometheus import Values

Groups = dict[tuple[tuple[str, str], ...], float]


def labels(**values: str) -> tuple[tuple[str, str], ...]:
    """Labels as a key."""
    return tuple(sorted(values.items()))


def counted(ones: Iterable[Any], what: Callable[[Any], float], **by: str) -> Groups:
    """What is added up of each, times its times, by fields: LABEL=FIELD."""
    found: Counter[Any] = Counter()
    for one in ones:
        key = labels(**{label: str(getattr(one, field)) for label, field in by.items()})
        found[key] += one.times * what(one)
    return dict(found)


def once(_: Any) -> float:
    """Count each for itself."""
    return 1.0


def with_zeros(found: Groups, name: str, label: str) -> Groups:
    """The same with 0 for what each name begins with: every outcome."""
    names = {dict(key).get(name) for key in found}
    for one in names:
        for outcome in OUTCOMES:
            known = {label: str(outcome)} | ({} if one is None else {name: one})
            found.setdefault(labels(**known), 0.0)
    return found


def failed(ones: Iterable[Any], field: str, label: str) -> Groups:
    """How many have failed by name; 0 for those that never do."""
    every = list(ones)
    none = counted(every, lambda _: 0.0, **{label: field})
    return none | counted([one for one in every if one.status == "failed"], once, **{label: field})


def shares(parts: Groups, whole: Groups) -> Groups:
    """Parts of a whole by name."""
    return {key: parts[key] / whole[key] for key in parts}


def quantile(share: float, ones: Iterable[Any]) -> float:
    """What Prometheus makes of the buckets: it takes a bucket for evenly filled."""
    counts = [0.0] * (len(BOUNDS) + 1)
    for one in ones:
        counts[
            next(i for i, bound in enumerate((*BOUNDS, float("inf"))) if one.seconds <= bound)
        ] += one.times
    rank, below = share * sum(counts), 0.0
    for place, count in enumerate(counts):
        if count and below + count >= rank:
            low = BOUNDS[place - 1] if place else 0.0
            return low + (BOUNDS[place] - low) * (rank - below) / count
        below += count
    raise AssertionError("nothing was counted")


def buckets(ones: Iterable[Any]) -> Groups:
    """How many are not above each bound."""
    every = list(ones)
    return {
        labels(le=str(bound)): float(sum(one.times for one in every if one.seconds <= bound))
        for bound in (*BOUNDS, float("inf"))
    }


def quantiles(ones: list[Any], title: str) -> dict[tuple[str, str], Values]:
    """The three quantiles of a panel."""
    return {
        (title, name): {(): quantile(share, ones)}
        for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99))
    }


def by_name(ones: list[Any], label: str, share: float) -> Groups:
    """One quantile of each name."""
    return {
        labels(**{label: name}): quantile(share, [one for one in ones if one.name == name])
        for name in {one.name for one in ones}
    }


_EVENTS = counted(EVENTS, once, event="name")
_FAILED = failed(EVENTS, "name", "event")
_RETRIES = counted(EVENTS, lambda one: one.retries, event="name")
_OPERATIONS = counted(OPERATIONS, once, operation="name")
_BROKEN = failed(OPERATIONS, "name", "operation")
_SENT = counted(OPERATIONS, lambda one: one.sent, operation="name")
_RECEIVED = counted(OPERATIONS, lambda one: one.received, operation="name")

#: Of panels that show how many a second: how many there are in a round.
RATES: dict[tuple[str, str], Groups] = {
    ("Events", "events"): counted(EVENTS, once),
    ("Retries", "retries"): counted(EVENTS, lambda one: one.retries),
    ("Rate by event", "{{event}}"): _EVENTS,
    ("Rate by outcome", "{{status}}"): with_zeros(
        counted(EVENTS, once, status="status"), "event", "status"
    ),
    ("Time spent by event", "{{event}}"): counted(EVENTS, lambda one: one.seconds, event="name"),
    ("Failures by event", "{{event}}"): _FAILED,
    ("Retries by event", "{{event}}"): _RETRIES,
    ("Retries by event", "{{event}}, in vain"): counted(
        EVENTS, lambda one: one.retries > 0 and one.status == "failed", event="name"
    ),
    ("Operations", "{{operation}} {{outcome}}"): with_zeros(
        counted(OPERATIONS, once, operation="name", outcome="status"), "operation", "outcome"
    ),
    ("Throughput", "{{direction}}"): {
        labels(direction="sent"): sum(_SENT.values()),
        labels(direction="received"): sum(_RECEIVED.values()),
    },
    ("Sent by operation", "{{operation}}"): _SENT,
    ("Received by operation", "{{operation}}"): _RECEIVED,
    ("Errors and cuts", "{{stage}} {{reason}}"): {labels(stage="bounds", reason="text"): CUT},
    ("Dropped by publisher", "{{publisher}} {{reason}}"): {
        labels(publisher="Refusing", reason="rejected"): RECORDS
    },
}
#: Of panels that show how many in the window.
INCREASES: dict[tuple[str, str], Groups] = {
    ("Duration, spread", "{{le}}"): buckets(EVENTS),
    ("Latency, spread", "{{le}}"): buckets(OPERATIONS),
    ("Records dropped", "dropped"): {(): RECORDS},
}
#: Of all others: what they show.
EXACT: dict[tuple[str, str], Groups] = {
    ("Failed events", "failed"): {(): sum(_FAILED.values()) / sum(_EVENTS.values())},
    ("Duration, p99", "p99"): {(): quantile(0.99, EVENTS)},
    ("In flight", "in flight"): {(): 1.0},
    **quantiles(EVENTS, "Duration by quantile"),
    ("Duration by event, p99", "{{event}}"): by_name(EVENTS, "event", 0.99),
    ("Failed share by event", "{{event}}"): shares(_FAILED, _EVENTS),
    ("Retries per execution", "{{event}}"): shares(_RETRIES, _EVENTS),
    ("Failed share by operation", "{{operation}}"): shares(_BROKEN, _OPERATIONS),
    **quantiles(OPERATIONS, "Latency by quantile"),
    ("Latency by operation, p99", "{{operation}}"): by_name(OPERATIONS, "operation", 0.99),
    ("In flight by process", "{{job}} {{instance}}"): {(): 1.0},
    ("Processes that report", "{{job}}"): {(): 1.0},
}
#: What was dropped is told by another thread than that which pushes: only that it is there is certain.
TOLD_LATER = {("Records dropped", "dropped"), ("Dropped by publisher", "{{publisher}} {{reason}}")}


def shown(panel: str, legend: str, pace: float, window: float) -> Groups:
    """What one query of a panel has to answer.

    Args:
        panel, legend: which query.
        pace: what `rate` makes of one record.
        window: seconds of the window.
    """
    key = (panel, legend)
    for known, factor in ((RATES, pace), (INCREASES, pace * window), (EXACT, 1.0)):
        if key in known:
            return {one: value * factor for one, value in known[key].items()}
    raise AssertionError(f"nobody has said what {key} shows")
