"""`--volnux-report=html`: one file, which holds what JSON does, and nothing that programs say runs in it."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_volnux._html import to_html
from tests.plugin._pages import event, everywhere, host, notable, report
from tests.plugin.test_reports import SUITE

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "<img src=x onerror=alert(1)>",
    '" autofocus onfocus="alert(1)',
    "&lt;b&gt;",
    "]]>",
    "</title></style></table>",
]


class Page(HTMLParser):
    """What a browser makes of a page: its elements, its texts, and what its scripts hold."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self.held = [], [], {"style": [], "script": []}
        self._in = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._in = tag
        if tag in self.held:
            self.held[tag].append("")

    def handle_endtag(self, tag):
        self._in = None

    def handle_data(self, data):
        if self._in in self.held:
            self.held[self._in][-1] += data
        else:
            self.texts.append(data)

    @property
    def text(self):
        return "".join(self.texts)

    @property
    def data(self):
        (found,) = (
            held
            for held, attrs in zip(
                self.held["script"],
                [attrs for tag, attrs in self.elements if tag == "script"],
                strict=True,
            )
            if attrs.get("id") == "report"
        )
        return json.loads(found)

    def shape(self):
        """Its elements, but for those that stand where a long text may be broken."""
        return [(tag, sorted(attrs)) for tag, attrs in self.elements if tag != "wbr"]


def test_it_is_written_where_nothing_else_is_said(suite, pytester):
    """And named."""
    result = suite(SUITE, "--volnux-report=html")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["volnux: wrote volnux-report.html"])
    page = Page((pytester.path / "volnux-report.html").read_text("utf-8"))
    assert "What happened inside 2 tests" in page.text
    assert "ValueError" in page.text


@pytest.mark.parametrize("workers", [[], ["-n2"]], ids=["alone", "by workers"])
def test_it_holds_what_json_does(suite, pytester, workers):
    """But for the stamp."""
    suite(SUITE, "--volnux-report=html:a/it.html", "--volnux-report=json:it.json", *workers)
    page = Page((pytester.path / "a/it.html").read_text("utf-8"))
    data = json.loads((pytester.path / "it.json").read_text("utf-8"))
    assert {**page.data, "generated_at": ""} == {**data, "generated_at": ""}


def test_it_lists_more_of_the_slowest_than_the_others(suite, pytester):
    """A page has room, and can be searched."""
    result = suite(
        "from program import *\ndef test_it():\n    for _ in range(300):\n        load()\n",
        "--volnux-report",
        "--volnux-report=html:it.html",
        "--volnux-report=json:it.json",
        "--volnux-top=3",
    )
    page = Page((pytester.path / "it.html").read_text("utf-8"))
    data = json.loads((pytester.path / "it.json").read_text("utf-8"))
    assert len(page.data["slowest"]) == 200
    assert page.data["slowest"][:3] == data["slowest"]
    lines = [line for line in result.outlines if line.endswith("load   test_it.py::test_it")]
    assert len(lines) == 3


@pytest.mark.parametrize("text", HOSTILE)
def test_names_are_never_markup(text):
    """The page has the elements that it has with a harmless name, and says it as it is."""
    page = Page(to_html(everywhere(text)))
    assert page.shape() == Page(to_html(everywhere("harmless"))).shape()
    assert page.text.count(text) == Page(to_html(everywhere("harmless"))).text.count("harmless")
    assert page.data["events"][0]["name"] == text
    assert page.data["failures"][0]["error"] == text


@given(st.text(st.characters(), min_size=1))
def test_any_name_is(text):
    """Control characters and halves of surrogate pairs, too: the file is UTF-8, and its data exact."""
    name = f"it{text}"
    page = Page(to_html(everywhere(name)).encode("utf-8").decode("utf-8"))
    assert page.shape() == Page(to_html(everywhere("it"))).shape() or "::" in name
    assert page.data["orphans"][0]["events"][0]["name"] == name


def test_half_a_surrogate_pair_is_written(suite, pytester):
    """By a worker, too."""
    result = suite(
        "from program import *\n"
        "def test_it():\n"
        "    with traced_event('a \\ud800'):\n        pass\n",
        "--volnux-report=html:it.html",
        "-n1",
    )
    result.assert_outcomes(passed=1)
    page = Page((pytester.path / "it.html").read_text("utf-8"))
    assert "a \\ud800" in page.text


def test_it_needs_nothing_else():
    """No element refers to anything outside, no style either, and the page forbids it."""
    page = Page(to_html(everywhere("it")))
    for tag, attrs in page.elements:
        assert not {"src", "srcset", "action", "style"} & attrs.keys()
        assert not [name for name in attrs if name.startswith("on")]
        assert attrs.get("href", "#").startswith("#") or (tag, attrs["href"]) == ("link", "data:,")
    (style,) = page.held["style"]
    assert not re.search(r"url\(|@import|@font-face", style)
    scripts = page.held["script"][0], page.held["script"][2]

    def hashed(text):
        return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"

    (policy,) = (a["content"] for _, a in page.elements if a.get("http-equiv"))
    assert policy.split("; ") == [
        "default-src 'none'",
        f"style-src {hashed(style)}",
        f"script-src {' '.join(map(hashed, scripts))}",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
    ]


def test_nothing_recorded(suite, pytester):
    """A page all the same: it was asked for."""
    suite("def test_it():\n    pass\n", "--volnux-report=html:it.html")
    page = Page((pytester.path / "it.html").read_text("utf-8"))
    assert "What happened inside the tests" in page.text
    assert "Nothing was recorded: " in page.text
    assert 'put @traced_event on a function of the program, or call instrument("all")' in page.text
    assert "table" not in [tag for tag, _ in page.elements]


def test_numbers_at_the_top_lead_to_where_they_come_from():
    """But for that of the tests, which are no table."""
    page = Page(to_html(report(events=[event("it")])))
    links = [attrs["href"] for tag, attrs in page.elements if tag == "a" and "id" not in attrs]
    assert links == ["#events", "#failures", "#slowest", "#events", "#hosts"]


def test_what_there_is_none_of_is_not_divided():
    """No "0 recovered, 0 gave up"."""
    none = Page(to_html(report(events=[event("it")]))).text
    assert "nothing was tried again" in none
    assert "nobody was spoken to" in none
    retries = {**report()["retries"], "total_retries": 3, "recovered": 2, "exhausted": 1}
    some = Page(to_html(report(hosts=[host("it")], retries=retries))).text
    assert "2 recovered, 1 gave up" in some
    assert "100 B out, 2.00 KiB in" in some


def test_long_names_are_broken_where_people_would():
    """After a sign, and where a word begins."""
    (row,) = re.findall(
        "<tbody>.*?</th>", to_html(report(events=[event("shop.OrderRepository.find_all[A4-x]")]))
    )
    assert row.endswith("shop.<wbr>Order<wbr>Repository.<wbr>find_<wbr>all[<wbr>A4-<wbr>x]</th>")


def test_the_first_rows_are_there_without_a_script():
    """And how many are not."""
    page = Page(to_html(report(events=[event(f"<{number}>") for number in range(1_234)])))
    assert re.findall(r"<(\d+)>", page.text) == [str(number) for number in range(100)]
    assert "and 1,134 more, which take a script to be shown" in page.text
    assert len(page.data["events"]) == 1_234


def test_failures_that_are_not_listed_are_counted():
    """Where there are too many to be."""
    failures = [notable("test_it.py::test_it", "load", error_type="ValueError")]
    assert " are listed" not in Page(to_html(report(failures=failures))).text
    assert "1 of 1,001 are listed." in Page(to_html(report(failures=failures, failed=1_001))).text


def test_names_that_are_counted_together_are_explained():
    """Where there are."""
    together = "What came after the first 2,000 names is counted together, as __other__."
    assert together not in Page(to_html(report(events=[event("it")]))).text
    page = Page(to_html(report(events=[event("it"), event("__other__")])))
    assert together in page.text
    assert "of over 2,000 names" in page.text
    hosts = Page(to_html(report(hosts=[host("it"), host("__other__")]))).text
    assert "What came after the first 2,000 hosts is counted together, as __other__." in hosts


def test_every_number_can_be_read():
    """A clock that has jumped makes none that a browser cannot parse."""
    events = [event("it", max=float("inf"), mean=float("nan"))]
    (found,) = Page(to_html(report(events=events))).data["events"]
    assert (found["max"], found["mean"], found["min"]) == (0.0, 0.0, 0.125)
