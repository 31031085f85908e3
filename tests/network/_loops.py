"""Event loops to run a test on: asyncio's own, and uvloop where it is installed."""

from __future__ import annotations

import asyncio

import pytest

try:
    import uvloop
except ImportError:
    uvloop = None

LOOPS = [
    "asyncio",
    pytest.param(
        "uvloop", marks=pytest.mark.skipif(uvloop is None, reason="uvloop is not installed")
    ),
]


def run_on(name, main, complaints=None):
    """Run a coroutine to its end on a loop of that kind, within a time.

    What the loop complains of fails the test, unless there is a list for it.
    """
    new_loop = asyncio.new_event_loop if name == "asyncio" else uvloop.new_event_loop
    loop = new_loop()
    problems = [] if complaints is None else complaints
    loop.set_exception_handler(lambda _, context: problems.append(context))
    try:
        found = loop.run_until_complete(asyncio.wait_for(main, 20))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()
    assert problems == [] or problems is complaints, problems
    return found
