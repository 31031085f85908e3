"""The workload in a real Prometheus, by either way, and what it answers."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode
from urllib.request import urlopen
from uuid import uuid4

from tests.dashboards import promql
from tests.dashboards.workload import EVENTS, ROUNDS, recording
from volnux.telemetry import OTLPPublisher, PrometheusPublisher

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.dashboards.workload import Recorder

WINDOW = 60
WAYS = ("scrape", "otlp")
_EVERY = sum(one.times for one in EVENTS)

#: Values by their labels, without those of the process.
Values = dict[tuple[tuple[str, str], ...], float]


class Asked(NamedTuple):
    """A Prometheus in which the workload was recorded, asked as of one moment.

    Attributes:
        pace: what `rate` makes of one record: the window is longer than the time between first and last sample.
    """

    url: str
    job: str
    moment: float
    pace: float = 0.0

    def values(self, expr: str) -> Values:
        """What an expression of the dashboard answers."""
        return self._values(promql.filled(expr, window=f"{WINDOW}s", job=self.job))

    def of_job(self, expr: str) -> Values:
        """What an expression that asks for every job answers about this one."""
        return self._values(expr)

    def labels(self, query: str) -> list[str]:
        """What `label_values(SELECTOR, LABEL)` answers."""
        asked = promql.filled(query, job=self.job).removeprefix("label_values(").removesuffix(")")
        selector, _, label = asked.rpartition(", ")
        chosen = urlencode({"match[]": selector})
        return _get(f"{self.url}/api/v1/label/{label}/values?{chosen}")

    def _values(self, expr: str) -> Values:
        chosen = urlencode({"query": expr, "time": self.moment})
        found = _get(f"{self.url}/api/v1/query?{chosen}")["result"]
        return {
            _labels(one["metric"]): float(one["value"][1])
            for one in found
            if one["metric"].get("job", self.job) == self.job
        }


def _labels(metric: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """The labels without those of the process; a bound of 5 is written as 5 or as 5.0, by the way it came."""
    if "le" in metric:
        metric["le"] = str(float(metric["le"]))
    return tuple(sorted(item for item in metric.items() if item[0] not in {"job", "instance"}))


def _get(url: str) -> Any:
    with urlopen(url, timeout=10) as answer:
        return json.load(answer)["data"]


@contextmanager
def recorded(prometheus: Any, way: str) -> Iterator[Asked]:
    """Record both rounds, and let them get there by a scrape or by OTLP."""
    job = f"dashboards-{way}-{uuid4().hex[:8]}"
    arriving = _scraped if way == "scrape" else _pushed
    with arriving(prometheus, job):
        now = Asked(prometheus.url, job, time.time())
        everything = 'sum(rate(volnux_events_total{job="$job"}[$__rate_interval]))'
        (rate,) = now.values(everything).values()
        yield now._replace(pace=rate / _EVERY)


@contextmanager
def _scraped(prometheus: Any, job: str) -> Iterator[None]:
    publisher = PrometheusPublisher(port=0)
    address = f"127.0.0.1:{publisher.port}"
    with recording(publisher) as recorder, prometheus.scraping(address, job=job):
        _go_on(recorder, prometheus.url, job)
        yield


@contextmanager
def _pushed(prometheus: Any, job: str) -> Iterator[None]:
    publisher = OTLPPublisher(
        f"{prometheus.url}/api/v1/otlp", signals=["metrics"], service_name=job, interval=3600
    )
    with recording(publisher) as recorder:
        _go_on(recorder, prometheus.url, job)
        yield


def _go_on(recorder: Recorder, url: str, job: str) -> None:
    """Record the other rounds, each when the one before is there."""
    for number in range(1, ROUNDS + 1):
        _wait(url, job, number)
        if number < ROUNDS:
            recorder.once_more()


def _wait(url: str, job: str, rounds: int) -> None:
    """Wait until so many rounds are there, and what goes on."""
    deadline = time.monotonic() + 30
    while True:
        now = Asked(url, job, time.time())
        ended = now.values('sum(volnux_events_total{job="$job"})')
        if ended == {(): rounds * _EVERY} and now.values(
            'volnux_events_in_flight{job="$job"} == 1'
        ):
            return
        assert time.monotonic() < deadline, f"round {rounds} did not arrive: {ended}"
        time.sleep(0.2)
