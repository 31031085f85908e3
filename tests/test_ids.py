"""Identifiers: unique, stable, and the same wherever they are shown."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workers import in_fork
from volnux.telemetry import capture, current_event, network_op, traced_event
from volnux.telemetry._ids import IDS, read_id, show_id


class TestForm:
    def test_is_sixteen_hexadecimal_digits(self):
        """That of a span in W3C Trace Context."""
        with capture() as registry, traced_event("work"):
            pass

        [event] = registry.events()
        assert len(event.task_id) == 16
        assert int(event.task_id, 16) > 0

    @given(st.integers(1, 2**64 - 1))
    def test_reading_undoes_showing(self, number):
        """A number comes back from its digits."""
        assert read_id(show_id(number)) == number

    def test_none_stands_for_zero(self):
        """An event without a parent has none, not sixteen zeros."""
        assert (show_id(0), read_id(None), read_id("")) == (None, 0, 0)

    @pytest.mark.parametrize("text", ["order-66", "sixteen-letters!", "ab"])
    def test_foreign_text_stays_text(self, text):
        """An identifier made elsewhere is passed on as it is."""
        assert show_id(read_id(text)) == text


class TestUniqueness:
    def test_counts_up_within_a_process(self):
        """Later numbers are larger, which costs no randomness per event."""
        first, second = IDS.take(), IDS.take()

        assert second == first + 1

    def test_events_and_operations_share_one_series(self):
        """No operation has the identifier of an event."""
        with capture() as registry:
            for _ in range(50):
                with traced_event("work"), network_op("host", 1):
                    pass

        records = [*registry.events(), *registry.network_ops()]
        assert len({record.task_id for record in records}) == 100

    def test_threads_never_share_one(self):
        """Eight threads that draw at once draw different numbers."""
        barrier = threading.Barrier(8)
        drawn = []

        def draw():
            barrier.wait()
            drawn.extend([IDS.take() for _ in range(1_000)])

        threads = [threading.Thread(target=draw) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(set(drawn)) == 8_000

    def test_processes_start_far_apart(self):
        """A new process begins at a random number of 62 bits."""
        code = "from volnux.telemetry._ids import IDS; print(IDS.take())"
        numbers = {
            int(
                subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
            )
            for _ in range(2)
        }

        assert len(numbers) == 2
        assert all(0 < number <= 2**62 for number in numbers)

    def test_a_forked_child_starts_elsewhere(self):
        """Parent and child never give the same identifier to two events."""
        mine = IDS.take()
        theirs = in_fork(lambda: IDS.take())

        assert abs(theirs - mine) > 1_000_000


class TestStability:
    def test_is_the_same_open_and_finished(self):
        """The identifier seen while running is that of the record."""
        with capture() as registry, traced_event("work") as event:
            seen = event.task_id

        assert [record.task_id for record in registry.events()] == [seen]

    def test_is_the_same_every_time_it_is_asked(self):
        """Records of one event made twice agree."""
        with capture() as registry, traced_event("work"):
            pass

        assert registry.events()[0].task_id == registry.events()[0].task_id

    def test_threads_that_ask_at_once_agree(self):
        """An identifier drawn late is drawn once."""
        barrier = threading.Barrier(8)
        seen = []

        with capture(), traced_event("work") as event:

            def ask():
                barrier.wait()
                seen.append(event.task_id)

            threads = [threading.Thread(target=ask) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        assert len(set(seen)) == 1

    def test_a_forked_child_knows_running_events_by_the_same(self):
        """What the child records under an event of the parent finds its parent there."""
        with capture(), traced_event("outer"), traced_event("inner") as inner:
            theirs = in_fork(lambda: current_event().task_id)

            assert inner.task_id == theirs

    def test_also_if_a_fold_is_sorting_them_at_that_moment(self):
        """Entries that are neither pending nor counted yet are found by the context."""
        with capture() as registry, traced_event("outer"), traced_event("inner") as inner:
            taken = registry._pending[:]
            del registry._pending[:]  # as a fold in another thread does first
            theirs = in_fork(lambda: current_event().task_id)
            registry._pending[:0] = taken

            assert inner.task_id == theirs
