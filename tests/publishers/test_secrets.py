"""What proves who a publisher is appears nowhere: in no log, no error, no `repr` and no health."""

from __future__ import annotations

import logging
import socket

import pytest

from tests.publishers.scripted import Answer, Cut, items
from volnux.telemetry import ElasticsearchPublisher, Registry, monitor_events, traced_event

pytestmark = pytest.mark.extras
SECRET = "pl4nted-s3cret"
#: As Basic auth has it: "planted:pl4nted-s3cret".
ENCODED = "cGxhbnRlZDpwbDRudGVkLXMzY3JldA"

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
    assert SECRET in request.headers["authorization"] or ENCODED in request.headers["authorization"]
    text = "\n".join([*said, caplog.text, repr(registry.health().errors)])
    assert SECRET not in text
    assert ENCODED not in text


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
    assert SECRET not in caplog.text


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
