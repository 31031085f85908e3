"""docs/reliability.md names a test for every fault, and each of them is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/reliability.md").read_text("utf-8")
FAULTS = [
    line
    for line in PAGE.partition("## Faults")[2].splitlines()
    if line.startswith("| ") and not line.startswith("| fault |")
]
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))


@cache
def names_in(file: str) -> set[str]:
    """The names of the test functions of a file, those of its classes among them."""
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_fault_names_a_test():
    """A row without one is a promise that nobody keeps."""
    assert len(FAULTS) > 30
    assert [line for line in FAULTS if "`tests/" not in line] == []


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_test_that_is_named_is_there(file, name):
    """Under that name, in that file."""
    assert name in names_in(file)
