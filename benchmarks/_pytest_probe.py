"""``python _pytest_probe.py SUITE TURNS WAYS``: run a suite by turns in several ways, all in this process.

Of each test, and of the run around them, what it took at the least is added up for each way: so a moment
in which the machine was busy counts in none, and what a way always does in all.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from time import perf_counter_ns

import pytest


class Timer:
    """Takes the time of each test, with all that plugins do for it."""

    def __init__(self):
        self.tests = []

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self):
        start = perf_counter_ns()
        try:
            return (yield)
        finally:
            self.tests.append(perf_counter_ns() - start)


def once(arguments):
    """Return the nanoseconds of a run without its tests, then of each test."""
    gc.collect()
    timer = Timer()
    start = perf_counter_ns()
    status = pytest.main(arguments, plugins=[timer])
    taken = perf_counter_ns() - start
    if status:
        raise SystemExit(f"pytest {' '.join(arguments)} ended with {status!r}")
    return [taken - sum(timer.tests), *timer.tests]


def main(suite, turns, ways):
    """Print milliseconds, one number for each way."""
    out = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    least = [[] for _ in ways]
    for turn in range(-1, turns):
        # Every other turn the other way round: what comes after another run may be faster.
        for place in range(len(ways))[:: 1 if turn % 2 else -1]:
            taken = once(["-q", "-p", "no:cacheprovider", *ways[place], suite])
            if turn >= 0:
                least[place] = [*map(min, least[place] or taken, taken)]
    os.write(out, json.dumps([sum(taken) / 1e6 for taken in least]).encode())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3]))
