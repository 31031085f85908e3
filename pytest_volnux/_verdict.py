"""Whether a test that passes kept to its budget, and left nothing behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_volnux import _lint
from pytest_volnux._budgets import Allowance
from pytest_volnux._check import check
from pytest_volnux._facts import Facts
from volnux.telemetry._budget import BUDGETS

if TYPE_CHECKING:
    from pytest_volnux._capture import Attempt


def is_over(attempt: Attempt, allowance: Allowance | None) -> str | None:
    """Return what an attempt had too much of, as the text of a failure, or None.

    Args:
        attempt: of a test.
        allowance: what its markers and the ini file allow, if they say anything.
    """
    allowance = (allowance or Allowance()).under(BUDGETS)
    return check(allowance, Facts(attempt.watches), attempt.allowed()) if allowance else None


def lint(item: pytest.Item, attempt: Attempt, *, as_failure: bool) -> None:
    """Warn of what a test leaves behind, or fail it."""
    __tracebackhide__ = True
    facts = Facts(attempt.watches)
    found = _lint.lint(facts, attempt.running("call"), attempt.strays, attempt.allowed())
    try:
        for sentence, _ in found if not as_failure else ():
            item.warn(_lint.LintWarning(sentence))
    except _lint.LintWarning:  # somebody's filter makes an error of it
        as_failure = True
    if found and as_failure:
        pytest.fail(_lint.text_of(found, facts), pytrace=False)
