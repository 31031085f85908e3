"""What came of the suites under volnux's pytest plugin, as the page in the documentation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.suites._page import about, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

HEAD = """\
# Other people's suites under the pytest plugin

Written by the program: `python -m tests.suites plugin --offline > docs/suites-plugin.md`. Do not edit by hand.

The test suite of each library, as its source distribution brings it: bare, where volnux cannot be imported; with
`--volnux-report`, some functions of the library decorated by `traced_event` and its operations recorded by
`instrument`; and so again in two processes (`-n2`). Each call of a decorated function is counted besides, by the
test that runs, and the count is compared with what the plugin reports of each test.
"""
OUTCOMES = (
    "suite",
    "tests",
    "passed bare",
    "passed with the plugin",
    "failed bare",
    "failed with the plugin",
    "passed with -n2",
    "seconds bare",
    "seconds with the plugin",
    "seconds with -n2",
)
RECORDS = (
    "suite",
    "calls counted",
    "events reported",
    "of these in shared fixtures",
    "by threads that tests left",
    "outside of tests",
    "operations",
    "tests with records",
    "tests whose events differ from the count",
    "calls counted with -n2",
    "events reported with -n2",
    "operations with -n2",
)
#: Tests that are named, of each kind.
LISTED = 20


def markdown(results: Mapping[str, Any]) -> str:
    """Return the page."""
    libraries = results["libraries"]
    parts = [HEAD, about(results) + " Times are of one run each.\n"]
    parts.append("\n".join(table(OUTCOMES, map(_outcomes, libraries))) + "\n")
    parts.append("\n".join(table(RECORDS, map(_records, libraries))) + "\n")
    for one in libraries:
        lines = [*_remarks(one)]
        if lines:
            parts.append(f"## {_name(one)}\n\n" + "\n".join(f"- {line}" for line in lines) + "\n")
    return "\n".join(parts).rstrip()


def _name(one: Mapping[str, Any]) -> str:
    return f"{one['name']} {one['version']}"


def _outcomes(one: Mapping[str, Any]) -> list[str]:
    bare, active, both = one["bare"], one["with"], one.get("with_n2", {})
    numbers = (
        bare["tests"],
        bare["passed"],
        active["passed"],
        bare["failed"],
        active["failed"],
        both.get("passed"),
    )
    seconds = (f"{it['seconds']:.1f}" if it else "-" for it in (bare, active, both))
    return [_name(one), *map(_number, numbers), *seconds]


def _records(one: Mapping[str, Any]) -> list[str]:
    active, both = one["with"], one.get("with_n2", {})
    keys = ("counted", "reported", "in_fixtures", "in_orphans", "outside", "operations")
    numbers = (
        *(active.get(key) for key in (*keys, "tests_with")),
        sum(map(len, one["misplaced"].values())),
        *(both.get(key) for key in ("counted", "reported", "operations")),
    )
    return [_name(one), *map(_number, numbers)]


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _remarks(one: Mapping[str, Any]) -> Iterable[str]:
    if one["remark"]:
        yield one["remark"]
    if "with_n2" not in one:
        yield "Not run with -n2, which the suite does not bear."
    yield from (f"The run {mode} did not come to its end." for mode in one["stopped"])
    yield from _first(
        f"{it['verdict']}: `{it['test']}`: {it['before']}, then {it['after']}"
        for it in one["differences"]
    )
    yield from _first(f"Fails bare: `{test}`" for test in one["failing"])
    yield from _first(
        f"`{test}`: {before}; {after} with -n2; {bare} bare with -n2"
        for test, before, after, bare in one["differs_n2"]
    )
    yield from _first(
        f"`{test or 'outside of tests'}`: {counted} calls, {reported} events"
        for tests in one["misplaced"].values()
        for test, (counted, reported) in tests.items()
    )


def _first(lines: Iterable[str]) -> list[str]:
    found = list(lines)
    rest = len(found) - LISTED
    return [*found[:LISTED], *([f"and {rest:,} more of these"] if rest > 0 else [])]
