"""The fixture `volnux`: what it answers, and the whole text of each assert that fails."""

from __future__ import annotations

import re

import pytest

from pytest_volnux._fixture import VolnuxFixture
from volnux.telemetry import Registry, capture, network_op, record_retry, traced_event
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
        f"1 failed: parse\n\n{tree(5)}\n\nto allow it: volnux.allow_failed('parse')",
    ),
    "failed inside of one": (
        lambda it: it.assert_no_failed("sy*"),
        f"1 failed: parse\n\n{tree(5)}\n\nto allow it: volnux.allow_failed('parse')",
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
        "no event 'load' began after 'fetch'; they began so: sync, load, fetch, parse\n\n"
        + tree(1, 2),
    ),
    "retried too often": (
        lambda it: it.assert_retries("fetch", max=0),
        "1 retry of 'fetch', at most 0 are allowed\n\n" + tree(3) + "\n\nto allow it: max=1",
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
        + "\n\nto allow it: volnux.assert_only_hosts('api.example.org', ...)",
    ),
    "any network": (
        lambda it: it.assert_no_network(),
        "1 network operation, and there was to be none: GET api.example.org:443\n\n"
        + tree(4)
        + "\n\nto allow it: volnux.assert_only_hosts(...)",
    ),
    "repeated": (
        lambda it: it.assert_no_repeats(),
        "repeated more than once: load x2 in sync\n\n" + tree(1, 2) + "\n\nto allow it: max=2",
    ),
}


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

    def test_of_what_has_not_ended(self, clock):
        """It is shown with its age."""
        with capture(isolated=True, clock=clock) as registry, traced_event("server"):
            clock.advance(2.0)
            it = VolnuxFixture(lambda: [registry])
            assert text_of(it.assert_no_leaks) == "1 not ended: server\n\n> server  2.00s  running"

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
                "quantile is more than 0 and at most 1, such as 0.9, not 99",
            ),
        ],
    )
    def test_name_the_way_out(self, recorded, call, text):
        """They are the test's, and not what it is about."""
        with pytest.raises(ValueError) as caught:
            call(recorded)
        assert str(caught.value) == text
