"""What the whole suite shares."""

from __future__ import annotations

import gc
import os
import signal

import pytest
from hypothesis import HealthCheck, settings

from volnux.telemetry import capture
from volnux.telemetry.testing import FakeClock

# CI repeats the same examples on every run; a developer's machine looks for new ones.
settings.register_profile(
    "ci",
    derandomize=True,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("dev", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

# A shell lets its background jobs ignore Ctrl-C, and what they start as well: here it is tested.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish():
    """Spare the many tests that collect garbage what is there for good: half of the objects."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def clock():
    """Time that passes only when a test says so."""
    return FakeClock(start=1_700_000_000.0)


@pytest.fixture
def registry(clock):
    """What the test records, on that clock; an error inside volnux fails the test."""
    with capture(isolated=True, clock=clock, strict=True) as registry:
        yield registry
