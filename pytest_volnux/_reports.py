"""The report of a run, in the forms that were asked for."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from volnux._text import some

if TYPE_CHECKING:
    import pytest

    from pytest_volnux._settings import Settings
    from pytest_volnux._tally import Tally

#: Loaded when the tests are over: what a report is written with is in the way of none that begins.
_WRITERS: dict[str, tuple[str, str]] = {
    "json": ("_data", "to_json"),
    "html": ("_html", "to_html"),
    "md": ("_markdown", "to_markdown"),
}
#: Where GitHub takes what it shows of a step.
_STEP_SUMMARY = "GITHUB_STEP_SUMMARY"


def over_limits(settings: Settings, tally: Tally) -> dict[str, str]:
    """Return what the whole run has too much of, "failed" or "slow", and say so in words."""
    found = {}
    for kind, limit, number, what in (
        ("failed", settings.max_failed, tally.failed, "failure"),
        ("slow", settings.max_slow, tally.slow, "slow event"),
    ):
        if limit is not None and number > limit:
            was = "was" if number == 1 else "were"
            option = f"--volnux-max-{kind}"
            found[kind] = f"{some(number, what)} {was} recorded, {option} allows {limit:,}"
    return found


def report(settings: Settings, tally: Tally, terminal: pytest.TerminalReporter) -> None:
    """Write all that was asked for. Never raises: what could not be written is said."""
    asked = {one.kind for one in settings.reports}
    over = over_limits(settings, tally)
    if not asked and not over:
        return
    from pytest_volnux import _data, _term

    data = _data.data_of(settings, tally)
    if "term" in asked:
        _term.write(data, terminal)
    for one in settings.reports:
        if one.path is not None:
            _write(one.path, _text(one.kind, data), terminal)
    if "md" in asked and os.environ.get(_STEP_SUMMARY):
        _append(os.environ[_STEP_SUMMARY], _text("md", data), terminal)
    if over:
        terminal.write_sep("=", "volnux: over the limits of the run", red=True, bold=True)
        for line in over.values():
            terminal.write_line(line, red=True)
        if "term" not in asked:
            _term.write_worst(data, over, terminal)
    if tally.spots is not None:
        from pytest_volnux import _annotations

        _annotations.write(tally.spots.worst_first(), settings.slow, over, terminal)


def _text(kind: str, data: dict[str, Any]) -> str:
    module, function = _WRITERS[kind]
    text: str = getattr(import_module(f"pytest_volnux.{module}"), function)(data)
    return text


def _write(path: str, text: str, terminal: pytest.TerminalReporter) -> None:
    """Write a file whole or not at all."""
    part = f"{path}.{os.getpid()}.part"
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(part, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(part, path)
    except OSError as error:
        terminal.write_line(f"volnux: {path} could not be written: {error}", red=True)
    else:
        terminal.write_line(f"volnux: wrote {os.path.relpath(path)}")


def _append(path: str, text: str, terminal: pytest.TerminalReporter) -> None:
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        terminal.write_line(f"volnux: {path} could not be written: {error}", red=True)
