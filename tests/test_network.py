"""`with network_op(host, port)`: one exchange, one end, and the bytes that were counted."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import pytest

from volnux.telemetry import (
    TelemetryError,
    capture,
    network_op,
    propagate,
    traced_event,
)
from volnux.telemetry._scope import suppressed


def only(registry):
    [op] = registry.network_ops()
    return op


class TestExchange:
    def test_is_recorded_with_what_was_counted(self, registry, clock):
        """Host, port, operation, latency, and bytes each way."""
        with network_op("db.internal", 5432, "query") as op:
            op.sent(100)
            clock.advance(0.25)
            op.received(3000)
            op.received(50)

        record = only(registry)
        assert (record.host, record.port, record.operation, record.latency, record.status) == (
            "db.internal",
            5432,
            "query",
            0.25,
            "completed",
        )
        assert (record.bytes_sent, record.bytes_received) == (100, 3050)

    def test_works_in_async_code(self, registry, clock):
        """`async with` is the same exchange."""

        async def main():
            async with network_op("db.internal", 5432) as op:
                await asyncio.sleep(0)
                clock.advance(1.5)
                op.received(7)

        asyncio.run(main())

        record = only(registry)
        assert (record.latency, record.bytes_received, record.operation) == (1.5, 7, "exchange")

    def test_has_the_identifier_seen_while_it_runs(self, registry):
        """So that a log line can name it."""
        with network_op("db.internal", 5432) as op:
            seen = op.task_id

        assert only(registry).task_id == seen

    def test_runs_under_the_current_event(self, registry):
        """Its parent is the event around it."""
        with traced_event("load") as event, network_op("db.internal", 5432):
            pass

        assert only(registry).parent_id == event.task_id

    def test_alone_has_no_parent(self, registry):
        """An exchange needs no event."""
        with network_op("db.internal", 5432):
            pass

        assert only(registry).parent_id is None

    def test_carries_attributes(self, registry):
        """Those it was made with, and those it was told."""
        with network_op("db.internal", 5432, attributes={"table": "users", "rows": 0}) as op:
            op.set_attribute("rows", 3)

        assert only(registry).attributes == {"table": "users", "rows": 3}

    def test_attributes_are_bounded_in_number(self, registry):
        """Said one by one, the bound still holds."""
        with network_op("db.internal", 5432) as op:
            for number in range(500):
                op.set_attribute(f"key{number}", number)

        assert len(only(registry).attributes) == 128

    def test_keeps_its_host_free_of_secrets(self, registry):
        """Of a URL only the host is kept."""
        with network_op("https://user:hunter2@db.internal/path?token=hunter2", 443) as op:
            shown = repr(op)

        assert only(registry).host == "db.internal"
        assert "hunter2" not in shown + repr(registry.network_ops())

    def test_shows_what_it_has_counted(self, registry):
        """Its repr is for people who debug."""
        with network_op("db.internal", 5432, "query") as op:
            op.sent(10)
            op.received(20)

            assert repr(op) == "<NetworkOp 'query' host='db.internal' sent=10 received=20>"

    def test_folds_when_much_has_happened(self, registry):
        """Nobody has to ask for the memory to be bounded."""
        for _ in range(5_000):
            with network_op("db.internal", 5432):
                pass

        assert len(registry._pending) < 2_000

    @pytest.mark.parametrize(
        ("port", "kept"), [(443, 443), ("443", 443), (None, None), ("https", None), ([], None)]
    )
    def test_a_port_is_a_number_or_none(self, port, kept):
        """Whatever was given, it hurts nobody."""
        with capture() as registry, network_op("db.internal", port):
            pass

        assert only(registry).port == kept


class TestFailure:
    def test_keeps_the_bytes_counted_before_it(self, registry, clock):
        """What went over the wire before the line broke was sent all the same."""
        with pytest.raises(OSError), network_op("db.internal", 5432) as op:
            op.sent(1234)
            op.received(5)
            clock.advance(0.5)
            raise ConnectionResetError("the line broke")

        record = only(registry)
        assert (record.status, record.error_type, record.error, record.latency) == (
            "failed",
            "ConnectionResetError",
            "the line broke",
            0.5,
        )
        assert (record.bytes_sent, record.bytes_received) == (1234, 5)

    def test_counts_in_the_totals(self, registry):
        """Bytes of failed exchanges are part of the sums."""
        with pytest.raises(OSError), network_op("db.internal", 5432) as op:
            op.sent(1234)
            raise OSError

        stats = registry.network_stats()["db.internal", 5432, "exchange"]
        assert (stats.count, stats.failed, stats.bytes_sent) == (1, 1, 1234)

    def test_of_an_async_exchange_is_recorded(self, registry):
        """A cancelled exchange is cancelled."""

        async def exchange():
            async with network_op("db.internal", 5432) as op:
                op.sent(10)
                await asyncio.Event().wait()

        async def main():
            task = asyncio.create_task(exchange())
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(main())

        record = only(registry)
        assert (record.status, record.bytes_sent) == ("cancelled", 10)

    @pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
    def test_an_interrupt_is_cancelled(self, registry, kind):
        """A program told to stop has not failed."""
        with pytest.raises(kind), network_op("db.internal", 5432):
            raise kind

        assert only(registry).status == "cancelled"

    def test_an_exception_without_text_is_let_through(self):
        """Even if its `__str__` raises."""

        class Mute(Exception):
            def __str__(self):
                raise RuntimeError("nothing to say")

        with pytest.raises(Mute), capture() as registry, network_op("db.internal", 5432):
            raise Mute

        record = only(registry)
        assert (record.error_type.rpartition(".")[2], record.error) == (
            "Mute",
            "<unprintable Mute>",
        )


class TestFirstByte:
    def test_is_when_the_first_bytes_came(self, registry, clock):
        """Later ones do not move it."""
        with network_op("db.internal", 5432) as op:
            clock.advance(0.25)
            op.received(1)
            clock.advance(1.0)
            op.received(1000)

        assert only(registry).time_to_first_byte == 0.25

    def test_is_unknown_if_nothing_came(self, registry, clock):
        """Sending alone has no first byte."""
        with network_op("db.internal", 5432) as op:
            clock.advance(0.25)
            op.sent(1)

        assert only(registry).time_to_first_byte is None

    def test_is_not_made_by_nothing(self, registry, clock):
        """A read that returned no bytes does not count."""
        with network_op("db.internal", 5432) as op:
            op.received(0)
            clock.advance(0.5)
            op.received(1)

        assert only(registry).time_to_first_byte == 0.5

    def test_is_never_negative(self, registry, clock):
        """Also if the clock goes back."""
        with network_op("db.internal", 5432) as op:
            clock.advance(-1.0)
            op.received(1)

        assert only(registry).time_to_first_byte == 0.0


class TestOneInstance:
    def test_may_be_entered_again(self, registry, clock):
        """Each time is an operation of its own, counted from nothing."""
        op = network_op("db.internal", 5432)
        identifiers = set()
        for count in (10, 20):
            with op:
                op.sent(count)
                identifiers.add(op.task_id)
                clock.advance(1.0)

        assert [record.bytes_sent for record in registry.network_ops()] == [10, 20]
        assert {record.task_id for record in registry.network_ops()} == identifiers

    def test_entered_again_while_open_gives_two_operations(self, registry, clock):
        """Each has one end, and the counts of the outer one go on."""
        op = network_op("db.internal", 5432)
        with op:
            op.sent(1)
            clock.advance(1.0)
            with op:
                op.sent(20)
                clock.advance(2.0)
            op.sent(300)
            clock.advance(4.0)

        assert [(record.bytes_sent, record.latency) for record in registry.network_ops()] == [
            (301, 7.0),
            (20, 2.0),
        ]
        assert registry.health().in_flight == 0

    def test_entered_by_threads_at_once_gives_each_operation_one_end(self, registry):
        """None is left in flight for ever."""
        op = network_op("db.internal", 5432)
        inside = threading.Barrier(4)

        def work():
            with op:
                inside.wait()

        threads = [threading.Thread(target=propagate(work)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        health = registry.health()
        assert (health.started, health.finished, health.in_flight) == (4, 4, 0)

    def test_entered_unrecorded_while_open_keeps_the_recorded_one(self, registry):
        """Suppression inside loses no end."""
        op = network_op("db.internal", 5432)
        with op:
            with suppressed(), op:
                pass
            op.sent(5)

        assert (only(registry).bytes_sent, registry.health().in_flight) == (5, 0)

    def test_left_twice_has_one_end(self, registry, clock):
        """The first end counts."""
        op = network_op("db.internal", 5432)
        with op:
            clock.advance(1.0)
        clock.advance(1.0)
        op.__exit__(ValueError, ValueError("late"), None)

        assert (only(registry).latency, only(registry).status) == (1.0, "completed")

    def test_left_without_entering_is_nothing(self, registry):
        """There is nothing to end."""
        network_op("db.internal", 5432).__exit__(None, None, None)

        assert registry.health().started == 0

    def test_used_on_and_then_off_keeps_the_first_record(self):
        """While telemetry is off an instance counts nothing."""
        op = network_op("db.internal", 5432)
        with capture() as registry, op:
            op.sent(5)
        with op:
            op.sent(7)

        assert only(registry).bytes_sent == 5
        assert op.task_id is None


class TestLateCounts:
    @pytest.mark.parametrize("count", ["sent", "received"])
    def test_change_nothing(self, clock, count):
        """What was finished stays as it is, and health says that somebody tried."""
        with capture(clock=clock) as registry:
            with network_op("db.internal", 5432) as op:
                pass
            getattr(op, count)(100)

        record = only(registry)
        assert (record.bytes_sent, record.bytes_received, record.time_to_first_byte) == (0, 0, None)
        assert registry.health().errors["network"] == {"counted after its end": 1}

    def test_of_attributes_change_nothing(self):
        """Nor do attributes."""
        with capture() as registry:
            with network_op("db.internal", 5432) as op:
                pass
            op.set_attribute("rows", 3)

        assert only(registry).attributes == {}
        assert registry.health().errors["network"] == {"changed after its end": 1}

    def test_raise_in_strict_mode(self, registry):
        """A strict registry makes it an error."""
        with network_op("db.internal", 5432) as op:
            pass

        with pytest.raises(TelemetryError, match="counted after its end"):
            op.sent(100)


class HostileCount:
    def __index__(self):
        raise MemoryError("not today")


class IndexCount:
    def __index__(self):
        return 42


class TestCounts:
    @pytest.mark.parametrize("count", [None, "12", 1.5, [], HostileCount()])
    def test_that_are_no_numbers_are_counted_as_errors(self, count):
        """They hurt nobody and change nothing."""
        with capture() as registry, network_op("db.internal", 5432) as op:
            op.sent(count)
            op.received(count)

        record = only(registry)
        assert (record.bytes_sent, record.bytes_received) == (0, 0)
        assert registry.health().errors["network"] == {"count is no number of bytes": 2}

    def test_below_zero_are_counted_as_errors(self):
        """Bytes do not come back."""
        with capture() as registry, network_op("db.internal", 5432) as op:
            op.sent(10)
            op.sent(-4)

        assert only(registry).bytes_sent == 10
        assert registry.health().errors["network"] == {"count is negative": 1}

    @pytest.mark.parametrize(("count", "bytes_sent"), [(True, 1), (IndexCount(), 42)])
    def test_that_stand_for_numbers_are_numbers(self, registry, count, bytes_sent):
        """Whatever has an index, as in Python."""
        with network_op("db.internal", 5432) as op:
            op.sent(count)

        assert only(registry).bytes_sent == bytes_sent

    def test_raise_in_strict_mode(self, registry):
        """A strict registry lets the count's own error through."""
        with contextlib.suppress(MemoryError), network_op("db.internal", 5432) as op:
            op.sent(HostileCount())

        assert only(registry).error == "not today"

    def test_from_threads_at_once_add_up(self, registry):
        """A connection may be read and written by two threads."""
        barrier = threading.Barrier(2)
        with network_op("db.internal", 5432) as op:

            def count(way):
                barrier.wait()
                for _ in range(2_000):
                    way(1)

            threads = [
                threading.Thread(target=count, args=(way,)) for way in (op.sent, op.received)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        assert (only(registry).bytes_sent, only(registry).bytes_received) == (2_000, 2_000)


class TestInFlight:
    def test_answers_with_its_age(self, registry, clock):
        """An exchange that hangs can be seen hanging."""
        with network_op("db.internal", 5432) as op:
            op.sent(9)
            clock.advance(30.0)

            record = only(registry)
        assert (record.status, record.latency, record.end_time, record.bytes_sent) == (
            "running",
            30.0,
            None,
            9,
        )

    def test_ends_though_it_was_seen_running(self, registry, clock):
        """A query in the middle loses nothing."""
        with network_op("db.internal", 5432) as op:
            registry.network_ops()
            op.sent(3)
            clock.advance(1.0)

        assert (only(registry).status, only(registry).bytes_sent) == ("completed", 3)


class TestOff:
    def test_counts_nothing(self):
        """While telemetry is off, an operation is a block like any other."""
        with network_op("db.internal", 5432) as op:
            op.sent(10)
            op.received(10)
            op.set_attribute("rows", 3)

        assert op.task_id is None
        assert repr(op) == "<NetworkOp 'exchange' host='db.internal' sent=0 received=0>"


class TestHostileSites:
    @pytest.mark.parametrize("host", [None, 5, ["a"], object()])
    def test_any_host_is_recorded_somehow(self, host):
        """What is no host hurts nobody."""
        with capture() as registry, network_op(host, 1):
            pass

        assert isinstance(only(registry).host, str)

    def test_a_host_that_cannot_be_hashed_has_one_total(self):
        """Though it is described afresh each time."""
        with capture() as registry:
            for _ in range(2):
                with network_op(["a"], 1):
                    pass

        [stats] = registry.network_stats().values()
        assert stats.count == 2

    def test_very_many_operations_share_a_total(self, registry):
        """Beyond 2,000 exchanges, the rest is counted together."""
        for number in range(2_100):
            with network_op("db.internal", 5432, f"query {number}"):
                pass

        stats = registry.network_stats()
        assert len(stats) == 2_001
        assert stats["__other__", None, "__other__"].count == 100

    def test_kinds_beyond_those_remembered_have_one_total_each(self, registry, monkeypatch):
        """An exchange may be described afresh each time, and is the same all the same."""
        monkeypatch.setattr("volnux.telemetry._sites.KEPT", 0)
        for operation in ("GET", "PUT", "GET"):
            with network_op("not-seen.before", 443, operation):
                pass

        counts = {key[2]: stats.count for key, stats in registry.network_stats().items()}
        assert counts == {"GET": 2, "PUT": 1}


class TestSizes:
    """Counts and ports that no back end could hold."""

    def test_a_count_beyond_64_bits_is_refused_and_counted(self):
        """It cannot break whoever writes the record down."""
        with capture(isolated=True) as registry, network_op("host", 80) as op:
            op.sent(5)
            op.sent(1 << 63)
            op.received(10**5000)
        [record] = registry.network_ops()
        assert (record.bytes_sent, record.bytes_received) == (5, 0)
        assert registry.health().errors == {"network": {"count is too large": 2}}

    @pytest.mark.parametrize(
        "port",
        [-1, 65_536, 1 << 200, "http", object()],
        ids=["negative", "beyond", "huge", "text", "thing"],
    )
    def test_a_port_that_cannot_be_is_none(self, port):
        """Only 0 to 65535 are ports."""
        with capture(isolated=True) as registry, network_op("host", port):
            pass
        assert registry.network_ops()[0].port is None
