"""What ends on another thread than it began on: told where nobody meant it to, and nothing else changes."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import http.server
import os
import threading
import urllib.request
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest

from volnux.telemetry import (
    Registry,
    capture,
    instrument,
    monitor_events,
    network_op,
    pipeline,
    propagate,
    traced_event,
    uninstrument,
)
from volnux.telemetry._strays import Strays
from volnux.telemetry._watch import Turns, Watch
from volnux.telemetry.testing import RecordingPublisher


@pytest.fixture
def turns():
    """Somebody looks for strays."""
    turns = Turns()
    turns.strays = Strays()
    turns.give(Watch(turns))
    yield turns
    turns.give(None)


def on_thread(function, *args, name="worker-3"):
    """Run something on a thread of the program, to its end; what it returns comes back."""
    results = []
    thread = threading.Thread(target=lambda: results.append(function(*args)), name=name)
    thread.start()
    thread.join(10)
    return results[0]


def found(turns):
    """The names of strays, and how each has ended."""
    records = [*turns.now.events(), *turns.now.network_ops()]
    return {
        getattr(record, "event_name", None) or record.host: turns.strays.found[record.task_id]
        for record in records
        if record.task_id in turns.strays.found
    }


@traced_event
def numbers():
    yield 1
    yield 2


def closing(stream):
    """Close an async generator that waits for nothing."""
    try:
        stream.aclose().send(None)
    except StopIteration as stop:
        return stop
    return None


@contextmanager
def exchange():
    with network_op("example.org", 80) as op:
        yield op


def test_a_block_that_another_thread_leaves(turns):
    """It goes on to be current where it was entered."""
    block = traced_event("load")
    contextvars.copy_context().run(block.__enter__)
    on_thread(block.__exit__, None, None, None)
    assert found(turns) == {"load": "worker-3"}
    assert [event.status for event in turns.now.events()] == ["completed"]


def test_a_block_on_a_stack_that_another_thread_closes(turns):
    """By whom it is left does not matter."""
    stack = ExitStack()
    contextvars.copy_context().run(stack.enter_context, traced_event("load"))
    on_thread(stack.close)
    assert found(turns) == {"load": "worker-3"}


@pytest.mark.parametrize("rest", [list, lambda it: [next(it), *it]])
def test_a_generator_that_another_thread_finishes(turns, rest):
    """However it goes through the rest."""
    stream = numbers()
    assert next(stream) == 1
    assert on_thread(rest, stream) == [2]
    assert found(turns) == {"numbers": "worker-3"}


def test_a_generator_that_another_thread_closes(turns):
    """Or lets go of, which is the same to the generator: the text says both."""
    closed, dropped = numbers(), [numbers()]
    next(closed)
    next(dropped[0])
    on_thread(closed.close)
    on_thread(dropped.clear, name="worker-4")
    gc.collect()
    assert set(turns.strays.found.values()) == {
        "closed or collected on worker-3",
        "closed or collected on worker-4",
    }


def test_an_operation_in_a_generator_that_another_thread_goes_on_with(turns):
    """It was held open for somebody else."""
    manager = exchange()
    manager.__enter__()
    on_thread(manager.__exit__, None, None, None)
    assert found(turns) == {"example.org": "worker-3"}


def test_a_block_in_a_generator_that_another_thread_closes(turns):
    """It ends as the generator does."""

    def stream():
        with traced_event("load"):
            yield

    opened = stream()
    contextvars.copy_context().run(next, opened)
    on_thread(opened.close)
    assert found(turns) == {"load": "closed or collected on worker-3"}


def test_a_thread_without_a_name(turns):
    """One that `threading` knows nothing of, and is not to hear of."""
    import _thread

    stream, done = numbers(), threading.Event()
    next(stream)
    before = threading.active_count()
    _thread.start_new_thread(lambda: (list(stream), done.set()), ())
    assert done.wait(10)
    [how] = found(turns).values()
    assert how.startswith("thread ")
    assert threading.active_count() == before


def test_a_thread_with_the_number_of_one_that_is_gone(turns):
    """The system gives a number to one thread after the other."""
    stream = numbers()
    first = threading.Thread(target=lambda: next(stream), name="first")
    first.start()
    first.join(10)
    on_thread(list, stream, name="second")
    assert found(turns) == {"numbers": "second"}


# -- by design ---------------------------------------------------------------------------------------


def test_what_stays_on_its_thread(turns):
    """Whatever thread that is."""

    @traced_event
    def work():
        with traced_event("block"), network_op("example.org", 80), exchange():
            return list(numbers())

    work()
    on_thread(work)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(propagate(lambda _: work()), range(4)))
    asyncio.run(asyncio.to_thread(work))
    assert len(turns.now.events()) == 21
    assert turns.strays.found == {}


def test_a_future_that_another_thread_completes(turns):
    """The event ends with it."""

    @traced_event
    def ask(loop):
        future = loop.create_future()
        threading.Timer(0, loop.call_soon_threadsafe, [future.set_result, 1]).start()
        return future

    async def main():
        return await ask(asyncio.get_running_loop())

    @traced_event
    def promise(future):
        return asyncio.wrap_future(future, loop=loop)

    assert asyncio.run(main()) == 1
    loop = asyncio.new_event_loop()
    promised = Future()
    result = promise(promised)
    promised.set_result(2)
    on_thread(loop.run_until_complete, result)
    loop.close()
    assert [event.status for event in turns.now.events()] == ["completed"] * 2
    assert turns.strays.found == {}


def test_what_a_function_returned_to_run_later(turns):
    """It runs where it is used, from its first step on."""

    @traced_event
    def made():
        return (number for number in range(3))

    @traced_event
    def awaited():
        return asyncio.sleep(0, "slept")

    assert on_thread(list, made()) == [0, 1, 2]
    assert on_thread(asyncio.run, awaited()) == "slept"
    on_thread([made()].clear)
    assert len(turns.now.events(status="running")) == 0
    assert turns.strays.found == {}


def test_coroutines_that_nobody_runs_any_more(turns):
    """Their loop is gone, and whoever comes along lets go of them."""

    @traced_event
    async def wait():
        async with traced_event("async block"):
            with traced_event("block"):
                await asyncio.get_running_loop().create_future()

    @traced_event
    async def stream():
        yield 1
        yield 2

    async def main():
        opened, step = stream(), wait()
        await opened.__anext__()
        step.send(None)
        return opened, step

    loop = asyncio.new_event_loop()
    opened, step = loop.run_until_complete(main())
    loop.close()
    on_thread(step.close)
    assert on_thread(closing, opened) is not None
    assert len(turns.now.events()) == 4
    assert turns.now.events(status="running") == []
    assert turns.strays.found == {}


def test_an_operation_that_a_callback_ends(turns):
    """It is current nowhere, and who ends it by hand means to."""
    op = network_op("example.org", 80)
    op.__enter__()
    on_thread(op.__exit__, None, None, None)
    stack = ExitStack()
    stack.enter_context(network_op("example.net", 80))
    on_thread(stack.close)
    assert len(turns.now.network_ops(status="completed")) == 2
    assert turns.strays.found == {}


def test_what_begins_on_a_thread_of_a_pool(turns):
    """Which of its threads goes on is the pool's affair, as with a framework that steps through a response."""
    begun, go_on = threading.Barrier(2), threading.Event()
    with ThreadPoolExecutor(2) as pool:
        stream = numbers()
        assert pool.submit(next, stream).result(10) == 1
        blocked = pool.submit(lambda: (begun.wait(10), go_on.wait(10)))
        begun.wait(10)
        assert pool.submit(list, stream).result(10) == [2]
        go_on.set()
        blocked.result(10)
        stream = numbers()
        pool.submit(next, stream).result(10)
        stream.close()
    assert turns.strays.found == {}


def test_the_response_of_a_client_that_another_thread_reads(turns):
    """The exchange ends with its body."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *args):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    serving = threading.Thread(target=server.handle_request)
    serving.start()
    instrument("http.client")
    try:
        url = f"http://127.0.0.1:{server.server_port}/"
        with urllib.request.urlopen(url, timeout=10) as response:
            assert on_thread(response.read) == b"ok"
    finally:
        uninstrument("http.client")
        serving.join(10)
        server.server_close()
    assert [op.status for op in turns.now.network_ops()] == ["completed"]
    assert turns.strays.found == {}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes by fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_what_a_forked_child_goes_on_with(turns):
    """Its thread is still the one that forked."""
    stream, block = numbers(), traced_event("load")
    next(stream)
    block.__enter__()
    child = os.fork()
    if not child:
        block.__exit__(None, None, None)
        os._exit(len(list(stream)) + 2 * len(turns.strays.found))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    block.__exit__(None, None, None)
    assert list(stream) == [2]
    assert turns.strays.found == {}


# -- nothing else changes ----------------------------------------------------------------------------


def work(times):
    for _ in range(times):
        with traced_event("block"), pipeline("nightly"), network_op("example.org", 80) as op:
            op.sent(1)
            with op:  # by itself again
                op.received(2)
        with pytest.raises(ValueError), traced_event("failed"):
            raise ValueError
        assert list(numbers()) == [1, 2]


def counted(registry):
    """All that is exact."""
    events = {name: (it.count, it.failed) for name, it in registry.event_stats().items()}
    ops = {
        key: (it.count, it.bytes_sent, it.bytes_received)
        for key, it in registry.network_stats().items()
    }
    health = registry.health()
    return events, ops, (health.started, health.finished, health.in_flight, health.errors)


def test_numbers_are_the_same(turns):
    """In the turn's registry, in that of the program, and in a capture inside."""
    publisher = RecordingPublisher()
    results = []
    for strays in (Strays(), None):
        turns.strays = strays
        turns.give(watch := Watch(turns))
        own = Registry()
        with monitor_events([publisher], registry=own), capture() as inner:
            work(500)
        results.append([counted(watch), counted(inner), counted(own)])
    assert results[0] == results[1]
    assert results[0][0][0] == {"block": (500, 0), "failed": (500, 500), "numbers": (500, 0)}
    assert results[0][0][2] == (2_500, 2_500, 0, {})


def test_registries_are_folded_as_they_fill(turns):
    """All of them: an end that is told sees to it as any other does."""
    with capture() as inner:
        for _ in range(5_000):
            with traced_event("block"):
                pass
        waiting = [len(one._pending) + len(one._ended) for one in (turns.now, inner)]
    assert max(waiting) < 1_000
    assert turns.now.event_stats()["block"].count == inner.event_stats()["block"].count == 5_000


def test_nothing_is_kept_of_what_has_ended(turns):
    """Nor of what began before, nor more of what is in flight than there is room for."""
    work(3)
    assert turns.strays._begun == {}
    stream = numbers()
    next(stream)
    turns.strays.start_again()
    on_thread(list, stream)
    assert turns.strays.found == {}


def test_what_is_remembered_is_bounded(turns, monkeypatch):
    """What comes after is not looked at, and nobody is taken for somebody else."""
    monkeypatch.setattr("volnux.telemetry._strays.ENTRIES", 1)
    first, second = numbers(), numbers()
    next(first)
    turns.strays._begun[1] = turns.strays._begun.popitem()[1]  # of one that is gone
    next(second)
    on_thread(list, second)
    assert found(turns) == {}
    assert len(turns.strays._begun) == 1
    first.close()


def test_it_is_not_looked_at_unless_somebody_asks(turns):
    """The hot path is that of any registry then."""
    assert turns.now.scope.hot is turns.now.looking
    turns.strays = None
    assert turns.now.scope.hot is turns.now.trusting
    stream = numbers()
    next(stream)
    on_thread(list, stream)
    assert [event.status for event in turns.now.events()] == ["completed"]
