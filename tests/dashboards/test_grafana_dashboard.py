"""The dashboard of Grafana as it is committed: whole, laid out, and asking for what there is.

The rules are those of grafana/dashboard-linter as of June 2026, each with its name there.
"""

from __future__ import annotations

import json
import re
from itertools import combinations

import pytest

from tests.dashboards import promql
from tests.dashboards.exposed import counters, exported
from tests.dashboards.files import GRAFANA, generated, grafana, panels, queries, variables

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
#: Units of Grafana that this dashboard has a use for.
UNITS = {"cps", "ops", "Bps", "s", "percentunit", "short"}
#: A duration that nothing but `$__rate_interval` stands for.
INTERVAL = "1d17m"


def interval(expr):
    """An expression in which `$__rate_interval` can be told from any other range."""
    return promql.filled(expr.replace("$__range", "7m"), window=INTERVAL)


PANELS = pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel["title"])
QUERIES = pytest.mark.parametrize("query", queries(), ids=lambda one: f"{one.panel}: {one.legend}")


class TestTheFile:
    """What is in it, and how it came about."""

    @pytest.mark.parametrize("seed", ["0", "1"])
    def test_is_what_the_generator_makes(self, seed):
        """Byte for byte, each time."""
        assert generated(GRAFANA.name, seed=seed) == GRAFANA.read_bytes()

    def test_fits_any_server(self):
        """It has a stable name, no number of a database, and nothing that only an import by hand fills in."""
        dashboard = grafana()
        assert (dashboard["uid"], dashboard["id"]) == ("volnux-telemetry", None)
        assert 36 <= dashboard["schemaVersion"] <= 39
        assert not dashboard.keys() & {"__inputs", "__requires", "version", "iteration"}

    def test_uneditable_dashboard(self):
        """What is generated is changed in its generator."""
        assert grafana()["editable"] is False

    def test_shows_everything_that_is_exported(self):
        """No metric is without a panel."""
        shown = {
            one.metric for query in queries() for one in promql.selectors(promql.filled(query.expr))
        }
        assert set(exported()) - shown == {
            # How many there are is in the counters of events and operations.
            "volnux_event_duration_seconds_count",
            "volnux_network_operation_duration_seconds_count",
            # Only events are added up by the time that they take.
            "volnux_network_operation_duration_seconds_sum",
        }


class TestLayout:
    """Where the panels stand."""

    def test_fills_24_columns(self):
        """No panel is cut off, and each line is full."""
        lines = {}
        for panel in grafana()["panels"]:
            place = panel["gridPos"]
            assert place["x"] + place["w"] <= 24
            lines[place["y"]] = lines.get(place["y"], 0) + place["w"]
        assert set(lines.values()) == {24}

    def test_no_panel_covers_another(self):
        """Their rectangles have nothing in common."""
        places = [panel["gridPos"] for panel in grafana()["panels"]]
        for one, other in combinations(places, 2):
            is_beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
            is_below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
            assert is_beside or is_below, (one, other)

    def test_numbers_and_titles_are_different(self):
        """Links to a panel go by its number, people by its title."""
        everything = grafana()["panels"]
        assert len({panel["id"] for panel in everything}) == len(everything)
        assert len({panel["title"] for panel in panels()}) == len(panels())

    def test_stands_in_rows(self):
        """What comes first is seen first."""
        rows = [panel["title"] for panel in grafana()["panels"] if panel["type"] == "row"]
        assert rows == ["Overview", "Events", "Network", "Telemetry itself"]
        assert grafana()["panels"][0]["type"] == "row"


class TestVariables:
    """The choices at the top."""

    def test_are_these(self):
        """In this order, as each depends on those before."""
        assert list(variables()) == ["datasource", "job", "instance", "event"]

    def test_template_datasource_rule(self):
        """The Prometheus to ask is a choice."""
        chosen = variables()["datasource"]
        assert (chosen["type"], chosen["query"]) == ("datasource", "prometheus")
        assert chosen["label"] == "Data source"

    @pytest.mark.parametrize("name", ["job", "instance", "event"])
    def test_template_job_and_instance_rules(self, name):
        """Several can be chosen, and all of them are whatever there is."""
        chosen = variables()[name]
        assert (chosen["type"], chosen["datasource"]) == ("query", DATASOURCE)
        assert (chosen["label"], chosen["allValue"]) == (name.capitalize(), ".+")
        assert chosen["multi"]
        assert chosen["includeAll"]

    @pytest.mark.parametrize("name", ["job", "instance", "event"])
    def test_template_on_time_change_reload_rule(self, name):
        """What is offered is what there was in the time shown."""
        assert variables()[name]["refresh"] == 2

    @pytest.mark.parametrize("name", ["job", "instance", "event"])
    def test_template_label_promql_rule(self, name):
        """It asks for the values of a label that the metric has, under the choices before it."""
        query = variables()[name]["query"]
        selector, label = re.fullmatch(r"label_values\((.+), (\w+)\)", query).groups()
        assert label == name
        (one,) = promql.selectors(promql.filled(selector))
        assert {name, *one.matchers} <= exported()[one.metric]
        assert re.findall(r"\$(\w+)", query) == list(variables())[1 : len(one.matchers) + 1]


class TestPanels:
    """What each panel has to say of itself."""

    @PANELS
    def test_panel_datasource_rule(self, panel):
        """It asks the Prometheus that was chosen, and so does each of its queries."""
        assert panel["datasource"] == DATASOURCE
        assert [one["datasource"] for one in panel["targets"]] == [DATASOURCE] * len(
            panel["targets"]
        )

    @PANELS
    def test_panel_title_description_rule(self, panel):
        """It has a title, and one sentence or more."""
        assert panel["title"]
        assert panel["description"].endswith(".")

    @PANELS
    def test_panel_units_rule(self, panel):
        """Its numbers have a unit."""
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS

    @PANELS
    def test_panel_no_targets_rule(self, panel):
        """It asks for something, each query by a letter of its own."""
        letters = [one["refId"] for one in panel["targets"]]
        assert letters == ["A", "B", "C"][: len(letters)]
        assert letters

    @PANELS
    def test_durations_show_examples(self, panel):
        """Where a duration is shown, the executions behind it can be too."""
        for one in panel["targets"]:
            assert one["exemplar"] == ("_bucket" in one["expr"])

    def test_a_heatmap_takes_buckets(self):
        """By their bounds, as Grafana wants them."""
        maps = [panel for panel in panels() if panel["type"] == "heatmap"]
        assert len(maps) == 2
        for panel in maps:
            (one,) = panel["targets"]
            assert (one["format"], one["legendFormat"]) == ("heatmap", "{{le}}")
            assert promql.grouped(promql.filled(one["expr"])) == {"le"}


class TestQueries:
    """What each query asks for."""

    @QUERIES
    def test_target_promql_rule(self, query):
        """It is PromQL."""
        assert promql.selectors(promql.filled(query.expr))

    @QUERIES
    def test_names_what_is_exported(self, query):
        """Metrics that there are, by labels that they have; a legend shows what is grouped by."""
        filled = promql.filled(query.expr)
        for one in promql.selectors(filled):
            assert one.metric in exported()
            assert set(one.matchers) <= exported()[one.metric]
            assert promql.grouped(filled) <= exported()[one.metric]
        shown = set(re.findall(r"\{\{(\w+)\}\}", query.legend))
        assert shown == promql.grouped(filled) - ({"le"} - shown)

    @QUERIES
    def test_target_job_and_instance_rules(self, query):
        """It keeps to what was chosen."""
        for one in promql.selectors(
            query.expr.replace("$__rate_interval", "1m").replace("$__range", "1m")
        ):
            assert one.matchers["job"] == "$job"
            assert one.matchers["instance"] == "$instance"
            has_events = "event" in exported()[one.metric]
            assert one.matchers.get("event") == ("$event" if has_events else None)

    @QUERIES
    def test_target_rate_interval_rule(self, query):
        """A rate is taken over `$__rate_interval`, which no scrape interval is too long for."""
        for one in promql.selectors(interval(query.expr)):
            if one.function == "rate":
                assert one.seconds == 86_400 + 17 * 60

    @QUERIES
    def test_target_counter_agg_rule(self, query):
        """Of a counter only the growth is shown: its value says when the process began."""
        for one in promql.selectors(promql.filled(query.expr)):
            if one.metric in counters():
                assert one.function in {"rate", "increase"}
                assert one.seconds

    @QUERIES
    def test_sums_before_it_divides(self, query):
        """A rate is taken of each series, then they are added up, and what is left is divided."""
        filled = promql.filled(query.expr)
        assert re.search(r"rate\(\s*sum|increase\(\s*sum", filled) is None


def test_it_is_json_that_people_can_compare():
    """A change of one panel is a change of few lines."""
    text = GRAFANA.read_text("utf-8")
    assert text == json.dumps(grafana(), ensure_ascii=False, indent=1, sort_keys=True) + "\n"
