"""In GitHub's actions: annotations on the lines of the functions that failed or were slow."""

from __future__ import annotations

import json
import re

import pytest

from pytest_volnux._annotations import SHOWN, Spots
from pytest_volnux._tally import Notable, Tally
from tests.plugin.test_example import EXAMPLE, PAGE, printed_by
from volnux.telemetry import capture, traced_event
from volnux.telemetry._kinds import written_in

#: Its lines end in the name that a test knows them by.
SHOP = """\
from functools import lru_cache, partial, wraps

from volnux.telemetry import network_op, record_retry, traced_event

class Error(Exception):
    pass

def library(**options):
    def decorate(function):
        @wraps(function)
        def call(*args):
            return function(*args)
        return call
    return decorate

@traced_event
def parse(text="nothing"):  # parse
    raise ValueError(f"no such thing: {text}")

@traced_event("named by hand", attributes={"a": 1})
@library(
    one=1,
    two=2,
)
def wrapped():  # wrapped
    raise Error

@traced_event
async def later():  # later
    raise Error

@traced_event
def stream():  # stream
    yield 1
    raise Error

@traced_event
async def async_stream():  # async stream
    yield 1
    raise Error

class Shop:
    @traced_event
    def method(self):  # method
        raise Error

    @traced_event
    @classmethod
    def of_class(cls):  # class method
        raise Error

    @staticmethod
    @traced_event
    def static():  # static method
        raise Error

    @property
    @traced_event
    def stock(self):  # property
        raise Error

@traced_event
class Whole:
    def sell(self):  # of a class
        raise Error

class Caller:
    def __call__(self):  # object
        raise Error

caller = traced_event("caller")(Caller())

def _partly(a):  # partial
    raise Error

partly = traced_event(partial(_partly, 1))

@traced_event
@lru_cache
def cached():  # cached
    raise Error

class Plain:
    def call(self):  # bound
        raise Error

bound = traced_event("bound")(Plain().call)

@traced_event
@wraps(len)
def mine(*args):  # mine
    raise Error

def odd():  # odd
    raise Error

odd.__wrapped__ = odd
odd = traced_event(odd)
length = traced_event("length")(len)

shortest = traced_event("shortest")(lambda: 1 / 0)  # lambda

@traced_event
def take(clock, seconds):  # take
    clock.advance(seconds)

@traced_event
def takes_in_a_block(clock, seconds):  # block
    with traced_event("step"):
        clock.advance(seconds)

@traced_event
def asks(host, fails=True):  # asks
    with network_op(host, 443, "GET"):
        if fails:
            raise Error("come back later")

@traced_event
def tries_again():
    try:
        parse()
    except ValueError as error:
        record_retry(error, delay=0.0)
"""
HEAD = """\
import pytest
import shop
from volnux.telemetry import traced_event

def fails(call, *args):
    with pytest.raises(Exception):
        call(*args)
"""


def line_of(name, text=SHOP):
    """The number of the line that ends in a name."""
    [number] = [n for n, line in enumerate(text.split("\n"), 1) if line.endswith(f"  # {name}")]
    return number


def said_to_github(result):
    """The lines that are for GitHub, and what is said of them."""
    return [line for line in result.outlines if re.match(" *::|volnux: [0-9]", line)]


def annotation(level, file, line, title, *lines):
    """A whole annotation."""
    return f"::{level} file={file},line={line},title=volnux%3A {title}::" + "%0A".join(lines)


def warning(name, title, *lines):
    """That of a failure in the shop."""
    return annotation("warning", "shop.py", line_of(name), title, *lines)


def notice(name, title, *lines):
    """That of what was slow in the shop."""
    return annotation("notice", "shop.py", line_of(name), title, *lines)


@pytest.fixture
def annotated(suite, pytester, monkeypatch):
    """Run a suite of the shop in GitHub's actions; what is said to GitHub comes back."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(pytester.path))

    def run(text, *arguments, passed=1, report="--volnux-report=junit", **more):
        files = {"shop": SHOP, **more}
        arguments = (*arguments, report) if report else arguments
        result = suite(HEAD + text, *arguments, **files)
        result.assert_outcomes(passed=passed)
        return said_to_github(result)

    return run


class TestTheLine:
    def test_is_that_of_the_def(self, annotated):
        """Not of the decorators before it; the text is what the report says, and where."""
        assert annotated("def test_it():\n    fails(shop.parse)\n") == [
            warning(
                "parse",
                "failed",
                "parse: ValueError: no such thing: nothing",
                "in test_it.py::test_it",
            )
        ]

    @pytest.mark.parametrize(
        ("call", "name", "event"),
        [
            ("shop.wrapped", "wrapped", "named by hand"),
            ("lambda: asyncio.run(shop.later())", "later", "later"),
            ("lambda: list(shop.stream())", "stream", "stream"),
            ("lambda: asyncio.run(all_of(shop.async_stream()))", "async stream", "async_stream"),
            ("shop.Shop().method", "method", "Shop.method"),
            ("shop.Shop.of_class", "class method", "Shop.of_class"),
            ("shop.Shop.static", "static method", "Shop.static"),
            ("lambda: shop.Shop().stock", "property", "Shop.stock"),
            ("shop.Whole().sell", "of a class", "Whole.sell"),
            ("shop.caller", "object", "caller"),
            ("shop.partly", "partial", "_partly"),
            ("shop.cached", "cached", "cached"),
            ("shop.bound", "bound", "bound"),
            ("shop.mine", "mine", "len"),
            ("shop.odd", "odd", "odd"),
        ],
    )
    def test_is_found_for_all_that_can_be_traced(self, annotated, call, name, event):
        """Through wrappers, descriptors, partials and objects; of whatever kind the function is."""
        text = (
            "import asyncio\nasync def all_of(stream):\n    async for _ in stream:\n        pass\n"
        )
        assert annotated(f"{text}def test_it():\n    fails({call})\n") == [
            warning(name, "failed", f"{event}: Error", "in test_it.py::test_it")
        ]

    def test_is_looked_for_no_further_than_makes_sense(self):
        """Two functions may say that they wrap each other."""

        def one():
            """Wrap the other."""

        def other():
            """Wrap the first."""

        one.__wrapped__, other.__wrapped__ = other, one
        assert set(written_in(one)) == {one.__code__, other.__code__}

    def test_is_the_first_where_there_is_no_def(self, annotated):
        """A lambda is written somewhere, too."""
        assert annotated("def test_it():\n    fails(shop.shortest)\n") == [
            warning(
                "lambda",
                "failed",
                "shortest: ZeroDivisionError: division by zero",
                "in test_it.py::test_it",
            )
        ]

    def test_of_a_block_and_an_operation_is_that_of_the_function_around(self, annotated):
        """Theirs is not known."""
        assert annotated(
            "def test_it(volnux_clock):\n"
            "    shop.takes_in_a_block(volnux_clock, 2.0)\n"
            "    fails(shop.asks, 'api.example.org')\n"
        ) == [
            warning(
                "asks",
                "failed",
                "GET api.example.org:443: Error: come back later",
                "in test_it.py::test_it",
            ),
            notice(
                "block",
                "slow 2 times",
                "step: 2.00s, slow is more than 1.00s",
                "longest in test_it.py::test_it",
            ),
        ]

    def test_of_what_runs_in_no_such_function_is_not_known(self, annotated):
        """What is not written in Python, a block: it is in the report, and has no annotation."""
        text = (
            "def test_it():\n"
            "    fails(shop.length, 1)\n"
            "    with pytest.raises(ValueError), traced_event('parse'):\n        raise ValueError\n"
        )
        assert annotated(text) == []

    def test_may_be_one_of_a_test(self, annotated):
        """What is traced in a test file stands in the repository as well."""
        text = "@traced_event\ndef helper():  # helper\n    raise KeyError('a')\ndef test_it():\n    fails(helper)\n"
        assert annotated(text) == [
            annotation(
                "warning",
                "test_it.py",
                line_of("helper", HEAD + text),
                "failed",
                "helper: KeyError: 'a'",
                "in test_it.py::test_it",
            )
        ]

    def test_of_functions_of_one_name_is_that_of_each(self, annotated):
        """Though the report has them in one line."""
        one = (
            "from volnux.telemetry import traced_event\n@traced_event\ndef load():\n    raise {}\n"
        )
        assert annotated(
            "import one, two\ndef test_it():\n    fails(one.load)\n    fails(two.load)\n    fails(two.load)\n",
            one=one.format("KeyError"),
            two="import shop\n\n" + one.format("OSError"),
        ) == [
            "::warning file=two.py,line=5,title=volnux%3A failed 2 times::load: OSError%0Afirst in test_it.py::test_it",
            "::warning file=one.py,line=3,title=volnux%3A failed::load: KeyError%0Ain test_it.py::test_it",
        ]

    def test_is_left_out_where_there_is_no_file(self, annotated):
        """Of functions that `exec` makes: they are shown at the function around them, if there is one."""
        text = (
            "made = {'traced_event': traced_event}\n"
            "exec('@traced_event\\ndef load():\\n    raise KeyError\\n', made)\n"
            "@traced_event\ndef around():  # around\n    made['load']()\n"
            "def test_alone():\n    fails(made['load'])\n"
            "def test_it():\n    fails(around)\n"
        )
        assert annotated(text, passed=2) == [
            annotation(
                "warning",
                "test_it.py",
                line_of("around", HEAD + text),
                "failed",
                "load: KeyError",
                "in test_it.py::test_it",
            )
        ]

    def test_is_left_out_where_it_is_no_part_of_the_repository(
        self, annotated, pytester, monkeypatch
    ):
        """What is elsewhere, or installed: the function of the repository that called it has it."""
        library = (
            "from volnux.telemetry import traced_event\n"
            "@traced_event\ndef load():\n    raise KeyError('a')\n"
        )
        for folder in ("elsewhere", "repository/env/site-packages"):
            (pytester.path / folder).mkdir(parents=True)
        (pytester.path / "elsewhere/outer.py").write_text(library, "utf-8")
        (pytester.path / "repository/env/site-packages/inner.py").write_text(library, "utf-8")
        (pytester.path / "repository/mine.py").write_text(
            "import inner, outer\n"
            "from volnux.telemetry import traced_event\n\n"
            "@traced_event\ndef one():\n    outer.load()\n\n"
            "@traced_event\ndef two():\n    inner.load()\n",
            "utf-8",
        )
        monkeypatch.setenv("GITHUB_WORKSPACE", str(pytester.path / "repository"))
        for folder in ("elsewhere", "repository", "repository/env/site-packages"):
            monkeypatch.syspath_prepend(str(pytester.path / folder))
        assert annotated(
            "import inner, mine, outer\n"
            "def test_alone():\n    fails(outer.load)\n    fails(inner.load)\n"
            "def test_it():\n    fails(mine.one)\n    fails(mine.two)\n",
            passed=2,
        ) == [
            "::warning file=mine.py,line=5,title=volnux%3A failed::load: KeyError: 'a'%0Ain test_it.py::test_it",
            "::warning file=mine.py,line=9,title=volnux%3A failed::load: KeyError: 'a'%0Ain test_it.py::test_it",
        ]

    def test_is_left_out_on_another_drive(self, monkeypatch):
        """Windows has no way from one to another."""

        @traced_event
        def load():
            """Do nothing."""

        with capture() as registry:
            load()

        def no_way(*_):
            raise ValueError("path is on mount 'D:', start on mount 'C:'")

        spots = Spots()
        with monkeypatch.context() as patched:
            patched.setattr("pytest_volnux._annotations.os.path.relpath", no_way)
            assert spots.of("failed", registry.events(), lambda it: iter([it]), repr) == []

    def test_is_relative_to_the_repository(self, annotated, pytester, monkeypatch):
        """By way of a symbolic link, and with the slashes of a web address."""
        folder = pytester.mkpydir("parts")
        (folder / "deep.py").write_text(SHOP, "utf-8")
        link = pytester.path.parent / f"{pytester.path.name}-link"
        link.symlink_to(pytester.path)
        monkeypatch.setenv("GITHUB_WORKSPACE", str(link))
        assert annotated(
            "from parts import deep\ndef test_it():\n    fails(deep.later().send, None)\n"
        ) == [
            annotation(
                "warning",
                "parts/deep.py",
                line_of("later"),
                "failed",
                "later: Error",
                "in test_it.py::test_it",
            )
        ]

    def test_is_relative_to_where_pytest_runs_if_nothing_says_otherwise(
        self, annotated, monkeypatch
    ):
        """Whoever sets one variable alone gets annotations all the same."""
        monkeypatch.delenv("GITHUB_WORKSPACE")
        [line] = annotated("def test_it():\n    fails(shop.parse)\n")
        assert line.startswith(f"::warning file=shop.py,line={line_of('parse')},")

    def test_of_another_process_is_that_of_the_function_that_started_it(self, annotated):
        """Its own is not known here; where nothing says who started it, it has none."""
        text = (
            "import multiprocessing, subprocess, sys\n"
            "from concurrent.futures import ProcessPoolExecutor\n"
            "FORK = multiprocessing.get_context('fork')\n"
            "@traced_event\ndef around():  # around\n"
            "    with ProcessPoolExecutor(1, mp_context=FORK) as pool:\n"
            "        pool.submit(fails, shop.parse).result()\n"
            "@traced_event\ndef starts():\n"
            "    subprocess.run([sys.executable, '-c', 'import shop; shop.parse(1)'], stderr=-1)\n"
            "def test_fork():\n    around()\n"
            "def test_other(volnux):\n    starts()\n    volnux.assert_recorded('parse')\n"
        )
        assert annotated(text, passed=2) == [
            annotation(
                "warning",
                "test_it.py",
                line_of("around", HEAD + text),
                "failed",
                "parse: ValueError: no such thing: nothing",
                "in test_it.py::test_fork",
            )
        ]


class TestWhatIsSaid:
    def test_of_many_failures_is_the_first(self, annotated):
        """In the report's order; one annotation for a function, and one more if it was slow."""
        assert annotated(
            "@pytest.mark.parametrize('number', [3, 1, 2])\n"
            "def test_it(number):\n    fails(shop.parse, number)\n"
            "def test_other(volnux_clock):\n    shop.take(volnux_clock, 1.5)\n"
            "def test_slowest(volnux_clock):\n    shop.take(volnux_clock, 2.5)\n"
            "def test_fast(volnux_clock):\n    shop.take(volnux_clock, 0.5)\n",
            passed=6,
        ) == [
            warning(
                "parse",
                "failed 3 times",
                "parse: ValueError: no such thing: 1",
                "first in test_it.py::test_it[1]",
            ),
            notice(
                "take",
                "slow 2 times",
                "take: 2.50s, slow is more than 1.00s",
                "longest in test_it.py::test_slowest",
            ),
        ]

    def test_is_what_nothing_excuses(self, annotated):
        """Neither what may fail, nor what a retry got over."""
        text = (
            "@pytest.mark.volnux(allow_failed=['parse'])\n"
            "def test_allowed():\n    fails(shop.parse)\n"
            "def test_allowed_inside(volnux):\n    volnux.allow_failed('*')\n    fails(shop.parse)\n"
            "def test_retried():\n    shop.tries_again()\n"
        )
        assert annotated(text, passed=3) == []

    def test_is_the_fixture_and_the_phase(self, annotated):
        """Where it was in no test's call."""
        assert annotated(
            "@pytest.fixture\ndef early():\n    fails(shop.parse)\n"
            "@pytest.fixture(scope='session')\ndef shared():\n    fails(list, shop.stream())\n"
            "def test_it(early, shared):\n    pass\n"
        ) == [
            warning(
                "parse",
                "failed",
                "parse: ValueError: no such thing: nothing",
                "in test_it.py::test_it (setup)",
            ),
            warning("stream", "failed", "stream: Error", "in shared (session)"),
        ]

    def test_is_an_error_where_the_run_has_too_much(self, annotated):
        """With the limit, whatever else is asked for."""
        suite = (
            "def test_it(volnux_clock):\n    fails(shop.parse)\n    shop.take(volnux_clock, 1.5)\n"
        )
        parse = "parse: ValueError: no such thing: nothing%0Ain test_it.py::test_it"
        take = "take: 1.50s, slow is more than 1.00s%0Ain test_it.py::test_it"
        at_parse = f"file=shop.py,line={line_of('parse')},title=volnux%3A failed"
        at_take = f"file=shop.py,line={line_of('take')},title=volnux%3A slow"
        assert annotated(suite, "--volnux-max-failed=0", report="") == [
            f"::error {at_parse}::{parse}%0A1 failure was recorded, --volnux-max-failed allows 0",
            f"::notice {at_take}::{take}",
        ]
        assert annotated(suite, "--volnux-max-slow=0", "--volnux-max-failed=1") == [
            f"::warning {at_parse}::{parse}",
            f"::error {at_take}::{take}%0A1 slow event was recorded, --volnux-max-slow allows 0",
        ]

    def test_is_escaped(self, annotated, pytester):
        """What would end it, or begin another; what does something to a terminal is spelled out."""
        (pytester.path / "a,b:c%d größe.py").write_text(SHOP, "utf-8")
        text = "50%, 100%25\n::error::not mine\r\x1b[31mrot größe \ud800 , :"
        assert annotated(
            "import importlib\n"
            "odd = importlib.import_module('a,b:c%d größe')\n"
            f"def test_it():\n    fails(odd.parse, {text!r})\n"
        ) == [
            annotation(
                "warning",
                "a%2Cb%3Ac%25d größe.py",
                line_of("parse"),
                "failed",
                "parse: ValueError: no such thing: 50%25, 100%2525 ::error::not mine\\r\\x1b[31mrot größe \\ud800 , :",
                "in test_it.py::test_it",
            )
        ]

    def test_has_no_secret(self, annotated):
        """As the report has none."""
        [line] = annotated(
            "def test_it():\n    fails(shop.parse, 'https://ada:s3cr3t-w0rd@example.org/?token=s3cr3t-w0rd')\n"
        )
        assert "s3cr3t-w0rd" not in line
        assert "no such thing: https://" in line


MANY = """
SOURCE = "import time\\nfrom volnux.telemetry import traced_event\\n" + "".join(
    f"@traced_event\\ndef step_{{number}}(clock=None):\\n    if clock: clock.advance({{number}} + 2)\\n    else: raise KeyError\\n"
    for number in range({number})
)
import os
with open(f"many.{{os.getpid()}}", "w") as file:
    file.write(SOURCE)
os.replace(file.name, "many.py")  # another worker may be reading it
import many

@pytest.mark.parametrize("part", range(4))
def test_it(part, volnux_clock):
    for number in range(part, {number}, 4):
        step = getattr(many, f"step_{{number}}")
        step(volnux_clock)
        fails(step)
        if number == 7:
            fails(step)
"""


def many(level, number, title, text):
    return f"::{level} file=many.py,line={4 + 4 * number},title=volnux%3A {title}::step_{number}: {text}in test_it.py::test_it[{number % 4}]"


class TestTheirNumber:
    def test_is_what_github_shows_of_each_level(self, annotated):
        """The worst first; how many more there are is said."""
        assert annotated(MANY.format(number=1_000), passed=4) == [
            many("warning", 7, "failed 2 times", "KeyError%0Afirst "),
            *(many("warning", number, "failed", "KeyError%0A") for number in [*range(7), 8, 9]),
            *(
                many("notice", number, "slow", f"{taken}, slow is more than 1.00s%0A")
                for number, taken in zip(
                    range(999, 989, -1),
                    [
                        "16m41s",
                        "16m40s",
                        "16m39s",
                        "16m38s",
                        "16m37s",
                        "16m36s",
                        "16m35s",
                        "16m34s",
                        "16m33s",
                        "16m32s",
                    ],
                    strict=True,
                )
            ),
            "volnux: 1,980 more that failed or were slow are not annotated: GitHub shows 10 of each level",
        ]

    def test_is_shared_by_all_that_are_errors(self, annotated):
        """Failures come first."""
        lines = annotated(
            MANY.format(number=8), "--volnux-max-failed=0", "--volnux-max-slow=0", passed=4
        )
        assert all(line.startswith("::error ") for line in lines[:-1])
        assert len(lines) == SHOWN + 1
        assert sum("title=volnux%3A failed" in line for line in lines) == 8
        assert lines[-1] == (
            "volnux: 6 more that failed or were slow are not annotated: GitHub shows 10 of each level"
        )

    def test_and_all_else_is_the_same_by_workers(self, annotated):
        """Whichever was first, the same lines in the same order."""
        alone = annotated(MANY.format(number=40), passed=4)
        assert len(alone) == 2 * SHOWN + 1
        assert annotated(MANY.format(number=40), "-n2", passed=4) == alone

    def test_does_not_matter_to_the_order_of_parts(self, monkeypatch):
        """What is added up in any order is the same."""
        monkeypatch.setenv("GITHUB_ACTIONS", "true")
        parts = [
            part_of("failed", 1, Notable("test_b", "call", "load", 2.0, "KeyError", "b")),
            part_of("failed", 2, Notable("test_a", "call", "load", 1.0, "KeyError", "a")),
            part_of("slow", 1, Notable("test_a", "call", "load", 3.0)),
            part_of("slow", 1, Notable("test_c", "call", "load", 4.0)),
        ]
        found = []
        for order in (parts, parts[::-1]):
            tally = Tally(1.0, 10)
            for part in order:
                tally.add(json.loads(json.dumps(part)))
            found.append(tally.spots.worst_first())
        assert found[0] == found[1]
        assert [(it.kind, it.times, it.worst.where) for it in found[0]] == [
            ("failed", 3, "test_a"),
            ("slow", 2, "test_c"),
        ]


def part_of(kind, times, notable):
    """A part that a worker sends, with one spot in it."""
    return {
        "kind": "test",
        "where": notable.where,
        "registry": Tally(1.0, 10).tests.export(records=False),
        "worst": [times, 0, [], 0, [], [[kind, "shop.py", 3, times, notable]]],
    }


class TestQuiet:
    def test_elsewhere(self, suite, monkeypatch):
        """Where GitHub runs nothing, nothing is said to it."""
        text = HEAD + "def test_it():\n    fails(shop.parse)\n"
        for value in (None, "false"):
            if value is not None:
                monkeypatch.setenv("GITHUB_ACTIONS", value)
            result = suite(text, "--volnux-report", shop=SHOP)
            result.assert_outcomes(passed=1)
            assert said_to_github(result) == []

    def test_where_nothing_is_to_be_said(self, annotated):
        """Nothing failed, nothing was slow."""
        assert annotated("def test_it():\n    shop.asks('api.example.org', False)\n") == []

    def test_where_no_report_was_asked_for(self, annotated):
        """And the run is within its limits."""
        text = "def test_it(volnux):\n    fails(shop.parse)\n"
        assert annotated(text, "--volnux-max-failed=1", report="") == []
        assert annotated(text, report="") == []


def test_the_page_shows_those_of_the_example():
    """As the example of the other reports prints them."""
    page = PAGE.read_text("utf-8").partition("\n## Annotations")[2]
    command, shown = re.search(r"```console\n\$ (.*)\n(::[^`]*)```", page).groups()
    printed = printed_by(command, GITHUB_ACTIONS="true", GITHUB_WORKSPACE=str(EXAMPLE.parents[1]))
    assert [line for line in printed.splitlines() if line.startswith("::")] == shown.splitlines()
