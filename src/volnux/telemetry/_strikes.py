"""Which records are poison: failing again and again while others get through."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from volnux.telemetry._raw import Raw

#: How often a record may raise, sent alone, before it is given up.
ALONE = 3
#: How often a record may be sent back while others of its batch arrive.
AMONG_OTHERS = 10


class Suspicion(NamedTuple):
    """Against one record: its strikes, and how much had passed when it failed for the first time."""

    strikes: int
    passes: int


class Strikes:
    """Counts against single records. An outage of the back end is no strike against anybody."""

    def __init__(self) -> None:
        # By identity: what is counted here is in the queue, so alive.
        self._alone: dict[int, Suspicion] = {}
        self._retried: dict[int, int] = {}
        self._passes = 0

    def passed(self) -> None:
        """Take note that something got through."""
        self._passes += 1

    def together(self, raws: list[Raw]) -> list[Raw]:
        """Return those, from the first on, that may share a batch: a suspect goes by itself."""
        for place, raw in enumerate(raws if self._alone else ()):
            if id(raw) in self._alone:
                return raws[: place or 1]
        return raws

    def against_alone(self, raw: Raw, *, is_last: bool) -> bool:
        """Count that a record raised with no other to blame; whether that was once too often.

        Its first failure counts. Later ones do when others have got through since, or when there
        is no other to tell whether it is the record or the back end.
        """
        count, passes = self._alone.get(id(raw), Suspicion(0, self._passes))
        if not count or is_last or passes < self._passes:
            count += 1
        self._alone[id(raw)] = Suspicion(count, passes)
        return count >= ALONE

    def is_overtaken(self, raw: Raw) -> bool:
        """Whether others have got through since a record failed for the first time."""
        return id(raw) in self._alone and self._alone[id(raw)].passes < self._passes

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
