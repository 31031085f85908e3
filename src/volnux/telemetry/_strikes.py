"""Which records are poison: failing again and again while others pass, or all by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from volnux.telemetry._raw import Raw

#: How often a record may raise, sent alone, before it is given up.
ALONE = 3
#: How often a record may be sent back while others of its batch arrive.
AMONG_OTHERS = 10


class Strikes:
    """Counts against single records. An outage of the back end is no strike against anybody."""

    def __init__(self) -> None:
        # By identity: what is counted here is in the queue, so alive.
        self._alone: dict[int, int] = {}
        self._retried: dict[int, int] = {}

    def against_alone(self, raw: Raw) -> bool:
        """Count that a record raised with no other to blame; whether that was once too often."""
        count = self._alone[id(raw)] = self._alone.get(id(raw), 0) + 1
        return count >= ALONE

    def against_retried(self, raws: Sequence[Raw], places: Sequence[int]) -> list[int]:
        """Count records that came back; return the places of those that did so too often."""
        found = []
        for place in places:
            key = id(raws[place])
            count = self._retried[key] = self._retried.get(key, 0) + 1
            if count >= AMONG_OTHERS:
                found.append(place)
        return found

    def forget(self, raws: Sequence[Raw], keep: Sequence[int]) -> None:
        """Drop the counts of records that leave the queue: all but those at these places."""
        if not self._alone and not self._retried:
            return
        kept = {id(raws[place]) for place in keep if place < len(raws)}
        for raw in raws:
            if id(raw) not in kept:
                self._alone.pop(id(raw), None)
                self._retried.pop(id(raw), None)
