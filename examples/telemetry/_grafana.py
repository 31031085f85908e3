"""What a dashboard of Grafana is made of: plain dicts of its classic model, laid out in 24 columns."""

from __future__ import annotations

from typing import Any

#: Of the classic model: the oldest that has all of this. A server brings older ones up to date, and no newer ones.
SCHEMA_VERSION = 36
COLUMNS = 24
#: Whatever the variable at the top says: a file that names a data source fits one server only.
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
ALL = ".+"
GREEN, YELLOW, ORANGE, RED = "green", "yellow", "orange", "red"
OUTCOME_COLORS = {"completed": GREEN, "failed": RED, "cancelled": ORANGE}

Panel = dict[str, Any]


def target(expr: str, legend: str, *, exemplar: bool = False, instant: bool = False) -> Panel:
    """Return one query of a panel."""
    return {
        "datasource": DATASOURCE,
        "editorMode": "code",
        "exemplar": exemplar,
        "expr": expr,
        "instant": instant,
        "legendFormat": legend,
        "range": not instant,
    }


def panel(kind: str, title: str, description: str, targets: list[Panel], size: str) -> Panel:
    """Return a panel without options; `size` is WIDTHxHEIGHT."""
    width, _, height = size.partition("x")
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": DATASOURCE,
        "gridPos": {"w": int(width), "h": int(height)},
        "targets": [{"refId": chr(65 + place), **one} for place, one in enumerate(targets)],
    }


def stat(
    title: str,
    description: str,
    query: Panel,
    unit: str,
    *,
    limits: tuple[float, ...] = (),
    empty: str = "-",
) -> Panel:
    """Return a single number, which turns yellow and red at the limits."""
    colors = [GREEN, *(YELLOW, RED)[2 - len(limits) :]]
    steps = [
        {"color": color, "value": value}
        for color, value in zip(colors, (None, *limits), strict=True)
    ]
    return {
        **panel("stat", title, description, [query], "4x4"),
        "fieldConfig": {
            "defaults": {
                "color": {"mode": "thresholds"},
                "noValue": empty,
                "thresholds": {"mode": "absolute", "steps": steps},
                "unit": unit,
            },
            "overrides": [],
        },
        "options": {
            "colorMode": "value",
            "graphMode": "none" if query["instant"] else "area",
            "justifyMode": "auto",
            "orientation": "auto",
            "percentChangeColorMode": "standard",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "showPercentChange": False,
            "textMode": "auto",
            "wideLayout": True,
        },
    }


def timeseries(
    title: str,
    description: str,
    targets: list[Panel],
    unit: str,
    *,
    stacked: bool = False,
    colors: dict[str, str] | None = None,
    size: str = "12x8",
) -> Panel:
    """Return lines over time, one for each series."""
    overrides = [
        {
            "matcher": {"id": "byName", "options": name},
            "properties": [{"id": "color", "value": {"fixedColor": color, "mode": "fixed"}}],
        }
        for name, color in (colors or {}).items()
    ]
    return {
        **panel("timeseries", title, description, targets, size),
        "fieldConfig": {
            "defaults": {
                "color": {"mode": "palette-classic"},
                "custom": {
                    "axisPlacement": "auto",
                    "drawStyle": "line",
                    "fillOpacity": 40 if stacked else 8,
                    "lineInterpolation": "linear",
                    "lineWidth": 1,
                    "showPoints": "auto",
                    "spanNulls": False,
                    "stacking": {"group": "A", "mode": "normal" if stacked else "none"},
                },
                "min": 0,
                "unit": unit,
            },
            "overrides": overrides,
        },
        "options": {
            "legend": {
                "calcs": ["mean", "max"],
                "displayMode": "table",
                "placement": "bottom",
                "showLegend": True,
            },
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    }


def heatmap(title: str, description: str, expr: str, *, size: str = "12x8") -> Panel:
    """Return how durations are spread, over time."""
    query = {**target(expr, "{{le}}", exemplar=True), "format": "heatmap"}
    return {
        **panel("heatmap", title, description, [query], size),
        "fieldConfig": {
            "defaults": {"custom": {"scaleDistribution": {"type": "linear"}}, "unit": "s"},
            "overrides": [],
        },
        "options": {
            "calculate": False,
            "cellGap": 1,
            "cellValues": {"unit": "short"},
            "color": {
                "exponent": 0.5,
                "fill": "dark-orange",
                "mode": "scheme",
                "reverse": False,
                "scale": "exponential",
                "scheme": "Oranges",
                "steps": 64,
            },
            "exemplars": {"color": "rgba(31,120,193,0.8)"},
            "filterValues": {"le": 1e-9},
            "legend": {"show": True},
            "rowsFrame": {"layout": "auto"},
            "showValue": "auto",
            "tooltip": {"mode": "single", "yHistogram": True},
            "yAxis": {"axisPlacement": "left", "reverse": False, "unit": "s"},
        },
    }


def row(title: str) -> Panel:
    """Return the headline of the panels that follow it."""
    return {
        "type": "row",
        "title": title,
        "collapsed": False,
        "gridPos": {"w": COLUMNS, "h": 1},
        "panels": [],
    }


def placed(panels: list[Panel]) -> list[Panel]:
    """Return the panels with their places, line by line, and with numbers."""
    found = []
    left = top = height = 0
    for number, one in enumerate(panels, start=1):
        size = one["gridPos"]
        if left + size["w"] > COLUMNS:
            left, top, height = 0, top + height, 0
        place = {"h": size["h"], "w": size["w"], "x": left, "y": top}
        found.append({"id": number, **one, "gridPos": place})
        left, height = left + size["w"], max(height, size["h"])
    return found


def datasource_variable() -> Panel:
    """Return the choice of the Prometheus to ask."""
    return {
        "current": {"selected": False, "text": "default", "value": "default"},
        "hide": 0,
        "includeAll": False,
        "label": "Data source",
        "multi": False,
        "name": "datasource",
        "options": [],
        "query": "prometheus",
        "refresh": 1,
        "regex": "",
        "skipUrlSync": False,
        "type": "datasource",
    }


def label_variable(name: str, query: str) -> Panel:
    """Return a choice of some or all values of a label."""
    return {
        "allValue": ALL,
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "datasource": DATASOURCE,
        "definition": query,
        "hide": 0,
        "includeAll": True,
        "label": name.capitalize(),
        "multi": True,
        "name": name,
        "options": [],
        "query": query,
        "refresh": 2,  # whenever the time range changes
        "regex": "",
        "skipUrlSync": False,
        "sort": 1,
        "type": "query",
    }


def dashboard(
    uid: str, title: str, description: str, variables: list[Panel], panels: list[Panel]
) -> Panel:
    """Return the whole."""
    return {
        "annotations": {
            "list": [
                {
                    "builtIn": 1,
                    "datasource": {"type": "grafana", "uid": "-- Grafana --"},
                    "enable": True,
                    "hide": True,
                    "iconColor": "rgba(0, 211, 255, 1)",
                    "name": "Annotations & Alerts",
                    "type": "dashboard",
                }
            ]
        },
        "description": description,
        "editable": False,
        "fiscalYearStartMonth": 0,
        "graphTooltip": 1,  # one crosshair for all panels
        "id": None,
        "links": [],
        "panels": placed(panels),
        "refresh": "30s",
        "schemaVersion": SCHEMA_VERSION,
        "tags": ["volnux", "telemetry"],
        "templating": {"list": variables},
        "time": {"from": "now-1h", "to": "now"},
        "timepicker": {},
        "timezone": "browser",
        "title": title,
        "uid": uid,
        "weekStart": "",
    }
