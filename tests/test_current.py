"""What `current_event` gives: an event that is running around the caller, and no other."""

from __future__ import annotations

import asyncio

from volnux.telemetry import capture, current_event, traced_event


def started_in(block):
    """Start a task inside a block, let it look once the block is left, and return what it saw."""

    async def main():
        left = asyncio.Event()

        async def look():
            await left.wait()
            return current_event()

        with block:
            task = asyncio.create_task(look())
            await asyncio.sleep(0)
        left.set()
        return await task

    return asyncio.run(main())


def test_a_task_that_outlives_its_event_is_in_none(registry):
    """What has ended is not running, whoever was started in it."""
    assert started_in(traced_event("request")) is None


def test_it_is_in_the_one_around_that_if_that_runs(registry):
    """The next one outwards that has not ended."""
    with traced_event("server") as server:
        assert started_in(traced_event("request")).task_id == server.task_id


def test_also_after_the_ended_one_was_folded(registry):
    """A fold leaves nothing of a parent but its identifier."""

    class Folding:
        def __enter__(self):
            self.block = traced_event("request")
            self.block.__enter__()

        def __exit__(self, *exc_info):
            self.block.__exit__(*exc_info)
            registry.fold()

    with traced_event("server"):
        assert started_in(Folding()) is None


def test_a_task_that_outlives_its_capture_is_in_none():
    """Nor does what was open in a capture stay open when it is over."""
    assert started_in(capture()) is None
