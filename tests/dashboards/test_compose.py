"""`compose.yaml`: nothing is started here, but what it names is there, and each server's settings are what it takes."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.dashboards.files import EXAMPLES, GRAFANA, KIBANA, RULES
from tests.services._cache import root
from tests.services._collector import PROGRAM, Collector

FILE = EXAMPLES / "compose.yaml"
COMPOSE = yaml.safe_load(FILE.read_text("utf-8"))
SERVICES = COMPOSE["services"]
SERVICE = pytest.mark.parametrize("name", SERVICES)


def settings(name):
    """A file of settings next to it."""
    return yaml.safe_load((EXAMPLES / "compose" / name).read_text("utf-8"))


def mounts(name):
    """What a service sees of this folder: path there by path here."""
    found = [one.split(":") for one in SERVICES[name].get("volumes", [])]
    return {EXAMPLES / one[0]: one[1] for one in found if one[0].startswith("./")}


@SERVICE
def test_only_this_machine_gets_in(name):
    """There are no passwords."""
    for port in SERVICES[name].get("ports", []):
        assert port.startswith("127.0.0.1:")


@SERVICE
def test_versions_are_named(name):
    """What works today works tomorrow."""
    image, _, version = SERVICES[name]["image"].rpartition(":")
    assert image
    assert version.removeprefix("v").replace(".", "").isdigit()


@SERVICE
def test_what_is_mounted_is_there(name):
    """And cannot be changed from inside; volumes are declared."""
    assert all(path.is_file() for path in mounts(name))
    for one in SERVICES[name].get("volumes", []):
        source, _, rest = one.partition(":")
        if source.startswith("."):
            assert rest.endswith(":ro")
        else:
            assert source in COMPOSE["volumes"]


@SERVICE
def test_who_is_waited_for_is_there(name):
    """Where a service must be healthy, it says when it is."""
    needed = SERVICES[name].get("depends_on", [])
    assert set(needed) <= set(SERVICES)
    for other in needed if isinstance(needed, dict) else ():
        assert "healthcheck" in SERVICES[other]


def test_all_of_ours_is_in_place():
    """Both dashboards, and the rules."""
    assert mounts("grafana")[GRAFANA].startswith("/etc/grafana/dashboards/")
    assert mounts("prometheus")[RULES] == "/etc/prometheus/alerts.rules.yml"
    importer = SERVICES["kibana-dashboard"]
    assert f"file=@{mounts('kibana-dashboard')[KIBANA]}" in importer["entrypoint"]
    assert importer["entrypoint"][-1].startswith("http://kibana:5601/api/saved_objects/_import?")


def test_kibana_and_elasticsearch_are_of_one_version():
    """They have to be."""
    versions = {SERVICES[name]["image"].rpartition(":")[2] for name in ("elasticsearch", "kibana")}
    assert len(versions) == 1


def test_grafana_is_given_what_it_reads():
    """A Prometheus as its default, and the folder of the dashboard."""
    places = {path.name: Path(place).parent.name for path, place in mounts("grafana").items()}
    assert places["grafana-datasources.yaml"] == "datasources"
    assert places["grafana-dashboards.yaml"] == "dashboards"
    (source,) = settings("grafana-datasources.yaml")["datasources"]
    assert (source["type"], source["url"], source["isDefault"]) == (
        *("prometheus", "http://prometheus:9090"),
        True,
    )
    assert (
        source["jsonData"]["timeInterval"]
        == settings("prometheus.yml")["global"]["scrape_interval"]
    )
    (provider,) = settings("grafana-dashboards.yaml")["providers"]
    assert provider["options"]["path"] == str(Path(mounts("grafana")[GRAFANA]).parent)
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == mounts("grafana")[GRAFANA]


@pytest.mark.extras
def test_prometheus_takes_its_settings(promtool, tmp_path):
    """As promtool says, with the rules where they are mounted."""
    for path in (EXAMPLES / "compose" / "prometheus.yml", RULES):
        shutil.copy(path, tmp_path)
    done = subprocess.run(
        [promtool, "check", "config", "prometheus.yml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS: 1 rule files found" in done.stdout
    assert "--web.enable-otlp-receiver" in SERVICES["prometheus"]["command"]


@pytest.mark.extras
@pytest.mark.usefixtures("collector")
def test_the_collector_takes_its_settings(tmp_path):
    """As the real one says; the one of the tests has no exporter for HTTP, so there `debug` stands in."""
    given = settings("collector.yaml")
    (http,) = [name for name in given["exporters"] if name.startswith("otlp_http")]
    assert given["exporters"].pop(http)["endpoint"] == "http://prometheus:9090/api/v1/otlp"
    given["exporters"]["debug/metrics"] = {"verbosity": "basic"}
    pipeline = given["service"]["pipelines"]["metrics"]
    pipeline["exporters"] = [
        "debug/metrics" if one == http else one for one in pipeline["exporters"]
    ]
    path = tmp_path / "collector.json"
    path.write_text(json.dumps(given), "utf-8")
    program = root() / Collector.distribution / PROGRAM
    command = [str(program), "validate", f"--config=file:{path}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
