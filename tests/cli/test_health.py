"""What keeps a report from being whole, said in it."""

from __future__ import annotations

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
