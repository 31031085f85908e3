"""Results as text: for a terminal, and as the page in the documentation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    Result = Mapping[str, Any]

HEAD = """\
# Other people's suites

Written by the program: `python -m tests.suites --offline --markdown > docs/suites.md`. Do not edit by hand.

The test suite of each library, as its source distribution brings it, twice with the same options: bare,
and with `monitor_events()` and `instrument("all")` in force from before the first import of its tests.
A test that passes bare has to pass then as well. What differs is run again in both modes, file by file,
then as a whole; a test is called flaky if it fails bare as well, or never fails active again.
"""
COLUMNS = (
    "suite",
    "tests",
    "passed bare",
    "passed with volnux",
    "failed bare",
    "failed with volnux",
    "skipped",
    "operations recorded",
    "errors swallowed",
    "in flight at the end",
    "passed before, fails after",
)
_FAILED = ("failed", "error", "missing", "unfinished", "xpassed")
_TAIL = 40


def plain(results: Mapping[str, Any]) -> str:
    """For a terminal, with the end of each failure that volnux has caused."""
    parts = [about(results)]
    for result in results["libraries"]:
        rows = zip(COLUMNS, _row(result), strict=True)
        parts.append("\n".join(f"{name:28} {value}" for name, value in rows))
        parts += result.get("stopped", ())
        parts += _told(result.get("differences", ()))
        parts += [f"swallowed: {line}" for line in _swallowed(result)]
    return "\n\n".join(parts)


def markdown(results: Mapping[str, Any]) -> str:
    """The page."""
    parts = [HEAD, about(results) + "\n"]
    parts.append("\n".join(table(COLUMNS, map(_row, results["libraries"]))) + "\n")
    for result in results["libraries"]:
        parts.append(f"## {_name(result)}\n\n{_story(result)}\n")
        parts += _list("Differs", map(_line, result.get("differences", ())))
        parts += _list("volnux swallowed an error of its own", _swallowed(result))
        parts += _list("Skips", (f"{n}: {why}" for why, n in result.get("skipped", {}).items()))
        parts += _list("Fails both ways", (f"`{test}`" for test in result.get("failing", ())))
    return "\n".join(parts).rstrip()


def _told(differences: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    seen = set[str]()
    for one in differences:
        why = one["text"].rpartition("\n")[2]
        yield _line(one) if why in seen else f"{_line(one)}\n{_tail(one['text'])}"
        seen.add(why)


def about(results: Mapping[str, Any]) -> str:
    """Return when and where it was."""
    network = "no network but the loopback" if results["is_alone"] else "the machine's network"
    return f"{results['date']}, {results['python']}, {results['machine']}, {network}."


def _name(result: Result) -> str:
    return f"{result['name']} {result.get('version', '')}".strip()


def _row(result: Result) -> Sequence[str]:
    if "before" not in result:
        return _name(result), result["problem"], *["-"] * (len(COLUMNS) - 2)
    before, after, recorded = result["before"], result["after"], result["recorded"]
    ours = sum(one["is_ours"] for one in result["differences"])
    numbers = (
        sum(before.values()),
        before.get("passed", 0),
        after.get("passed", 0),
        _failed(before),
        _failed(after),
        sum(after.get(word, 0) for word in ("skipped", "xfailed")),
        recorded["operations"],
        sum(recorded["errors"].values()),
        recorded["in_flight"],
    )
    return _name(result), *(f"{number:,}" for number in numbers), str(ours) if ours else "none"


def _failed(counts: Mapping[str, int]) -> int:
    return sum(counts.get(word, 0) for word in _FAILED)


def _story(result: Result) -> str:
    if "before" not in result:
        return str(result["problem"]).capitalize() + "."
    bare, active = result["seconds"]
    parts = [result["remark"], f"{bare:.0f} s bare, {active:.0f} s with volnux."]
    if result["deselected"]:
        parts.append(f"Its own configuration leaves out {result['deselected']} tests.")
    parts += result["stopped"]
    return " ".join(filter(None, parts))


def _swallowed(result: Result) -> Iterable[str]:
    recorded = result.get("recorded", {})
    for what, count in recorded.get("errors", {}).items():
        tests = ", ".join(f"`{test}`" for test in recorded["tests"].get(what, ())[:5])
        yield f"{what}, {count} times, such as in {tests or 'no test'}"


def _line(one: Mapping[str, Any]) -> str:
    again = f"; again, bare: {_words(one['bare'])}; active: {_words(one['active'])}"
    return f"{one['verdict']}: `{one['test']}`: {one['before']}, then {one['after']}{again}"


def _words(words: Sequence[str]) -> str:
    return ", ".join(words) or "not run"


def _tail(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines()[-_TAIL:])


def _list(title: str, lines: Iterable[str]) -> list[str]:
    found = [f"- {line}" for line in lines]
    return [f"{title}:\n", "\n".join(found) + "\n"] if found else []


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterable[str]:
    """Yield the lines of a table."""
    yield f"| {' | '.join(columns)} |"
    yield f"| --- | {' | '.join(['---:'] * (len(columns) - 1))} |"
    for row in rows:
        yield f"| {' | '.join(row)} |"
