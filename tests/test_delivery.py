"""Delivery, one turn at a time on a clock that stands still: what is sent, tried again, given up."""

from __future__ import annotations

import errno
import logging
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volnux.telemetry import (
    EventMetrics,
    MetricsPublisher,
    NetworkMetrics,
    PublishError,
    Registry,
    current_registry,
    traced_event,
)
from volnux.telemetry._backoff import BASE, CAP, Backoff
from volnux.telemetry._delivery import Delivery
from volnux.telemetry._exit import EXIT
from volnux.telemetry._queues import Settings
from volnux.telemetry._sending import describe, send_batch
from volnux.telemetry._wake import Wake
from volnux.telemetry.testing import RecordingPublisher

SETTINGS = Settings(1_000, 10_000_000, 1.0, blocks=False, strict=False)


class Batches(MetricsPublisher):
    """Takes batches; `answers` are what it returns or raises, one a call, then None."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.calls = []

    def publish_event_metrics(self, metrics):
        raise AssertionError("it takes batches")

    publish_network_metrics = publish_event_metrics

    def publish_batch(self, records):
        self.calls.append([record.event_name for record in records])
        answer = self.answers.pop(0) if self.answers else None
        if callable(answer):
            answer = answer(records)
        if isinstance(answer, BaseException):
            raise answer
        return answer


class Bench:
    """A delivery without a thread: its turns are taken here, on a clock of its own."""

    def __init__(self, publisher, settings=SETTINGS):
        self.time = 100.0
        self.registry = Registry(strict=settings.strict)
        self.delivery = Delivery(
            publisher, "bench", settings, now=lambda: self.time, uniform=lambda low, high: high
        )
        self.delivery._sources.registries = (self.registry,)
        self.registry.subscribe(self.delivery.accept)
        EXIT.remove(self.delivery)

    def put(self, *names):
        for name in names:
            self.registry.add(EventMetrics(event_name=name, task_id=name))

    def turn(self, count=1):
        """Take some turns; return the pause after the last."""
        for _ in range(count):
            pause = self.delivery.turn()
        return pause

    def run(self, most=500):
        """Take turns, waiting as told, until nothing is pending; return the waits."""
        waits = []
        for _ in range(most):
            pause = self.turn()
            if not self.delivery.counts().pending:
                return waits
            if pause:
                waits.append(pause)
                self.time += pause
        raise AssertionError(f"still pending after {most} turns: {self.counts}")

    @property
    def counts(self):
        counts = self.delivery.counts()
        assert counts.accepted == counts.delivered + sum(counts.dropped.values()) + counts.pending
        return (counts.delivered, dict(counts.dropped), counts.pending)


class TestSending:
    """The way of a record that meets no trouble."""

    def test_each_kind_goes_to_its_method(self):
        """Events come as records, network operations as dicts, in the order of their ends."""
        publisher = RecordingPublisher()
        bench = Bench(publisher)
        event = EventMetrics(event_name="load", task_id="01")
        op = NetworkMetrics(host="example.org", task_id="02", port=443)
        bench.registry.add(event)
        bench.registry.add(op)
        assert bench.turn() == 1.0
        assert (publisher.events, publisher.network_ops) == ([event], [op.to_dict()])
        assert bench.counts == (2, {}, 0)

    def test_batches_go_to_publish_batch(self):
        """A publisher with a way of its own gets many at once, at most 256."""
        publisher = Batches()
        bench = Bench(publisher)
        bench.put(*map(str, range(300)))
        assert bench.turn() == 0.0
        assert bench.turn() == 1.0
        assert [len(call) for call in publisher.calls] == [256, 44]

    def test_records_stay_pending_until_the_publisher_returns(self):
        """Looked at from inside the publisher, nothing has been delivered yet."""
        seen = []
        publisher = Batches(lambda records: seen.append(bench.counts))
        bench = Bench(publisher)
        bench.put("a", "b")
        bench.turn()
        assert seen == [(0, {}, 2)]

    def test_any_object_with_the_two_methods_will_do(self):
        """No base class, no flush and no close are needed."""

        class Plain:
            def __init__(self):
                self.names = []

            def publish_event_metrics(self, metrics):
                self.names.append(metrics.event_name)

            def publish_network_metrics(self, metrics):
                self.names.append(metrics["host"])

        publisher = Plain()
        bench = Bench(publisher)
        bench.put("a")
        bench.turn()
        assert publisher.names == ["a"]

    def test_an_empty_queue_waits_for_the_interval(self):
        """Without records the publisher is left alone."""
        publisher = Batches()
        bench = Bench(publisher)
        assert bench.turn() == SETTINGS.interval
        assert publisher.calls == []


class TestVerdicts:
    """What a publisher may say of each record."""

    def test_ok_duplicate_and_reject_leave_the_queue(self):
        """A duplicate has arrived; a rejected record is dropped and counted."""
        bench = Bench(Batches(["ok", "duplicate", "reject"]))
        bench.put("a", "b", "c")
        bench.turn()
        assert bench.counts == (2, {"rejected": 1}, 0)

    def test_retry_sends_that_record_again_before_newer_ones(self):
        """Only what did not arrive is sent twice, after a pause."""
        publisher = Batches(["ok", "retry", "ok"])
        bench = Bench(publisher)
        bench.put("a", "b", "c")
        bench.turn()
        assert bench.counts == (2, {}, 1)
        bench.put("d")
        assert bench.run() == [3 * BASE]
        assert publisher.calls == [["a", "b", "c"], ["b", "d"]]

    def test_a_record_sent_back_ten_times_among_others_that_arrive_is_given_up(self):
        """It is not the back end then, it is the record."""
        bench = Bench(Batches(*[lambda r: ["retry", *["ok"] * (len(r) - 1)]] * 12))
        bench.put("bad", *"abcdefghijkl")
        for name in "mnopqrstuvw":
            if bench.counts[2]:
                bench.turn()
                bench.time += CAP
                bench.put(name)
        bench.run()
        assert bench.counts[1] == {"poison": 1}

    def test_an_answer_that_is_no_verdicts_counts_as_delivered(self):
        """It did return, so sending again would double them; health tells of the mistake."""
        for answer in ("ok", [True], 7, ["ok", "ok"], ["fine"]):
            bench = Bench(Batches(answer))
            bench.put("a")
            bench.turn()
            assert bench.counts == (1, {}, 0)
            assert bench.registry.health().errors["publish"] == {"TelemetryError": 1}


class TestOutage:
    """A back end that is away: the records wait."""

    @pytest.mark.parametrize(
        "error", [OSError("down"), ConnectionRefusedError(), PublishError("503"), TimeoutError()]
    )
    def test_records_wait_and_arrive_in_order(self, error):
        """The same batch comes again, nothing is lost, nothing doubled."""
        publisher = Batches(*[error] * 20)
        bench = Bench(publisher)
        bench.put("a", "b")
        bench.run()
        assert publisher.calls == [["a", "b"]] * 21
        assert bench.counts == (2, {}, 0)

    def test_waits_grow_to_their_limit(self):
        """Drawn between the shortest and three times the last one: here always the most."""
        bench = Bench(Batches(*[OSError()] * 7))
        bench.put("a")
        assert bench.run() == [0.75, 2.25, 6.75, 20.25, CAP, CAP, CAP]

    def test_a_success_forgets_the_waits(self):
        """The next outage begins with the shortest."""
        bench = Bench(Batches(OSError(), OSError(), None, OSError()))
        bench.put("a")
        bench.run()
        bench.put("b")
        assert bench.run() == [0.75]

    def test_nothing_is_sent_while_it_waits(self):
        """However many records come, and whoever looks."""
        publisher = Batches(OSError())
        bench = Bench(publisher)
        bench.put("a")
        bench.turn()
        bench.put("b")
        assert bench.turn(5) == 0.75
        assert publisher.calls == [["a"]]

    def test_retry_after_is_obeyed(self):
        """A back end that asks for more time gets it; one that asks for less has no say."""
        errors = [PublishError("429", retry_after=seconds) for seconds in (17.0, 0.1)]
        bench = Bench(Batches(*errors))
        bench.put("a")
        assert bench.run() == [17.0, 2.25]

    @pytest.mark.parametrize("asked", [float("nan"), float("inf"), -1.0, "soon"])
    def test_a_senseless_retry_after_is_ignored(self, asked):
        """What is no number of seconds cannot stop delivery."""
        bench = Bench(Batches(PublishError("429", retry_after=asked)))
        bench.put("a")
        assert bench.run() == [0.75]

    def test_an_hour_is_the_longest_wait(self):
        """A year's Retry-After is a mistake of the server."""
        bench = Bench(Batches(PublishError("429", retry_after=1e9)))
        bench.put("a")
        assert bench.run() == [3600.0]

    def test_one_at_a_time_goes_on_where_it_stopped(self):
        """What has arrived before the failure is not sent again."""

        class Third(RecordingPublisher):
            failures = 1

            def publish_event_metrics(self, metrics):
                if metrics.event_name == "c" and self.failures:
                    self.failures -= 1
                    raise ConnectionResetError
                super().publish_event_metrics(metrics)

        publisher = Third()
        bench = Bench(publisher)
        bench.put(*"abcd")
        bench.turn()
        assert bench.counts == (2, {}, 2)
        bench.run()
        assert [record.event_name for record in publisher.events] == [*"abcd"]

    def test_a_full_queue_drops_the_newest_by_reason(self):
        """While the back end is away, the bound holds."""
        bench = Bench(Batches(*[OSError()] * 9), SETTINGS._replace(queue_items=3))
        bench.put(*"abcde")
        bench.turn()
        assert bench.counts == (0, {"queue_full": 2}, 3)


class TestPoison:
    """A record that cannot be delivered does not stop the others."""

    def test_the_one_to_blame_is_found_in_a_batch_and_set_aside(self):
        """All others arrive, once each."""

        def picky(records):
            if any(record.event_name == "bad" for record in records):
                return ValueError("cannot render")
            delivered.extend(record.event_name for record in records)
            return None

        delivered = []
        names = [*map(str, range(100)), "bad", *map(str, range(100, 200))]
        bench = Bench(Batches(*[picky] * 500))
        bench.put(*names)
        bench.run()
        assert delivered == [name for name in names if name != "bad"]
        assert bench.counts == (200, {"poison": 1}, 0)

    def test_it_is_tried_three_times_alone(self):
        """With pauses between, in case it was not the record after all."""
        publisher = Batches(*[TypeError()] * 3)
        bench = Bench(publisher)
        bench.put("bad")
        assert bench.run() == [0.75, 2.25]
        assert bench.counts == (0, {"poison": 1}, 0)

    def test_one_at_a_time_it_is_known_at_once(self):
        """No splitting is needed to know which call raised."""

        class Picky(RecordingPublisher):
            tries = 0

            def publish_event_metrics(self, metrics):
                if metrics.event_name == "bad":
                    self.tries += 1
                    raise KeyError("colour")
                super().publish_event_metrics(metrics)

        publisher = Picky()
        bench = Bench(publisher)
        bench.put("a", "bad", "b")
        bench.run()
        assert (len(publisher.events), publisher.tries) == (2, 3)
        assert bench.counts == (2, {"poison": 1}, 0)

    def test_a_permanent_failure_is_not_repeated(self):
        """`PublishError(permanent=True)` gives up what it was raised for."""
        publisher = Batches(PublishError("schema", permanent=True))
        bench = Bench(publisher)
        bench.put("a", "b")
        bench.turn()
        bench.put("c")
        bench.run()
        assert publisher.calls == [["a", "b"], ["c"]]
        assert bench.counts == (1, {"rejected": 2}, 0)

    def test_what_a_forked_child_returns_from_the_publisher_is_nobody_s(self):
        """A process forked inside a publisher has a queue of its own by then."""
        bench = Bench(Batches(lambda records: bench.delivery._after_fork()))
        bench.put("a")
        bench.turn()
        assert bench.counts == (0, {}, 0)

    def test_even_sys_exit_in_a_publisher_is_only_an_error(self):
        """It neither ends the thread nor the process."""
        bench = Bench(Batches(SystemExit(3)))
        bench.put("a")
        bench.run()
        assert bench.counts == (1, {}, 0)
        assert bench.registry.health().errors == {"publish": {"SystemExit": 1}}

    def test_ctrl_c_where_there_is_no_thread_is_the_program_s(self):
        """It passes through, and the records stay."""
        bench = Bench(Batches(KeyboardInterrupt()))
        bench.put("a")
        with pytest.raises(KeyboardInterrupt):
            bench.turn()
        bench = Bench(type("One", (RecordingPublisher,), {"publish_event_metrics": _interrupt})())
        bench.put("a")
        with pytest.raises(KeyboardInterrupt):
            bench.turn()
        assert bench.counts == (0, {}, 1)


def _interrupt(self, metrics):
    raise KeyboardInterrupt


class TestTelling:
    """Trouble is told in health, and in the log once."""

    def test_an_outage_is_logged_once_with_its_type(self, caplog):
        """Not once a try, and without a text that may hold a password."""
        bench = Bench(Batches(*[ConnectionError("https://user:pass@host/")] * 5))
        bench.put("a")
        bench.run()
        assert caplog.messages == [
            (
                "publisher bench fails: ConnectionError; records wait in its queue "
                "(see Monitor.health())"
            )
        ]
        assert bench.registry.health().errors == {"publish": {"ConnectionError": 5}}

    def test_the_system_s_own_words_are_told(self):
        """They say what to do and hold nothing of the program's."""
        full = OSError(errno.ENOSPC, "https://user:pass@host/")
        error = PublishError("cannot write")
        error.__cause__ = full
        assert describe(full) == "OSError: No space left on device"
        assert describe(error) == "PublishError: No space left on device"
        assert describe(ValueError("secret")) == "ValueError"

    def test_each_kind_of_loss_is_logged(self, caplog):
        """Rejected, poison and a full queue, once each within a minute."""
        bench = Bench(
            Batches(["reject"], *[TypeError()] * 3, ["reject"]),
            SETTINGS._replace(queue_items=1),
        )
        bench.put("a")
        bench.run()
        bench.put("b", "c")
        bench.run()
        bench.put("d")
        bench.run()
        texts = [text.removesuffix(" (see Monitor.health())") for text in caplog.messages]
        assert texts == [
            "publisher bench rejected records: 1",
            "publisher bench does not keep up: its queue is full, dropped 1 records",
            "publisher bench fails: TypeError; records wait in its queue",
            "publisher bench fails at some records; gave up on 1",
        ]

    def test_the_next_outage_after_a_minute_is_logged_again(self, caplog):
        """One that follows sooner is not: a back end that comes and goes fills no log."""
        bench = Bench(Batches(OSError(), None, OSError(), None, OSError(), None))
        for pause in (0.0, 1.0, 60.0):
            bench.time += pause
            bench.put("a")
            bench.run()
        assert len(caplog.messages) == 2

    def test_strict_keeps_the_first_error_for_the_caller(self):
        """`raise_errors` raises it, and then starts again."""
        errors = [TypeError("first"), OSError("second")]
        bench = Bench(Batches(*errors), SETTINGS._replace(strict=True))
        bench.put("a")
        bench.run()
        with pytest.raises(TypeError, match="first"):
            bench.delivery.raise_errors()
        bench.delivery.raise_errors()

    def test_its_repr_says_how_it_goes(self):
        """For the debugger: name and counts."""
        assert repr(Bench(Batches()).delivery) == (
            "<Delivery to bench: Counts(accepted=0, delivered=0, dropped={}, pending=0, spooled=0)>"
        )


class TestClosing:
    """Closing shares one deadline between everything that is left to do."""

    def close_by(self, bench, deadline):
        bench.delivery._queue.refuse()
        bench.delivery._close_by = deadline
        bench.delivery._sender.backoff.hurry()

    def test_what_is_left_is_sent_and_the_publisher_closed(self):
        """In this order, and then there are no more turns."""

        class Closing(Batches):
            def close(self, timeout=None):
                self.calls.append(("close", timeout))

        publisher = Closing()
        bench = Bench(publisher)
        bench.put("a")
        self.close_by(bench, 105.0)
        assert bench.turn() is None
        assert bench.turn() is None
        assert publisher.calls == [["a"], ("close", 5.0)]
        assert bench.counts == (1, {}, 0)

    def test_it_interrupts_a_pause_and_tries_at_once(self):
        """A back end that was away may be back."""
        bench = Bench(Batches(OSError()))
        bench.put("a")
        assert bench.turn(2) == 0.75
        self.close_by(bench, 105.0)
        assert bench.turn() is None
        assert bench.counts == (1, {}, 0)

    def test_it_tries_until_the_next_pause_would_end_too_late(self):
        """And then gives up, without waiting for the deadline in vain."""
        publisher = Batches(*[OSError()] * 99)
        bench = Bench(publisher)
        bench.put("a", "b")
        self.close_by(bench, 105.0)
        while (pause := bench.turn()) is not None:
            bench.time += pause
        assert (bench.time, len(publisher.calls)) == (103.0, 3)
        assert bench.counts == (0, {"shutdown": 2}, 0)

    def test_it_does_not_interrupt_what_the_back_end_asked_for(self):
        """A Retry-After beyond the deadline means giving up."""
        publisher = Batches(PublishError("429", retry_after=60))
        bench = Bench(publisher)
        bench.put("a")
        bench.turn()
        self.close_by(bench, 105.0)
        assert bench.turn() is None
        assert len(publisher.calls) == 1
        assert bench.counts == (0, {"shutdown": 1}, 0)

    def test_one_at_a_time_stops_at_the_deadline(self, caplog):
        """What was not sent by then is given up, counted, and told."""

        class Slow(RecordingPublisher):
            def publish_event_metrics(self, metrics):
                bench.time += 2.0
                super().publish_event_metrics(metrics)

        bench = Bench(Slow())
        bench.put(*"abcdef")
        self.close_by(bench, 105.0)
        bench.run()
        assert bench.counts == (3, {"shutdown": 3}, 0)
        assert "was too slow to close: lost 3 records" in caplog.text

    def test_who_closes_goes_on_when_what_is_lost_was_told(self):
        """He may end the process, and with it the thread that has given up and is about to say so."""
        closed = threading.Event()
        early = []

        def close():
            bench.delivery.finish_close()
            closed.set()

        def emit(record):
            closing.start()
            early.append(closed.wait(0.2))

        bench = Bench(Batches("ok"))
        bench.put("a")
        self.close_by(bench, bench.time)
        closing = threading.Thread(target=close)
        log, handler = logging.getLogger("volnux.telemetry"), logging.Handler()
        handler.emit = emit
        log.addHandler(handler)
        try:
            bench.turn()
        finally:
            log.removeHandler(handler)
        closing.join()
        assert early == [False]
        assert bench.counts == (0, {"shutdown": 1}, 0)

    def test_hooks_need_not_take_a_timeout(self):
        """A plain `close(self)` and `flush(self)` are called as they are."""

        class Plain(RecordingPublisher):
            closed = False

            def close(self):
                self.closed = True

        publisher = Plain()
        bench = Bench(publisher)
        self.close_by(bench, 105.0)
        bench.turn()
        assert publisher.closed

    def test_a_hook_that_raises_is_counted(self):
        """Closing is done all the same."""

        class Bad(RecordingPublisher):
            close = property(lambda self: _raiser(LookupError()))

        bench = Bench(Bad())
        self.close_by(bench, 105.0)
        assert bench.turn() is None
        assert bench.registry.health().errors == {"publish": {"LookupError": 1}}

    def test_a_hook_written_in_c_is_given_the_timeout(self):
        """Where there is no signature to read."""
        bench = Bench(type("C", (RecordingPublisher,), {"close": staticmethod(max)})())
        self.close_by(bench, 105.0)
        assert bench.turn() is None
        assert bench.registry.health().errors == {"publish": {"TypeError": 1}}


def _raiser(error):
    def hook(timeout=None):
        raise error

    return hook


ANSWERS = st.lists(
    st.one_of(
        st.sampled_from(
            [None, OSError(), PublishError("x"), PublishError("x", permanent=True), ValueError()]
        ),
        st.randoms(use_true_random=False),
    ),
    max_size=30,
)


@given(answers=ANSWERS, batches=st.lists(st.integers(0, 60), max_size=8))
def test_nothing_is_lost_uncounted_whatever_the_publisher_answers(answers, batches):
    """Through any answers: the sum holds, and what the publisher has taken is what is delivered."""
    taken = []

    def judge(dice):
        def answer(records):
            verdicts = [dice.choice(["ok", "duplicate", "retry", "reject"]) for _ in records]
            pairs = zip(records, verdicts, strict=True)
            taken.extend(r.event_name for r, v in pairs if v in {"ok", "duplicate"})
            return verdicts

        return answer

    def take(records):
        taken.extend(record.event_name for record in records)

    script = [take if a is None else judge(a) if hasattr(a, "choice") else a for a in answers] + [
        take
    ] * 1_000
    bench = Bench(Batches(*script), SETTINGS._replace(queue_items=100))
    put = 0
    for size in batches:
        bench.put(*(str(put + number) for number in range(size)))
        put += size
        bench.time += bench.turn() or 0.0
        assert sum(bench.counts[1].values()) + bench.counts[0] + bench.counts[2] == put
    bench.run()
    assert bench.counts[0] == len(taken) == len(set(taken))


def test_a_backoff_is_drawn_between_the_shortest_and_thrice_the_last():
    """The bounds that the dice are given, so that many clients spread out."""
    asked = []
    backoff = Backoff(lambda low, high: asked.append((low, high)) or 1.0)
    backoff.failed(10.0)
    backoff.failed(10.0)
    assert asked == [(BASE, 3 * BASE), (BASE, 3.0)]
    assert (backoff.remaining(10.5), backoff.remaining(12.0)) == (0.5, 0.0)


def test_a_wake_is_remembered_once():
    """Set twice before anybody waits, it wakes one wait."""
    wake = Wake()
    wake.set()
    wake.set()
    assert wake.wait(0.0)
    assert not wake.wait(-1.0)


def test_send_batch_tells_what_the_publisher_answered_wrongly():
    """The message says what was expected."""
    sent = send_batch(Batches("ok"), [EventMetrics(event_name="a", task_id="1")])
    assert str(sent.fault) == (
        "publish_batch must return None or one verdict for each of 1 records, not a str"
    )


class TestThread:
    """With the real thread: one for each publisher, and nothing recorded inside."""

    @pytest.fixture
    def deliver(self):
        """Make deliveries that are closed after the test."""
        made = []

        def make(publisher, **changes):
            settings = SETTINGS._replace(interval=60.0)._replace(**changes)
            delivery = Delivery(publisher, "threaded", settings, uniform=lambda low, high: 0.0)
            registry = Registry()
            delivery.attach(registry)
            made.append(delivery)
            return delivery, registry

        yield make
        for delivery in made:
            delivery.begin_close(float("inf"))
            delivery.finish_close()

    def flush(self, delivery):
        return delivery.finish_flush(delivery.begin_flush(float("inf")))

    def test_a_publisher_is_called_in_a_thread_of_its_own(self, deliver):
        """Always the same one, named for the publisher, and a daemon."""
        threads = []

        class Where(Batches):
            def publish_batch(self, records):
                threads.append(threading.current_thread())

            def flush(self, timeout=None):
                threads.append(threading.current_thread())
                return True

        delivery, registry = deliver(Where())
        for name in "ab":
            registry.add(EventMetrics(event_name=name, task_id=name))
            assert self.flush(delivery)
        assert {(thread.name, thread.daemon) for thread in threads} == {("volnux-threaded", True)}
        assert len(threads) == 4

    def test_what_a_publisher_does_is_not_recorded(self, deliver):
        """It may call traced code without feeding itself."""

        @traced_event
        def send():
            pass

        class Traced(Batches):
            def publish_batch(self, records):
                send()
                self.calls.append(len(records))

        publisher = Traced()
        delivery, registry = deliver(publisher)
        registry.add(EventMetrics(event_name="a", task_id="1"))
        assert self.flush(delivery)
        assert publisher.calls == [1]
        assert current_registry().event_stats().keys().isdisjoint({"send"})

    def test_flush_waits_for_what_was_there_and_for_the_publisher_s_own_flush(self, deliver):
        """And tells when the publisher says that something is left."""

        class Holding(Batches):
            def flush(self, timeout=None):
                return timeout is not None

        delivery, registry = deliver(Holding())
        registry.add(EventMetrics(event_name="a", task_id="1"))
        assert not self.flush(delivery)
        flush = delivery.begin_flush(delivery._now() + 60)
        assert delivery.finish_flush(flush)

    def test_a_hanging_publisher_keeps_nobody_beyond_the_deadline(self, deliver):
        """Flush and close return False, its records are given up, and its return changes nothing."""
        entered, release = threading.Event(), threading.Event()

        def hang(records):
            entered.set()
            release.wait()

        delivery, registry = deliver(Batches(hang))
        registry.add(EventMetrics(event_name="a", task_id="1"))
        flush = delivery.begin_flush(0.0)
        entered.wait()
        assert not delivery.finish_flush(flush)
        delivery.begin_close(0.0)
        assert not delivery.finish_close()
        gone = delivery.counts()
        assert (gone.delivered, gone.dropped, gone.pending) == (0, {"shutdown": 1}, 0)
        release.set()
        delivery._thread.join()
        assert delivery.counts() == gone

    def test_a_flush_without_end_ends_with_the_close(self, deliver):
        """Who waits for a publisher that hangs is told when its records are given up."""
        entered, release = threading.Event(), threading.Event()

        def hang(records):
            entered.set()
            release.wait()

        delivery, registry = deliver(Batches(hang))
        registry.add(EventMetrics(event_name="a", task_id="1"))
        flush = delivery.begin_flush(float("inf"))
        entered.wait()
        delivery.begin_close(0.0)
        assert not delivery.finish_close()
        assert not delivery.finish_flush(flush)
        release.set()

    def test_a_publisher_that_flushes_its_own_delivery_is_told_no(self, deliver):
        """Instead of waiting for itself for ever; closing from there only begins."""
        answers = []

        def recurse(records):
            answers.append(self.flush(delivery))
            delivery.begin_close(float("inf"))
            answers.append(delivery.finish_close())

        delivery, registry = deliver(Batches(recurse))
        registry.add(EventMetrics(event_name="a", task_id="1"))
        delivery._wake.hurry()
        delivery._thread.join()
        assert answers == [False, False]
        assert delivery.counts().delivered == 1
        assert self.flush(delivery)

    def test_a_queue_that_fills_is_delivered_before_its_interval(self, deliver):
        """The thread is woken, an hour early if need be."""
        delivered = threading.Event()
        _, registry = deliver(Batches(lambda records: delivered.set()), queue_items=8)
        for name in "abcdef":
            registry.add(EventMetrics(event_name=name, task_id=name))
        assert delivered.wait(60)

    def test_a_fault_inside_does_not_end_the_thread(self, deliver, monkeypatch):
        """It is counted, and the work goes on."""
        publisher = Batches()
        delivery, registry = deliver(publisher, interval=0.001)
        faulty = threading.Event()

        def fault(*_):
            faulty.set()
            raise ZeroDivisionError

        with monkeypatch.context() as patch:
            patch.setattr(delivery._sender, "attempt", fault)
            registry.add(EventMetrics(event_name="a", task_id="1"))
            delivery._wake.hurry()
            assert faulty.wait(60)
        assert self.flush(delivery)
        assert publisher.calls == [["a"]]
        assert registry.health().errors["publish"]["ZeroDivisionError"] >= 1

    def test_a_full_queue_holds_up_the_program_when_asked_to(self, deliver):
        """Nothing is dropped, however small the queue."""
        delivery, registry = deliver(Batches(), queue_items=3, blocks=True)
        for number in range(50):
            registry.add(EventMetrics(event_name="a", task_id=str(number)))
        assert self.flush(delivery)
        assert delivery.counts()[:3] == (50, 50, {})

    def test_a_program_is_held_up_no_longer_once_that_was_in_vain(self, deliver, monkeypatch):
        """A dead back end costs one wait, not one for each batch."""
        entered, release = threading.Event(), threading.Event()

        def hang(records):
            entered.set()
            release.wait()

        delivery, registry = deliver(Batches(hang), queue_items=1, blocks=True)
        registry.add(EventMetrics(event_name="a", task_id="1"))
        delivery._wake.hurry()
        entered.wait()
        waits = []
        monkeypatch.setattr(delivery._room, "wait", waits.append)
        for number in range(3):
            registry.add(EventMetrics(event_name="a", task_id=str(number)))
        release.set()
        assert self.flush(delivery)
        assert waits == [5.0]
        assert delivery.counts()[:3] == (4, 1, {"queue_full": 3})

    def test_ctrl_c_while_held_up_is_the_program_s(self, deliver, monkeypatch):
        """What was still to be queued is counted as dropped."""
        entered, release = threading.Event(), threading.Event()

        def hang(records):
            entered.set()
            release.wait()

        delivery, registry = deliver(Batches(hang), queue_items=1, blocks=True)
        registry.add(EventMetrics(event_name="a", task_id="1"))
        delivery._wake.hurry()
        entered.wait()
        monkeypatch.setattr(delivery._room, "wait", lambda seconds: _interrupt(0, 0))
        raws = delivery._queue.peek(1)
        with pytest.raises(KeyboardInterrupt):
            delivery.accept(raws)
        release.set()
        assert self.flush(delivery)
        assert delivery.counts()[:3] == (2, 1, {"queue_full": 1})

    @pytest.mark.parametrize("blocks", [True, False])
    def test_without_a_thread_whoever_flushes_does_the_work(self, deliver, monkeypatch, blocks):
        """As at the end of the interpreter, when no thread can be started any more."""

        def refuse(self):
            raise RuntimeError("can't start new thread at interpreter shutdown")

        monkeypatch.setattr(threading.Thread, "start", refuse)
        publisher = Batches(OSError())
        delivery, registry = deliver(publisher, blocks=blocks)
        registry.add(EventMetrics(event_name="a", task_id="1"))
        assert self.flush(delivery)
        assert publisher.calls == [["a"], ["a"]]
        delivery.begin_close(float("inf"))
        assert delivery.finish_close()

    def test_without_a_thread_a_flush_ends_at_its_deadline(self, deliver, monkeypatch):
        """The back end's failures are not waited for beyond it."""

        def refuse(self):
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            delivery, registry = deliver(Batches(OSError()))
            registry.add(EventMetrics(event_name="a", task_id="1"))
            flush = delivery.begin_flush(delivery._now())
            assert not delivery.finish_flush(flush)
        assert delivery.counts().pending == 1

    def test_without_a_thread_a_close_waits_for_the_back_end(self, monkeypatch):
        """As long as its deadline allows: it is tried again after a pause."""

        def refuse(self):
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", refuse)
        publisher = Batches(OSError(), OSError())
        delivery = Delivery(publisher, "alone", SETTINGS, uniform=lambda low, high: 0.01)
        registry = Registry()
        delivery.attach(registry)
        registry.add(EventMetrics(event_name="a", task_id="1"))
        delivery.begin_close(delivery._now() + 60)
        assert delivery.finish_close()
        assert publisher.calls == [["a"]] * 3
        assert delivery.counts() == (1, 1, {}, 0, 0)

    def test_two_that_flush_at_once_without_a_thread_share_the_work(self, deliver, monkeypatch):
        """One does it, the other only waits."""
        delivery, registry = deliver(Batches())
        delivery._thread = None
        registry.add(EventMetrics(event_name="a", task_id="1"))
        with delivery._working:
            assert not delivery.finish_flush(delivery.begin_flush(0.0))
        assert self.flush(delivery)

    def test_detaching_twice_is_detaching_once(self, deliver):
        """The registry goes on without it."""
        delivery, registry = deliver(Batches())
        delivery._sources.detach()
        delivery._sources.detach()
        registry.add(EventMetrics(event_name="a", task_id="1"))
        assert delivery.counts().accepted == 0

    def test_closed_is_closed(self, deliver):
        """What comes later is dropped for that reason, and there is nothing to flush."""
        delivery, registry = deliver(Batches())
        delivery.begin_close(float("inf"))
        assert delivery.finish_close()
        registry.subscribe(delivery.accept)
        registry.add(EventMetrics(event_name="a", task_id="1"))
        assert self.flush(delivery)
        assert delivery.counts() == (1, 0, {"closed": 1}, 0, 0)
        assert not delivery.start()
