"""What proves who one is to a receiver of OTLP appears nowhere, also where that repeats it."""

from __future__ import annotations

import logging
import traceback

import pytest

from tests.publishers.decoded import left_out, taken
from tests.publishers.scripted import Answer, Cut, Scripted
from volnux.telemetry import (
    EventMetrics,
    GrafanaCloudPublisher,
    OTLPPublisher,
    PublishError,
    Registry,
    monitor_events,
    traced_event,
)

pytestmark = pytest.mark.extras
SECRET = "pl4nted-s3cret"
#: As Basic auth has it: "planted:pl4nted-s3cret".
ENCODED = "cGxhbnRlZDpwbDRudGVkLXMzY3JldA"
EVENT = EventMetrics(event_name="a", task_id="1")


@pytest.fixture
def server():
    """A receiver that takes everything, unless it is told otherwise."""
    yield from Scripted(taken).running()


OTLP_FAULTS = {
    "none": taken,
    "left out": left_out(1, f"no: {SECRET}"),
    "refused": Answer(
        400, f"what is {SECRET} {ENCODED}=?".encode(), {"Content-Type": "text/plain"}
    ),
    "unauthorized": Answer(401, {"message": f"who is Bearer {SECRET}, {ENCODED}=?"}),
    "forbidden": Answer(403, b""),
    "overloaded": Answer(429, {}, {"Retry-After": "1"}),
    "too large": Answer(413, b""),
    "garbage": Answer(200, b"<html>", {"Content-Type": "text/html"}),
    "moved": Answer(302, {}, {"Location": "http://127.0.0.1:1/"}),
    "cut": Cut(),
}
OTLP_WAYS = {
    "headers": lambda place: OTLPPublisher(place, {"Authorization": f"Bearer {SECRET}"}),
    "url": lambda place: OTLPPublisher(f"http://planted:{SECRET}@{place}"),
    "grafana": lambda place: GrafanaCloudPublisher(
        SECRET, "a", endpoint=f"http://{place}", instance_id="planted"
    ),
    "grafana.com": lambda place: GrafanaCloudPublisher(SECRET, "a"),
}


@pytest.mark.parametrize("way", OTLP_WAYS)
@pytest.mark.parametrize("fault", OTLP_FAULTS)
def test_whatever_goes_wrong_by_otlp(server, caplog, monkeypatch, way, fault):
    """With every logger at its most talkative, and a server that repeats what it is told."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(GrafanaCloudPublisher, "_api", f"http://{server.place}/api")
    server.usual = lambda request: OTLP_FAULTS[fault]
    if fault == "none":
        server.usual = taken
    publisher = OTLP_WAYS[way](server.place)
    registry = Registry()
    with monitor_events([publisher], registry=registry) as monitor:
        with traced_event("step"):
            pass
        monitor.flush(timeout=0.2)
        said = [repr(publisher), repr(publisher._targets), repr(monitor), repr(monitor.health())]
        said.append(str(publisher.refusal))
        for attempt in (publisher.flush, lambda: publisher.publish_event_metrics(EVENT)):
            try:
                attempt()
            except PublishError as error:
                said += traceback.format_exception(error)
        monitor.close(timeout=0.2)
    (request, *_) = server.requests
    assert SECRET in request.headers["authorization"] or ENCODED in request.headers["authorization"]
    text = "\n".join([*said, caplog.text, repr(registry.health().errors)])
    assert SECRET not in text
    if SECRET not in request.headers["authorization"]:  # then it was sent, and may be repeated
        assert ENCODED not in text
