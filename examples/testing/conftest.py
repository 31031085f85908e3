"""The hosts that the shop talks to: no network, and no waiting."""

from __future__ import annotations

import pytest
import shop


class Servers:
    """Answers, takes its time by a clock, and is busy when it is told to be."""

    def __init__(self, clock):
        self.clock = clock
        self.takes = {}
        self.busy = {}

    def __call__(self, host, question):
        self.clock.advance(self.takes.get(host, 0.02))
        if self.busy.get(host):
            self.busy[host] -= 1
            raise shop.BusyError("come back later")
        return b"1 2 3" if question.startswith(b"numbers") else b"done"


@pytest.fixture
def servers(volnux_clock):
    return Servers(volnux_clock)


@pytest.fixture
def hosts(servers):
    return shop.Hosts(servers, sleep=servers.clock.advance)


@pytest.fixture(scope="session")
def catalogue():
    return shop.load_catalogue()
