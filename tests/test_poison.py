"""Records that make a publisher raise: they are stepped over, and keep no other waiting."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.test_delivery import SETTINGS, Batches, Bench
from tests.test_queue import ENTRIES, PLENTY
from volnux.telemetry import (
    EventMetrics,
    PublishError,
    Registry,
    monitor_events,
    traced_event,
)
from volnux.telemetry._delivery import Delivery
from volnux.telemetry._queue import Counts, Flush, RecordQueue
from volnux.telemetry._sender import IN_VAIN
from volnux.telemetry.testing import RecordingPublisher


class Picky(RecordingPublisher):
    """Raises for names that begin with "bad", and for all while it is down; notes every try."""

    def __init__(self):
        super().__init__()
        self.tries = []
        self.is_down = False

    def publish_event_metrics(self, metrics):
        self.tries.append(metrics.event_name)
        if self.is_down or metrics.event_name.startswith("bad"):
            raise KeyError("big")
        super().publish_event_metrics(metrics)

    @property
    def names(self):
        return [record.event_name for record in self.events]


def good(number):
    return [f"good-{n}" for n in range(number)]


def bad(number):
    return [f"bad-{n}" for n in range(number)]


class TestSteppingOver:
    """One that raises goes behind the others."""

    def test_bad_ones_at_the_head_hold_nobody_up(self):
        """Not for a moment, and the others arrive in their order."""
        publisher = Picky()
        bench = Bench(publisher)
        bench.put(*bad(10), *good(990))
        assert bench.run() == []
        assert publisher.names == good(990)
        assert bench.counts == (990, {"poison": 10}, 0)

    def test_bad_ones_everywhere_hold_nobody_up(self):
        """However many they are: one in three here."""
        publisher = Picky()
        bench = Bench(publisher)
        bench.put(*(f"{'bad' if n % 3 == 1 else 'good'}-{n}" for n in range(300)))
        assert bench.run(most=1_000) == []
        assert publisher.names == [f"good-{n}" for n in range(300) if n % 3 != 1]
        assert bench.counts == (200, {"poison": 100}, 0)

    def test_in_batches_as_well(self):
        """A batch is halved until the one to blame stands alone."""

        def picky(records):
            names = [record.event_name for record in records]
            if any(name.startswith("bad") for name in names):
                return ValueError("cannot render")
            delivered.extend(names)
            return None

        delivered = []
        bench = Bench(Batches(*[picky] * 500))
        bench.put(*bad(10), *good(500))
        assert bench.run() == []
        assert delivered == good(500)
        assert bench.counts == (500, {"poison": 10}, 0)

    def test_one_under_suspicion_is_sent_by_itself(self):
        """It spoils no second batch."""

        def picky(records):
            return ValueError() if any(r.event_name == "bad" for r in records) else None

        publisher = Batches(*[picky] * 9)
        bench = Bench(publisher)
        bench.put("bad", "a")
        bench.turn(3)
        bench.put("b", "c")
        bench.run()
        assert publisher.calls == [
            ["bad", "a"],
            ["bad"],
            ["a"],
            ["bad"],
            ["b", "c"],
            ["bad"],
        ]

    def test_it_is_tried_three_times_before_it_is_given_up(self):
        """Each time after the others have had their turn."""
        publisher = Picky()
        bench = Bench(publisher)
        bench.put("bad", "a")
        bench.turn(2)
        bench.put("b")
        bench.run()
        assert publisher.tries == ["bad", "a", "bad", "b", "bad"]

    def test_one_that_gets_through_at_last_is_delivered(self):
        """It was not the record after all."""
        publisher = Batches(KeyError(), None, KeyError())
        bench = Bench(publisher)
        bench.put("a")
        bench.turn()
        bench.put("b")
        bench.time += 1.0
        bench.run()
        assert bench.counts == (2, {}, 0)

    def test_others_that_are_not_yet_in_the_queue_are_fetched(self):
        """What is recorded while one fails is what it is judged by."""
        publisher, registry = Picky(), Registry()
        bench = Bench(publisher)
        bench.delivery._sources.attach(registry, bench.delivery.accept, None)
        bench.put("bad")
        bench.turn()
        with monitor_events(registry=registry), traced_event("good"):
            pass
        bench.time += 0.75
        bench.turn(2)
        assert publisher.tries == ["bad", "bad", "good"]

    def test_the_program_of_the_review(self):
        """Ten bad records among the first cost none of a thousand good ones."""
        publisher = Picky()

        with monitor_events([publisher], registry=Registry()) as monitor:
            for number in range(1_000):
                for name in ["good", "bad"] if number % 5 == 0 and number < 50 else ["good"]:
                    with traced_event(name):
                        pass
        numbers = monitor.health().publishers["Picky"]
        assert (numbers["delivered"], numbers["dropped"]) == (1_000, {"poison": 10})


class TestDownForEverybody:
    """While nothing at all gets through, it is not the records."""

    def test_nothing_is_given_up(self):
        """However often they fail, and whatever is raised."""
        publisher = Picky()
        publisher.is_down = True
        bench = Bench(publisher)
        bench.put(*good(50))
        for _ in range(5_000):
            bench.time += bench.turn()
        assert bench.counts == (0, {}, 50)
        publisher.is_down = False
        bench.run()
        assert bench.counts == (50, {}, 0)
        assert sorted(publisher.names) == sorted(good(50))

    def test_it_is_left_alone_once_all_have_been_tried(self):
        """With growing pauses, like any back end that is away."""
        publisher = Picky()
        publisher.is_down = True
        bench = Bench(publisher)
        bench.put("a", "b", "c")
        bench.turn(3)
        assert bench.turn() == 0.75
        bench.time += 0.75
        bench.turn(3)
        assert bench.turn() == 2.25
        assert publisher.tries == [*"abcabc"]

    def test_a_long_queue_is_not_tried_to_its_end(self):
        """A hundred failures in a row are enough for a pause; the next go on from there."""
        publisher = Picky()
        publisher.is_down = True
        bench = Bench(publisher)
        bench.put(*good(3 * IN_VAIN))
        bench.turn(IN_VAIN)
        assert bench.turn() == 0.75
        assert publisher.tries == good(IN_VAIN)

    def test_more_bad_ones_than_that_are_passed_in_the_end(self):
        """Behind them the first good one tells what they are."""
        publisher = Picky()
        bench = Bench(publisher)
        bench.put(*bad(250), *good(20))
        assert bench.run(most=1_000) == [0.75, 2.25]
        assert bench.counts == (20, {"poison": 250}, 0)

    def test_failures_of_an_outage_are_not_held_against_anybody_later(self):
        """One that gets through makes no poison of those that failed before it."""
        publisher = Picky()
        publisher.is_down = True
        bench = Bench(publisher)
        bench.put(*good(10))
        for _ in range(200):
            bench.time += bench.turn()
        bench.put("late")
        publisher.publish_event_metrics = lambda metrics: (
            None
            if metrics.event_name == "late"
            else Picky.publish_event_metrics(publisher, metrics)
        )
        while not bench.counts[0]:
            bench.time += bench.turn()
        bench.turn(10)
        assert bench.counts == (1, {}, 10)

    def test_two_that_fail_side_by_side_wait_for_a_third(self):
        """Whose way through tells that it is them."""
        publisher = Picky()
        bench = Bench(publisher)
        bench.put("bad-1", "bad-2")
        for _ in range(100):
            bench.time += bench.turn()
        assert bench.counts == (0, {}, 2)
        bench.put("good")
        bench.run()
        assert bench.counts == (1, {"poison": 2}, 0)

    @pytest.mark.parametrize("error", [OSError("down"), PublishError("503")])
    def test_an_error_of_the_back_end_itself_keeps_the_order(self, error):
        """Nobody is stepped over: the same record comes again."""
        publisher = Batches(error, KeyError(), error)
        bench = Bench(publisher)
        bench.put("a")
        bench.run()
        assert publisher.calls == [["a"]] * 4

    @given(
        fates=st.lists(st.sampled_from(["good", "bad"]), max_size=80),
        outages=st.lists(st.booleans(), max_size=40),
    )
    def test_nothing_is_lost_uncounted_or_sent_twice_through_any_outages(self, fates, outages):
        """The sum holds at every turn; once one gets through, nothing is pending for long."""
        publisher = Picky()
        bench = Bench(publisher)
        bench.put(*(f"{fate}-{n}" for n, fate in enumerate(fates)))
        for is_down in outages:
            publisher.is_down = is_down
            bench.time += bench.turn()
            assert bench.counts[0] == len(publisher.events)
        publisher.is_down = False
        bench.put("good-last")
        bench.run(most=2_000)
        lost = bench.counts[1].get("poison", 0)
        assert lost >= fates.count("bad")
        assert len(set(publisher.names)) == len(publisher.names) == len(fates) + 1 - lost


class TestBehind:
    """How the queue moves one behind the others."""

    def test_it_is_the_next_after_all_that_wait_now(self):
        """And is pending all the while."""
        queue = RecordQueue(10, PLENTY)
        queue.put(ENTRIES[:4])
        queue.settle(2, delivered=1, dropped={}, behind=[1])
        assert queue.peek(9) == [ENTRIES[2], ENTRIES[3], ENTRIES[1]]
        assert queue.counts() == Counts(accepted=4, delivered=1, pending=3)

    def test_its_weight_stays_in_the_queue(self):
        """The bound in bytes holds for it as well."""
        queue = RecordQueue(10, PLENTY)
        queue.put(ENTRIES[:1])
        before = queue._bytes
        queue.settle(1, delivered=0, dropped={}, behind=[0])
        assert queue._bytes == before

    def test_a_flush_waits_for_it_among_newer_ones(self):
        """Which it does not wait for."""
        queue = RecordQueue(10, PLENTY)
        queue.put(ENTRIES[:2])
        flush = Flush(0.0)
        queue.count_down(flush)
        queue.put(ENTRIES[2:4])
        queue.settle(1, delivered=0, dropped={}, behind=[0])
        queue.settle(3, delivered=3, dropped={})
        assert flush.remaining == 1
        queue.settle(1, delivered=0, dropped={"poison": 1})
        assert flush.remaining == 0

    @given(
        steps=st.lists(
            st.one_of(
                st.tuples(st.just("put"), st.integers(0, 9)),
                st.tuples(
                    st.just("send"),
                    st.lists(st.sampled_from(["delivered", "keep", "behind"]), max_size=8),
                ),
                st.tuples(st.just("flush"), st.none()),
            ),
            max_size=40,
        )
    )
    def test_order_and_flushes_are_those_of_a_list(self, steps):
        """Against a simple model, through any fates."""
        queue, numbers = RecordQueue(len(ENTRIES), PLENTY), count()
        model, flushes, waiting = [], [], dict(enumerate(ENTRIES))
        for step, detail in steps:
            if step == "put":
                new = [n for n, _ in zip(numbers, range(detail), strict=False)]
                new = [n for n in new if n in waiting]
                queue.put([waiting[n] for n in new])
                model += new
            elif step == "send":
                fates = detail[: len(model)]
                places = {
                    kind: [place for place, fate in enumerate(fates) if fate == kind]
                    for kind in ("keep", "behind")
                }
                done = fates.count("delivered")
                queue.settle(len(fates), delivered=done, dropped={}, **places)
                kept, moved = ([model[p] for p in places[kind]] for kind in ("keep", "behind"))
                model = kept + model[len(fates) :] + moved
            else:
                flush = Flush(0.0)
                queue.count_down(flush)
                flushes.append((flush, set(model)))
            assert queue.peek(99) == [waiting[n] for n in model]
            for flush, waited_for in flushes:
                assert flush.remaining == len(waited_for & set(model))


class TestItsOwnThread:
    """What a publisher raises there ends nothing, be it made to end programs."""

    @pytest.fixture
    def deliver(self):
        """Make a delivery with a thread, closed after the test."""
        made = []

        def make(publisher):
            settings = SETTINGS._replace(interval=60.0)
            delivery = Delivery(publisher, "threaded", settings, uniform=lambda low, high: 0.0)
            registry = Registry()
            delivery.attach(registry)
            made.append(delivery)
            return delivery, registry

        yield make
        for delivery in made:
            delivery.begin_close(float("inf"))
            delivery.finish_close()

    @staticmethod
    def flush(delivery):
        return delivery.finish_flush(delivery.begin_flush(delivery._now() + 60))

    @pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), GeneratorExit()])
    @pytest.mark.parametrize("in_batches", [True, False])
    def test_from_publishing_it_is_a_failure_like_any_other(self, deliver, error, in_batches):
        """Counted, and the record comes again."""
        tries = []

        def publish(self, records):
            tries.append(records)
            if len(tries) == 1:
                raise error

        method = "publish_batch" if in_batches else "publish_event_metrics"
        delivery, registry = deliver(type("Rash", (RecordingPublisher,), {method: publish})())
        registry.add(EventMetrics(event_name="a", task_id="1"))
        assert self.flush(delivery)
        assert len(tries) == 2
        assert delivery.counts() == (1, 1, {}, 0, 0)
        assert registry.health().errors == {"publish": {type(error).__name__: 1}}

    @pytest.mark.parametrize("hook", ["flush", "close"])
    def test_from_a_hook_it_is_counted(self, deliver, hook):
        """And the delivery closes all the same."""

        def fail(self, timeout=None):
            raise SystemExit(3)

        delivery, registry = deliver(type("Rash", (RecordingPublisher,), {hook: fail})())
        assert self.flush(delivery) is (hook != "flush")
        delivery.begin_close(delivery._now() + 60)
        assert delivery.finish_close()
        assert registry.health().errors == {"publish": {"SystemExit": 1}}

    def test_from_anywhere_else_it_does_not_end_the_thread(self, deliver, monkeypatch):
        """As from a log handler that calls `sys.exit`."""
        publisher = RecordingPublisher()
        delivery, registry = deliver(publisher)
        attempt, errors = delivery._sender.attempt, [SystemExit(3)]

        def fail_once(*arguments):
            if errors:
                delivery._wake.hurry()
                raise errors.pop()
            return attempt(*arguments)

        monkeypatch.setattr(delivery._sender, "attempt", fail_once)
        registry.add(EventMetrics(event_name="a", task_id="1"))
        assert self.flush(delivery)
        assert len(publisher.events) == 1
        assert registry.health().errors == {"publish": {"SystemExit": 1}}

    def test_ctrl_c_in_a_hook_where_there_is_no_thread_is_the_program_s(self):
        """It passes through."""

        def interrupt(self, timeout=None):
            raise KeyboardInterrupt

        bench = Bench(type("Slow", (RecordingPublisher,), {"close": interrupt})())
        bench.delivery._close_by = 105.0
        with pytest.raises(KeyboardInterrupt):
            bench.turn()
        assert bench.registry.health().errors == {}


class Hostile(Exception):
    """Cannot be shown."""

    def __str__(self):
        raise ValueError("no text")


class TestTelling:
    """The log says what a publisher raised, in a few harmless words."""

    @pytest.mark.parametrize(
        ("error", "told"),
        [
            (KeyError("big"), "KeyError: 'big'"),
            (PublishError("the index is closed"), "PublishError: the index is closed"),
            (ValueError(), "ValueError"),
            (ValueError("two\nlines\x1b[2J"), "ValueError: two\\nlines\\x1b[2J"),
            (ValueError("x" * 5_000), "ValueError: " + "x" * 199 + "…"),
            (Hostile(), "Hostile: <unprintable Hostile>"),
            (FileNotFoundError(2, "https://u:pw@host/"), "FileNotFoundError: No such file or dir"),
        ],
    )
    def test_what_went_wrong_is_told(self, error, told, caplog):
        """Type and text, on one line, of at most 200 characters."""
        bench = Bench(Batches(error))
        bench.put("a", "b")
        bench.turn()
        [message] = caplog.messages
        assert message.startswith(f"publisher bench fails: {told}")
        assert len(message) < 320

    @pytest.mark.parametrize(
        "text",
        [
            "https://user:hunter2@host/path",
            "POST https://host/?api_key=hunter2 failed",
            "password=hunter2",
            "x" * 180 + " Authorization: Bearer hunter2hunter2",
        ],
    )
    def test_secrets_in_it_are_not(self, text, caplog):
        """By the rule that holds for records."""
        bench = Bench(Batches(RuntimeError(text)))
        bench.put("a", "b")
        bench.turn()
        assert "RuntimeError: " in caplog.text
        assert "hunter2" not in caplog.text
