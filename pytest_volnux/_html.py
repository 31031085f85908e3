"""The report of a run as one HTML page that needs nothing else: no network, and no script to be read."""

from __future__ import annotations

import json
import time
from base64 import b64encode
from hashlib import sha256
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from pytest_volnux._html_rows import SECTIONS, Scale, rows_html, trees_of
from volnux._text import count, seconds, size, some
from volnux.telemetry._intake import MAX_NAMES, OTHER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_volnux._html_rows import Column, Section

#: Rows of a table that are there without a script.
ROWS: Final = 100
#: What a script element may not hold as it is, lest it end, or begin a comment.
_IN_SCRIPT: Final = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})
_NOTHING: Final = (
    "Nothing was recorded: the tests ran no traced function, and spoke to nobody through a library "
    'that is instrumented.</p>\n<p class="nothing">To see something, put <code>@traced_event</code> on a '
    'function of the program, or call <code>instrument("all")</code> in <code>conftest.py</code>.'
)
#: What is said of a number at the top if it is none.
_NONE: Final = {"Retries": "nothing was tried again", "Network operations": "nobody was spoken to"}
#: Before anything is painted: the page is laid out for the script, which comes last; if a browser is
#: too old for that, as it is without.
_EARLY: Final = (
    'document.documentElement.className = "js"; '
    'addEventListener("error", () => { document.documentElement.className = ""; });'
)


def to_html(data: dict[str, Any]) -> str:
    """Return the report as a page.

    What programs have named is text in it, never markup: the page's policy runs the two scripts
    that volnux wrote, by their hashes, and loads nothing.
    """
    from volnux.telemetry._stamps import to_iso

    now = to_iso(time.time())
    data = _finite({**data, "generated_at": now})
    style, script = _file("report.css"), _file("report_rows.js") + _file("report.js")
    tests = some(data["tests"], "test") if data["tests"] else "the tests"
    title = f"What happened inside {tests}"
    parts = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
        f'<meta http-equiv="Content-Security-Policy" content="{_policy(style, script)}">\n',
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
        '<meta name="color-scheme" content="light dark">\n',
        '<meta name="referrer" content="no-referrer">\n',
        f"<title>volnux: {title[0].lower()}{title[1:]}</title>\n",
        # Else a browser asks the server that the page comes from for an icon.
        '<link rel="icon" href="data:,">\n',
        f"<style>{style}</style>\n<script>{_EARLY}</script>\n</head>\n<body>\n",
        f"<header>\n<h1>{title}</h1>\n<p>volnux, ",
        f'<time datetime="{now}">{now[:10]} {now[11:16]} UTC</time></p>\n</header>\n',
        *_content(data),
        f'<script type="application/json" id="report">{_json(data)}</script>\n',
        f"<script>{script}</script>\n</body>\n</html>\n",
    ]
    return "".join(parts)


def _content(data: dict[str, Any]) -> Iterator[str]:
    if not any(data[section.key] for section in SECTIONS):
        yield f'<main><p class="nothing">{_NOTHING}</p></main>\n'
        return
    yield from _summary(data)
    yield from _tools(data)
    yield "<main>\n"
    for section in SECTIONS:
        yield from _section(section, data)
    yield "</main>\n"


def _file(name: str) -> str:
    return files("pytest_volnux").joinpath(name).read_text("utf-8")


def _policy(style: str, script: str) -> str:
    def allowed(text: str) -> str:
        return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"

    return (
        f"default-src 'none'; style-src {allowed(style)}; "
        f"script-src {allowed(_EARLY)} {allowed(script)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _json(data: dict[str, Any]) -> str:
    """Return data for a script element; in ASCII, so that halves of surrogate pairs are written."""
    return json.dumps(data, separators=(",", ":")).translate(_IN_SCRIPT)


def _finite(value: Any) -> Any:
    """Return data without the numbers that no browser parses: some clock has jumped."""
    if isinstance(value, dict):
        return {key: _finite(it) for key, it in value.items()}
    if isinstance(value, list):
        return [_finite(it) for it in value]
    return 0.0 if isinstance(value, float) and value - value != 0 else value


def _summary(data: dict[str, Any]) -> Iterator[str]:
    """Yield the numbers that stand at the top, each leading to where it comes from."""
    yield '<dl class="summary">\n'
    for label, number, about, kind, section in _numbers(data):
        order = ' data-order="retries"' if label == "Retries" else ""
        term = f'<a href="#{section}"{order}>{label}</a>' if section else label
        mark = f' class="{kind if number else "zero"}"' if kind or not number else ""
        said = about if number else _NONE.get(label, about)
        yield f"<div><dt>{term}</dt><dd{mark}>{count(number)}</dd><dd>{said}</dd></div>\n"
    yield "</dl>\n"


def _numbers(data: dict[str, Any]) -> Iterator[tuple[str, int, str, str, str]]:
    """Yield of each number what it is of, itself, more about it, its kind, and its section."""
    events, hosts, retries = data["events"], data["hosts"], data["retries"]
    names = some(len(events), "name")
    if _has_others(events):
        names = f"over {count(MAX_NAMES)} names"
    yield "Tests", data["tests"], "recorded something", "", ""
    yield "Events", sum(it["count"] for it in events), f"of {names}", "", "events"
    yield "Failed", data["failed"], "where it went wrong first", "bad", "failures"
    slow = f"took longer than {seconds(data['slow_seconds'])}"
    yield "Slow", data["slow"], slow, "slow", "slowest"
    again = f"{count(retries['recovered'])} recovered, {count(retries['exhausted'])} gave up"
    yield "Retries", retries["total_retries"], again, "", "events"
    sent, received = (sum(it[key] for it in hosts) for key in ("bytes_sent", "bytes_received"))
    moved = f"{size(sent)} out, {size(received)} in"
    yield "Network operations", sum(it["count"] for it in hosts), moved, "", "hosts"


def _tools(data: dict[str, Any]) -> Iterator[str]:
    """Yield what filters the sections, which takes a script, and what leads to them."""
    yield (
        '<div class="tools">\n<search hidden><label for="filter">Filter</label>\n'
        '<input id="filter" type="search" autocomplete="off" spellcheck="false" '
        'placeholder="name, test, host or error" aria-describedby="hint">\n'
        '<span id="hint">part of it, or a glob such as <code>fetch*</code></span>\n'
        '<output id="found" for="filter"></output></search>\n<nav aria-label="Sections">\n'
    )
    for section in SECTIONS:
        number = len(data[section.key])
        empty = "" if number else ' class="empty"'
        yield (
            f'<a id="tab-{section.key}" href="#{section.key}"{empty}>{section.title} '
            f"<span>{count(number)}</span></a>\n"
        )
    yield "</nav>\n</div>\n"


def _section(section: Section, data: dict[str, Any]) -> Iterator[str]:
    """Yield a section: its table with the first rows, or that there is nothing."""
    trees = trees_of(section, data)
    yield f'<section id="{section.key}" aria-labelledby="title-{section.key}">\n'
    yield f'<h2 id="title-{section.key}">{section.title}</h2>\n'
    if not trees:
        yield f'<p class="nothing">{section.empty}</p>\n</section>\n'
        return
    yield f'<p class="about">{section.about}{_left_out(section, data)}</p>\n'
    scale = Scale(section, trees, data["slow_seconds"])
    tree = " data-tree" if section.is_tree else ""
    yield f'<div class="wide"><table{tree} aria-labelledby="title-{section.key}">\n<thead><tr>'
    yield from (_heading(column, section) for column in section.columns)
    yield f"</tr></thead>\n{rows_html(section, trees[:ROWS], scale)}\n</table></div>\n"
    rest = len(trees) - ROWS
    more = f"and {count(rest)} more, which take a script to be shown" if rest > 0 else ""
    yield f'<p class="more">{more}</p>\n</section>\n'


def _left_out(section: Section, data: dict[str, Any]) -> str:
    """Return what is to be said of what has no row of its own."""
    listed = len(data["failures"])
    if section.key == "failures" and data["failed"] > listed:
        return f" {count(listed)} of {count(data['failed'])} are listed."
    nouns = {"events": "names", "outside": "names", "hosts": "hosts"}
    if section.key in nouns and _has_others(data[section.key]):
        first = f"{count(MAX_NAMES)} {nouns[section.key]}"
        return f" What came after the first {first} is counted together, as {OTHER}."
    return ""


def _has_others(rows: list[dict[str, Any]]) -> bool:
    """Return whether there were more than have a row of their own."""
    return any(row.get("host", row.get("name")) == OTHER for row in rows)


def _heading(column: Column, section: Section) -> str:
    sorted_by = ""
    if column.key == section.order:
        sorted_by = f' aria-sort="{"descending" if section.falls else "ascending"}"'
    about = f' title="{escape(column.about)}"' if column.about else ""
    return (
        f'<th scope="col" class="{column.kind}" data-key="{column.key}" '
        f'data-kind="{column.kind}"{sorted_by}{about}>{column.label}</th>'
    )
