"""volnux, in a scope of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from benchmarks.rivals import Base, Seen
from volnux.telemetry import capture, current_event, current_registry, propagate, traced_event


class Subject(Base):
    """Records of an isolated registry."""

    def trace(self, thing: Any, name: str = "step") -> Any:
        """Decorate with `traced_event`."""
        return traced_event(name)(thing)

    def block(self, name: str) -> Any:
        """Open an event."""
        return traced_event(name)

    def propagate(self, thing: Any) -> Any:
        """Carry the context into another thread."""
        return propagate(thing)

    def finished(self) -> list[Seen]:
        """Return the registry's events and forget them."""
        registry = current_registry()
        events = [event for event in registry.events() if event.status != "running"]
        registry.clear()
        return [
            Seen(
                event.event_name,
                event.duration,
                event.status,
                event.task_id,
                event.parent_id,
                event.error is not None,
                event.active_time,
            )
            for event in events
        ]

    def current(self) -> Any:
        """Return the identifier of the current event."""
        event = current_event()
        return None if event is None else event.task_id

    @contextlib.contextmanager
    def session(self) -> Iterator[None]:
        """Open a scope."""
        with capture(isolated=True):
            yield
