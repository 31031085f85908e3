"""The dashboards as they are committed, taken apart."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "examples" / "telemetry"
GRAFANA = EXAMPLES / "prometheus_dashboard.json"
KIBANA = EXAMPLES / "elasticsearch_dashboard.ndjson"
RULES = EXAMPLES / "alerts.rules.yml"


class Query(NamedTuple):
    """One query of a panel of Grafana."""

    panel: str
    unit: str
    legend: str
    expr: str


class Lens(NamedTuple):
    """One panel of Kibana: the data view that it asks, and what it asks for."""

    title: str
    kind: str
    view: str
    query: str
    order: list[str]
    columns: dict[str, Any]
    visualization: dict[str, Any]
    place: dict[str, int]


def grafana() -> dict[str, Any]:
    """The dashboard of Grafana."""
    return json.loads(GRAFANA.read_text("utf-8"))


def panels() -> list[dict[str, Any]]:
    """Its panels, without the rows' headlines."""
    return [panel for panel in grafana()["panels"] if panel["type"] != "row"]


def queries() -> list[Query]:
    """All that its panels ask, in order."""
    return [
        Query(
            panel["title"],
            panel["fieldConfig"]["defaults"]["unit"],
            one["legendFormat"],
            one["expr"],
        )
        for panel in panels()
        for one in panel["targets"]
    ]


def variables() -> dict[str, dict[str, Any]]:
    """Its variables by name."""
    return {one["name"]: one for one in grafana()["templating"]["list"]}


def kibana() -> list[dict[str, Any]]:
    """The saved objects of Kibana, in the order in which they are imported."""
    return [json.loads(line) for line in KIBANA.read_text("utf-8").splitlines()]


def kibana_dashboard() -> dict[str, Any]:
    """The one of them that is a dashboard."""
    (found,) = [one for one in kibana() if one["type"] == "dashboard"]
    return found


def kibana_panels() -> list[dict[str, Any]]:
    """Its panels, as they are saved."""
    return json.loads(kibana_dashboard()["attributes"]["panelsJSON"])


def lenses() -> list[Lens]:
    """Its panels, as what they ask."""
    return [_lens(panel) for panel in kibana_panels()]


def _lens(panel: dict[str, Any]) -> Lens:
    attributes = panel["embeddableConfig"]["attributes"]
    state = attributes["state"]
    (layer,) = state["datasourceStates"]["formBased"]["layers"].values()
    (reference,) = attributes["references"]
    return Lens(
        title=panel["title"],
        kind=attributes["visualizationType"],
        view=reference["id"],
        query=state["query"]["query"],
        order=layer["columnOrder"],
        columns=layer["columns"],
        visualization=state["visualization"],
        place=panel["gridData"],
    )


def recording_rules() -> dict[str, str]:
    """The rules that record something: expression by name."""
    return {one["record"]: one["expr"] for one in _rules() if "record" in one}


def alerts() -> dict[str, dict[str, Any]]:
    """The rules that alert, by name."""
    return {one["alert"]: one for one in _rules() if "alert" in one}


def _rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def generated(name: str, prefix: str | None = None, *, seed: str = "0") -> bytes:
    """One file as the generator makes it, in a process of its own."""
    given = "" if prefix is None else repr(prefix)
    code = f"import build_dashboards as b, sys; sys.stdout.buffer.write(b.files({given})[{name!r}].encode())"
    command = [sys.executable, "-B", "-c", code]
    environment = {"PYTHONHASHSEED": seed}
    done = subprocess.run(
        command, cwd=EXAMPLES, env=environment, capture_output=True, check=True, timeout=60
    )
    return done.stdout
