"""``python _pytest_probe.py SUITE TURNS WAYS``: run a suite by turns in several ways, all in this process.

A run is cut into short stretches: from one hook to the next, as a test is the stretch from its protocol to
the next one's. Of each stretch, what it took at the least is printed for each way: so a moment in which the
machine was busy counts in none, and what a way always does in all.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from itertools import pairwise
from time import perf_counter_ns
from types import SimpleNamespace

import pytest

#: Where a stretch ends and the next one begins.
HOOKS = (
    "pytest_configure",
    "pytest_sessionstart",
    "pytest_collection",
    "pytest_make_collect_report",
    "pytest_collection_modifyitems",
    "pytest_collection_finish",
    "pytest_runtestloop",
    "pytest_runtest_protocol",
    "pytest_sessionfinish",
    "pytest_terminal_summary",
    "pytest_unconfigure",
)


def once(arguments):
    """Return the nanoseconds of each stretch of a run."""
    gc.collect()
    gc.freeze()  # what is left of other runs, pytest's own collections need not look through
    at = [perf_counter_ns()]
    look = pytest.hookimpl(tryfirst=True)(lambda: at.append(perf_counter_ns()))
    status = pytest.main(arguments, plugins=[SimpleNamespace(**dict.fromkeys(HOOKS, look))])
    at.append(perf_counter_ns())
    if status:
        raise SystemExit(f"pytest {' '.join(arguments)} ended with {status!r}")
    return [end - start for start, end in pairwise(at)]


def main(suite, turns, ways):
    """Print the nanoseconds of each stretch, for each way."""
    out = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    least = [[] for _ in ways]
    for turn in range(-1, turns):
        # Every other turn the other way round: what comes after another run may be faster.
        for place in range(len(ways))[:: 1 if turn % 2 else -1]:
            taken = once(["-q", "-p", "no:cacheprovider", *ways[place], suite])
            if turn >= 0:
                pairs = zip(least[place] or taken, taken, strict=True)
                least[place] = [*map(min, *zip(*pairs, strict=True))]
    os.write(out, json.dumps(least).encode())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3]))
