"""What is said where VOLNUX_TELEMETRY=off: nothing is recorded, so whatever only forbids passes."""

from __future__ import annotations

import os
import warnings

import pytest

from pytest_volnux import BUDGET, KEYS, OPTIONS
from volnux._text import some
from volnux.telemetry._switch import is_disabled


class TelemetryOffWarning(pytest.PytestWarning):
    """Something needs what is recorded inside the tests, and recording is switched off."""


class Off:
    """Says once in a run that recording is off, if anything needs it.

    Args:
        config: pytest's.

    Raises:
        pytest.UsageError: an option of the command line needs it.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        #: What was said, or would be by another process; nothing if nothing needs it.
        self.text = ""
        # Workers have the options and the ini file of the controller, which has said it for them.
        self._is_worker = hasattr(config, "workerinput")
        if is_disabled():
            self._see_options()
            self._see_ini_file()

    def _see_options(self) -> None:
        given = [name for name in OPTIONS if self._config.getoption(name) is not None]
        options = ", ".join("--" + name.replace("_", "-") for name in given)
        if options and not self._is_worker:
            they, it = ("s", "it") if len(given) == 1 else ("", "them")
            raise pytest.UsageError(
                f"{_switched_off()}, which {options} need{they}: unset it, or leave {it} out"
            )

    def _see_ini_file(self) -> None:
        given = [key for key in (*KEYS, *BUDGET) if self._config.getini(key)]
        if given:
            self.text = _text(f"{', '.join(given)} of the ini file", len(given))
            if not self._is_worker:
                try:
                    self._config.issue_config_time_warning(TelemetryOffWarning(self.text), 2)
                except TelemetryOffWarning:
                    raise pytest.UsageError(self.text) from None

    def collected(self, asking: int, *, has_budgets: bool) -> None:
        """Say it where tests need it, or steps of the program.

        Args:
            asking: how many tests have the marker or one of the fixtures.
            has_budgets: whether there is a budget of a function.
        """
        if self.text or not is_disabled() or not (asking or has_budgets):
            return
        self.text = _text(some(asking, "test"), asking) if asking else _text("budgets of functions")
        # Every worker has collected the same tests.
        if not self._is_worker or self._config.workerinput["workerid"] == "gw0":  # type: ignore[attr-defined]
            self._warn()

    def asked(self) -> None:
        """Say it where a test asks for a fixture only while it runs."""
        if not self.text and is_disabled():
            self.text = _text("1 test", 1)
            self._warn()

    def _warn(self) -> None:
        try:
            self._config.issue_config_time_warning(TelemetryOffWarning(self.text), 2)
        except TelemetryOffWarning:  # each test that needs it will fail
            pass

    def check(self) -> None:
        """Fail a test that needs it and passes, if a filter makes an error of the warning."""
        __tracebackhide__ = True
        if not self.text or not is_disabled():
            return
        try:
            with warnings.catch_warnings(record=True):
                warnings.warn(TelemetryOffWarning(self.text), stacklevel=1)
        except TelemetryOffWarning:
            pass
        else:
            return
        pytest.fail(self.text, pytrace=False)


def _switched_off() -> str:
    return f"VOLNUX_TELEMETRY={os.environ['VOLNUX_TELEMETRY']} switches recording off"


def _text(who: str, number: int = 2) -> str:
    return (
        f"{_switched_off()}, which {who} need{'s' if number == 1 else ''}: limits, and asserts that "
        "only forbid something, pass unseen. Unset it to have them checked"
    )
