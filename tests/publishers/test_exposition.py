"""How a scrape of many series leaves the program its time."""

from __future__ import annotations

import pytest

from volnux.telemetry import EventMetrics, PrometheusPublisher
from volnux.telemetry.formats import _exposition
from volnux.telemetry.formats._prometheus import BOUNDS

pytestmark = pytest.mark.extras


@pytest.fixture
def publisher():
    """A publisher with forty histograms."""
    publisher = PrometheusPublisher(port=None)
    for number in range(40):
        publisher.publish_event_metrics(EventMetrics(event_name=f"step {number}", task_id="1"))
    yield publisher
    publisher.close()


def gone_through(publisher):
    """All samples of one scrape."""
    return [sample for family in publisher.collect() for sample in family.samples]


class Turns:
    """Stands for time: each turn of the others lasts so many seconds."""

    def __init__(self, monkeypatch, lasts):
        self.now, self.taken, self._lasts = 0.0, 0, lasts
        monkeypatch.setattr(_exposition, "sleep", self._sleep)
        monkeypatch.setattr(_exposition, "perf_counter", lambda: self.now)

    def _sleep(self, seconds):
        self.taken += 1
        self.now += self._lasts


def test_other_threads_have_their_turn_after_every_few_samples(publisher, monkeypatch):
    """None has to wait until the scrape is done."""
    turns = Turns(monkeypatch, lasts=0.0001)
    found = gone_through(publisher)
    assert len(found) > 1_000
    assert turns.taken >= len(found) // _exposition.TURN - 5


def test_a_program_that_never_rests_does_not_keep_a_scrape_waiting(publisher, monkeypatch):
    """A second in all is left to it, however long it takes at each turn."""
    turns = Turns(monkeypatch, lasts=0.4)
    gone_through(publisher)
    assert turns.taken == 3


def test_samples_can_be_gone_through_again(publisher):
    """They are the same ones, and of the moment of the scrape."""
    (family, *_) = publisher.collect()
    first = list(family.samples)
    publisher.publish_event_metrics(EventMetrics(event_name="later", task_id="1"))
    assert list(family.samples) == first
    assert len(first) == 40 * (len(BOUNDS) + 3)
