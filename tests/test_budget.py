"""What a step may come to in a test: the promise itself, which production does not look at."""

from __future__ import annotations

import functools

import pytest

from volnux.telemetry import Budget, traced_event
from volnux.telemetry._budget import BUDGETS


@pytest.fixture(autouse=True)
def budgets(monkeypatch):
    """Those of one test."""
    monkeypatch.setattr("volnux.telemetry._events.BUDGETS", found := {})
    return found


def test_it_knows_its_limits():
    """Those that it was given; none is no limit."""
    budget = Budget(max_calls=2, max_seconds=0.5)
    assert budget.limits() == {"max_seconds": 0.5, "max_calls": 2}
    assert budget.max_failed is None
    assert Budget().limits() == {}
    assert budget == Budget(max_seconds=0.5, max_calls=2)


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        ({"max_calls": -1}, "max_calls is 0 or more, not -1"),
        ({"max_calls": 1.5}, "max_calls is a whole number, not 1.5"),
        ({"max_failed": True}, "max_failed is a whole number, not True"),
        ({"max_seconds": "1"}, "max_seconds is a number of seconds, not '1'"),
        ({"max_seconds": float("inf")}, "max_seconds is a number of seconds, not inf"),
        ({"max_seconds": float("nan")}, "max_seconds is a number of seconds, not nan"),
    ],
)
def test_what_makes_no_sense_is_refused(limits, text):
    """Where it is said, with what would make sense."""
    with pytest.raises(ValueError) as caught:
        Budget(**limits)
    assert str(caught.value) == text


def test_what_it_does_not_know_is_refused():
    """As any function does."""
    with pytest.raises(TypeError, match="max_cals"):
        Budget(max_cals=1)
    with pytest.raises(TypeError, match=r"budget must be a Budget\(max_calls=\.\.\.\), not 3"):
        traced_event(budget=3)


def test_it_is_known_by_the_names_of_the_events(budgets):
    """Of whatever is decorated."""
    budget = Budget(max_calls=1)

    @traced_event(budget=budget)
    def function():
        pass

    @traced_event("named", budget=budget)
    async def coroutine():
        pass

    traced_event("partial", budget=budget)(functools.partial(int, "1"))

    @traced_event(budget=budget)
    class Repository:
        @classmethod
        def find(cls):
            pass

        def save(self):
            pass

        def _inside(self):
            pass

    class Other:
        @property
        @traced_event(budget=budget)
        def value(self):
            pass

        @traced_event("cached", budget=budget)
        @functools.cached_property
        def cached(self):
            pass

    assert {name.rpartition("<locals>.")[2] for name in budgets} == {
        "function",
        "named",
        "partial",
        "Repository.find",
        "Repository.save",
        "Other.value",
        "cached",
    }
    assert set(budgets.values()) == {budget}


def test_nothing_is_remembered_without_one(budgets, monkeypatch):
    """And `traced_event` of a name is one object, as before."""
    monkeypatch.setattr("volnux.telemetry._events._blocks", {})
    assert traced_event("a block of this test") is traced_event("a block of this test")
    assert traced_event("a block of this test", budget=Budget()) is not traced_event(
        "a block of this test"
    )
    assert set(budgets) == {"a block of this test"}
    assert "a block of this test" not in BUDGETS
