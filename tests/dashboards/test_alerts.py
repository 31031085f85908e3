"""The rules of Prometheus: they ask for what there is, and alert when they should and not otherwise."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter

import pytest
import yaml

from tests.dashboards import promql
from tests.dashboards.exposed import exported
from tests.dashboards.files import EXAMPLES, RULES, alerts, recording_rules

pytestmark = pytest.mark.extras
TESTS = EXAMPLES / "alerts.test.yml"
RECORDED, ALERTS = recording_rules(), alerts()
EXPRESSIONS = RECORDED | {name: one["expr"] for name, one in ALERTS.items()}


def checked(promtool, *words, folder):
    """Run promtool in a folder of its own; return what it says."""
    for path in (RULES, TESTS):
        shutil.copy(path, folder)
    done = subprocess.run(
        [promtool, *words], cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_finds_nothing_to_say(promtool, tmp_path):
    """Not even with all of its lints."""
    said = checked(
        promtool, "check", "rules", "--lint=all", "--lint-fatal", RULES.name, folder=tmp_path
    )
    assert f"SUCCESS: {len(RECORDED) + len(ALERTS)} rules found" in said


def test_they_alert_when_they_should(promtool, tmp_path):
    """The tests of the rules, which users can run as well."""
    assert "SUCCESS" in checked(promtool, "test", "rules", TESTS.name, folder=tmp_path)


def test_every_alert_is_tested_both_ways():
    """Once when it has to come, and once when something is amiss that is not its business, or not yet."""
    raised, quiet = Counter(), Counter()
    for group in yaml.safe_load(TESTS.read_text("utf-8"))["tests"]:
        for one in group["alert_rule_test"]:
            if one["exp_alerts"]:
                raised[one["alertname"]] += 1
                # Of all series in a group, not every one raises it.
                quiet[one["alertname"]] += len(group["input_series"]) > len(one["exp_alerts"])
            else:
                quiet[one["alertname"]] += 1
    assert set(raised) == set(ALERTS)
    assert set(+quiet) == set(ALERTS)


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_a_rule_names_what_is_there(name):
    """Metrics that are exported or recorded, and labels that they have."""
    expr = EXPRESSIONS[name]
    for one in promql.selectors(expr):
        if one.metric in RECORDED:
            continue
        assert set(one.matchers) <= exported()[one.metric]
        assert promql.grouped(expr) <= exported()[one.metric]


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_name_says_what_it_is_of(name):
    """LEVEL:METRIC:OPERATIONS: the level is what is left of the labels, the metric is the one asked."""
    level, metric, operations = name.split(":")
    assert set(level.split("_")) <= {"job", "event", "operation"}
    assert re.fullmatch(r"(ratio_|p99_)?rate5m", operations)
    # One recorded by others is of what they are of.
    expr = " ".join([RECORDED[name], *(RECORDED[one] for one in RECORDED if one in RECORDED[name])])
    asked = {one.metric for one in promql.selectors(RECORDED[name])} | set(
        re.findall(r"volnux_\w+", expr)
    )
    assert any(
        one.removesuffix("_total").startswith(metric.removesuffix("_failed")) for one in asked
    )


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_is_wrong(name):
    """In a line with its labels, and in sentences about what to do; and how bad it is."""
    alert = ALERTS[name]
    assert alert["labels"]["severity"] in {"warning", "critical"}
    assert "{{ $labels.job }}" in alert["annotations"]["summary"]
    assert alert["annotations"]["description"].endswith(".")
