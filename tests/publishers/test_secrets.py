"""What proves who a publisher is appears nowhere: in no log, error, `repr`, health, spool or metric."""

from __future__ import annotations

import logging
import socket

import pytest

from tests.publishers.scripted import Answer, Cut, items
from volnux.telemetry import (
    ElasticsearchPublisher,
    GrafanaCloudPublisher,
    OTLPPublisher,
    PrometheusPublisher,
    Registry,
    monitor_events,
    traced_event,
)

pytestmark = pytest.mark.extras
SECRET = "pl4nted-s3cret"
#: As Basic auth has it, of the users "planted" and "1", and as it is.
SHAPES = ("cGxhbnRlZDpwbDRudGVkLXMzY3JldA", "MTpwbDRudGVkLXMzY3JldA", SECRET)

FAULTS = {
    "none": items(201),
    "refused": items(400),
    "unauthorized": Answer(401, {"error": {"type": "security", "reason": "who are you?"}}),
    "forbidden": Answer(403, {"error": {"type": "security", "reason": "you may not"}}),
    "overloaded": Answer(429, {}, {"Retry-After": "1"}),
    "broken": Answer(400, {"error": {"type": "parse", "reason": "what?"}}),
    "garbage": Answer(200, b"<html>"),
    "another product": Answer(200, {}, {"X-Elastic-Product": "Other"}),
    "moved": Answer(302, {}, {"Location": "http://127.0.0.1:1/"}),
    "cut": Cut(),
}
WAYS = {
    "api_key": lambda place: ElasticsearchPublisher(place, "a", api_key=SECRET),
    "basic_auth": lambda place: ElasticsearchPublisher(place, "a", basic_auth=("planted", SECRET)),
    "url": lambda place: ElasticsearchPublisher(f"http://planted:{SECRET}@{place}", "a"),
    "header": lambda place: OTLPPublisher(
        f"http://{place}", {"authorization": f"Bearer {SECRET}"}, timeout=2
    ),
    "url of otlp": lambda place: OTLPPublisher(f"http://planted:{SECRET}@{place}", timeout=2),
    "token": lambda place: GrafanaCloudPublisher(
        SECRET, "org", endpoint=f"http://{place}", instance_id=1
    ),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_goes_wrong(server, caplog, way, fault):
    """With every logger at its most talkative."""
    caplog.set_level(logging.DEBUG)
    server.script += [FAULTS[fault]] * 3
    publisher = WAYS[way](server.place)
    registry = Registry()
    with monitor_events([publisher], registry=registry) as monitor:
        with traced_event("step"):
            pass
        monitor.flush(timeout=0.2)
        said = [repr(publisher), repr(monitor), repr(monitor.health())]
        monitor.close(timeout=0.2)
    (request, *_) = server.requests
    assert any(shape in request.headers["authorization"] for shape in SHAPES)
    text = "\n".join([*said, caplog.text, repr(registry.health().errors)])
    assert not [shape for shape in SHAPES if shape in text]


@pytest.mark.parametrize("way", WAYS)
def test_a_server_that_is_away(caplog, way):
    """Nor where there is nobody to prove it to."""
    caplog.set_level(logging.DEBUG)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        place = f"127.0.0.1:{listening.getsockname()[1]}"
    with monitor_events([WAYS[way](place)], registry=Registry()) as monitor:
        with traced_event("step"):
            pass
        monitor.flush(timeout=0.2)
        monitor.close(timeout=0.2)
    assert "fails" in caplog.text
    assert not [shape for shape in SHAPES if shape in caplog.text]


@pytest.mark.parametrize("way", WAYS)
def test_a_spool_and_metrics(server, tmp_path, way):
    """What waits on disk, and what is served of the trouble, holds none either."""
    server.usual = lambda request: Answer(401, {"error": {"type": "x", "reason": SECRET}})
    metrics = PrometheusPublisher(port=None)
    registry = Registry()
    monitor = monitor_events([WAYS[way](server.place), metrics], registry=registry, spool=tmp_path)
    with traced_event("step"):
        pass
    monitor.flush(timeout=0.3)
    served = str([list(family.samples) for family in metrics.collect()])
    monitor.close(timeout=0.3)
    written = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert b"step" in written
    for shape in SHAPES:
        assert shape.encode() not in written
        assert shape not in served


def test_what_the_program_kept_secret(server):
    """Documents hold what records hold, and that is clean."""
    with (
        monitor_events([ElasticsearchPublisher(server.place, "a")], registry=Registry()) as monitor,
        pytest.raises(ValueError, match="no"),
        traced_event("login", attributes={"password": SECRET, "url": f"http://u:{SECRET}@h/"}),
    ):
        raise ValueError(f"no: password={SECRET}")
    monitor.flush(timeout=10)
    (request,) = server.requests
    assert SECRET not in request.body.decode()
