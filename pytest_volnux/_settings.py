"""What was asked for, on the command line and in the ini file."""

from __future__ import annotations

import os
from difflib import get_close_matches
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest

from pytest_volnux import BUDGET
from pytest_volnux._numbers import read_number

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The sinks of a report, and where each writes unless told otherwise; None for those that write no file.
TYPES: Final = {
    "term": None,
    "json": "volnux-report.json",
    "html": "volnux-report.html",
    "md": "volnux-report.md",
    "junit": None,
}
#: As many of the slowest events are on an HTML page at least.
_SLOWEST: Final = 200


class Report(NamedTuple):
    """A report that was asked for.

    Attributes:
        kind: its TYPE.
        path: the file it is written to, absolute; None for those that write none.
    """

    kind: str
    path: str | None


class Settings(NamedTuple):
    """What was asked for.

    Attributes:
        reports: which reports, each once.
        slow: what takes longer is slow, in seconds.
        top: lines of a table at most.
        max_failed, max_slow: failures and slow events of the whole run at most; None is no limit.
        lint: "warn" or "fail" if tests that pass are looked into, else None.
        budget: what the ini file says for all tests, as a marker would.
    """

    reports: tuple[Report, ...]
    slow: float
    top: int
    max_failed: int | None
    max_slow: int | None
    lint: str | None
    budget: Mapping[str, Any]

    @property
    def kept(self) -> int:
        """How many of the slowest events are kept: an HTML page can be searched, and has room."""
        return (
            max(self.top, _SLOWEST) if any(it.kind == "html" for it in self.reports) else self.top
        )


def read_settings(config: pytest.Config) -> Settings:
    """Return what was asked for.

    Raises:
        pytest.UsageError: something makes no sense; the text says what would.
    """

    def number(option: str, ini: str, default: Any, *, whole: bool = True) -> Any:
        given, name = config.getoption(option), "--" + option.replace("_", "-")
        if given is None:
            given, name = config.getini(ini), ini
        return default if not given else read_number(name, given, whole=whole)

    asked = config.getoption("volnux_report") or config.getini("volnux_report")
    try:
        return Settings(
            reports=tuple(dict.fromkeys(_report(one, config) for one in asked)),
            slow=number("volnux_slow", "volnux_slow", 1.0, whole=False),
            top=number("volnux_top", "volnux_top", 10),
            max_failed=number("volnux_max_failed", "volnux_run_max_failed", None),
            max_slow=number("volnux_max_slow", "volnux_run_max_slow", None),
            lint=_lint(config.getoption("volnux_lint"), config.getini("volnux_lint")),
            budget=_budget(config),
        )
    except ValueError as error:
        raise pytest.UsageError(str(error)) from None


def _budget(config: pytest.Config) -> Mapping[str, Any]:
    if not any(map(config.getini, BUDGET)):
        return {}
    from pytest_volnux._budgets import read_ini

    return read_ini(config.getini)


def _lint(option: str | None, ini: str | None) -> str | None:
    for name, given in (("--volnux-lint", option), ("volnux_lint", ini)):
        if given:
            if given not in {"warn", "fail"}:
                raise ValueError(f"{name} is warn or fail, not {given!r}")
            return given
    return None


def _report(text: str, config: pytest.Config) -> Report:
    kind, _, path = text.partition(":")
    if kind not in TYPES:
        near = get_close_matches(kind, TYPES, 1, 0.5)
        hint = f"did you mean {near[0]}?" if near else f"it knows {', '.join(TYPES)}"
        raise ValueError(f"--volnux-report={text}: it knows no {kind!r}; {hint}")
    default = TYPES[kind]
    if default is None:
        if path:
            raise ValueError(f"--volnux-report={text}: {kind} is written to no file of its own")
        return Report(kind, None)
    where = os.path.abspath(os.path.join(config.invocation_params.dir, path or default))
    if os.path.isdir(where):
        raise ValueError(
            f"--volnux-report={text}: {where} is a folder; name a file, such as "
            f"{kind}:{os.path.join(path, default)}"
        )
    if not hasattr(config, "workerinput"):
        _see_whether_writable(text, where)
    return Report(kind, where)


def _see_whether_writable(text: str, path: str) -> None:
    """Raise before any test runs, where the report could not be written after all of them."""
    folder = path
    while not os.path.isdir(folder):
        above = os.path.dirname(folder)
        if os.path.exists(folder) and folder != path:
            raise ValueError(f"--volnux-report={text}: {folder} is no folder")
        folder = above
    try:
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(
            f"--volnux-report={text}: {path} cannot be written: {error.strerror}"
        ) from None
