"""What other people's suites have brought to light (`python -m tests.suites plugin`)."""

from __future__ import annotations

import json


def test_what_comes_between_the_phases_of_a_test_is_its_own(suite, pytester):
    """As what a server in a thread does when the test is just over; httpx's tests have one."""
    result = suite(
        "def test_one(): pass\ndef test_two(): pass",
        "--volnux-report=json:out.json",
        "--volnux-report=junit",
        "--junitxml=junit.xml",
        conftest="""
import pytest
from program import load

@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    if item.name == "test_one" and call.when != "teardown":
        load()
    return (yield)
""",
    )
    assert result.parseoutcomes() == {"passed": 2}
    report = json.loads((pytester.path / "out.json").read_text("utf-8"))
    assert [(it["name"], it["count"]) for it in report["events"]] == [("load", 2)]
    assert (report["tests"], report["outside"]) == (1, [])
    assert '<property name="volnux.events" value="2"' in (pytester.path / "junit.xml").read_text()
