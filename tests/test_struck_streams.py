"""A Ctrl-C that strikes in a generator's step, before or after the producer's own code."""

from __future__ import annotations

import asyncio

import pytest

from volnux.telemetry import capture, current_event, traced_event
from volnux.telemetry.testing import FakeClock


class Striking(FakeClock):
    """A clock during one of whose readings the program is told to stop."""

    readings = None

    def monotonic_ns(self):
        if self.readings is not None:
            self.readings -= 1
            if self.readings < 0:
                self.readings = None
                raise KeyboardInterrupt
        return super().monotonic_ns()


@traced_event("numbers")
def numbers():
    yield 1
    yield 2


@traced_event("numbers")
async def async_numbers():
    yield 1
    yield 2


def strike(clock, registry, reading, *, seen):
    """Take an item, and the next one until the clock strikes."""
    stream = numbers()
    assert next(stream) == 1
    if seen:
        assert registry.health().in_flight == 2
    clock.readings = reading
    next(stream)


def strike_async(clock, registry, reading, *, seen):
    """Do the same with an async generator."""

    async def take():
        stream = async_numbers()
        assert await anext(stream) == 1
        if seen:
            assert registry.health().in_flight == 2
        clock.readings = reading
        await anext(stream)

    asyncio.run(take())


@pytest.mark.parametrize("way", [strike, strike_async])
@pytest.mark.parametrize("reading", [0, 1])
@pytest.mark.parametrize("seen", [False, True])
def test_the_stop_reaches_the_program_and_the_event_is_ended(way, reading, seen):
    """It is cancelled, whether or not a query has seen it running, and current no more."""
    clock = Striking()
    with capture(isolated=True, clock=clock) as registry, traced_event("outer") as outer:
        with pytest.raises(KeyboardInterrupt):
            way(clock, registry, reading, seen=seen)
        assert current_event().task_id == outer.task_id
        with traced_event("after"):
            pass
    [after] = registry.events("after")
    assert after.parent_id == outer.task_id
    [event] = registry.events("numbers")
    assert (event.status, event.error_type) == ("cancelled", "KeyboardInterrupt")
    assert event.parent_id == outer.task_id
    assert registry.health().in_flight == 0
