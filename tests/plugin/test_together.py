"""Workers, attempts, subtests, many threads and a random order: the same is found, however a suite runs."""

from __future__ import annotations

import json
import re
from importlib.util import find_spec

import pytest

#: What each test records hangs on its attempt, and on nothing else.
SUITE = """
import threading

import pytest
from program import *

@pytest.fixture(scope="module")
def server():
    with traced_event("server"):
        yield

@pytest.mark.thread_unsafe(reason="it counts its attempts")
class TestAttempts:
    tries = []

    def test_flaky(self, volnux):
        self.tries.append(1)
        for _ in self.tries:
            load()
        volnux.assert_recorded("load", count=len(self.tries))
        assert len(self.tries) == 3

    @pytest.mark.volnux(max_calls=1)
    def test_over_budget(self):
        parse()
        parse()

@pytest.mark.parametrize("number", range(1, 7))
def test_many(number, server, volnux):
    for _ in range(number):
        flaky()
    assert len(volnux.events("flaky")) >= number

@pytest.mark.thread_unsafe(reason="it has a thread of its own")
def test_thread(volnux):
    thread = threading.Thread(target=load, args=(2,))
    thread.start()
    thread.join()
    volnux.assert_recorded("load", count=1)
    assert volnux.event_stats()["load"].count == 1
"""
#: Where there are subtests: pytest 9 brought them.
PARTS = """
@pytest.mark.flaky(reruns=0)
@pytest.mark.thread_unsafe(reason="subtests are of one thread")
def test_parts(subtests, volnux):
    for number in range(3):
        with subtests.test(number=number):
            fetch(times=number)
            assert number != 1
    volnux.assert_recorded("fetch", count=3)
"""
HAS_PARTS = find_spec("_pytest.subtests") is not None
CONFTEST = """
import pytest

@pytest.fixture(autouse=True)
def attributed(request, volnux):
    yield
    names = " ".join(sorted(event.event_name for event in volnux.events()))
    with open("attributed.txt", "a") as file:
        file.write(f"{request.node.nodeid}: {names}\\n")
"""
BESIDE = ("--reruns=2", "--parallel-threads=2")
ORDER = ("--random-order", "--random-order-bucket=global")
WAYS = {
    "as it stands": (),
    "workers": ("-n2",),
    "random order": (*ORDER, "--random-order-seed=1"),
    "another order": (*ORDER, "--random-order-seed=2"),
    "workers in random order": ("-n2", *ORDER, "--random-order-seed=3"),
}
#: What each attempt has, in both threads together.
ATTEMPTS = [
    *(f"test_it.py::TestAttempts::test_flaky:{' load' * number}" for number in (1, 2, 3)),
    *["test_it.py::TestAttempts::test_over_budget: parse parse"] * 3,
    *(f"test_it.py::test_many[{number}]:{' flaky' * 2 * number}" for number in range(1, 7)),
    *["test_it.py::test_parts: fetch fetch fetch"] * HAS_PARTS,
    "test_it.py::test_thread: load",
]
#: By name: how many, how many of them failed, how many retries.
EVENTS = {"load": (7, 0, 0), "parse": (6, 0, 0), "flaky": (42, 0, 42)}
if HAS_PARTS:
    SUITE += PARTS
    EVENTS["fetch"] = (3, 0, 0)


@pytest.mark.parametrize("way", WAYS)
def test_the_same_is_found(suite, pytester, way):
    """By each attempt of each test, by its budget, and in the report."""
    report = "--volnux-report=json:out.json"
    result = suite(SUITE, *BESIDE, *WAYS[way], report, conftest=CONFTEST)
    outcomes = result.parseoutcomes()
    # Two for the part of test_parts.
    assert (outcomes["failed"], outcomes["rerun"]) == (1 + 2 * HAS_PARTS, 4)
    (error,) = re.findall(r"max_calls=1  .*", result.stdout.str())
    assert error == "max_calls=1  2 events: parse"
    lines = (pytester.path / "attributed.txt").read_text("utf-8").splitlines()
    assert sorted(lines) == ATTEMPTS
    data = json.loads((pytester.path / "out.json").read_text("utf-8"))
    events = {one["name"]: (one["count"], one["failed"], one["retries"]) for one in data["events"]}
    assert (data["tests"], events, data["failures"], data["orphans"]) == (
        9 + HAS_PARTS,
        EVENTS,
        [],
        [],
    )
    hosts = [(host["host"], host["count"], host["bytes_sent"]) for host in data["hosts"]]
    assert hosts == [("api.example.org:443", 3, 300)] * HAS_PARTS
