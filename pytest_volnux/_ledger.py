"""Whose it is what has been recorded, until all in it has ended and it is added up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_volnux._capture import OUTSIDE

if TYPE_CHECKING:
    from pytest_volnux._capture import Attempt, Capture
    from pytest_volnux._tally import Tally
    from volnux.telemetry import Registry
    from volnux.telemetry._watch import Watch


class Ledger:
    """Adds up attempts, shared fixtures, and what is recorded outside of both.

    Args:
        capture: where all of it is recorded.
        tally: what it is added to.
    """

    def __init__(self, capture: Capture, tally: Tally) -> None:
        self._capture = capture
        self._tally = tally
        self._held: dict[Watch, tuple[str, str, Attempt | None]] = {}

    def finish_attempt(self) -> Attempt | None:
        """End the attempt that goes on, if one does, and add up what it has recorded."""
        attempt = self._capture.attempt
        if attempt is not None and attempt.fixture is None and len(attempt.watches) == 1:
            # So most tests leave nothing behind, and what takes their records can go on.
            self._tally.take_plain("test", attempt.nodeid, attempt.watches[0])
        attempt = self._capture.finish()
        if attempt is not None:
            for watch in attempt.watches:
                self._held[watch] = "test", attempt.nodeid, attempt
            self._hold_others()
            if self._held:
                self._add_up()
        return attempt

    def finish(self) -> None:
        """Add up all that there is, also what belongs to no test, and what has not ended."""
        self._capture.bring_home()
        self.finish_attempt()
        self._capture.leave_outside()
        self._hold_others()
        late, self._capture.orphaned = self._capture.orphaned, []
        self._held.update((watch, ("orphans", nodeid, None)) for nodeid, watch in late)
        self._add_up(all_of_them=True)

    def _hold_others(self) -> None:
        capture = self._capture
        if capture.fixtures:
            for (scope, name), watches in capture.fixtures.items():
                whose = "fixture", f"{name} ({scope})", None
                self._held.update((watch, whose) for watch in watches)
            capture.fixtures.clear()
        if capture.outside:
            self._held.update((watch, ("outside", OUTSIDE, None)) for watch in capture.outside)
            capture.outside.clear()

    def _add_up(self, *, all_of_them: bool = False) -> None:
        for watch, (kind, where, attempt) in [*self._held.items()]:
            if self._tally.take(kind, where, watch, attempt, anyway=all_of_them):
                del self._held[watch]
                if attempt is not None and attempt.fixture is not None:  # it may still be asked
                    self._capture.turns.close(watch)
                else:
                    self._capture.let_go(watch)

    def so_far(self) -> Registry:
        """Return what has been recorded in the run, the attempt that goes on included."""
        whole = self._tally.whole()
        attempt = self._capture.attempt
        mine = () if attempt is None else attempt.watches
        fixtures = (watch for watches in self._capture.fixtures.values() for watch in watches)
        for watch in (*self._held, *mine, *fixtures, *self._capture.outside):
            whole.merge(watch.export())
        return whole

    def take(self, parts: list[dict[str, Any]]) -> None:
        """Add up what a worker has sent."""
        for part in parts:
            self._tally.add(part)
