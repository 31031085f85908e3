"""The dashboard of Kibana as it is committed: whole, closed in itself, and asking for fields that there are.

Kibana's importer checks almost nothing of this: a file that it takes may still show nothing.
"""

from __future__ import annotations

import json
import re
from fnmatch import fnmatchcase
from itertools import combinations

import pytest

from tests.dashboards.files import (
    EXAMPLES,
    KIBANA,
    generated,
    kibana,
    kibana_dashboard,
    kibana_panels,
    lenses,
)
from volnux.telemetry.formats._elasticsearch import index_template

PREFIX = "volnux-telemetry"
FIELDS = index_template(PREFIX, is_data_stream=False)["template"]["mappings"]["properties"]
NUMBERS, WORDS, DATES = {"long", "double"}, {"keyword"}, {"date_nanos"}
#: What each operation of Lens can be done with.
FIT = {
    "sum": NUMBERS,
    "percentile": NUMBERS,
    "range": NUMBERS,
    "max": NUMBERS | DATES,
    "date_histogram": DATES,
    "terms": NUMBERS | WORDS,
    "last_value": NUMBERS | WORDS | DATES,
}
#: And what Lens calls what comes out.
KINDS = {"long": "number", "double": "number", "keyword": "string", "date_nanos": "date"}

LENSES = pytest.mark.parametrize("lens", lenses(), ids=lambda one: one.title)
SAVED = pytest.mark.parametrize("panel", kibana_panels(), ids=lambda one: one["title"])


def kind_of(field):
    """The type of a field in the mapping of the template."""
    known = FIELDS[field]
    return FIELDS[known["path"]]["type"] if known["type"] == "alias" else known["type"]


class TestTheFile:
    """What is in it, and how it came about."""

    @pytest.mark.parametrize("seed", ["0", "1"])
    def test_is_what_the_generator_makes(self, seed):
        """Byte for byte, each time."""
        assert generated(KIBANA.name, seed=seed) == KIBANA.read_bytes()

    def test_is_there_by_two_names(self):
        """By the one of the requirement, and by the one that Kibana takes."""
        assert (EXAMPLES / "elasticsearch_dashboard.json").read_bytes() == KIBANA.read_bytes()

    def test_has_an_object_on_each_line(self):
        """The data views first, which the dashboard refers to."""
        assert KIBANA.read_text("utf-8").endswith("}\n")
        assert [(one["type"], one["id"]) for one in kibana()] == [
            ("index-pattern", "volnux-telemetry-event"),
            ("index-pattern", "volnux-telemetry-network"),
            ("dashboard", "volnux-telemetry"),
        ]

    def test_says_how_old_its_forms_are(self):
        """So that Kibana 8.9 and newer bring them up to date."""
        assert {one["coreMigrationVersion"] for one in kibana()} == {"8.8.0"}
        versions = {one["type"]: one["typeMigrationVersion"] for one in kibana()}
        assert versions == {"index-pattern": "7.11.0", "dashboard": "8.9.0"}
        assert {one["managed"] for one in kibana()} == {False}

    def test_keeps_as_text_what_kibana_keeps_as_text(self):
        """And the texts are JSON."""
        attributes = kibana_dashboard()["attributes"]
        texts = [
            attributes["panelsJSON"],
            attributes["optionsJSON"],
            attributes["kibanaSavedObjectMeta"]["searchSourceJSON"],
        ]
        assert [type(json.loads(text)) for text in texts] == [list, dict, dict]

    def test_is_all_about_one_prefix(self):
        """What is not the prefix does not look like it, so that another can take its place."""
        other = KIBANA.read_bytes().replace(PREFIX.encode(), b"pipeline-metrics")
        assert other == generated(KIBANA.name, "pipeline-metrics")


class TestDataViews:
    """Which indices are asked."""

    @pytest.mark.parametrize("kind", ["event", "network"])
    def test_are_those_that_are_written(self, kind):
        """Daily ones and data streams, and none of the other kind."""
        titles = {
            one["id"]: one["attributes"]["title"]
            for one in kibana()
            if one["type"] == "index-pattern"
        }
        title = titles[f"{PREFIX}-{kind}"]
        assert fnmatchcase(f"{PREFIX}-{kind}-2026.01.02", title)
        assert fnmatchcase(f"{PREFIX}-{kind}", title)
        assert sum(fnmatchcase(f"{PREFIX}-{kind}", other) for other in titles.values()) == 1

    def test_show_times_and_sizes_as_people_read_them(self):
        """Each field that has a format is a number in the mapping, and time runs along `@timestamp`."""
        for one in kibana()[:2]:
            assert one["attributes"]["timeFieldName"] == "@timestamp"
            for field in json.loads(one["attributes"]["fieldFormatMap"]):
                assert kind_of(field) in NUMBERS


class TestReferences:
    """Who needs whom."""

    def test_lead_to_objects_in_the_file(self):
        """Nothing is missing after an import."""
        there = {(one["type"], one["id"]) for one in kibana()}
        assert len(there) == len(kibana())
        for one in kibana():
            assert {(to["type"], to["id"]) for to in one["references"]} <= there

    def test_are_the_panels_own(self):
        """Each panel's reference is one of the dashboard's, by the panel's name, and there are no others."""
        own = [
            (f"{panel['panelIndex']}:{to['name']}", to["type"], to["id"])
            for panel in kibana_panels()
            for to in panel["embeddableConfig"]["attributes"]["references"]
        ]
        whole = [(to["name"], to["type"], to["id"]) for to in kibana_dashboard()["references"]]
        assert whole == own
        assert len(set(whole)) == len(whole)

    @SAVED
    def test_are_one_for_each_layer(self, panel):
        """Lens finds the data view of a layer by its name."""
        attributes = panel["embeddableConfig"]["attributes"]
        layers = attributes["state"]["datasourceStates"]["formBased"]["layers"]
        assert [to["name"] for to in attributes["references"]] == [
            f"indexpattern-datasource-layer-{layer}" for layer in layers
        ]


class TestLayout:
    """Where the panels stand."""

    def test_fills_48_columns(self):
        """No panel is cut off, and each line is full."""
        lines = {}
        for one in lenses():
            assert one.place["x"] + one.place["w"] <= 48
            lines[one.place["y"]] = lines.get(one.place["y"], 0) + one.place["w"]
        assert set(lines.values()) == {48}

    def test_no_panel_covers_another(self):
        """Their rectangles have nothing in common."""
        for one, other in combinations([lens.place for lens in lenses()], 2):
            is_beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
            is_below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
            assert is_beside or is_below, (one, other)

    def test_panels_have_names_of_their_own(self):
        """Each by its index, which is its place's too."""
        names = [panel["panelIndex"] for panel in kibana_panels()]
        assert names == [panel["gridData"]["i"] for panel in kibana_panels()]
        assert len(set(names)) == len(names)


class TestPanels:
    """What each panel is made of."""

    @SAVED
    def test_is_lens_by_value(self, panel):
        """Older kinds cannot be made any more, and one by reference would need a further object."""
        assert panel["type"] == "lens"
        assert "panelRefName" not in panel
        attributes = panel["embeddableConfig"]["attributes"]
        assert attributes["type"] == "lens"
        assert attributes["visualizationType"] in {"lnsXY", "lnsPie", "lnsMetric", "lnsDatatable"}
        assert attributes["state"]["adHocDataViews"] == {}

    @SAVED
    def test_says_what_it_shows(self, panel):
        """It has a title, and one sentence or more."""
        attributes = panel["embeddableConfig"]["attributes"]
        assert panel["title"] == attributes["title"] != ""
        assert attributes["description"].endswith(".")

    @LENSES
    def test_orders_the_columns_that_it_has(self, lens):
        """Those that group come first."""
        assert sorted(lens.order) == sorted(lens.columns)
        groups = [lens.columns[name]["isBucketed"] for name in lens.order]
        assert groups == sorted(groups, reverse=True)

    @LENSES
    def test_shows_the_columns_that_it_has(self, lens):
        """All of them, each once."""
        assert sorted(accessors(lens)) == sorted(lens.columns)

    @LENSES
    def test_asks_for_fields_that_there_are(self, lens):
        """With a type that the operation takes, under the name that Lens has for it."""
        for column in lens.columns.values():
            operation, field = column["operationType"], column["sourceField"]
            if operation == "count":
                assert field == "___records___"
                continue
            assert kind_of(field) in FIT[operation]
            if operation != "range":  # its groups are labels
                assert column["dataType"] == KINDS[kind_of(field)]

    @LENSES
    def test_searches_fields_that_there_are(self, lens):
        """In its own query, and in those of its columns."""
        filters = [one["filter"]["query"] for one in lens.columns.values() if "filter" in one]
        for text in filter(None, [lens.query, *filters]):
            for field in re.findall(r"(?:^|and |not )([\w.@]+)(?=:| >)", text):
                assert field in FIELDS
            assert re.sub(r"\b(and|not)\b|[\w.@]+(:| >) [\w*]+", "", text).strip() == ""

    @LENSES
    def test_ranks_by_a_column_that_it_has(self, lens):
        """One of numbers, that Lens can rank by."""
        for column in lens.columns.values():
            if column["operationType"] == "terms":
                by = lens.columns[column["params"]["orderBy"]["columnId"]]
                assert not by["isBucketed"]
                assert by["operationType"] in {"count", "sum", "max", "percentile"}
                assert "filter" not in by

    @LENSES
    def test_ranges_follow_one_another(self, lens):
        """Every duration is in exactly one."""
        for column in lens.columns.values():
            if column["operationType"] == "range":
                ranges = column["params"]["ranges"]
                assert [one["from"] for one in ranges[1:]] == [one["to"] for one in ranges[:-1]]
                assert (ranges[0]["from"], ranges[-1]["to"]) == (0.0, None)


def accessors(lens):
    """The columns that a visualization names."""
    shown = lens.visualization
    match lens.kind:
        case "lnsMetric":
            return [shown["metricAccessor"]]
        case "lnsDatatable":
            assert shown["sorting"]["columnId"] in lens.columns
            return [one["columnId"] for one in shown["columns"]]
        case "lnsPie":
            (layer,) = shown["layers"]
            return [*layer["primaryGroups"], *layer["metrics"]]
        case "lnsXY":
            (layer,) = shown["layers"]
            split = [layer["splitAccessor"]] if "splitAccessor" in layer else []
            return [layer["xAccessor"], *split, *layer["accessors"]]
    raise AssertionError(lens.kind)
