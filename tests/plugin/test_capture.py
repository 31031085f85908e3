"""Which test has what is recorded: the right one, or it is said that none has."""

from __future__ import annotations

import json

import pytest

CONFTEST = """
import pytest

@pytest.fixture(autouse=True)
def attributed(request, volnux):
    yield
    names = " ".join(event.event_name for event in volnux.events())
    with open("attributed.txt", "a") as file:
        file.write(f"{request.node.name}: {names}\\n")
"""


@pytest.fixture
def attributed(suite, pytester):
    """Run a suite, and say which test has which events."""

    def run(text, *arguments, passed, apart=False, **outcomes):
        text = "import pytest\nfrom program import *\n" + text
        result = suite(text, *arguments, conftest=CONFTEST, apart=apart)
        assert result.parseoutcomes() == {"passed": passed, **outcomes}
        lines = (pytester.path / "attributed.txt").read_text("utf-8").splitlines()
        return dict(line.split(": ", 1) for line in lines)

    return run


def test_plain_tests_have_their_own(attributed):
    """Sync tests, and whatever is left of a test's context."""
    assert attributed(
        """
def test_one():
    load()
    parse()

@pytest.mark.parametrize("number", [1, 2])
def test_two(number):
    fetch()
""",
        passed=3,
    ) == {"test_one": "load parse", "test_two[1]": "fetch", "test_two[2]": "fetch"}


def test_threads_and_executors(attributed):
    """They know nothing of any context."""
    assert attributed(
        """
import asyncio, threading
from concurrent.futures import ThreadPoolExecutor

@pytest.fixture(scope="module")
def pool():
    with ThreadPoolExecutor(2) as pool:
        yield pool

def test_thread():
    thread = threading.Thread(target=load)
    thread.start()
    thread.join()

def test_first(pool):
    pool.submit(parse).result()

def test_second(pool):
    pool.submit(fetch).result()

def test_loop():
    async def main():
        await asyncio.to_thread(load)
        await asyncio.get_running_loop().run_in_executor(None, parse)
        await asyncio.create_task(later())
    async def later():
        fetch()
    asyncio.run(main())
""",
        passed=4,
    ) == {
        "test_thread": "load",
        "test_first": "parse",
        "test_second": "fetch",
        "test_loop": "load parse fetch",
    }


def test_pytest_asyncio(attributed):
    """Also where all tests of a module share a loop, and a fixture that lives in it."""
    assert attributed(
        """
import pytest_asyncio
pytestmark = pytest.mark.asyncio(loop_scope="module")

@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def server():
    with traced_event("server"):
        yield

@pytest_asyncio.fixture(loop_scope="module")
async def mine():
    load()
    yield

async def test_one(server, mine):
    parse()

async def test_two(server, mine):
    fetch()
""",
        passed=2,
    ) == {"test_one": "load parse", "test_two": "load fetch"}


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_anyio(attributed, backend):
    """Its tests run in one long-lived task, whose context is that of the first."""
    assert attributed(
        f"""
import anyio
pytestmark = pytest.mark.anyio

@pytest.fixture(scope="module")
def anyio_backend():
    return "{backend}"

@pytest.fixture(scope="module")
async def server():
    with traced_event("server"):
        yield

async def test_one(server):
    parse()

async def test_two(server):
    await anyio.to_thread.run_sync(fetch)

async def test_three(server):
    async with anyio.create_task_group() as group:
        group.start_soon(later)

async def later():
    load()
""",
        passed=3,
    ) == {"test_one": "parse", "test_two": "fetch", "test_three": "load"}


def test_unittest(attributed):
    """Sync and async cases; the context of the latter is as old as the collection."""
    assert attributed(
        """
import unittest

class TestSync(unittest.TestCase):
    def setUp(self):
        load()
    def test_sync(self):
        parse()

class TestAsync(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        load()
    async def test_async(self):
        fetch()
""",
        passed=2,
    ) == {"test_sync": "load parse", "test_async": "load fetch"}


def test_doctests(attributed):
    """They are tests as well."""
    assert attributed(
        '''
def double():
    """
    >>> from program import load
    >>> load(2)
    2
    """
''',
        "--doctest-modules",
        "test_it.py",
        passed=1,
    ) == {"test_it.double": "load"}


def test_subtests(suite, pytester):
    """What is recorded in them counts once, as the test's."""
    pytest.importorskip("_pytest.subtests", reason="pytest 9 brought them")
    result = suite(
        "from program import *\n"
        "def test_it(subtests, volnux):\n"
        "    for number in range(3):\n"
        "        with subtests.test(number=number):\n"
        "            load()\n",
        "--volnux-report=json:out.json",
    )
    assert result.ret == 0
    events = json.loads((pytester.path / "out.json").read_text("utf-8"))["events"]
    assert [(event["name"], event["count"]) for event in events] == [("load", 3)]


def test_each_attempt_has_its_own(attributed):
    """A test that is run again begins anew."""
    assert attributed(
        """
tries = []

def test_it(volnux):
    tries.append(1)
    for _ in tries:
        load()
    assert len(volnux.events()) == 2
""",
        "--reruns=2",
        passed=1,
        rerun=1,
    ) == {"test_it": "load load"}


def test_one_body_in_many_threads(attributed):
    """The fixture may be asked from any of them."""
    found = attributed(
        """
def test_it(volnux):
    load()
    volnux.assert_recorded("load")
""",
        "--parallel-threads=4",
        passed=1,
    )
    assert found == {"test_it": "load load load load"}


SHARED = """
@pytest.fixture(scope="module")
def server():
    load()
    with traced_event("server"):
        yield
    parse()

@pytest.fixture
def mine():
    with traced_event("mine"):
        yield

@pytest.mark.volnux(max_calls=2)
def test_one(server, mine):
    fetch()

@pytest.mark.volnux(max_calls=2)
def test_two(server, mine):
    fetch()
"""


def test_shared_fixtures_are_no_tests(attributed, pytester):
    """What they record is shown apart, outside of the budget of the first test that needs them."""
    assert attributed(SHARED, "--volnux-report=json:out.json", passed=2) == {
        "test_one": "mine fetch",
        "test_two": "mine fetch",
    }
    data = json.loads((pytester.path / "out.json").read_text("utf-8"))
    assert {event["name"]: event["count"] for event in data["events"]} == {"mine": 2, "fetch": 2}
    (server,) = data["fixtures"]
    assert server["name"] == "server (module)"
    assert {event["name"]: event["count"] for event in server["events"]} == {
        "load": 1,
        "server": 1,
        "parse": 1,
    }


def test_threads_that_a_test_leaves_are_its_orphans(attributed, pytester):
    """What they record is not the next test's."""
    assert attributed(
        """
import threading
go_on, done = threading.Event(), threading.Event()

def work():
    go_on.wait(10)
    parse()
    done.set()

def test_one():
    threading.Thread(target=work).start()

def test_two():
    go_on.set()
    assert done.wait(10)
    load()
""",
        "--volnux-report=json:out.json",
        passed=2,
    ) == {"test_one": "", "test_two": "load"}
    data = json.loads((pytester.path / "out.json").read_text("utf-8"))
    (orphans,) = data["orphans"]
    assert orphans["name"] == "test_it.py::test_one"
    assert [(event["name"], event["count"]) for event in orphans["events"]] == [("parse", 1)]


def test_threads_of_a_shared_fixture_work_for_each_test(attributed):
    """As a server in a thread does."""
    assert attributed(
        """
import queue, threading

@pytest.fixture(scope="module")
def server():
    asked, answered = queue.Queue(), queue.Queue()
    def serve():
        while asked.get():
            load()
            answered.put(1)
    thread = threading.Thread(target=serve)
    thread.start()
    yield lambda: (asked.put(1), answered.get(timeout=10))
    asked.put(None)
    thread.join()

def test_one(server):
    server()

def test_two(server):
    server()
    server()
""",
        passed=2,
    ) == {"test_one": "load", "test_two": "load load"}


def test_what_happens_outside_of_tests_is_nobodys(suite, pytester):
    """It is said so."""
    result = suite(
        "from program import *\nload()\ndef test_it():\n    parse()\n",
        "--volnux-report=json:out.json",
    )
    result.assert_outcomes(passed=1)
    data = json.loads((pytester.path / "out.json").read_text("utf-8"))
    assert [event["name"] for event in data["outside"]] == ["load"]
    assert [event["name"] for event in data["events"]] == ["parse"]


def test_a_clock_that_stands_still(attributed):
    """What is recorded in the test is timed by it from there on."""
    assert attributed(
        """
def test_it(volnux, volnux_clock):
    slow(volnux_clock, 2.5)
    (event,) = volnux.events("slow")
    assert event.duration == 2.5
    volnux.assert_max_seconds("slow", 2.5)

def test_next(volnux):
    load()
    assert volnux.events()[0].duration < 2
""",
        passed=2,
    ) == {"test_it": "slow", "test_next": "load"}


def test_a_clock_that_stands_still_where_the_program_records_by_itself(suite):
    """It times what the program's own registry gets as well, and no test after it."""
    suite(
        """
from program import *
from volnux.telemetry import current_registry

def test_before(volnux):
    load()
    assert volnux.events()[0].duration < 2

def test_it(volnux, volnux_clock):
    slow(volnux_clock, 2.0)
    assert [event.duration for event in volnux.events("slow")] == [2.0]
    assert [event.duration for event in current_registry().events("slow")] == [2.0]

def test_after(volnux):
    load()
    assert volnux.events()[0].duration < 2
    # By date: the clock that stood still began long ago.
    assert [it.event_name for it in current_registry().events()] == ["slow", "load", "load"]
""",
        conftest="""
from volnux.telemetry import Registry, monitor_events

def pytest_configure(config):
    config.stash["on"] = monitor_events(registry=Registry())

def pytest_unconfigure(config):
    config.stash["on"].close()
""",
    ).assert_outcomes(passed=3)


def test_the_whole_run_can_be_asked(suite):
    """From the first test on, whichever asks."""
    suite(
        "from program import *\n"
        "def test_one():\n    load()\n"
        "def test_two(volnux_session):\n"
        "    parse()\n"
        "    counts = {k: s.count for k, s in volnux_session.event_stats().items()}\n"
        "    assert counts == {'load': 1}\n"
        "def test_three(volnux_session):\n"
        "    assert set(volnux_session.event_stats()) == {'load', 'parse'}\n"
    ).assert_outcomes(passed=3)


def test_the_programs_own_questions_are_about_the_test(suite):
    """What is asked of the process inside a test is answered for that test."""
    suite(
        "from program import *\n"
        "from volnux.telemetry import get_event_stats, get_failed_events\n"
        "def test_one(volnux):\n"
        "    load()\n"
        "    assert set(get_event_stats()) == {'load'}\n"
        "def test_two(volnux):\n"
        "    assert get_event_stats() == {}\n"
        "    try:\n        parse(fails=True)\n    except ValueError:\n        pass\n"
        "    assert [it.event_name for it in get_failed_events()] == ['parse']\n"
    ).assert_outcomes(passed=2)


def test_publishers_of_the_program_get_everything(suite):
    """The plugin looks on, and changes nothing for them."""
    suite(
        "import pytest\nfrom program import *\n"
        "from volnux.telemetry import monitor_events\n"
        "from volnux.telemetry.testing import RecordingPublisher\n"
        "@pytest.fixture(scope='session')\n"
        "def published():\n"
        "    publisher = RecordingPublisher()\n"
        "    with monitor_events([publisher]) as monitor:\n"
        "        yield lambda: (monitor.flush(10), [it.event_name for it in publisher.events])[1]\n"
        "def test_one(published, volnux):\n"
        "    load()\n"
        "    assert published() == ['load']\n"
        "def test_two(published, volnux):\n"
        "    parse()\n"
        "    assert published() == ['load', 'parse']\n"
        "    assert [it.event_name for it in volnux.events()] == ['parse']\n"
    ).assert_outcomes(passed=2)


def test_repeats_say_where(suite):
    """The line in the program that does it, not the one in a library or in volnux."""
    result = suite(
        """
from program import *

@traced_event
def page():
    for number in range(3):
        load(number)

def test_it(volnux):
    page()
    volnux.assert_no_repeats()
"""
    )
    result.stdout.fnmatch_lines(
        ["E       AssertionError: ran more than once: load x3 in page (test_it.py:6)"]
    )


def test_tests_that_ask_for_nothing_are_left_alone(suite):
    """Where only some do, telemetry is on in these."""
    suite(
        """
from program import *
from volnux.telemetry._switch import SWITCH

def test_before():
    load()
    assert not SWITCH.on

def test_asking(volnux):
    load()
    assert len(volnux.events()) == 1

def test_after():
    load()
    assert not SWITCH.on
"""
    ).assert_outcomes(passed=3)
