"""What a spool keeps: lines that give back the record they were made of."""

from __future__ import annotations

import json

import pytest

from tests.workers import busy
from volnux.telemetry import (
    capture,
    network_op,
    pipeline,
    record_retry,
    traced_event,
)
from volnux.telemetry._encoding import entry_of, lines_of
from volnux.telemetry._render import record_of
from volnux.telemetry._stamps import micros_to_iso, to_iso


def plain():
    """Nothing but completed events and operations, one in the other."""
    with traced_event("outer"), traced_event("inner"):
        with network_op("db", 5432, operation="query"):
            pass
        with network_op("db", None):
            pass


def with_attributes():
    """Of the step, and of the pipeline."""
    with (
        pipeline("nightly", region="eu", rows=[1, {"a": None}]),
        traced_event("load", attributes={"n": 1}),
        network_op("db", 5432),
    ):
        pass


def with_bytes():
    """Counted, with the time of the first."""
    with network_op("db", 5432) as op:
        op.sent(10)
        op.received(20)


def failing():
    """An error that passes through an event, after a retry."""
    with pytest.raises(ValueError, match="bad"), traced_event("outer"), traced_event("inner"):
        record_retry(OSError("busy"), delay=0.5)
        raise ValueError("bad: \u2028 \ud800 \x00 é")


def stream():
    """A generator."""

    @traced_event
    def rows():
        yield from range(3)

    list(rows())


@pytest.mark.parametrize(
    "work",
    [plain, with_attributes, with_bytes, failing, stream, busy],
    ids=lambda work: work.__name__,
)
def test_a_line_gives_back_its_record(clock, work):
    """Every field, whatever kind of entry it is."""
    with capture(isolated=True, clock=clock) as registry:
        work()
    records = [*registry.events(), *registry.network_ops()]
    raws = [record._raw for record in records]
    assert [record_of(entry_of(line)) for line in lines_of(raws)] == records
    assert records


def test_a_line_is_one_line(registry):
    """Whatever the record says."""
    failing()
    for line in lines_of([event._raw for event in registry.events()]):
        assert len(line.splitlines()) == 1
        assert json.loads(line)["kind"] == "event"


def test_a_record_from_elsewhere_is_kept_as_well(registry):
    """What another process has sent."""
    with traced_event("work"):
        pass
    [event] = registry.events()
    [line] = lines_of([event._raw])
    [again] = lines_of([entry_of(line)])
    assert record_of(entry_of(again)) == event


@pytest.mark.parametrize(
    "micros", [0, 1, 999_999, 1_700_000_000_123_456, -1, 253_402_300_799_999_999, 10**30, -(10**30)]
)
def test_a_stamp_is_that_of_to_iso(micros):
    """Also where no calendar reaches."""
    assert micros_to_iso(micros) == to_iso(micros / 1e6)
