"""`volnux.telemetry.retries` itself, and what several calls in one event come to elsewhere."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from tenacity import RetryError, Retrying, stop_after_attempt

import volnux.telemetry.retries as facade
from volnux.telemetry import EventMetrics, Registry, capture, traced_event
from volnux.telemetry.retries import traced_retrying


def printed(code):
    """What a program prints that has imported everything from the facade."""
    program = f"import sys\nfrom volnux.telemetry.retries import *\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_importing_loads_no_library():
    """Each library comes with the first use of its adapter."""
    assert printed("print(*{'tenacity', 'stamina', 'urllib3'} & set(sys.modules))") == ""


def test_all_is_sorted():
    """And each name in it says what it is."""
    assert facade.__all__ == sorted(set(facade.__all__))
    assert all(getattr(facade, name).__doc__ for name in facade.__all__)


@pytest.mark.parametrize(
    ("use", "library"),
    [
        ("traced_retrying(print)", "tenacity"),
        ("traced_stamina(print)", "stamina"),
        ("instrument_stamina()", "stamina"),
        ("uninstrument_stamina()", "stamina"),
        ("traced_retry(3)", "urllib3"),
    ],
)
def test_a_missing_library_is_named(use, library):
    """With the command that installs it."""
    code = f"""
class Gone:
    def find_spec(name, path=None, target=None):
        if name == {library!r}:
            raise ModuleNotFoundError(name=name)

sys.meta_path.insert(0, Gone)
try:
    {use}
except ImportError as error:
    print(repr(error))
"""
    text = f"{library} is not installed: run pip install {library}"
    assert printed(code) == f"MissingDependencyError({text!r})"


def test_an_adapter_leaves_the_other_libraries_alone():
    """Who has one library needs no other."""
    code = "import tenacity; traced_retrying(tenacity.retry)"
    assert printed(f"{code}; print(*{{'stamina', 'urllib3'}} & set(sys.modules))") == ""


@pytest.fixture(name="recorded")
def _recorded(clock):
    """A registry of one event: one call that recovered, one that succeeded, one that gave up."""

    def work(failures):
        for attempt in traced_retrying(Retrying(stop=stop_after_attempt(3))):
            with attempt:
                if attempt.retry_state.attempt_number <= failures:
                    raise OSError("busy")

    with capture(isolated=True, clock=clock, strict=True) as registry, traced_event("load"):
        work(1)
        work(0)
        with pytest.raises(RetryError):
            work(3)
    return registry


NUMBERS = [1, 2, 1, 1, 2, 3]


def test_totals_go_to_another_process(recorded):
    """What a worker recorded adds up at home."""
    home = Registry()
    home.merge(json.loads(json.dumps(recorded.export())))

    assert home.retry_stats() == recorded.retry_stats()
    stats = home.retry_stats()
    assert (stats.total_retries, stats.total_attempts, stats.exhausted) == (3, 6, 1)
    assert [one.number for one in home.events()[0].attempts] == NUMBERS


def test_totals_of_an_older_volnux_can_be_merged(recorded):
    """It did not count attempts: there, an event was one call."""
    state = recorded.export()
    del state["events"][0][1]["attempts"]
    home = Registry()
    home.merge(state)

    assert home.retry_stats().total_attempts == 4


def test_records_go_through_json(recorded):
    """A record with several calls is read back as it was written."""
    [event] = recorded.events()
    again = EventMetrics.from_dict(json.loads(json.dumps(event.to_dict())))

    assert again == event
    assert [one.number for one in again.attempts] == NUMBERS
