"""volnux switched on: everything recorded and, inside the timed section, folded."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Any

from benchmarks.contenders import _work
from volnux.telemetry import current_registry, monitor_events, network_op, traced_event

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def cases() -> Mapping[str, _work.Run]:
    """Switch telemetry on for the process, with no publisher, and instrument all kinds."""
    monitor_events()
    registry = current_registry()
    # Each row begins with an empty registry: what other rows left there is not its cost.
    return {
        case: _work.Prepared(run, registry.clear, dict)
        for case, run in instrumented(registry.fold).items()
    }


def instrumented(finish: _work.Finish) -> Mapping[str, _work.Run]:
    """Every case; *finish* ends the timed section."""
    return {
        "call": _work.calls(traced_event(_work.work), finish),
        "method": _work.calls(_Service().method, finish),
        "error": _work.errors(traced_event(_work.failing), finish),
        "nested": _work.nested(traced_event, finish),
        "coroutine": _work.awaits(traced_event(_work.coroutine), finish),
        "generator": _work.items(traced_event(_work.generator), finish),
        "async_generator": _work.async_items(traced_event(_work.async_generator), finish),
        "with": _with(finish),
        "attributes": _with_attributes(finish),
        "network": _network(finish),
    }


class _Service:
    @traced_event
    def method(self, value: int) -> int:
        return value


def _with(finish: Callable[[], Any]) -> _work.Run:
    work = _work.work

    def run(n: int) -> None:
        for _ in repeat(None, n):
            with traced_event("work"):
                work(1)
        finish()

    return run


def _with_attributes(finish: Callable[[], Any]) -> _work.Run:
    work = _work.work

    def run(n: int) -> None:
        for _ in repeat(None, n):
            with traced_event("work") as event:
                event.set_attribute("user", "ada")
                event.set_attribute("rows", 3)
                work(1)
        finish()

    return run


def _network(finish: Callable[[], Any]) -> _work.Run:
    def run(n: int) -> None:
        for _ in repeat(None, n):
            with network_op("example.org", 443) as op:
                op.sent(100)
                op.received(2000)
        finish()

    return run
