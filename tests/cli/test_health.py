"""What keeps a report from being whole, said in it."""

from __future__ import annotations

import io
import threading

from volnux.cli._render_md import render
from volnux.cli._report import Source, build
from volnux.telemetry import MetricsPublisher, PublishError, Registry, monitor_events, traced_event
from volnux.telemetry.testing import FailingPublisher

PROGRAM = """
import threading
from volnux.telemetry import network_op, traced_event

@traced_event
def step():
    pass

for _ in range(10_050):
    step()
with network_op("host", 1) as op:
    op.sent(-1)
begun = threading.Event()

def wait():
    with traced_event("open"):
        begun.set()
        threading.Event().wait()

threading.Thread(target=wait, daemon=True).start()
begun.wait()
"""


def test_markdown_says_what_is_missing(machine):
    """Evicted details, what still runs, what was refused: a line each."""
    machine.write(PROGRAM)
    ended = machine.volnux("run", "--format", "md", "program.py")
    assert ended.status == 0
    _, _, health = ended.err.partition("## Health\n\n")
    assert health.splitlines() == [
        "- 1 still running at the end",
        "- details are of 10,001 of 10,051 records; totals are of all",
        "- network: count is negative 1 times",
    ]


def test_a_program_that_records_nothing_is_told_how(machine):
    """The way out stands in the report."""
    machine.write("print('done')")
    ended = machine.volnux("run", "--format", "md", "program.py")
    assert ended.out == "done\n"
    assert "nothing was recorded" in ended.err
    assert "@traced\\_event" in ended.err or "@traced_event" in ended.err


class Hanging(MetricsPublisher):
    """Takes a record and does not return until it is let go."""

    def __init__(self):
        self.released = threading.Event()

    def publish_event_metrics(self, metrics):
        self.released.wait()

    publish_network_metrics = publish_event_metrics


def lost(publisher, steps):
    """Publish some steps; return the monitor, and what its health says of the publisher."""
    monitor = monitor_events([publisher], registry=Registry(), interval=60)
    for _ in range(steps):
        with traced_event("step"):
            pass
    if not isinstance(publisher, Hanging):
        assert monitor.flush()
    return monitor, monitor.health().publishers


def test_what_publishers_did_not_deliver_is_said():
    """What was dropped, by reason, and what is still waiting."""
    refusing, hanging = FailingPublisher(PublishError("no", permanent=True)), Hanging()
    first, dropped = lost(refusing, 2)
    first.close()
    second, pending = lost(hanging, 1)
    source = Source(program="program.py", records=3)
    stream = io.StringIO()
    render(build(Registry(), source, publishers={**dropped, **pending}), stream)
    hanging.released.set()
    assert second.close()
    _, _, said = stream.getvalue().partition("## Health\n\n")
    assert said.splitlines() == [
        "- FailingPublisher: 2 records dropped (rejected)",
        "- Hanging: 1 record not delivered",
    ]
