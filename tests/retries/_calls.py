"""What the tests of tenacity and stamina retry, and what comes of it."""

from __future__ import annotations

import asyncio

from volnux.telemetry import traced_event

#: The attempts of a `Flaky` with two seconds between them: the third one succeeds, or fails as well.
RECOVERED = [
    (1, "failed", "OSError", "attempt 1", 1.0, 2.0),
    (2, "failed", "OSError", "attempt 2", 1.0, 2.0),
    (3, "completed", None, None, 1.0, 0.0),
]
EXHAUSTED = [*RECOVERED[:2], (3, "failed", "OSError", "attempt 3", 1.0, 0.0)]


class Flaky:
    """A function that works for a second, and fails so often before it does not."""

    def __init__(self, clock, failures=0, error=OSError):
        self.clock, self.failures, self.error, self.asked = clock, failures, error, 0

    def __call__(self):
        self.asked += 1
        self.clock.advance(1.0)
        if self.asked <= self.failures:
            raise self.error(f"attempt {self.asked}")
        return self.asked


def call_methods(traced, retry):
    """Trace and call a method in a class body, one of an instance, a class's and a static one."""

    class Client:
        asked = 0

        @traced
        @retry
        def get(self):
            self.asked += 1
            if self.asked == 1:
                raise OSError("busy")

        @retry
        def put(self):
            return self

        @traced
        @classmethod
        @retry
        def make(cls):
            return cls

        @traced
        @staticmethod
        @retry
        def parse(text):
            return text

    client = Client()
    client.get()
    assert traced(client.put)() is client
    assert (Client.make(), Client.parse("x")) == (Client, "x")


def call_at_once(traced, retry):
    """Call a coroutine function for "a", "b" and "c" in one event: they fail once, twice, and never."""
    left = {"a": 1, "b": 2, "c": 0}

    @traced
    @retry
    async def fetch(name):
        await asyncio.sleep(0)
        left[name] -= 1
        if left[name] >= 0:
            raise OSError(name)

    @traced_event("load")
    async def load():
        await asyncio.gather(*(fetch(name) for name in "abc"))

    asyncio.run(load())
