"""The dashboard of Kibana on a real Elasticsearch: every panel shows what was recorded."""

from __future__ import annotations

from itertools import groupby
from math import ceil, floor
from operator import attrgetter
from typing import Any, NamedTuple

import pytest

from tests.dashboards.files import lenses
from tests.dashboards.in_elasticsearch import held
from tests.dashboards.workload import EVENTS, OPERATIONS, ROUNDS

pytestmark = pytest.mark.extras
PANELS = {panel.title: panel for panel in lenses()}
#: Those with groups of one kind, by the values of a field.
RANKED = [
    panel.title
    for panel in lenses()
    if [one["operationType"] for one in panel.columns.values() if one["isBucketed"]] == ["terms"]
]


class Between(NamedTuple):
    """A quantile: between the two values next to it, as Elasticsearch draws a line between them."""

    low: float
    high: float

    def __eq__(self, other: object) -> bool:
        return isinstance(other, float) and self.low - 1e-9 <= other <= self.high + 1e-9

    __hash__ = None


class Added(float):
    """A sum of binary fractions."""

    def __eq__(self, other: object) -> bool:
        return other == pytest.approx(float(self))

    __hash__ = None


def count(ones):
    """How many there are in all rounds."""
    return ROUNDS * sum(one.times for one in ones)


def total(ones, field):
    """A field added up."""
    return Added(ROUNDS * sum(one.times * getattr(one, field) for one in ones))


def quantile(ones, share):
    """The duration that a share of all does not exceed."""
    values = sorted(one.seconds for one in ones for _ in range(ROUNDS * one.times))
    place = share / 100 * (len(values) - 1)
    return Between(values[max(floor(place) - 1, 0)], values[min(ceil(place) + 1, len(values) - 1)])


def quantiles(ones):
    """Three of them."""
    return {f"p{share}": quantile(ones, share) for share in (50, 90, 99)}


def those(ones, **wanted):
    """Those of which some fields are so."""
    return [
        one for one in ones if all(getattr(one, name) == value for name, value in wanted.items())
    ]


def by(ones, field):
    """Those of each value of a field, with it."""
    key = attrgetter(field)
    return [(value, list(found)) for value, found in groupby(sorted(ones, key=key), key)]


FAILED = those(EVENTS, status="failed")
BROKEN = those(OPERATIONS, status="failed")
TRIED = [one for one in EVENTS if one.retries]
RANGES = [
    ("under 1 ms", 0.0, 0.001),
    ("1 to 10 ms", 0.001, 0.01),
    ("10 to 100 ms", 0.01, 0.1),
    ("100 ms to 1 s", 0.1, 1.0),
    ("1 to 10 s", 1.0, 10.0),
]


def by_error(ones):
    """How many failed with each error."""
    found = {}
    for one in ones:
        found[one.error.__name__] = found.get(one.error.__name__, 0) + ROUNDS * one.times
    return [{"type": name, "count": many} for name, many in found.items()]


EXPECTED: dict[str, list[dict[str, Any]]] = {
    "Events": [{"value": count(EVENTS)}],
    "Failed events": [{"value": count(FAILED)}],
    "Duration, p99": [{"value": quantile(EVENTS, 99)}],
    "Retries": [{"value": total(EVENTS, "retries")}],
    "Network operations": [{"value": count(OPERATIONS)}],
    "Failed operations": [{"value": count(BROKEN)}],
    "Event duration distribution": [
        {"duration": name, "status": status, "count": count(ones)}
        for name, low, high in RANGES
        for status, ones in by([one for one in EVENTS if low <= one.seconds < high], "status")
    ],
    "Status breakdown": [
        {"status": status, "count": count(ones)} for status, ones in by(EVENTS, "status")
    ],
    "Status over time": [
        {"status": status, "count": count(ones)} for status, ones in by(EVENTS, "status")
    ],
    "Event duration over time": [quantiles(EVENTS)],
    "Events by name": [
        {
            "event": name,
            "count": count(ones),
            "failed": count(those(ones, status="failed")),
            "p50": quantile(ones, 50),
            "p99": quantile(ones, 99),
            "time": total(ones, "seconds"),
            "retries": total(ones, "retries"),
        }
        for name, ones in by(EVENTS, "name")
    ],
    "Network latency over time": [quantiles(OPERATIONS)],
    "Bytes by host": [
        {"host": host, "sent": total(ones, "sent"), "received": total(ones, "received")}
        for host, ones in by(OPERATIONS, "host")
    ],
    "Network performance by host": [
        {
            "host": host,
            "operation": name,
            "count": count(ones),
            "failed": count(those(ones, status="failed")),
            "p50": quantile(ones, 50),
            "p99": quantile(ones, 99),
            "sent": total(ones, "sent"),
            "received": total(ones, "received"),
        }
        for host, there in by(OPERATIONS, "host")
        for name, ones in by(there, "name")
    ],
    "Bytes over time": [
        {"sent": total(OPERATIONS, "sent"), "received": total(OPERATIONS, "received")}
    ],
    "Errors by type": by_error(FAILED),
    "Errors over time": by_error(FAILED),
    "Network errors by type": by_error(BROKEN),
    "Recent failures": [
        {
            "event": one.name,
            "type": one.error.__name__,
            "error": f"no {one.name}",
            "duration": one.seconds,
            "retries": one.retries,
        }
        for one in reversed(FAILED)
        for _ in range(one.times)
    ]
    * ROUNDS,
    "Retries by event": [{"event": "fetch", "retries": total(EVENTS, "retries")}],
    "Retries needed": [
        {"needed": needed, "count": count(ones)} for needed, ones in by(TRIED, "retries")
    ],
    "Whether retries helped": [
        {
            "event": name,
            "count": count(ones),
            "recovered": count(those(ones, status="completed")),
            "exhausted": count(those(ones, status="failed")),
        }
        for name, ones in by(TRIED, "name")
    ],
}


@pytest.fixture(scope="module")
def workload(elasticsearch):
    """An Elasticsearch that the workload was recorded in."""
    with held(elasticsearch.url) as found:
        yield found


def in_order(rows, groups):
    """Rows by what they group by: which of two with equal numbers comes first is nobody's business."""
    return sorted(rows, key=lambda row: [str(row[name]) for name in groups if name in row])


@pytest.mark.parametrize("title", PANELS)
def test_a_panel_shows_what_was_recorded(workload, title):
    """Each row that it should have, with its numbers, and no other."""
    panel = PANELS[title]
    found = [
        {name: value for name, value in row.items() if name not in {"task", "ended"}}
        for row in workload.rows(panel)
    ]
    groups = [name for name in panel.order if panel.columns[name]["isBucketed"]]
    if title != "Recent failures":  # there the order is the point
        found = in_order(found, groups)
    wanted = EXPECTED[title] if title == "Recent failures" else in_order(EXPECTED[title], groups)
    assert found == wanted


@pytest.mark.parametrize("title", RANKED)
def test_what_matters_most_comes_first(workload, title):
    """Groups are shown by their numbers, the largest first."""
    panel = PANELS[title]
    by = panel.columns[panel.order[0]]["params"]["orderBy"]["columnId"]
    values = [row[by] for row in workload.rows(panel)]
    assert values == sorted(values, reverse=True)


def test_what_is_older_is_not_shown(workload):
    """The time range of the dashboard is that of every panel."""
    index = PANELS["Events"].view.replace("volnux-telemetry", workload.prefix)
    everything = workload.client.count(index=f"{index}*")["count"]
    assert everything == count(EVENTS)
    (row,) = workload.rows(PANELS["Events"])
    assert row == {"value": everything}


def test_nothing_is_left_out():
    """Every panel of the dashboard has its expectation, and no other has."""
    assert list(EXPECTED) == list(PANELS)
