"""A million records at full speed with a dead back end: bounded memory, and nothing lost uncounted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.million import MIB
from volnux.telemetry._monitor import QUEUE_BYTES, QUEUE_ITEMS

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="memory is asked for as Linux has it"
)
ROOT = Path(__file__).parent.parent
#: Python alone takes ten times as long, and where it is counted what runs, ten times that.
MANY = 250_000 if os.environ.get("VOLNUX_NO_EXTENSIONS") else 1_000_000
#: Records that the registry keeps besides; what the interpreter and its allocator need to hold all that.
KEPT, SPARE = 10_000, 16 * MIB


def run(records, kind):
    """What became of so many records, and of the memory of the process that made them."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.million", str(records), kind],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=200,
    )
    found = json.loads(done.stdout)
    assert found["counts"]["accepted"] == records
    assert found["counts"]["pending"] + sum(found["counts"]["dropped"].values()) == records
    return found


def test_a_million_small_records_are_bounded_by_their_number():
    """As many wait as may; what comes later is dropped, counted, and takes no memory."""
    found = run(MANY, "plain")
    assert found["counts"]["pending"] == QUEUE_ITEMS
    assert found["counts"]["dropped"] == {"queue_full": MANY - QUEUE_ITEMS}
    assert found["grown"] < 400 * (QUEUE_ITEMS + KEPT) + SPARE
    assert found["grown_later"] < 4 * MIB


def test_large_records_are_bounded_by_their_bytes():
    """Fewer wait then, whatever their number may be."""
    found = run(100_000, "heavy")
    assert list(found["counts"]["dropped"]) == ["queue_bytes"]
    assert found["grown"] < QUEUE_BYTES + 2_500 * KEPT + SPARE
