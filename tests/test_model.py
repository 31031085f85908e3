"""Random programs against a simple model: what is recorded is what has happened.

A program is a string of bytes, so that Hypothesis makes and shrinks programs quickly. It is
run once: every step does something with volnux and writes into the model what that must come to.
At the end, and wherever the program asks, each registry has to agree with its model.

The ordinary suite runs a few hundred programs. For more:

    VOLNUX_TEST_EXAMPLES=100000 python -m pytest tests/test_model.py
"""

from __future__ import annotations

import asyncio
import os
from contextvars import copy_context
from threading import Thread
from types import coroutine

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from volnux.telemetry import (
    capture,
    current_event,
    network_op,
    pipeline,
    propagate,
    record_retry,
    traced_event,
)
from volnux.telemetry.testing import FakeClock

EXAMPLES = int(os.environ.get("VOLNUX_TEST_EXAMPLES", "300"))
NAMES = ("load", "parse", "store")
DEEPEST = 6


class Boom(Exception):
    """What goes wrong in a program."""


class Stop(KeyboardInterrupt):
    """What stops a program."""


class Cancel(asyncio.CancelledError):
    """What cancels a task."""


ENDS = (Boom, Stop, Cancel)


class Node:
    """What one event or network operation must come to."""

    def __init__(self, world, here, name, *, network=False):
        self.name, self.network, self.parent = name, network, here.event
        self.serial = len(world.nodes)
        self.models, self.pipeline = here.models, here.pipeline
        self.attributes = {**here.attributes, "n": self.serial}
        self.start, self.end = world.now(), None
        self.status, self.error, self.error_type, self.origin = "running", None, None, None
        self.retries = []
        self.items = self.active = self.first = None
        self.sent = self.received = 0
        self.task_id = None
        world.nodes.append(self)
        for model in self.models:
            model.nodes.append(self)

    def finish(self, world, error=None):
        self.end = world.now()
        self.status = "completed"
        if error is None:
            return
        self.status = "failed" if isinstance(error, Boom) else "cancelled"
        self.error_type = type(error).__name__
        if self.network:
            self.error = str(error)
            return
        origin, heading_for = getattr(error, "model", (None, None))
        if heading_for is not None and heading_for is self:
            self.origin = origin
        else:
            origin, self.error = self, str(error)
        error.model = (origin, self.parent)


class Here:
    """What is current at a place in the program."""

    def __init__(self, models, event=None, pipeline=None, attributes=None):
        self.models, self.event, self.pipeline = models, event, pipeline
        self.attributes = attributes or {}

    def within(self, event):
        return Here(self.models, event, self.pipeline, self.attributes)


class Model:
    """What a registry must hold."""

    def __init__(self, registry):
        self.registry = registry
        self.nodes = []


class Tape:
    """The bytes of a program, read one by one; zeros after the last."""

    def __init__(self, code):
        self.code, self.at = code, 0

    def take(self, below=256):
        self.at += 1
        return self.code[self.at - 1] % below if self.at <= len(self.code) else 0

    def split(self):
        size = self.take(8)
        part = Tape(self.code[self.at : self.at + size])
        self.at += size
        return part


@coroutine
def suspend():
    """Give way to the driver, as awaiting a future would."""
    yield


class World:
    """Runs a program, and the model beside it."""

    def __init__(self):
        self.clock = FakeClock()
        self.nodes = []
        self.models = []
        self.moving = True  # whether time passes: it stands still while threads race

    def now(self):
        return self.clock.monotonic_ns()

    def run(self, code):
        with capture(clock=self.clock) as registry:
            self.models.append(Model(registry))
            try:
                self.block(Tape(code), Here((self.models[0],)), 0)
            except ENDS:
                pass
            assert current_event() is None
        for model in self.models:
            self.check(model)
        ids = [node.task_id for node in self.nodes]
        assert len(set(ids)) == len(ids)

    # -- statements ------------------------------------------------------------------------------

    def block(self, tape, here, depth):
        for _ in range(6):
            code = tape.take()
            if code == 0 or depth > DEEPEST:
                return
            self.STATEMENTS[code % len(self.STATEMENTS)](self, tape, here, depth + 1)
            self.agree(here)

    def agree(self, here):
        """What volnux says is current is what the model says."""
        event = current_event()
        if here.event is None:
            assert event is None
        else:
            assert event is not None
            assert event.task_id == here.event.task_id

    def advance(self, tape, here, depth):
        self.clock.advance(tape.take() / 1000 * self.moving)

    def begun(self, here, name):
        """Announce the event that has just begun, from within."""
        node = Node(self, here, name)
        event = current_event()
        assert (event.name, event.status) == (name, "running")
        node.task_id = event.task_id
        event.set_attribute("n", node.serial)
        return node, here.within(node)

    def function(self, tape, here, depth):
        name = NAMES[tape.take(3)]

        @traced_event(name)
        def step():
            node, inside = self.begun(here, name)
            try:
                self.block(tape, inside, depth)
            except ENDS as error:
                node.finish(self, error)
                raise
            node.finish(self)
            return node

        step()

    def with_block(self, tape, here, depth):
        name = NAMES[tape.take(3)]
        node = None
        try:
            with traced_event(name):
                node, inside = self.begun(here, name)
                self.block(tape, inside, depth)
        except ENDS as error:
            node.finish(self, error)
            raise
        node.finish(self)

    def fail(self, tape, here, depth):
        raise ENDS[tape.take(3)](f"text {tape.take(4)}")

    def catch(self, tape, here, depth):
        try:
            self.block(tape, here, depth)
        except ENDS:
            pass

    def retry(self, tape, here, depth):
        delay, known = tape.take(4) * self.moving, tape.take(2)
        error = Boom("again") if known else None
        if here.event is None:
            return
        record_retry(error, delay=delay)
        kind, text = ("Boom", "again") if known else (None, None)
        here.event.retries.append((self.now(), kind, text, delay * 10**9))
        self.clock.advance(delay)

    def say(self, tape, here, depth):
        if here.event is not None:
            key, value = f"k{tape.take(3)}", tape.take()
            current_event().set_attribute(key, value)
            here.event.attributes[key] = value

    def network(self, tape, here, depth):
        host, port = ("db", "api")[tape.take(2)], 1 + tape.take(2)
        node = Node(self, here, "exchange", network=True)
        node.host, node.port = host, port
        try:
            with network_op(host, port, attributes={"n": node.serial}) as op:
                node.task_id = op.task_id
                for _ in range(tape.take(3)):
                    self.advance(tape, here, depth)
                    amount = tape.take()
                    node.sent += amount
                    op.sent(amount)
                    amount = tape.take()
                    if amount and node.first is None:
                        node.first = self.now() - node.start
                    node.received += amount
                    op.received(amount)
                self.block(tape, here, depth)
        except ENDS as error:
            node.finish(self, error)
            raise
        node.finish(self)

    def in_pipeline(self, tape, here, depth):
        name, value = f"p{tape.take(3)}", tape.take(3)
        with pipeline(name, shared=value):
            attributes = {**here.attributes, "shared": value}
            self.block(tape, Here(here.models, here.event, name, attributes), depth)

    def nested_capture(self, tape, here, depth):
        isolated = bool(tape.take(2))
        with capture(isolated=isolated, clock=self.clock) as registry:
            model = Model(registry)
            self.models.append(model)
            if isolated:
                inside = Here((model,))
            else:
                inside = Here((model, *here.models), here.event, here.pipeline, here.attributes)
            self.agree(inside)
            self.block(tape, inside, depth)

    def ask(self, tape, here, depth):
        model = here.models[tape.take(len(here.models))]
        registry = model.registry
        if tape.take(2):
            registry.events()
        health = registry.health()
        assert health.started == health.finished + health.in_flight
        if self.moving:
            running = sum(node.end is None for node in model.nodes)
            assert (health.finished, health.in_flight) == (len(model.nodes) - running, running)
            assert len(registry.events(status="running")) + len(
                registry.network_ops(status="running")
            ) == (running)

    # -- generators ------------------------------------------------------------------------------

    def stream(self, tape, here, depth):
        """Step through one or two generators by turns, and leave them in one of many ways."""
        makers = (self.generator, self.held_generator)
        streams = [makers[tape.take(2)](tape, here, depth) for _ in range(1 + tape.take(2))]
        try:
            for _ in range(tape.take(6)):
                which = streams[tape.take(len(streams))]
                if which.step(lambda source: next(source, None)) is None:
                    break
                self.agree(here)
                self.block(tape, here, depth)
            for which in reversed(streams) if tape.take(2) else streams:
                which.leave(tape.take(3))
                self.agree(here)
        finally:
            for which in streams:
                which.leave(0)

    def generator(self, tape, here, depth):
        name, size = NAMES[tape.take(3)], tape.take(4)
        handle = Stream(self)

        @traced_event(name)
        def produce():
            inside = handle.begun(here, name)
            try:
                for item in range(size):
                    self.block(tape, inside, depth + 2)
                    yield handle.item(item)
                self.block(tape, inside, depth + 2)
            except ENDS as error:
                handle.error = error
                raise
            finally:
                self.advance(tape, inside, depth)

        handle.source = produce()
        return handle

    def held_generator(self, tape, here, depth):
        """A generator that holds a child open at each of its yields."""
        name, child, size = NAMES[tape.take(3)], NAMES[tape.take(3)], tape.take(4)
        handle = Stream(self)

        @traced_event(name)
        def produce():
            inside = handle.begun(here, name)
            held = None
            try:
                with traced_event(child):
                    held, within = self.begun(inside, child)
                    for item in range(size):
                        self.block(tape, within, depth + 2)
                        yield handle.item(item)
                        self.agree(within)
            except ENDS as error:
                held.finish(self, error)
                handle.error = error
                raise
            except GeneratorExit:
                held.finish(self)
                held.status, held.error, held.error_type = "cancelled", "", "GeneratorExit"
                raise
            held.finish(self)

        handle.source = produce()
        return handle

    # -- tasks and threads -----------------------------------------------------------------------

    def tasks(self, tape, here, depth):
        """Run one or two coroutines by turns, each in a context of its own; maybe cancel them."""
        running = [(copy_context(), self.task(tape, here, depth)) for _ in range(1 + tape.take(2))]
        caught = None
        while running:
            at = tape.take(len(running))
            context, task = running[at]
            try:
                if tape.take(8) == 7:
                    context.run(task.throw, Cancel("cancelled"))
                else:
                    context.run(task.send, None)
            except StopIteration:
                del running[at]
            except ENDS as error:
                caught = error
                del running[at]
        if caught is not None:
            raise caught

    async def task(self, tape, here, depth):
        name, asynchronous = NAMES[tape.take(3)], tape.take(2)

        @traced_event(name)
        async def step():
            node, inside = self.begun(here, name)
            try:
                self.block(tape, inside, depth + 1)
                for _ in range(tape.take(3)):
                    await suspend()
                    self.agree(inside)
                    self.block(tape, inside, depth + 2)
                if asynchronous:
                    await self.async_stream(tape, inside, depth + 1)
            except ENDS as error:
                node.finish(self, error)
                raise
            node.finish(self)

        await step()
        self.agree(here)

    async def async_stream(self, tape, here, depth):
        name, size, taken = NAMES[tape.take(3)], tape.take(4), tape.take(4)
        handle = Stream(self)

        @traced_event(name)
        async def produce():
            inside = handle.begun(here, name)
            try:
                for item in range(size):
                    self.block(tape, inside, depth + 2)
                    yield handle.item(item)
                self.block(tape, inside, depth + 2)
            except ENDS as error:
                handle.error = error
                raise

        source = handle.source = produce()
        try:
            async for item in handle.steps_of(source):
                self.agree(here)
                self.block(tape, here, depth)
                if item >= taken:
                    break
        finally:
            await handle.aclose()
        self.agree(here)

    def thread(self, tape, here, depth):
        """Run a block in another thread, and take over what it raises."""
        caught = []

        def work():
            try:
                self.agree(here)
                self.block(tape, here, depth)
            except BaseException as error:  # carried to where it is looked at
                caught.append(error)

        self.join([Thread(target=propagate(work))], caught)

    def threads(self, tape, here, depth):
        """Run two blocks in two threads at once, while time stands still."""
        self.moving, moving = False, self.moving
        caught = []

        def work(part):
            try:
                self.block(part, here, depth)
            except BaseException as error:  # carried to where it is looked at
                caught.append(error)

        if here.event is None:  # retries and attributes of a shared event would race in the model
            parts = [tape.split(), tape.split()]
            self.join([Thread(target=propagate(work), args=(part,)) for part in parts], caught)
        self.moving = moving

    def join(self, threads, caught):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for error in caught:
            if not isinstance(error, ENDS):
                raise error
        if caught:
            raise caught[0]

    STATEMENTS = (
        advance, function, with_block, fail, catch, retry, say, network, in_pipeline,
        nested_capture, ask, stream, tasks, function, with_block, catch, stream, advance, network,
        thread, threads,
    )  # fmt: skip

    # -- agreement -------------------------------------------------------------------------------

    def check(self, model):
        registry = model.registry
        records = {record.task_id: record for record in registry.events()}
        operations = {record.task_id: record for record in registry.network_ops()}
        events = [node for node in model.nodes if not node.network]
        exchanges = [node for node in model.nodes if node.network]
        assert records.keys() == {node.task_id for node in events}
        assert operations.keys() == {node.task_id for node in exchanges}
        for node in events:
            self.check_event(node, records[node.task_id])
        for node in exchanges:
            self.check_common(node, operations[node.task_id], operations[node.task_id].latency)
            self.check_exchange(node, operations[node.task_id])
        self.check_stats(registry, events)
        self.check_retries(registry, events)
        self.check_network(registry, exchanges)
        health = registry.health()
        assert (health.started, health.finished) == (len(model.nodes), len(model.nodes))
        assert (health.in_flight, health.evicted) == (0, 0)
        assert "recording" not in health.errors

    def check_common(self, node, record, length):
        parent = node.parent.task_id if node.parent is not None else None
        assert record.parent_id == parent
        assert record.status == node.status
        assert (record.error_type, record.error) == (node.error_type, node.error)
        assert record.pipeline_id == node.pipeline
        assert record.attributes == node.attributes
        assert length == (node.end - node.start) / 1e9

    def check_event(self, node, record):
        assert record.event_name == node.name
        self.check_common(node, record, record.duration)
        assert record.error_origin == (node.origin.task_id if node.origin else None)
        assert record.retry_count == len(node.retries)
        assert [attempt.number for attempt in record.attempts] == [*range(1, len(node.retries) + 2)]
        assert [(attempt.error_type, attempt.error) for attempt in record.attempts[:-1]] == [
            (kind, text) for _, kind, text, _ in node.retries
        ]
        assert record.attempts[-1].outcome == node.status
        assert record.items == node.items
        assert [attempt.backoff for attempt in record.attempts] == [
            *(delay / 1e9 for *_, delay in node.retries),
            0.0,
        ]
        spent = sum(round((one.duration + one.backoff) * 1e9) for one in record.attempts)
        assert spent == node.end - node.start
        assert record.active_time == (None if node.active is None else node.active / 1e9)
        first = None if node.first is None else node.first / 1e9
        assert record.time_to_first_item == first

    def check_exchange(self, node, record):
        assert (record.host, record.port, record.operation) == (node.host, node.port, "exchange")
        assert (record.bytes_sent, record.bytes_received) == (node.sent, node.received)
        first = None if node.first is None else node.first / 1e9
        assert record.time_to_first_byte == first

    def check_stats(self, registry, events):
        stats = registry.event_stats()
        assert stats.keys() == {node.name for node in events}
        for name, one in stats.items():
            mine = [node for node in events if node.name == name]
            assert (one.count, one.failed, one.cancelled, one.retries) == (
                len(mine),
                sum(node.status == "failed" for node in mine),
                sum(node.status == "cancelled" for node in mine),
                sum(len(node.retries) for node in mine),
            )
            lengths = [node.end - node.start for node in mine]
            assert (one.min, one.max) == (min(lengths) / 1e9, max(lengths) / 1e9)
            assert one.total == sum(lengths) / 1e9

    def check_retries(self, registry, events):
        stats = registry.retry_stats()
        retried = [node for node in events if node.retries]
        assert (stats.total_retries, stats.retried_events, stats.recovered) == (
            sum(len(node.retries) for node in retried),
            len(retried),
            sum(node.status == "completed" for node in retried),
        )
        assert stats.exhausted == sum(node.status == "failed" for node in retried)
        assert stats.total_attempts == len(retried) + stats.total_retries

    def check_network(self, registry, exchanges):
        stats = registry.network_stats()
        assert stats.keys() == {(node.host, node.port, "exchange") for node in exchanges}
        for key, one in stats.items():
            mine = [node for node in exchanges if (node.host, node.port, "exchange") == key]
            assert (one.count, one.failed, one.cancelled, one.bytes_sent, one.bytes_received) == (
                len(mine),
                sum(node.status == "failed" for node in mine),
                sum(node.status == "cancelled" for node in mine),
                sum(node.sent for node in mine),
                sum(node.received for node in mine),
            )


class Stream:
    """A traced generator in a program, and what its event must come to."""

    def __init__(self, world):
        self.world = world
        self.node = self.source = self.error = None

    def begun(self, here, name):
        self.node, inside = self.world.begun(here, name)
        # The event began before its first step did; neither took any time.
        self.node.items = self.node.active = 0
        return inside

    def item(self, item):
        node = self.node
        if not node.items:
            node.first = self.world.now() - node.start
        node.items += 1
        return item

    def step(self, action):
        """Take one step; None when there are no more."""
        before = self.world.now()
        try:
            item = action(self.source)
        except BaseException as error:
            self._spent(before)
            self.finish(self.error if self.error is error else None)
            raise
        self._spent(before)
        if item is None:
            self.finish()
        return item

    def _spent(self, before):
        if self.node is not None and self.node.end is None:
            self.node.active += self.world.now() - before

    def finish(self, error=None):
        if self.node is not None and self.node.end is None:
            self.node.finish(self.world, error)

    def leave(self, way):
        """Close it, throw into it, or forget it."""
        if self.node is not None and self.node.end is None:
            if way == 1:
                try:
                    self.step(lambda source: source.throw(Boom("thrown")))
                except Boom as error:
                    if self.error is not error:
                        raise
                    self.source = None
                    return
            before = self.world.now()
            if way == 2:
                self.source = None  # the garbage collector closes it, here at once
            else:
                self.source.close()
            self._spent(before)
            self.finish()
        self.source = None

    async def steps_of(self, source):
        while True:
            before = self.world.now()
            try:
                item = await source.__anext__()
            except StopAsyncIteration:
                self._spent(before)
                self.finish()
                return
            except BaseException:
                self._spent(before)
                self.finish(self.error)
                raise
            self._spent(before)
            yield item

    async def aclose(self):
        before = self.world.now()
        await self.source.aclose()
        self._spent(before)
        self.finish()


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=60) | st.binary(min_size=30, max_size=90))
def test_programs_are_recorded_as_they_ran(code):
    """Whatever a program does, trees, counts, sums, statuses and attempts are what happened."""
    World().run(code)
