"""The dashboard of Grafana, and the rules, on a real Prometheus: they answer with what was recorded."""

from __future__ import annotations

import pytest

from tests.dashboards.expected import TOLD_LATER, labels, shown
from tests.dashboards.files import alerts, queries, recording_rules, variables
from tests.dashboards.in_prometheus import WAYS, WINDOW, recorded

pytestmark = pytest.mark.extras


@pytest.fixture(scope="module", params=WAYS)
def asked(request, prometheus):
    """A Prometheus that the workload was recorded in, by a scrape and by OTLP."""
    with recorded(prometheus, request.param) as asked:
        yield request.param, asked


@pytest.mark.parametrize("query", queries(), ids=lambda one: f"{one.panel}: {one.legend}")
def test_a_panel_shows_what_was_recorded(asked, query):
    """Each series that it should have, with its value, and no other."""
    way, server = asked
    found = server.values(query.expr)
    wanted = shown(query.panel, query.legend, server.pace, WINDOW)
    assert set(found) == set(wanted)
    if way == "otlp" and (query.panel, query.legend) in TOLD_LATER:
        assert all(value > 0 for value in found.values())
    else:
        assert found == pytest.approx(wanted)


def test_the_choices_are_what_was_recorded(asked):
    """The variables offer the job, its process, and its events."""
    _, server = asked
    offered = {
        name: server.labels(one["query"])
        for name, one in variables().items()
        if name != "datasource"
    }
    assert server.job in offered["job"]
    assert len(offered["instance"]) == 1
    assert offered["event"] == ["export", "fetch", "load", "parse"]


def test_a_choice_leaves_the_others_out(asked):
    """Of two events chosen, two are shown; a metric without that label is not touched by it."""
    _, server = asked
    chosen = next(one for one in queries() if one.panel == "Rate by event").expr
    found = server.values(chosen.replace("$event", "load|parse"))
    assert {dict(key)["event"] for key in found} == {"load", "parse"}


@pytest.mark.parametrize("name", recording_rules())
def test_a_recording_rule_has_an_answer(asked, name):
    """For each name that was recorded; and shares are what they are in the workload."""
    _, server = asked
    rules = recording_rules()
    expr = rules[name]
    for other in rules:  # a rule may be made of others
        expr = expr.replace(other, f"({rules[other]})")
    found = server.of_job(expr)
    assert len(found) == (2 if name.startswith("job_operation") else 4)
    if name == "job_operation:volnux_network_operations_failed:ratio_rate5m":
        assert found == pytest.approx({labels(operation="query"): 0.2, labels(operation="GET"): 0})
    if name == "job_event:volnux_events_failed:ratio_rate5m":
        wanted = {"load": 0.2, "fetch": 0.25, "parse": 0, "export": 0}
        assert found == pytest.approx({labels(event=event): one for event, one in wanted.items()})


def test_an_alert_sees_the_first_record_that_is_dropped(asked):
    """Although there was no such counter before."""
    _, server = asked
    found = server.of_job(alerts()["VolnuxRecordsDropped"]["expr"])
    assert set(found) == {labels(publisher="Refusing", reason="rejected")}
