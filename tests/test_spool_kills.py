"""kill -9 at any moment: nothing that was accepted is lost."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.spooling import Sink, deliver_rest, kill_at_random, left


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_accepted_is_lost(tmp_path, seed):
    """A dozen programs, one after the other; the last one delivers what the others could not."""
    folder, sink = tmp_path / "spool", tmp_path / "sink"

    def delivered():
        if not sink.exists():
            return []
        return [tuple(map(int, line.split())) for line in sink.read_text().splitlines()]

    accepted = kill_at_random(folder, str(sink), 12, seed, delivered)
    counts = deliver_rest(folder, str(sink))
    assert left(folder) == []
    assert accepted <= set(delivered())
    assert counts["pending"] == counts["spooled"] == 0
    assert counts["dropped"] == {}
    # At least once: what was on its way when a program was killed comes again, and no more than that.
    again = sum(count - 1 for count in Counter(delivered()).values())
    assert again <= 12 * Sink.batch_size
