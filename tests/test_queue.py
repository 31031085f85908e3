"""The bounded queue before one publisher: its counts add up at every moment."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volnux.telemetry import EventMetrics, Registry
from volnux.telemetry._queue import Counts, Flush, RecordQueue, weigh_all

PLENTY = 1_000_000


def entries(count):
    """Finished entries, as a registry hands them to its listeners."""
    registry = Registry()
    found = []
    registry.subscribe(found.extend)
    for number in range(count):
        registry.add(EventMetrics(event_name="step", task_id=f"{number:016x}"))
    return found


ENTRIES = entries(64)
WEIGHT = weigh_all(ENTRIES[:1])


def test_what_is_put_is_pending():
    """Everything accepted waits until it is settled."""
    queue = RecordQueue(10, PLENTY)
    queue.put(ENTRIES[:3])
    assert queue.counts() == Counts(accepted=3, pending=3)
    assert queue.peek(2) == ENTRIES[:2]
    assert queue.counts() == Counts(accepted=3, pending=3)


def test_the_newest_beyond_the_number_are_dropped():
    """A full queue keeps what it has."""
    queue = RecordQueue(4, PLENTY)
    queue.put(ENTRIES[:3])
    queue.put(ENTRIES[3:6])
    assert queue.counts() == Counts(accepted=6, dropped={"queue_full": 2}, pending=4)
    assert queue.peek(9) == ENTRIES[:4]


def test_the_newest_beyond_the_bytes_are_dropped():
    """What would be too heavy is counted under a reason of its own."""
    queue = RecordQueue(10, 2 * WEIGHT + WEIGHT // 2)
    queue.put(ENTRIES[:3])
    assert queue.counts() == Counts(accepted=3, dropped={"queue_bytes": 1}, pending=2)


def test_room_comes_back_when_records_leave():
    """Bytes are given back with the records that held them."""
    queue = RecordQueue(10, 2 * WEIGHT)
    for _ in range(5):
        queue.put(ENTRIES[:2])
        queue.settle(2, delivered=2, dropped={})
    assert queue.counts() == Counts(accepted=10, delivered=10)


def test_what_is_kept_stays_at_the_head_in_order():
    """Records to be tried again are the next to be sent."""
    queue = RecordQueue(10, PLENTY)
    queue.put(ENTRIES[:5])
    queue.settle(4, delivered=1, dropped={"rejected": 1}, keep=[1, 3])
    assert queue.peek(9) == [ENTRIES[1], ENTRIES[3], ENTRIES[4]]
    assert queue.counts() == Counts(5, 1, {"rejected": 1}, 3)


class Reentering(list):
    """A batch that, while it is being counted in, puts another: as a garbage collection can."""

    def __init__(self, batch, queue, inner):
        super().__init__(batch)
        self.queue, self.inner, self.seen = queue, inner, None

    def __len__(self):
        if self.inner:
            inner, self.inner = self.inner, None
            self.queue.put(inner)
            self.seen = (self.queue.counts(), self.queue.is_entered)
        return super().__len__()


def test_put_inside_put_in_the_same_thread_loses_nothing():
    """An event that ends while its own thread is in the queue is counted in as well."""
    queue = RecordQueue(10, PLENTY)
    batch = Reentering(ENTRIES[:2], queue, ENTRIES[2:5])
    queue.put(batch)
    assert batch.seen == (Counts(), True)
    assert queue.counts() == Counts(accepted=5, pending=5)


def test_fill_inside_put_in_the_same_thread_leaves_its_batch_to_the_outer_call():
    """Waiting for room there would be waiting for itself."""
    queue = RecordQueue(10, PLENTY)
    batch = Reentering(ENTRIES[:2], queue, ENTRIES[2:5])
    batch.queue = type("Filling", (), {"put": queue.fill, "counts": queue.counts, "is_entered": 0})
    queue.put(batch)
    assert queue.counts() == Counts(accepted=5, pending=5)


def test_put_does_not_wait_for_a_thread_that_is_in_the_queue():
    """The batch is left to whoever has the lock, and counted in by the next to come."""
    queue = RecordQueue(10, PLENTY)
    with queue._lock:
        other = threading.Thread(target=queue.put, args=(ENTRIES[:3],))
        other.start()
        other.join()
        assert queue.pending == 0
    assert queue.counts() == Counts(accepted=3, pending=3)


def test_no_record_is_lost_between_eight_threads():
    """What eight threads put at once is all there."""
    queue = RecordQueue(PLENTY, PLENTY * WEIGHT)
    start = threading.Barrier(8)

    def put():
        start.wait()
        for _ in range(500):
            queue.put(ENTRIES[:3])

    threads = [threading.Thread(target=put) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert queue.counts() == Counts(accepted=12_000, pending=12_000)


def test_an_interrupt_between_two_lines_leaves_counts_that_add_up(monkeypatch):
    """After Ctrl-C in the middle, what is in the queue is what counts."""
    queue = RecordQueue(10, PLENTY)

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("volnux.telemetry._queue.Counts", interrupt)
        with pytest.raises(KeyboardInterrupt):
            queue.put(ENTRIES[:2])
    assert queue.counts() == Counts(accepted=2, pending=2)
    queue.put(ENTRIES[:1])
    assert queue.counts() == Counts(accepted=3, pending=3)


def test_fill_returns_what_there_is_no_room_for():
    """The rest is not counted: it will be put again."""
    queue = RecordQueue(4, PLENTY)
    assert queue.fill(ENTRIES[:6]) == ENTRIES[4:6]
    assert queue.counts() == Counts(accepted=4, pending=4)


def test_a_refusing_queue_counts_what_it_refuses():
    """What comes after closing is dropped for that reason."""
    queue = RecordQueue(4, PLENTY)
    queue.put(ENTRIES[:1])
    queue.refuse()
    queue.put(ENTRIES[1:3])
    assert queue.fill(ENTRIES[3:4]) == []
    assert queue.counts() == Counts(accepted=4, dropped={"closed": 3}, pending=1)


def test_what_is_abandoned_is_dropped_and_cannot_be_settled_later():
    """A publisher that comes back after the deadline changes no counts."""
    queue = RecordQueue(4, PLENTY)
    queue.put(ENTRIES[:3])
    assert queue.abandon() == 3
    queue.settle(3, delivered=3, dropped={})
    assert queue.counts() == Counts(accepted=3, dropped={"shutdown": 3})
    assert queue.abandon() == 0


def test_a_flush_counts_down_what_was_pending_and_nothing_newer():
    """Records that were put after it, or are sent out of turn, do not finish it."""
    queue = RecordQueue(10, PLENTY)
    queue.put(ENTRIES[:2])
    flush = Flush(0.0)
    queue.count_down(flush)
    queue.put(ENTRIES[2:5])
    queue.settle(4, delivered=3, dropped={}, keep=[1])
    assert flush.remaining == 1
    queue.settle(1, delivered=0, dropped={"poison": 1})
    assert flush.remaining == 0


def test_a_queue_knows_when_a_share_of_it_is_taken():
    """By number or by bytes, whichever comes first."""
    by_number, by_bytes = RecordQueue(8, PLENTY), RecordQueue(PLENTY, 8 * WEIGHT)
    for queue in (by_number, by_bytes):
        queue.put(ENTRIES[:1])
        assert not queue.is_filled(0.25)
        queue.put(ENTRIES[1:2])
        assert queue.is_filled(0.25)


FATES = st.lists(st.sampled_from(["delivered", "rejected", "poison", "keep"]), max_size=12)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 9)),
        st.tuples(st.just("send"), FATES),
        st.tuples(st.just("flush"), st.none()),
        st.tuples(st.just("refuse"), st.none()),
        st.tuples(st.just("abandon"), st.none()),
    ),
    max_size=40,
)


@given(steps=STEPS, items=st.integers(1, 12), weight=st.integers(1, 12))
def test_accepted_is_delivered_and_dropped_and_pending(steps, items, weight):
    """Against a list as a model: counts, order, bounds and flushes, through any fates."""
    queue = RecordQueue(items, weight * WEIGHT)
    model, put, delivered, dropped, mode = [], 0, 0, 0, "open"
    flushes = []
    for step, detail in steps:
        if step == "put":
            batch = [ENTRIES[(put + n) % len(ENTRIES)] for n in range(detail)]
            queue.put(batch)
            room = min(items, weight) - len(model) if mode == "open" else 0
            model += range(put, put + min(room, detail))
            dropped += detail - min(room, detail)
            put += detail
        elif step == "send":
            fates = detail[: len(queue.peek(len(detail)))]
            kept = [place for place, fate in enumerate(fates) if fate == "keep"]
            lost = {reason: fates.count(reason) for reason in ("rejected", "poison")}
            queue.settle(len(fates), delivered=fates.count("delivered"), dropped=lost, keep=kept)
            delivered += fates.count("delivered")
            dropped += sum(lost.values())
            model[: len(fates)] = [model[place] for place in kept]
        elif step == "flush":
            flush = Flush(0.0)
            queue.count_down(flush)
            flushes.append((flush, set(model)))
        elif step == "refuse":
            queue.refuse()
            mode = "closed"
        else:
            assert queue.abandon() == len(model)
            dropped += len(model)
            model, mode, flushes = [], "gone", []
        counts = queue.counts()
        assert (counts.accepted, counts.delivered) == (put, delivered)
        assert (sum(counts.dropped.values()), counts.pending) == (dropped, len(model))
        assert queue.peek(99) == [ENTRIES[number % len(ENTRIES)] for number in model]
        for flush, waited_for in flushes:
            assert flush.remaining == len(waited_for & set(model))
