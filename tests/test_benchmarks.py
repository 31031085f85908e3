"""The benchmark program: what it compares, and how it tells."""

from __future__ import annotations

import subprocess
import sys

import pytest

from benchmarks import _environments, _page, _rounds, _table, conformance
from benchmarks._result import Measured, Result, number
from benchmarks.contenders import CONTENDERS, PEERS, Contender
from benchmarks.rivals import RIVALS


class TestMeasured:
    @pytest.mark.parametrize(
        ("value", "at_least", "verdict"),
        [(2.5, False, True), (2.6, False, False), (10.0, True, True), (9.9, True, False)],
    )
    def test_a_target_is_met_or_missed(self, value, at_least, verdict):
        """The limit itself is met, from either side."""
        target = 10.0 if at_least else 2.5

        assert Measured("a call", value, target=target, at_least=at_least).met is verdict

    def test_without_a_target_there_is_no_verdict(self):
        """A row that is only told is neither met nor missed."""
        assert Measured("a call", 3.0).met is None


class TestNumber:
    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (0.0, "0"),
            (0.897, "0.897"),
            (2.504, "2.50"),
            (12.34, "12.3"),
            (123.4, "123"),
            (1234.5, "1,234"),
        ],
    )
    def test_shows_three_digits(self, value, text):
        """Figures carry as many digits as they are worth."""
        assert number(value) == text


class TestResult:
    def test_survives_saving(self):
        """What is saved as JSON comes back equal."""
        result = Result("name", "Title", "explained", [Measured("a call", 2.0, target=2.5)])

        assert Result.from_dict(result.to_dict()) == result

    def test_a_missed_target_is_found(self):
        """The check names Python and row."""
        result = Result("name", "Title", "explained", [Measured("a call", 3.0, target=2.5)])
        run = {"python": "CPython 3.11.7", "results": [result.to_dict()]}

        assert _page.missed([run]) == ["CPython 3.11.7: a call"]


class TestPage:
    def test_runs_of_one_python_make_one_column(self):
        """What was measured later takes the place of what was measured before."""

        def run(python, machine, where="", **values):
            results = [
                Result(name, name.title(), "explained", [Measured("a call", value)], where=where)
                for name, value in values.items()
            ]
            saved = [result.to_dict() for result in results]
            return {"python": python, "date": "today", "machine": machine, "results": saved}

        runs = [run("3.11", "A", one=1.0, two=2.0), run("3.12", "A", one=3.0)]
        found = _page.joined([*runs, run("3.11", "B", two=4.0)])
        first = run("3.11", "A", one=1.0)
        first["results"] += run("3.11", "B", where="today, B", two=4.0)["results"]
        assert found == [first, runs[1]]


class TestTables:
    def test_plain_columns_line_up(self):
        """Text stands to the left, figures to the right."""
        assert _table.plain(["what", "x"], [["a call", "2.5"]]) == (
            "what      x\n-----------\na call  2.5"
        )

    def test_markdown_escapes_pipes(self):
        """A pipe in a cell does not make a column."""
        assert _table.markdown(["a|b"], [["c"]]) == "| a\\|b |\n| --- |\n| c |"


class TestContenders:
    def test_every_peer_says_what_to_install(self):
        """A peer has distributions and an environment; volnux and the floor need none."""
        assert all(CONTENDERS[name].requires and CONTENDERS[name].environment for name in PEERS)

    def test_an_absent_library_is_told_not_raised(self, monkeypatch):
        """A contender that cannot be imported is missing, with the reason."""
        monkeypatch.setitem(CONTENDERS, "absent", Contender("absent", "not there"))

        figures = _rounds.interleaved(["absent"], {"call": "processor:call"}, calls=1, rounds=1)

        assert "benchmarks.contenders.absent" in figures.missing["absent"]

    def test_floor_and_volnux_run_side_by_side(self):
        """Both answer, in processes of their own, with a cost above nothing."""
        rows = {"call": "processor:call"}

        figures = _rounds.interleaved(["floor", "volnux"], rows, calls=2_000, rounds=1)

        assert figures.missing == {}
        assert min(figures["floor"]["call"], figures["volnux"]["call"]) > 0


class TestConformancePage:
    def test_a_library_that_is_not_there_is_a_column_all_the_same(self):
        """The table says who could not be run."""
        results = {name: {"missing": "No module"} for name in RIVALS}
        results["volnux"] = {"versions": {}, "answers": {"sync function": "ok"}}

        lines = conformance.page(results).splitlines()

        assert lines[-2].startswith("| version | this repository | not installed |")
        assert lines[-1].startswith("| sync function | ok | not run |")


def test_the_program_explains_itself():
    """`--help` names every benchmark and leaves with status 0."""
    command = [sys.executable, "-m", "benchmarks", "--help"]
    done = subprocess.run(command, cwd=_environments.REPOSITORY, capture_output=True, check=True)

    assert "delivery-overhead" in done.stdout.decode()
