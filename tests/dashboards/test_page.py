"""docs/dashboards.md: its tables are about the dashboards as they are."""

from __future__ import annotations

import re

import pytest

from tests.dashboards import page
from tests.dashboards.files import alerts

TEXT = page.PAGE.read_text("utf-8")
CURE = "bring it up to date with: python -m tests.dashboards"


@pytest.mark.parametrize("name", ["grafana", "kibana"])
def test_a_table_has_every_panel_with_its_query(name):
    """As they are now."""
    wanted = page.replaced(TEXT, name, getattr(page, name)(None))
    questions = [row[:3] for row in page.between(TEXT, name)]
    assert questions == [row[:3] for row in page.between(wanted, name)], CURE


@pytest.mark.parametrize("name", ["grafana", "kibana"])
def test_a_table_has_an_answer_for_each(name):
    """None was without."""
    rows = page.between(TEXT, name)
    assert [row for row in rows if len(row) != 4 or not row[3]] == [], CURE


def test_the_workload_is_the_one_recorded():
    """What the answers follow from."""
    assert page.replaced(TEXT, "workload", page.workload()) == TEXT, CURE


def test_every_alert_is_explained():
    """In the order of the file."""
    assert re.findall(r"^\| `(Volnux\w+)` \|", TEXT, re.MULTILINE) == list(alerts())
