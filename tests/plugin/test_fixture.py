"""The fixture `volnux`: what it answers, and the whole text of each assert that fails."""

from __future__ import annotations

import re

import pytest
from tenacity import Retrying, stop_after_attempt

from pytest_volnux._fixture import VolnuxFixture
from volnux.telemetry import Registry, capture, network_op, record_retry, traced_event
from volnux.telemetry.retries import traced_retrying
from volnux.telemetry.testing import FakeClock


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def recorded(clock):
    """Something that happened, and the fixture of a test in which it did."""
    with capture(isolated=True, clock=clock, strict=True) as registry, traced_event("sync"):
        for number in range(2):
            with traced_event("load", attributes={"number": number}):
                clock.advance(0.25)
        with traced_event("fetch"):
            record_retry(TimeoutError("too slow"), delay=0.5)
            clock.advance(1.5)
            with network_op("api.example.org", 443, "GET") as op:
                clock.advance(0.5)
                op.sent(100)
                op.received(5000)
        try:
            with traced_event("parse"):
                clock.advance(0.001)
                raise ValueError("no such thing")
        except ValueError:
            pass
    return VolnuxFixture(lambda: [registry])


def text_of(call):
    with pytest.raises(AssertionError) as caught:
        call()
    return str(caught.value)


TREE = """\
  sync  2.50s
    load  250ms
    load  250ms
    fetch  2.00s  2 attempts
      GET api.example.org:443  500ms  100 B sent, 4.88 KiB received
    parse  1.00ms  failed  ValueError: no such thing"""


def tree(*marked):
    """The tree with some lines marked, by their number."""
    lines = TREE.split("\n")
    return "\n".join(
        "> " + line[2:] if number in marked else line for number, line in enumerate(lines)
    )


class TestAsking:
    def test_events_by_glob_and_status(self, recorded):
        """Oldest first."""
        assert [event.event_name for event in recorded.events()] == [
            "sync",
            "load",
            "load",
            "fetch",
            "parse",
        ]
        assert [event.event_name for event in recorded.events("*c*")] == ["sync", "fetch"]
        assert [event.event_name for event in recorded.events(status="failed")] == ["parse"]

    def test_operations_by_host(self, recorded):
        """With or without the port."""
        assert len(recorded.network_ops()) == 1
        assert len(recorded.network_ops("*.example.org")) == 1
        assert len(recorded.network_ops("api.example.org:443")) == 1
        assert recorded.network_ops("example.org") == []

    def test_totals(self, recorded):
        """Exact, by name."""
        assert {name: stats.count for name, stats in recorded.event_stats().items()} == {
            "sync": 1,
            "load": 2,
            "fetch": 1,
            "parse": 1,
        }
        assert recorded.retry_stats().recovered == 1

    def test_clear(self, recorded):
        """What comes later counts alone."""
        recorded.clear()
        assert recorded.events() == []
        assert recorded.event_stats() == {}

    def test_it_says_what_it_is(self, recorded):
        """In a line that fits into what pytest shows of an assert."""
        assert repr(recorded) == "<volnux: 5 events, 1 network ops, 1 failed>"

    def test_several_registries_are_one(self, clock):
        """As the phases of a test are."""
        registries = []
        for name in ("a", "b"):
            with capture(isolated=True, clock=clock) as registry, traced_event(name):
                clock.advance(1.0)
            registries.append(registry)
        both = VolnuxFixture(lambda: registries)
        assert [event.event_name for event in both.events()] == ["a", "b"]
        assert both.event_stats()["b"].total == 1.0


CASES = {
    "failed": (
        lambda it: it.assert_no_failed(),
        f"1 failed: parse (ValueError)\n\n{tree(5)}\n\nto allow it: volnux.allow_failed('parse')",
    ),
    "failed inside of one": (
        lambda it: it.assert_no_failed("sy*"),
        f"1 failed: parse (ValueError)\n\n{tree(5)}\n\nto allow it: volnux.allow_failed('parse')",
    ),
    "slow": (
        lambda it: it.assert_no_slow(1.0),
        (
            f"2 of 5 took longer than 1.00s: sync 2.50s, fetch 2.00s\n\n{tree(0, 3)}\n\n"
            "to allow it: a threshold of 2.6 seconds"
        ),
    ),
    "slow by name": (
        lambda it: it.assert_no_slow(0.2, "load"),
        (
            f"2 of 2 took longer than 200ms: load 250ms\n\n{tree(1, 2)}\n\n"
            "to allow it: a threshold of 0.26 seconds"
        ),
    ),
    "not recorded": (
        lambda it: it.assert_recorded("fetsch"),
        "no event 'fetsch'; did you mean 'fetch'? seen: load x2, fetch x1, parse x1, sync x1\n\n"
        + TREE,
    ),
    "not so often": (
        lambda it: it.assert_recorded("load", count=3),
        f"2 events 'load', not 3\n\n{tree(1, 2)}",
    ),
    "not with that outcome": (
        lambda it: it.assert_recorded("load", status="failed"),
        f"no event 'load' that is failed; 2 so named: completed\n\n{tree(1, 2)}",
    ),
    "not with that attribute": (
        lambda it: it.assert_recorded("load", attributes={"number": 7}),
        "no event 'load' with number=7; 2 so named: completed number=0, completed number=1\n\n"
        + tree(1, 2),
    ),
    "recorded": (
        lambda it: it.assert_not_recorded("load"),
        f"2 events 'load', and there was to be none\n\n{tree(1, 2)}",
    ),
    "order": (
        lambda it: it.assert_order("fetch", "load"),
        "no event 'load' began after 'fetch'; they began so: sync, load x2, fetch, parse\n\n"
        + tree(1, 2),
    ),
    "retried too often": (
        lambda it: it.assert_retries("fetch", max=0),
        "1 retry of 'fetch' after TimeoutError, at most 0 are allowed\n\n"
        + tree(3)
        + "\n\nto allow it: max=1",
    ),
    "not retried so often": (
        lambda it: it.assert_retries("fetch", exactly=2, error_type=TimeoutError),
        f"1 retry of 'fetch' after TimeoutError, not 2\n\n{tree(3)}",
    ),
    "retried nothing": (
        lambda it: it.assert_retries("fetsch", max=1),
        "no event 'fetsch'; did you mean 'fetch'? seen: load x2, fetch x1, parse x1, sync x1\n\n"
        + TREE,
    ),
    "not recovered": (
        lambda it: it.assert_recovered("load"),
        f"'load' was not retried\n\n{tree(1, 2)}",
    ),
    "too long": (
        lambda it: it.assert_max_seconds("fetch", 1.5),
        "the longest of 1 event 'fetch' took 2.00s, at most 1.50s is allowed\n\n"
        + tree(3)
        + "\n\nto allow it: seconds=2.1",
    ),
    "a quantile too long": (
        lambda it: it.assert_max_seconds("*", 0.2, quantile=0.5),
        "the 0.5 quantile of 5 events '*' took 250ms, at most 200ms is allowed\n\n"
        + tree(0, 1, 2, 3)
        + "\n\nto allow it: seconds=0.26",
    ),
    "too much sent": (
        lambda it: it.assert_bytes(max_sent=10),
        "100 B sent, at most 10 B are allowed\n\n" + tree(4) + "\n\nto allow it: max_sent=100",
    ),
    "too much received": (
        lambda it: it.assert_bytes(host="api.*", max_received=1024),
        "4.88 KiB received from 'api.*', at most 1.00 KiB are allowed\n\n"
        + tree(4)
        + "\n\nto allow it: max_received=5000",
    ),
    "another host": (
        lambda it: it.assert_only_hosts("localhost", "127.*"),
        "1 operation with other hosts: api.example.org:443\n\n"
        + tree(4)
        + "\n\nto allow it: volnux.assert_only_hosts('localhost', '127.*', 'api.example.org')",
    ),
    "any network": (
        lambda it: it.assert_no_network(),
        "1 network operation, and there was to be none: GET api.example.org:443\n\n"
        + tree(4)
        + "\n\nto allow it: volnux.assert_only_hosts('api.example.org')",
    ),
    "repeated": (
        lambda it: it.assert_no_repeats(),
        "ran more than once: load x2 in sync\n\n" + tree(1, 2) + "\n\nto allow it: max=2",
    ),
}


def _one(clock):
    with capture(isolated=True, clock=clock) as registry, traced_event("step"):
        pass
    return registry


class TestFailures:
    @pytest.mark.parametrize("case", CASES)
    def test_say_what_happened(self, recorded, case):
        """The whole text, with what is to blame marked and what would allow it."""
        call, text = CASES[case]
        assert text_of(lambda: call(recorded)) == text

    def test_of_an_empty_test_say_so(self):
        """Nothing was recorded is an answer too."""
        empty = VolnuxFixture(lambda: [Registry()])
        assert text_of(lambda: empty.assert_recorded("load")) == (
            "no event 'load'; no event was recorded"
        )

    def test_of_telemetry_that_is_off_say_so(self, monkeypatch):
        """That is why nothing was recorded."""
        monkeypatch.setenv("VOLNUX_TELEMETRY", "off")
        empty = VolnuxFixture(lambda: [Registry()])
        assert text_of(lambda: empty.assert_recorded("load")) == (
            "no event 'load'; no event was recorded, for VOLNUX_TELEMETRY switches telemetry off"
        )

    def test_of_what_has_not_ended(self, clock):
        """It is shown with its age."""
        with capture(isolated=True, clock=clock) as registry, traced_event("server"):
            clock.advance(2.0)
            it = VolnuxFixture(lambda: [registry])
            assert text_of(it.assert_no_leaks) == "1 not ended: server\n\n> server  2.00s  running"

    def test_of_a_little_too_much_has_the_digits_that_show_it(self, clock):
        """Two numbers that look the same would be a riddle."""
        with (
            capture(isolated=True, clock=clock) as registry,
            traced_event("upload"),
            network_op("files.example.org", 443, "PUT") as op,
        ):
            op.sent(65_537)
            clock.advance(1.0001)
        it = VolnuxFixture(lambda: [registry])
        for call, text in (
            (
                lambda: it.assert_bytes(max_sent=65_536),
                "65,537 B sent, at most 65,536 B are allowed",
            ),
            (
                lambda: it.assert_max_seconds("upload", 1.0),
                "the longest of 1 event 'upload' took 1.0001s, at most 1s is allowed",
            ),
        ):
            assert text_of(call).partition("\n")[0] == text

    def test_of_more_than_is_kept_says_so(self, clock):
        """What was let go can be no part of it."""
        registry = Registry(capacity=2)
        for _ in range(5):
            registry.merge(_one(clock).export())
        text = text_of(lambda: VolnuxFixture(lambda: [registry]).assert_not_recorded("step"))
        assert text == (
            "2 events 'step', and there was to be none\n\n> step  0s\n> step  0s\n"
            "  and 3 records before them that were not kept"
        )

    def test_of_very_much_is_short(self, clock):
        """What is to blame is in it, the rest is counted."""
        with capture(isolated=True, clock=clock) as registry, traced_event("all"):
            for number in range(150):
                with traced_event(f"step {number}"):
                    clock.advance(5.0 if number == 120 else 0.001)
        text = text_of(lambda: VolnuxFixture(lambda: [registry]).assert_no_slow(1.0, "step*"))
        lines = text.split("\n")
        assert len(lines) < 50
        assert ">   step 120  5.00s" in lines
        assert any(re.fullmatch(r" +and \d+ more lines", line) for line in lines)


class TestRepeats:
    def test_of_the_test_itself(self, clock):
        """What runs in no event is the test's, and counts as well."""
        with capture(isolated=True, clock=clock) as registry:
            for _ in range(3):
                with network_op("api.example.org", 443, "GET"):
                    pass
        it = VolnuxFixture(lambda: [registry])
        assert text_of(lambda: it.assert_no_repeats("GET *", max=2)) == (
            "ran more than 2 times: GET api.example.org:443 x3 in the test\n\n"
            + "\n".join(["> GET api.example.org:443  0s  0 B sent, 0 B received"] * 3)
            + "\n\nto allow it: max=3"
        )

    def test_of_retries_are_none(self, clock):
        """Each attempt may do once what is done once."""
        with capture(isolated=True, clock=clock) as registry, traced_event("pay") as event:
            for number in range(3):
                if number:
                    event.retry(TimeoutError("too slow"), delay=0.0)
                with network_op("api.example.org", 443, "GET"):
                    pass
        it = VolnuxFixture(lambda: [registry])
        it.assert_no_repeats()
        with capture(isolated=True, clock=clock) as registry, traced_event("pay") as event:
            event.retry(TimeoutError("too slow"), delay=0.0)
            for _ in range(3):
                with network_op("api.example.org", 443, "GET"):
                    pass
        it = VolnuxFixture(lambda: [registry])
        assert text_of(it.assert_no_repeats).startswith(
            "ran more than once: GET api.example.org:443 x3 in pay\n"
        )
        it.assert_no_repeats(max=2)


class TestFailuresThatARetryGotOver:
    def pay(self, clock, *, last=None, swallowed=False):
        """An event that is retried once, with an operation in each attempt."""
        with capture(isolated=True, clock=clock) as registry:
            try:
                with traced_event("checkout"), traced_event("pay") as event:
                    for error in (TimeoutError("too slow"), last):
                        try:
                            with network_op("pay.example.org", 443, "POST"):
                                clock.advance(0.5)
                                if error:
                                    raise error
                        except TimeoutError:
                            event.retry(error, delay=1.0)
                            clock.advance(1.0)
                    if swallowed:
                        try:
                            with traced_event("log"):
                                raise OSError("disk full")
                        except OSError:
                            pass
            except ValueError:
                pass
        return VolnuxFixture(lambda: [registry])

    def test_are_retries(self, clock):
        """None failed, and one retry at most, can both hold."""
        it = self.pay(clock)
        it.assert_no_failed()
        it.assert_retries("pay", max=1)
        assert repr(it) == "<volnux: 2 events, 2 network ops, 0 failed>"

    def test_fail_where_it_did_not(self, clock):
        """Then all of it did."""
        text = text_of(self.pay(clock, last=ValueError("no")).assert_no_failed)
        assert text.startswith(
            "2 failed: POST pay.example.org:443 (TimeoutError), POST pay.example.org:443 (ValueError)\n\n  checkout  2.00s  failed  ValueError\n"
        )

    def test_are_not_what_fails_in_the_last_attempt(self, clock):
        """That was not tried again."""
        text = text_of(self.pay(clock, swallowed=True).assert_no_failed)
        assert text.partition("\n")[0] == "1 failed: log (OSError)"


class TestRetries:
    def test_that_were_given_up_are_no_recovery(self, clock):
        """Though what gave up went on, and completed."""
        retrying = traced_retrying(
            Retrying(stop=stop_after_attempt(2), sleep=clock.advance, reraise=True)
        )

        def work():
            raise TimeoutError("too slow")

        with (
            capture(isolated=True, clock=clock) as registry,
            traced_event("download"),
            pytest.raises(TimeoutError),
        ):
            retrying(work)
        assert text_of(lambda: VolnuxFixture(lambda: [registry]).assert_recovered("download")) == (
            "'download' was retried after TimeoutError, and did not recover\n\n"
            "> download  0s  2 attempts"
        )
        assert registry.retry_stats().exhausted == 1

    def test_say_which_errors_there_were(self, clock):
        """All of them, with how often where there are several; none where none was given."""
        with capture(isolated=True, clock=clock) as registry, traced_event("pay") as event:
            for error in (TimeoutError(), OSError(), TimeoutError()):
                event.retry(error, delay=0.0)
            with traced_event("load") as inner:
                inner.retry()
        it = VolnuxFixture(lambda: [registry])
        for name, text in (
            ("pay", "3 retries of 'pay' after OSError x1, TimeoutError x2, at most 1 is allowed"),
            ("load", "1 retry of 'load', at most 0 are allowed"),
        ):
            limit = 1 if name == "pay" else 0
            found = text_of(lambda name=name, limit=limit: it.assert_retries(name, max=limit))
            assert found.partition("\n")[0] == text

    def test_in_vain_are_no_recovery(self, clock):
        """And it is said what they were for."""
        with capture(isolated=True, clock=clock) as registry:
            try:
                with traced_event("pay") as event:
                    event.retry(TimeoutError("too slow"), delay=0.0)
                    raise TimeoutError("for good")
            except TimeoutError:
                pass
        assert text_of(lambda: VolnuxFixture(lambda: [registry]).assert_recovered("pay")) == (
            "'pay' was retried after TimeoutError, and did not recover\n\n"
            "> pay  0s  failed  2 attempts  TimeoutError: for good"
        )


class TestAllowing:
    def test_what_may_fail(self, recorded):
        """By the event, or by any that it happened in."""
        recorded.allow_failed("sync")
        recorded.assert_no_failed()

    def test_all_is_well(self, recorded):
        """No assert fails where nothing is wrong."""
        recorded.assert_no_failed("load", "fetch")
        recorded.assert_no_slow(2.6)
        recorded.assert_recorded("load", count=2, status="completed")
        recorded.assert_recorded("load", attributes={"number": 1})
        recorded.assert_not_recorded("save")
        recorded.assert_order("sync", "load", "load", "parse")
        recorded.assert_retries("fetch", exactly=1, error_type="TimeoutError")
        recorded.assert_retries("fetch", max=0, error_type=OSError)
        recorded.assert_recovered("fetch")
        recorded.assert_max_seconds("load", 0.25)
        recorded.assert_bytes(max_sent=100, max_received=5000)
        recorded.assert_only_hosts("*.example.org:443")
        recorded.assert_no_repeats(max=2)
        recorded.assert_no_leaks()


class TestMistakes:
    @pytest.mark.parametrize(
        ("call", "text"),
        [
            (lambda it: it.assert_retries("load"), "assert_retries needs max=N or exactly=N"),
            (
                lambda it: it.assert_bytes(),
                "assert_bytes needs max_sent=BYTES or max_received=BYTES",
            ),
            (
                lambda it: it.assert_max_seconds("load", 1.0, quantile=99),
                "quantile is above 0 and at most 1, such as 0.9, not 99",
            ),
            (
                lambda it: it.assert_no_slow("load"),
                "threshold_seconds is a number of seconds, not 'load'",
            ),
            (lambda it: it.assert_max_seconds("load", -1), "seconds is 0 or more, not -1"),
            (
                lambda it: it.assert_recorded("load", "failed"),
                "count is a whole number, not 'failed'",
            ),
            (lambda it: it.assert_retries("load", max=-1), "max is 0 or more, not -1"),
            (lambda it: it.assert_bytes(max_sent=1.5), "max_sent is a whole number, not 1.5"),
            (lambda it: it.assert_no_repeats("load", max=-2), "max is 0 or more, not -2"),
        ],
    )
    def test_name_the_way_out(self, recorded, call, text):
        """They are the test's, and not what it is about."""
        with pytest.raises(ValueError) as caught:
            call(recorded)
        assert str(caught.value) == text


class TestAskedForLate:
    SUITE = """
import pytest
from program import *

def test_plain():
    load()

def test_late(request):
    load()
    volnux = request.getfixturevalue("volnux")
    load(2)
    fetch()
    volnux.assert_recorded("load", count=1)
    volnux.assert_no_network()

def test_clock(request):
    clock = request.getfixturevalue("volnux_clock")
    slow(clock, 2.5)
    [event] = request.getfixturevalue("volnux").events()
    assert event.duration == 2.5

def test_session(request):  # which has what the other tests recorded
    assert request.getfixturevalue("volnux_session").event_stats()["load"].count == 1

def test_asking(volnux):
    assert volnux.events() == []
"""

    @pytest.mark.parametrize("workers", [(), ("-n1",)])
    def test_it_begins_there(self, suite, workers):
        """What a test asks for while it runs, collection does not know of."""
        result = suite(self.SUITE, *workers)
        result.assert_outcomes(passed=4, failed=1)
        lines = [line for line in result.outlines if line.startswith("E  ")]
        assert lines[0] == (
            "E       AssertionError: 1 network operation, and there was to be none: "
            "GET api.example.org:443"
        )

    def test_alone(self, suite):
        """With no other test that asks, there is nothing of the plugin before it."""
        result = suite(self.SUITE, "-k", "late or plain")
        result.assert_outcomes(passed=1, failed=1, deselected=3)
