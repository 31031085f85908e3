"""What volnux offers is what its reference lists."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

REFERENCE = Path(__file__).parent.parent / "docs/reference.md"


def listed() -> dict[str, list[str]]:
    """The names in the tables of docs/reference.md, by the module that heads each section."""
    sections = re.split(r"^## `([\w.]+)`$", REFERENCE.read_text("utf-8"), flags=re.MULTILINE)[1:]
    return {
        module: re.findall(r"^\| `(\w+)", text, re.MULTILINE)
        for module, text in zip(sections[::2], sections[1::2], strict=True)
    }


LISTED = listed()


def test_the_reference_lists_every_public_module():
    """The facade, the retry adapters, the spools, the test kit and the plugin are all there is."""
    modules = ["", ".retries", ".spools", ".testing"]
    assert sorted(LISTED) == ["pytest_volnux", *(f"volnux.telemetry{name}" for name in modules)]


@pytest.mark.parametrize("module", LISTED)
def test_all_is_what_the_reference_lists(module):
    """No public name is undocumented, and none is documented that is not there."""
    assert sorted(LISTED[module]) == sorted(importlib.import_module(module).__all__)


@pytest.mark.parametrize("module", LISTED)
def test_all_is_sorted(module):
    """`__all__` is in one order, so that a merge cannot list a name twice."""
    names = list(importlib.import_module(module).__all__)
    assert names == sorted(set(names))


@pytest.mark.parametrize(
    ("module", "name"), [(module, name) for module, names in LISTED.items() for name in names]
)
def test_every_public_name_is_there_and_says_what_it_is(module, name):
    """Each name can be had from its module, lazily or not, and has a docstring of its own."""
    assert getattr(importlib.import_module(module), name).__doc__


# What `dir` shows of a plugin, pytest loads: see tests/plugin/test_no_tax.py.
@pytest.mark.parametrize("module", sorted({*LISTED} - {"pytest_volnux"}))
def test_dir_shows_the_public_names(module):
    """Names that load on first use are shown to `dir` and completion all the same."""
    loaded = importlib.import_module(module)
    assert set(loaded.__all__) <= set(dir(loaded))


def test_an_unknown_name_is_an_attribute_error():
    """The lazy facade answers a typing mistake as any module does."""
    facade = importlib.import_module("volnux.telemetry")
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = facade.no_such_name
