"""What tests of real servers record, and a Prometheus that says what has come of it."""

from __future__ import annotations

import json
import ssl
import time
from base64 import b64encode
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest

from volnux.telemetry import network_op, traced_event


class Asking:
    """A Prometheus that answers PromQL."""

    def __init__(self, server):
        self.url = server.url
        self.headers, self.context = {}, None
        if hasattr(server, "user"):
            account = b64encode(f"{server.user}:{server.password}".encode()).decode()
            self.headers = {"Authorization": f"Basic {account}"}
            self.context = ssl.create_default_context(cafile=server.ca)

    def get(self, path, **query):
        """What the API answers."""
        request = Request(f"{self.url}/api/v1/{path}?{urlencode(query)}", headers=self.headers)
        with urlopen(request, timeout=10, context=self.context) as answer:
            return json.load(answer)["data"]

    def ask(self, expression):
        """Values by labels."""
        found = self.get("query", query=expression)["result"]
        return {tuple(sorted(one["metric"].items())): float(one["value"][1]) for one in found}

    def only(self, expression):
        """The value of the only answer."""
        (value,) = self.ask(expression).values()
        return value

    def wait_for(self, expression):
        """Wait until there is an answer."""
        deadline = time.monotonic() + 30
        while not self.ask(expression):
            assert time.monotonic() < deadline, f"{expression} has no answer"
            time.sleep(0.25)


def record_some(monitor):
    """Record 100 events of half a second or less, one that fails, and a network operation."""
    for number in range(100):
        with traced_event("load") as event:
            if number % 10 == 0:
                event.retry(OSError("again"), delay=0.0)
    with pytest.raises(ValueError, match="no"), traced_event("load"):
        raise ValueError("no")
    with network_op("db.internal", 5432, "query") as op:
        op.sent(10)
        op.received(2_000)
    assert monitor.flush(timeout=20)
