"""What a dashboard of Kibana is made of: saved objects, with Lens panels that hold all they need themselves."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _lens import Part

COLUMNS = 48
LAYER = "layer"
#: The oldest form of these objects that Kibana 8.9 and all of 9 take; newer ones migrate it.
DASHBOARD_VERSION, DATA_VIEW_VERSION, CORE_VERSION = "8.9.0", "7.11.0", "8.8.0"


def text_of(part: Any) -> str:
    """Return a part as the text that saved objects keep it as."""
    return json.dumps(part, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


# -- panels ----------------------------------------------------------------------------------------


def lens(
    kind: str,
    title: str,
    description: str,
    view: str,
    *,
    columns: dict[str, Part],
    visualization: Part,
    size: str,
    query: str = "",
) -> Part:
    """Return a panel. The columns stand in the order in which they group; `size` is WIDTHxHEIGHT."""
    index = "-".join(title.lower().replace(":", "").replace(",", "").split())
    width, _, height = size.partition("x")
    layer = {
        "columnOrder": list(columns),
        "columns": columns,
        "incompleteColumns": {},
        "sampling": 1,
    }
    attributes = {
        "description": description,
        "references": [
            {
                "id": view,
                "name": f"indexpattern-datasource-layer-{LAYER}",
                "type": "index-pattern",
            }
        ],
        "state": {
            "adHocDataViews": {},
            "datasourceStates": {"formBased": {"layers": {LAYER: layer}}},
            "filters": [],
            "internalReferences": [],
            "query": {"language": "kuery", "query": query},
            "visualization": visualization,
        },
        "title": title,
        "type": "lens",
        "visualizationType": kind,
    }
    return {
        "embeddableConfig": {
            "attributes": attributes,
            "description": description,
            "enhancements": {},
            "hidePanelTitles": False,
        },
        "gridData": {"h": int(height), "i": index, "w": int(width)},
        "panelIndex": index,
        "title": title,
        "type": "lens",
    }


def number(
    title: str, description: str, view: str, column: Part, *, color: str = "", query: str = ""
) -> Part:
    """Return a panel with a single number."""
    visualization = {"layerId": LAYER, "layerType": "data", "metricAccessor": "value"}
    if color:
        visualization["color"] = color
    columns = {"value": column}
    return lens(
        "lnsMetric",
        title,
        description,
        view,
        columns=columns,
        visualization=visualization,
        size="8x6",
        query=query,
    )


def chart(
    title: str,
    description: str,
    view: str,
    series: str,
    columns: dict[str, Part],
    *,
    split: str | None = None,
    size: str = "24x12",
    query: str = "",
) -> Part:
    """Return bars, lines or areas; the first column that groups, and is not the split, is the axis."""
    groups = [name for name, column in columns.items() if column["isBucketed"] and name != split]
    layer = {
        "accessors": [name for name, column in columns.items() if not column["isBucketed"]],
        "layerId": LAYER,
        "layerType": "data",
        "position": "top",
        "seriesType": series,
        "showGridlines": False,
        "xAccessor": groups[0],
    }
    if split:
        layer["splitAccessor"] = split
    visualization = {
        "axisTitlesVisibilitySettings": {"x": False, "yLeft": False, "yRight": False},
        "fittingFunction": "None",
        "gridlinesVisibilitySettings": {"x": True, "yLeft": True, "yRight": True},
        "labelsOrientation": {"x": 0, "yLeft": 0, "yRight": 0},
        "layers": [layer],
        "legend": {"isVisible": True, "position": "right"},
        "preferredSeriesType": series,
        "tickLabelsVisibilitySettings": {"x": True, "yLeft": True, "yRight": True},
        "valueLabels": "hide",
    }
    return lens(
        "lnsXY",
        title,
        description,
        view,
        columns=columns,
        visualization=visualization,
        size=size,
        query=query,
    )


def donut(title: str, description: str, view: str, columns: dict[str, Part], *, size: str) -> Part:
    """Return shares of a whole: the first column groups, the second says how much."""
    group, value = columns
    layer = {
        "categoryDisplay": "default",
        "layerId": LAYER,
        "layerType": "data",
        "legendDisplay": "show",
        "metrics": [value],
        "nestedLegend": False,
        "numberDisplay": "percent",
        "primaryGroups": [group],
    }
    visualization = {"layers": [layer], "shape": "donut"}
    return lens(
        "lnsPie",
        title,
        description,
        view,
        columns=columns,
        visualization=visualization,
        size=size,
    )


def table(
    title: str,
    description: str,
    view: str,
    columns: dict[str, Part],
    *,
    sort: str,
    size: str = "24x12",
    query: str = "",
) -> Part:
    """Return a table of all columns."""
    visualization = {
        "columns": [{"columnId": name} for name in columns],
        "layerId": LAYER,
        "layerType": "data",
        "paging": {"enabled": True, "size": 10},
        "sorting": {"columnId": sort, "direction": "desc"},
    }
    return lens(
        "lnsDatatable",
        title,
        description,
        view,
        columns=columns,
        visualization=visualization,
        size=size,
        query=query,
    )


# -- saved objects ---------------------------------------------------------------------------------


def _placed(panels: list[Part]) -> list[Part]:
    found = []
    left = top = height = 0
    for panel in panels:
        size = panel["gridData"]
        if left + size["w"] > COLUMNS:
            left, top, height = 0, top + height, 0
        found.append({**panel, "gridData": {**size, "x": left, "y": top}})
        left, height = left + size["w"], max(height, size["h"])
    return found


def data_view(identifier: str, title: str, name: str, formats: Part) -> Part:
    """Return the indices that a pattern names, as one thing to ask."""
    return {
        "attributes": {
            "allowNoIndex": True,
            "fieldFormatMap": text_of(formats),
            "name": name,
            "timeFieldName": "@timestamp",
            "title": title,
        },
        "coreMigrationVersion": CORE_VERSION,
        "id": identifier,
        "managed": False,
        "references": [],
        "type": "index-pattern",
        "typeMigrationVersion": DATA_VIEW_VERSION,
    }


def dashboard(identifier: str, title: str, description: str, panels: list[Part]) -> Part:
    """Return a dashboard that asks for the last 24 hours."""
    references = [
        {**reference, "name": f"{panel['panelIndex']}:{reference['name']}"}
        for panel in panels
        for reference in panel["embeddableConfig"]["attributes"]["references"]
    ]
    options = {
        "hidePanelTitles": False,
        "syncColors": False,
        "syncCursor": True,
        "syncTooltips": False,
        "useMargins": True,
    }
    search = {"filter": [], "query": {"language": "kuery", "query": ""}}
    return {
        "attributes": {
            "description": description,
            "kibanaSavedObjectMeta": {"searchSourceJSON": text_of(search)},
            "optionsJSON": text_of(options),
            "panelsJSON": text_of(_placed(panels)),
            "refreshInterval": {"pause": True, "value": 60_000},
            "timeFrom": "now-24h",
            "timeRestore": True,
            "timeTo": "now",
            "title": title,
            "version": 1,
        },
        "coreMigrationVersion": CORE_VERSION,
        "id": identifier,
        "managed": False,
        "references": references,
        "type": "dashboard",
        "typeMigrationVersion": DASHBOARD_VERSION,
    }
