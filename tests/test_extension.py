"""The compiled part of the hot path, and doing without it."""

from __future__ import annotations

import gc
import inspect
import os
import subprocess
import sys
from itertools import repeat

import pytest

from volnux.telemetry import NetworkOp, capture, network_op, traced_event
from volnux.telemetry._extension import SPEEDUPS
from volnux.telemetry._network import _Op

compiled = pytest.mark.skipif(SPEEDUPS is None, reason="volnux was installed without it")


def run_without(program: str) -> str:
    """What a program prints where the compiled part is not wanted."""
    environment = {**os.environ, "VOLNUX_NO_EXTENSIONS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_it_can_be_done_without():
    """`VOLNUX_NO_EXTENSIONS` leaves all of it to Python, and the records are the same."""
    program = """
from volnux.telemetry import capture, network_op, traced_event
from volnux.telemetry._extension import SPEEDUPS
with capture() as registry:
    with traced_event("a"), network_op("h", 1) as op:
        op.sent(2)
        op.received(3)
(record,) = registry.network_ops()
print(SPEEDUPS, record.bytes_sent, record.bytes_received, len(registry.events("a")))
"""
    assert run_without(program) == "None 2 3 1\n"


@compiled
def test_an_operation_has_the_signature_of_the_one_in_python():
    """Whoever asks for the signature, or passes arguments by name, sees no difference."""
    python, ours = inspect.signature(_Op), inspect.signature(NetworkOp)
    assert [(one.name, one.default, one.kind) for one in ours.parameters.values()] == [
        (one.name, one.default, one.kind) for one in python.parameters.values()
    ]
    assert [*inspect.signature(NetworkOp.sent).parameters] == ["self", "count"]
    assert [*inspect.signature(NetworkOp.received).parameters] == ["self", "count"]
    assert NetworkOp.sent.__doc__ == _Op.sent.__doc__
    assert NetworkOp.received.__doc__ == _Op.received.__doc__


@pytest.mark.parametrize("arguments", [(), ("h",), ("h", 1, "get", None, 5)])
def test_a_wrong_number_of_arguments_is_a_type_error(arguments):
    """A set-up mistake raises at once, compiled or not."""
    with pytest.raises(TypeError):
        network_op(*arguments)


def test_bytes_are_counted_by_name(registry):
    """`count=` is the name of the argument."""
    with network_op(host="h", port=1, operation="get", attributes={"a": 1}) as op:
        op.sent(count=2)
        op.received(count=3)
    (record,) = registry.network_ops()
    assert (record.bytes_sent, record.bytes_received) == (2, 3)
    assert record.attributes == {"a": 1}


@pytest.mark.parametrize("count", [True, 1 << 40, (1 << 63) - 1])
def test_numbers_of_every_size_are_counted(registry, count):
    """A truth value is a number, and a large number is not cut."""
    with network_op("h", 1) as op:
        op.sent(count)
        op.received(count)
    (record,) = registry.network_ops()
    assert record.bytes_sent == record.bytes_received == count


@pytest.mark.parametrize("count", [-1, 1 << 63, 1 << 80, 1.5, "2", None])
def test_what_is_no_number_of_bytes_is_counted_as_a_mistake(count):
    """The program goes on, the bytes stay as they were, and `health()` says so."""
    with capture() as registry, network_op("h", 1) as op:
        op.sent(2)
        op.sent(count)
        op.received(count)
    (record,) = registry.network_ops()
    assert (record.bytes_sent, record.bytes_received) == (2, 0)
    assert sum(registry.health().errors["network"].values()) == 2


@compiled
class TestMisuse:
    """Called in a way that ours never is, it raises and does not crash."""

    @pytest.mark.parametrize("entry", [None, (), [], [None] * 3, "x" * 20])
    def test_of_what_is_no_entry(self, entry):
        """Whatever is given in place of an entry."""
        with pytest.raises(TypeError):
            SPEEDUPS.begin(entry)
        with pytest.raises(TypeError):
            SPEEDUPS.end(entry, False)
        with pytest.raises(TypeError):
            SPEEDUPS.end_failed(entry, ValueError(), False)
        with pytest.raises(TypeError):
            SPEEDUPS.sort_out([entry], {}, [], [], [], [], 0, 0, None, None)

    @pytest.mark.parametrize("name", ["end", "end_failed", "sort_out", "bind", "bind_op"])
    def test_of_the_number_of_arguments(self, name):
        """However few."""
        with pytest.raises(TypeError):
            getattr(SPEEDUPS, name)()

    def test_of_an_operation_in_a_foreign_state(self):
        """The entry of an operation is a list of ours or None."""
        op = network_op("h", 1)
        for entry in ([], [None] * 3, (), "x"):
            with pytest.raises(TypeError):
                op._raw = entry
        op._raw = None
        assert op._raw is None

    def test_of_a_base_that_was_never_begun(self):
        """`__init__` may not have run."""
        op = NetworkOp.__new__(NetworkOp)
        op.__exit__(None, None, None)
        op.sent(1)
        assert op._raw is None

    def test_of_too_many_arguments(self):
        """However many."""
        with network_op("h", 1) as op, pytest.raises(TypeError):
            op.sent(*range(20))


@compiled
def test_what_hangs_together_is_let_go_of():
    """The garbage collector finds an operation that holds itself."""

    class Marked:
        """Something that tells when it is gone."""

        gone = 0

        def __del__(self):
            Marked.gone += 1

    held = [Marked()]
    op = network_op("h", 1, "get", held)
    held.append(op)
    del held, op
    gc.collect()
    assert Marked.gone == 1


def ways(site_name):
    """Every way through the compiled code, as callables that may raise ValueError."""

    @traced_event(site_name)
    def function():
        return 5

    @traced_event(site_name)
    def failing():
        raise ValueError("no")

    @traced_event(site_name)
    async def coroutine():
        return 5

    @traced_event(site_name)
    async def failing_coroutine():
        raise ValueError("no")

    def drive(function):
        try:
            function().send(None)
        except StopIteration:
            pass

    def operation():
        with network_op("h", 1, "get") as op:
            op.sent(3)
            op.received(1 << 40)

    def failing_operation():
        with network_op("h", 1, "get"):
            raise ValueError("no")

    def nested_operation():
        op = network_op("h", 1, "get")
        with op, op:
            op.sent(-1)

    def wrong_operation():
        with network_op("h", 1, []) as op:
            op.received("x")

    return [
        function,
        failing,
        lambda: drive(coroutine),
        lambda: drive(failing_coroutine),
        operation,
        failing_operation,
        nested_operation,
        wrong_operation,
    ]


@compiled
@pytest.mark.parametrize("way", range(8))
def test_no_reference_is_kept_or_lost(way):
    """After many calls everything they share is referred to as often as after few."""

    def call(times):
        for _ in repeat(None, times):
            try:
                run()
            except ValueError:
                pass
        registry.fold()
        registry.clear()
        gc.collect()

    with capture(capacity=10) as registry:
        run = ways("step")[way]
        scope = registry.scope
        shared = [scope, *scope.hot, scope.hot, registry, 0, None, True, False, "get", 3]
        call(200)
        before = [sys.getrefcount(one) for one in shared]
        call(2000)
        after = [sys.getrefcount(one) for one in shared]
    assert [abs(late - early) < 100 for early, late in zip(before, after, strict=True)] == [
        True for _ in shared
    ]
