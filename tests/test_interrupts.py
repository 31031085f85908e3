"""Ctrl-C, signals and exhausted memory at every line of the recording code.

A trace function raises at the first line that volnux runs, then at the second, and so on until a
run gets through. Wherever it strikes, the program sees its own result, its own exception, or the
interrupt, and recording goes on.
"""

from __future__ import annotations

import gc
import linecache
import os
import sys
from contextvars import copy_context

import pytest

import volnux.telemetry
from volnux.telemetry import (
    capture,
    current_registry,
    network_op,
    pipeline,
    record_retry,
    traced_event,
)

HOME = os.path.dirname(volnux.telemetry.__file__)


class Interrupt(KeyboardInterrupt):
    """A Ctrl-C at a chosen line."""


class Exit(SystemExit):
    """What a signal's handler raises at a chosen line."""


class Exhausted(MemoryError):
    """Memory that runs out at a chosen line."""


class Boom(Exception):
    """What the user's program raises."""


def source_of(frame):
    """Return the line of source that is about to run."""
    return linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()


def interrupted(program, line, kind):
    """Run a program, raising at that line of volnux; return what came of it and whether it struck."""
    left = line
    struck = False

    def trace(frame, event, argument):
        nonlocal left, struck
        if not frame.f_code.co_filename.startswith(HOME):
            return None
        # At lines that call something, for it is after calls that CPython looks for signals. The
        # exit of a with-block is a line for trace functions, but not a place for signals.
        source = source_of(frame)
        if event == "line" and "(" in source and not source.startswith(("with ", "except ")):
            left -= 1
            if left == 0:
                struck = True
                sys.settrace(None)
                raise kind
        return trace

    outer = sys.gettrace()
    sys.settrace(trace)
    try:
        outcome = program()
    except BaseException as error:  # looked at by the test
        outcome = error
    finally:
        sys.settrace(outer)
    return outcome, struck


class Program:
    """Things to do with volnux, and how often the user's own code has run."""

    def __init__(self):
        self.runs = 0

    def own(self):
        self.runs += 1
        return 42

    def function(self):
        return traced_event("x")(self.own)()

    def failing(self):
        @traced_event("x")
        def fail():
            self.own()
            raise Boom

        return fail()

    def block(self):
        with traced_event("x", attributes={"a": [1]}) as event:
            event.set_attribute("k", {"b": 2})
            return self.own()

    def failing_block(self):
        with traced_event("x"):
            self.own()
            raise Boom

    def operation(self):
        with network_op("h", 1, "q", attributes={"a": 2}) as op:
            op.sent(3)
            op.received(4)
            return self.own()

    def failing_operation(self):
        with network_op("h", 1):
            self.own()
            raise Boom

    def retries(self):
        with traced_event("x"):
            record_retry(Boom("again"), 0.5)
            return self.own()

    def generator(self):
        @traced_event("x")
        def produce():
            yield 1
            yield self.own()

        return list(produce())[-1]

    def closed_generator(self):
        @traced_event("x")
        def produce():
            yield self.own()
            yield 2

        stream = produce()
        item = next(stream)
        stream.close()
        return item

    def coroutine(self):
        @traced_event("x")
        async def task():
            return self.own()

        try:
            task().send(None)
        except StopIteration as stop:
            return stop.value

    def in_pipeline(self):
        with pipeline("p", a=1), traced_event("x"):
            return self.own()

    def asking(self):
        value = self.function()
        current_registry().fold()
        current_registry().health()
        return value


PROGRAMS = [name for name in vars(Program) if not name.startswith("_") and name != "own"]


@pytest.mark.filterwarnings("ignore:.*was never awaited:RuntimeWarning")
@pytest.mark.parametrize("kind", [Interrupt, Exit, Exhausted])
@pytest.mark.parametrize("name", PROGRAMS)
class TestEveryLine:
    """What holds wherever it strikes."""

    def test_the_program_goes_on(self, name, kind):
        """Its own code runs once at most, its result or exception arrives, or the interrupt does."""
        for line in range(1, 2_000):
            program = Program()
            with capture():
                outcome, struck = copy_context().run(
                    interrupted, getattr(program, name), line, kind
                )
            if isinstance(outcome, BaseException):
                assert type(outcome) in (kind, Boom)
            else:
                assert outcome == 42
            assert program.runs <= 1
            if not struck:
                assert program.runs == 1
                return
        pytest.fail("it never got through")

    def test_recording_goes_on(self, name, kind):
        """What runs afterwards is recorded in full, and what was struck is still accounted for."""
        for line in range(1, 2_000):
            with capture() as registry:
                _, struck = copy_context().run(interrupted, getattr(Program(), name), line, kind)
                gc.collect(0)
                with traced_event("after"), network_op("after", 1):
                    pass
                health = registry.health()
                assert health.started == health.finished + health.in_flight
                assert health.in_flight <= 1
                assert registry.event_stats()["after"].count == 1
                assert len(registry.events("after")) == 1
                assert len(registry.network_ops("after")) == 1
                kept = len(registry.events()) + len(registry.network_ops())
                assert kept + health.evicted == health.started
            if not struck:
                assert health.in_flight == 0
                return
        pytest.fail("it never got through")

    def test_no_interrupt_is_lost(self, name, kind):
        """A Ctrl-C or a signal that strikes is what the program gets to see."""
        if kind is Exhausted:
            return
        for line in range(1, 2_000):
            with capture():
                outcome, struck = copy_context().run(
                    interrupted, getattr(Program(), name), line, kind
                )
            if not struck:
                return
            assert type(outcome) is kind
        pytest.fail("it never got through")
