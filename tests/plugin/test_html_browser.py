"""The HTML report in a real Chromium: what a person does with it, and that it speaks to nobody."""

from __future__ import annotations

import pytest

from pytest_volnux._html import to_html
from tests.plugin import _chromium
from tests.plugin._pages import event, everywhere, host, notable, report
from tests.plugin.test_html import HOSTILE
from tests.plugin.test_reports import SUITE

WAIT = 20.0
TEST = "tests/test_it.py::TestIt::"
RUN = report(
    tests=3,
    slow=1,
    events=[
        event("render", total=4.0, max=2.0, p95=1.5, failed=1),
        event("fetch 10", total=1.0, count=1_200, min=1e-6, p50=2e-6),
        event("fetch 9", total=0.5, retries=3),
        event("load", total=0.0, min=0.0, max=0.0, p50=0.0, p95=0.0),
    ],
    hosts=[host("api.example.org:443", failed=1), host("[::1]:9200", bytes_sent=3 << 30)],
    slowest=[
        notable(f"{TEST}test_two", "render", seconds=2.0, error_type="TimeoutError"),
        notable("database (session)", "load", seconds=75.0),
    ],
    failures=[
        notable(f"{TEST}test_one", "render", error_type="ValueError", error="no such thing"),
        notable(f"{TEST}test_two", "GET api.example.org:443", seconds=1e-6),
    ],
    fixtures=[
        {
            "name": "database (session)",
            "events": [event("load", total=0.25), event("migrate", total=0.125)],
            "hosts": [host("db.example.org:5432")],
        },
        {"name": "server (module)", "events": [], "hosts": [host("localhost:80")]},
    ],
    orphans=[{"name": f"{TEST}test_three", "events": [event("fetch 9")], "hosts": []}],
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """One for all of these tests."""
    with _chromium.chromium(tmp_path_factory.mktemp("profile")) as browser:
        browser.set_page_load_timeout(WAIT)
        browser.set_script_timeout(WAIT)
        browser.get("about:blank")
        yield browser


@pytest.fixture
def opened(browser):
    """Open a page; at the end nothing else has been asked for, and the console is empty."""
    with _chromium.Pages() as pages:
        shown = []

        def show(page, fragment=""):
            shown.append(pages.show(page))
            browser.get(shown[-1] + fragment)
            return browser

        _chromium.said(browser), _chromium.requested(browser)
        yield show
        assert _chromium.said(browser) == []
        assert [one.partition("#")[0] for one in _chromium.requested(browser)] == shown
        assert len(pages.asked) == len(shown)


def click(browser, selector):
    browser.find_element("css selector", selector).click()


def keys(browser, *pressed):
    """Press keys where the focus is."""
    browser.switch_to.active_element.send_keys(*pressed)


def type_filter(browser, text):
    box = browser.find_element("id", "filter")
    box.clear()
    box.send_keys(text)


def seen(browser, selector, what="innerText"):
    """A property of each element that is not hidden."""
    return browser.execute_script(
        "return [...document.querySelectorAll(arguments[0])]"
        ".filter((it) => it.checkVisibility()).map((it) => it[arguments[1]])",
        selector,
        what,
    )


def column(browser, place=1, section="section.open"):
    """The texts of a column, as they are seen."""
    return seen(browser, f"{section} tbody tr > :nth-child({place})")


def tabs(browser):
    """What is said of each section: its name, and how many rows it has now."""
    return dict(tab.rsplit(" ", 1) for tab in seen(browser, "[role=tab]"))


def sections(browser):
    """The sections that are seen."""
    return seen(browser, "main > section", "id")


class TestSections:
    def test_are_chosen_by_a_click(self, opened):
        """One is seen at a time, and its address is one to send to others."""
        browser = opened(to_html(RUN))
        assert sections(browser) == ["events"]
        for name in ("slowest", "failures", "hosts", "fixtures", "orphans", "outside", "events"):
            click(browser, f"#tab-{name}")
            assert sections(browser) == [name]
            assert browser.current_url.endswith(f"#{name}")
            assert seen(browser, "[aria-selected=true]", "id") == [f"tab-{name}"]

    def test_are_chosen_by_keys(self, opened):
        """As tabs are, one way and the other."""
        browser = opened(to_html(RUN))
        from selenium.webdriver.common.keys import Keys

        click(browser, "#tab-events")
        for key, name in (
            (Keys.ARROW_RIGHT, "slowest"),
            (Keys.ARROW_LEFT, "events"),
            (Keys.ARROW_LEFT, "outside"),
            (Keys.HOME, "events"),
            (Keys.END, "outside"),
        ):
            keys(browser, key)
            assert sections(browser) == [name]
            assert browser.switch_to.active_element.get_attribute("id") == f"tab-{name}"

    def test_are_found_by_their_address(self, opened):
        """The page opens there, and is seen from its top."""
        browser = opened(
            to_html(report(events=[event(f"step {number}") for number in range(99)])), "#events"
        )
        assert sections(browser) == ["events"]
        assert browser.execute_script("return scrollY") == 0
        assert sections(opened(to_html(RUN), "#hosts")) == ["hosts"]

    def test_without_a_row_say_so(self, opened):
        """In words."""
        browser = opened(to_html(RUN), "#outside")
        text = browser.find_element("css selector", "section.open p").text
        assert text == "Nothing was recorded outside of tests."

    def test_of_which_the_first_has_no_row(self, opened):
        """The first that has one is open."""
        browser = opened(to_html(report(hosts=[host("it")])))
        assert sections(browser) == ["hosts"]


#: The rows of each section, as they are and as they came.
ROWS = """
const came = new DOMParser().parseFromString(arguments[0], "text/html");
const rows = (page, id) =>
  [...page.querySelectorAll(`#${id} tbody`)].map((body) => body.outerHTML);
return [...document.querySelectorAll("[role=tab]:not(.empty)")].map((tab) => {
  tab.click();
  const id = document.querySelector("section.open").id;
  return [rows(document, id), rows(came, id)];
});
"""


class TestRows:
    @pytest.mark.parametrize("text", [None, *HOSTILE, "ab\x1b\u202e\u00a0\ue000 ö:日/本\ud800"])
    def test_are_those_that_came_with_the_page(self, opened, text):
        """The script writes numbers and names as Python does, element by element."""
        page = to_html(RUN if text is None else everywhere(text))
        for shown, came in opened(page).execute_script(ROWS, page):
            assert shown == came
            assert shown

    def test_are_shown_a_hundred_at_first(self, opened):
        """Then more, then all."""
        events = [event(f"step {number}") for number in range(1_234)]
        browser = opened(to_html(report(events=events)))
        more = ".open .more"
        assert len(column(browser)) == 100
        assert browser.find_element("css selector", more).text.split("\n") == [
            "100 of 1,234 are shown.",
            "Show 500 more",
            "Show all 1,234",
        ]
        rows = "return document.querySelectorAll('.open tbody tr').length"
        click(browser, f"{more} button")
        assert browser.execute_script(rows) == 600
        click(browser, f"{more} button:last-child")
        assert browser.execute_script(rows) == 1_234
        assert browser.find_element("css selector", more).text == ""

    def test_of_ten_thousand_names(self, opened):
        """As few are in the page, and what is looked for is found among all of them."""
        events = [event(f"step {number}") for number in range(10_000)]
        browser = opened(to_html(report(events=events)))
        assert tabs(browser)["Events"] == "10,000"
        assert len(column(browser)) == 100
        type_filter(browser, "step 987?")
        assert column(browser) == [f"step 987{digit}" for digit in range(10)]


class TestFilter:
    @pytest.mark.parametrize(
        ("text", "rows"),
        [
            ("fetch", {"Events": "2", "After their test": "1"}),
            ("FETCH 1", {"Events": "1"}),
            ("*ch 9", {"Events": "1", "After their test": "1"}),
            ("f?tch*", {"Events": "2", "After their test": "1"}),
            ("etch*", {}),
            ("test_two", {"Slowest": "1", "Failed": "1"}),
            ("*::test_one", {"Failed": "1"}),
            ("example.org", {"Failed": "1", "Hosts": "1", "Shared fixtures": "1"}),
            ("[::1]", {"Hosts": "1"}),
            ("no such", {"Failed": "1"}),
            ("timeouterror", {"Slowest": "1"}),
            ("database", {"Slowest": "1", "Shared fixtures": "1"}),
        ],
    )
    def test_is_of_all_tables(self, opened, text, rows):
        """By names, tests, hosts and errors; a part of them, or a glob of the whole."""
        browser = opened(to_html(RUN))
        type_filter(browser, text)
        assert {name: found for name, found in tabs(browser).items() if found != "0"} == rows
        total = sum(map(int, rows.values()))
        assert browser.find_element("id", "found").text == f"{total} of 13 rows"

    def test_leaves_what_it_found(self, opened):
        """In the section that is open, and in those that are opened after it."""
        browser = opened(to_html(RUN))
        type_filter(browser, "fetch")
        assert column(browser) == ["fetch 10", "fetch 9"]
        click(browser, "#tab-orphans")
        assert column(browser) == [f"{TEST}test_three", "fetch 9"]
        click(browser, "#tab-hosts")
        assert column(browser) == []
        text = browser.find_element("css selector", ".open .more").text.split("\n")
        assert text == ["Nothing here matches the filter.", "Clear the filter"]
        click(browser, ".open .more button")
        assert column(browser) == ["api.example.org:443", "[::1]:9200"]

    def test_leaves_a_group_what_matches_in_it(self, opened):
        """All of it where its own name does."""
        browser = opened(to_html(RUN), "#fixtures")
        type_filter(browser, "migrate")
        assert column(browser) == ["database (session)", "migrate"]
        type_filter(browser, "session")
        assert column(browser) == [
            "database (session)",
            "load",
            "migrate",
            "db.example.org:5432",
        ]

    def test_by_keys(self, opened):
        """A slash goes there, and escape takes it away."""
        browser = opened(to_html(RUN))
        from selenium.webdriver.common.keys import Keys

        keys(browser, "/")
        keys(browser, "load")
        assert column(browser) == ["load"]
        keys(browser, Keys.ESCAPE)
        assert browser.find_element("id", "filter").get_property("value") == ""
        assert len(column(browser)) == 4
        assert browser.find_element("id", "found").text == ""


class TestOrder:
    def sorted_by(self, browser):
        (heading,) = browser.find_elements("css selector", "section.open th[aria-sort]")
        return heading.text, heading.get_attribute("aria-sort")

    def test_is_that_of_the_report_at_first(self, opened):
        """And said to be."""
        browser = opened(to_html(RUN))
        assert self.sorted_by(browser) == ("total", "descending")
        assert column(browser) == ["render", "fetch 10", "fetch 9", "load"]

    def test_is_by_any_column(self, opened):
        """Numbers fall at first, names rise, and the numbers in them count; a click more turns them."""
        browser = opened(to_html(RUN))
        click(browser, ".open th[data-key=count] button")
        assert self.sorted_by(browser) == ("count", "descending")
        assert column(browser)[0] == "fetch 10"
        click(browser, ".open th[data-key=count] button")
        assert self.sorted_by(browser) == ("count", "ascending")
        assert column(browser)[-1] == "fetch 10"
        click(browser, ".open th[data-key=name] button")
        assert self.sorted_by(browser) == ("event", "ascending")
        assert column(browser) == ["fetch 9", "fetch 10", "load", "render"]

    def test_is_by_errors(self, opened):
        """What has none is first."""
        browser = opened(to_html(RUN), "#slowest")
        click(browser, ".open th[data-key=error_type] button")
        assert column(browser) == ["load", "render"]
        click(browser, "#tab-failures")
        click(browser, ".open th[data-key=error] button")
        assert column(browser, 2) == ["failed", "ValueError no such thing"]

    def test_of_groups_keeps_them_together(self, opened):
        """Each has its rows under it, in the same order."""
        browser = opened(to_html(RUN), "#fixtures")
        click(browser, ".open th[data-key=total] button")
        click(browser, ".open th[data-key=total] button")
        assert column(browser) == [
            "database (session)",
            "migrate",
            "load",
            "db.example.org:5432",
            "server (module)",
            "localhost:80",
        ]

    def test_lasts_while_the_filter_changes(self, opened):
        """As long as the page is open."""
        browser = opened(to_html(RUN))
        click(browser, ".open th[data-key=name] button")
        type_filter(browser, "e")
        assert column(browser) == ["fetch 9", "fetch 10", "render"]

    def test_by_keys(self, opened):
        """A heading is a button."""
        browser = opened(to_html(RUN))
        from selenium.webdriver.common.keys import Keys

        browser.execute_script("document.querySelector('.open th button').focus()")
        keys(browser, Keys.ENTER)
        assert self.sorted_by(browser) == ("event", "ascending")


class TestSummary:
    @pytest.mark.parametrize(
        ("place", "name"), [(1, "events"), (2, "failures"), (3, "slowest"), (5, "hosts")]
    )
    def test_leads_to_a_section(self, opened, place, name):
        """By a click anywhere on a number's field; keys go on from there."""
        browser = opened(to_html(RUN), "#outside")
        browser.find_elements("css selector", ".summary div")[place].click()
        assert sections(browser) == [name]
        assert browser.current_url.endswith(f"#{name}")
        assert browser.switch_to.active_element.get_attribute("id") == f"tab-{name}"

    def test_of_retries_leads_to_what_was_retried(self, opened):
        """Most often first, however often one goes there."""
        browser = opened(to_html(RUN), "#hosts")
        for _ in range(2):
            browser.find_elements("css selector", ".summary div")[4].click()
            assert column(browser)[0] == "fetch 9"
            assert seen(browser, ".open [aria-sort=descending]") == ["retries"]


#: Whether the first row of the table is seen, below its heading.
BEGINS = """
const place = (selector) => document.querySelector(selector).getBoundingClientRect();
return place(".open tbody tr").top >= place(".open thead th").bottom - 1 && scrollY > 0;
"""


class TestScrolled:
    """Far down, the heading and the sections stay; what is chosen there begins at its top."""

    @pytest.fixture
    def scrolled(self, opened):
        events = [event(f"step {number}") for number in range(100)]
        failures = [notable(f"{TEST}test_{number}", "step") for number in range(100)]
        browser = opened(to_html(report(events=events, failures=failures)))
        browser.execute_script("scrollTo(0, 1500)")
        assert not browser.execute_script(BEGINS)
        return browser

    def test_another_section(self, scrolled):
        """From its first row."""
        click(scrolled, "#tab-failures")
        assert scrolled.execute_script(BEGINS)

    def test_another_order(self, scrolled):
        """From its first row."""
        click(scrolled, ".open th[data-key=name] button")
        assert scrolled.execute_script(BEGINS)

    def test_another_filter(self, scrolled):
        """From its first row."""
        type_filter(scrolled, "s")
        assert scrolled.execute_script(BEGINS)


LONG = "TestOrderRepositoryFindsByCustomer::test_returns_every_open_order_of_the_customer_in_the_period"


class TestNarrow:
    """On a phone."""

    @pytest.fixture(autouse=True)
    def _phone(self, browser):
        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True},
        )
        yield
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

    @pytest.mark.parametrize("section", ["events", "slowest", "failures", "fixtures", "orphans"])
    def test_the_page_moves_down_only(self, opened, section):
        """It begins at its top, and what is too wide moves by itself."""
        browser = opened(to_html(RUN), f"#{section}")
        assert browser.execute_script("return [scrollY, document.documentElement.scrollWidth]") == [
            0,
            390,
        ]

    @pytest.mark.parametrize("section", ["events", "hosts", "fixtures", "orphans"])
    def test_names_stay_beside_their_numbers(self, opened, section):
        """However far a table is moved."""
        browser = opened(to_html(RUN), f"#{section}")
        assert browser.execute_script(
            "const wide = document.querySelector('.open .wide'); wide.scrollLeft = 9999;"
            "const left = (it) => it.getBoundingClientRect().left - wide.getBoundingClientRect().left;"
            "return [wide.scrollLeft > 0, ...[...wide.querySelectorAll('tr > th:first-child')].map(left)]"
            ".every((it, at) => at ? Math.abs(it) < 1 : it)"
        )

    @pytest.mark.parametrize("section", ["slowest", "failures"])
    def test_texts_are_seen_whole(self, opened, section):
        """Test, event and error stand one under the other."""
        one = notable(f"tests/test_it.py::{LONG}", LONG, error_type="ValueError", error="no " * 99)
        browser = opened(to_html(report(slowest=[one], failures=[one])), f"#{section}")
        assert browser.execute_script(
            "const wide = document.querySelector('.open .wide');"
            "return wide.scrollWidth === wide.clientWidth"
        )
        assert LONG in "".join(column(browser)[0].split())
        assert seen(browser, ".open tbody tr > :last-child") == ["500ms"]


class TestPrinted:
    """As `beforeprint` and the medium make of it."""

    @pytest.fixture
    def printed(self, opened, browser):
        def show(report, text=""):
            opened(to_html(report))
            if text:
                type_filter(browser, text)
            browser.execute_cdp_cmd(
                "Emulation.setEmulatedMedia",
                {
                    "media": "print",
                    "features": [{"name": "prefers-color-scheme", "value": "dark"}],
                },
            )
            browser.execute_script("dispatchEvent(new Event('beforeprint'))")
            return browser

        yield show
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})

    def test_are_all_sections(self, printed):
        """Each with its heading, on white, without what is to be clicked."""
        browser = printed(RUN)
        assert len(sections(browser)) == 7
        assert seen(browser, "h2")[:3] == ["Events", "Slowest", "Failed"]
        assert all(
            height > 5
            for height in browser.execute_script(
                "return [...document.querySelectorAll('h2')].map((it) => it.offsetHeight)"
            )
        )
        assert seen(browser, "[role=tab], search, .more button") == []
        ground, contrast = browser.execute_script(LIGHTNESS)
        assert ground > 0.9
        assert contrast >= 4.5

    def test_is_what_matches_the_filter(self, printed):
        """In sections that were not open, too; and what was looked for."""
        browser = printed(RUN, "test_two")
        assert seen(browser, "search input", "value") == ["test_two"]
        assert column(browser, section="main > section") == ["render", "GET api.example.org:443"]


class TestSafety:
    @pytest.mark.parametrize("text", HOSTILE)
    def test_names_are_texts(self, opened, text):
        """In every section; no script of theirs has run."""
        browser = opened(to_html(everywhere(text)))
        names = browser.execute_script(
            "return [...document.querySelectorAll('[role=tab]')].map((tab) => {"
            "  tab.click();"
            "  return document.querySelector('.open tbody th').textContent;"
            "})"
        )
        assert names == [text] * 7
        assert browser.execute_script("return document.scripts.length") == 3
        assert browser.execute_script("return document.querySelectorAll('img, b b').length") == 0

    def test_the_page_may_not_load_or_run_anything(self, opened):
        """What the policy is for: not even a script in it can."""
        browser = opened(to_html(RUN))
        blocked = browser.execute_async_script(
            "const done = arguments[0], seen = [];"
            "document.addEventListener('securitypolicyviolation', (event) => {"
            "  seen.push(event.effectiveDirective);"
            "  if (seen.length === 2) done(seen.sort());"
            "});"
            "const script = document.createElement('script');"
            "script.textContent = 'window.ran = true';"
            "const image = document.createElement('img');"
            "image.src = location.origin + '/image.png';"
            "document.body.append(script, image);"
        )
        assert blocked == ["img-src", "script-src-elem"]
        assert browser.execute_script("return window.ran === undefined")
        assert len(_chromium.said(browser)) == 2


CONTRAST = """
const parts = (color) => color.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255);
const linear = (part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
const light = (color) => {
  const [red, green, blue] = parts(color).map(linear);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
};
const under = (element) => {
  const color = getComputedStyle(element).backgroundColor;
  return color === "rgba(0, 0, 0, 0)" ? under(element.parentElement) : color;
};
const contrast = (element, what = "color") => {
  const two = [light(getComputedStyle(element)[what]), light(under(element))].sort((a, b) => b - a);
  return (two[0] + 0.05) / (two[1] + 0.05);
};
"""
DRAWN = (
    CONTRAST
    + """
return Math.min(...Object.entries(arguments[0]).map(([selector, what]) =>
  contrast(document.querySelector(selector), what)));
"""
)
LIGHTNESS = (
    CONTRAST
    + """
const texts = [...document.body.querySelectorAll("*")].filter((element) =>
  element.checkVisibility()
  && [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()));
return [light(under(document.body)), Math.min(...texts.map((it) => contrast(it)))];
"""
)


class TestColors:
    @pytest.fixture(autouse=True)
    def _as_the_system_says(self, browser):
        yield
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})

    @pytest.mark.parametrize("section", ["events", "failures", "fixtures", "orphans", "outside"])
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_can_be_read(self, opened, scheme, section):
        """By day and by night, each text has the contrast that WCAG 2 asks for (level AA)."""
        browser = opened(to_html(RUN), f"#{section}")
        browser.execute_cdp_cmd(
            "Emulation.setEmulatedMedia",
            {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
        )
        ground, contrast = browser.execute_script(LIGHTNESS)
        assert ground > 0.9 if scheme == "light" else ground < 0.1
        assert contrast >= 4.5

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_what_is_drawn_can_be_seen(self, opened, scheme):
        """Lines, bars and the edges of controls have the contrast that WCAG 2 asks for (level AA)."""
        browser = opened(to_html(RUN))
        browser.execute_cdp_cmd(
            "Emulation.setEmulatedMedia",
            {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
        )
        drawn = {
            "search input": "borderTopColor",
            ".bar rect": "fill",
            ".spread line": "stroke",
            ".spread .most": "stroke",
            ".spread circle": "fill",
        }
        assert browser.execute_script(DRAWN, drawn) >= 3.0

    def test_the_open_section_is_seen_in_forced_colors(self, opened):
        """Where the system chooses all of them, it is the one that is underlined."""
        browser = opened(to_html(RUN), "#hosts")
        browser.execute_cdp_cmd(
            "Emulation.setEmulatedMedia",
            {"features": [{"name": "forced-colors", "value": "active"}]},
        )
        assert browser.execute_script(
            "return [...document.querySelectorAll('nav a')]"
            ".filter((it) => getComputedStyle(it).borderBottomWidth !== '0px').map((it) => it.id)"
        ) == ["tab-hosts"]


class TestAccess:
    def test_what_is_drawn_is_said(self, opened):
        """From where to where a line reaches, which no column says; a bar only repeats a number."""
        browser = opened(to_html(RUN))
        lines = browser.find_elements("css selector", ".open .spread")
        assert [line.accessible_name for line in lines] == [
            "125ms to 2.00s",
            "1.00µs to 500ms",
            "125ms to 500ms",
            "0s to 0s",
        ]
        assert {line.aria_role for line in lines} <= {"img", "image"}

    def test_what_a_screen_reader_says(self, opened):
        """Each control has a name, each table, and each of its rows a heading."""
        browser = opened(to_html(RUN))
        assert browser.find_element("id", "filter").accessible_name == "Filter"
        assert browser.find_element("css selector", "[role=tablist]").accessible_name == "Sections"
        for section in ("events", "failures", "fixtures"):
            click(browser, f"#tab-{section}")
            table = browser.find_element("css selector", ".open table")
            assert table.accessible_name == table.find_element("xpath", "../../h2").get_property(
                "textContent"
            )
            for row in table.find_elements("css selector", "tbody tr"):
                assert row.find_element("css selector", "th").aria_role in {
                    "rowheader",
                    "columnheader",
                }

    def test_without_scripts(self, opened, browser):
        """All sections are there, one after the other; what takes a script is not."""
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
        try:
            opened(to_html(RUN))
            assert sections(browser)[:3] == ["events", "slowest", "failures"]
            assert len(sections(browser)) == 7
            assert column(browser, section="#hosts") == ["api.example.org:443", "[::1]:9200"]
            assert not browser.find_element("id", "filter").is_displayed()
            assert browser.find_elements("css selector", "button") == []
        finally:
            browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})

    def test_of_a_browser_that_is_too_old(self, opened):
        """What a script that fails would show is there as without it."""
        browser = opened(to_html(RUN))
        browser.execute_script("dispatchEvent(new ErrorEvent('error'))")
        assert len(sections(browser)) == 7

    def test_of_a_run_that_recorded_nothing(self, opened):
        """It says so, and nothing goes wrong."""
        browser = opened(to_html(report(tests=0)))
        text = browser.find_element("css selector", "main").text
        assert text.startswith("Nothing was recorded: ")


def test_a_run(suite, pytester, opened):
    """From the command line to a click."""
    suite(SUITE, "--volnux-report=html:it.html")
    browser = opened((pytester.path / "it.html").read_text("utf-8"))
    assert seen(browser, ".summary dt + dd") == ["2", "5", "1", "1", "2", "1"]
    assert column(browser) == ["slow", "fetch", "flaky", "parse"]
    click(browser, "#tab-failures")
    assert column(browser, 3) == ["test_it.py::test_two"]
    click(browser, "#tab-fixtures")
    assert column(browser) == ["database (session)", "load"]


def test_a_file(browser, tmp_path):
    """Opened from the disk, as most are."""
    path = tmp_path / "it.html"
    path.write_text(to_html(RUN), "utf-8")
    _chromium.said(browser), _chromium.requested(browser)
    browser.get(path.as_uri())
    type_filter(browser, "load")
    assert column(browser) == ["load"]
    click(browser, "#tab-fixtures")
    assert column(browser) == ["database (session)", "load"]
    assert _chromium.said(browser) == []
    assert {one.partition("#")[0] for one in _chromium.requested(browser)} == {path.as_uri()}
