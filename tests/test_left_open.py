"""A block that outlives the awaited step in which it began."""

from __future__ import annotations

import asyncio

import pytest

from volnux.telemetry import current_event, traced_event


class Boom(Exception):
    """What a step fails with."""


class Awaitable:
    """An awaitable that is neither a coroutine nor a future."""

    def __init__(self, coroutine):
        self.coroutine = coroutine

    def __await__(self):
        return self.coroutine.__await__()


def parents(registry):
    """Return whose child each event is, by name."""
    events = registry.events()
    names = {event.task_id: event.event_name for event in events}
    return {event.event_name: names.get(event.parent_id) for event in events}


def tell(block, step, *, look=lambda: None):
    """Open a block in an awaited step and leave it later; what happens then goes by name."""

    async def main():
        with traced_event("outer"):
            try:
                await step()
            except Boom:
                pass
            with traced_event("inside"):
                pass
            look()
            block.__exit__(None, None, None)
            with traced_event("after"):
                pass

    asyncio.run(main())


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("kind", [lambda coroutine: coroutine, Awaitable])
class TestAwaited:
    """Functions that return something to be awaited."""

    @pytest.fixture
    def told(self, kind, fails):
        """A block, and a step that enters it when it is awaited, and then returns or fails."""
        block = traced_event("block", attributes={})

        async def work():
            block.__enter__()
            if fails:
                raise Boom

        @traced_event("step")
        def step():
            return kind(work())

        return block, step

    def test_the_block_stays_current_until_it_is_left(self, registry, told, fails):
        """The end of the step takes nothing away that the step has opened."""
        tell(*told)
        assert parents(registry) == {
            "outer": None,
            "step": "outer",
            "block": "step",
            "inside": "block",
            "after": "outer",
        }
        [step] = registry.events("step")
        assert step.status == ("failed" if fails else "completed")
        assert registry.health().in_flight == 0

    def test_what_comes_after_it_has_the_same_parent_when_somebody_has_asked(self, registry, told):
        """A query in between lets go of the step that has ended, and not of what is around it."""
        tell(*told, look=registry.health)
        assert parents(registry)["after"] == "outer"


class TestOutOfOrder:
    """Blocks that are left before those inside of them."""

    def test_what_is_around_them_is_current_again(self, registry):
        """Also when a fold has let go of parents in between."""
        early, late = traced_event("early"), traced_event("late")
        with traced_event("outer") as outer:
            early.__enter__()
            late.__enter__()
            early.__exit__(None, None, None)
            registry.fold()
            late.__exit__(None, None, None)
            assert current_event().task_id == outer.task_id
            with traced_event("inside"):
                pass
        with traced_event("after"):
            pass

        assert parents(registry) == {
            "outer": None,
            "early": "outer",
            "late": "early",
            "inside": "outer",
            "after": None,
        }

    def test_nothing_stays_current_when_the_last_is_left(self, registry):
        """A later program in the same thread begins afresh."""
        outer, inner = traced_event("outer"), traced_event("inner")
        outer.__enter__()
        inner.__enter__()
        outer.__exit__(None, None, None)
        registry.fold()
        inner.__exit__(None, None, None)

        assert current_event() is None
        with traced_event("after"):
            pass
        assert parents(registry)["after"] is None
