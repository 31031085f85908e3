"""A batch of entries sorted out by site: the loop that every entry goes through once."""

from __future__ import annotations

from volnux.telemetry._extension import SPEEDUPS
from volnux.telemetry._raw import PLAIN_OP
from volnux.telemetry._traces import number_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from volnux.telemetry._raw import Raw


class Groups(dict["Any", "Any"]):  # Site -> how to add to its two lists
    """A batch by site; a dict, so that the common case of the fold is one look-up."""

    def __init__(self) -> None:
        #: The durations of all entries of a site, and those that are plain network operations.
        self.by_site: dict[Any, tuple[list[int], list[Raw]]] = {}
        #: What says more than "completed".
        self.special: list[Raw] = []
        #: Events and operations with a claim to be kept: slow ones first.
        self.claims: list[Raw] = []
        self.op_claims: list[Raw] = []
        self.unfinished: list[Raw] = []

    def __missing__(self, site: Any) -> tuple[Callable[[int], None], Callable[[Raw], None]]:
        durations, operations = self.by_site[site] = [], []
        self[site] = adding = (durations.append, operations.append)
        return adding

    def sort_out(  # noqa: C901, PLR0912  # a hot loop, in place
        self, batch: list[Raw], slow: int, slow_op: int
    ) -> None:
        """Look at each entry of a batch once; nothing is counted yet.

        Args:
            batch: entries in the order they began, whether they have ended or not.
            slow, slow_op: nanoseconds that an event or an operation has to exceed to have a claim.
        """
        if SPEEDUPS is not None:
            SPEEDUPS.sort_out(
                *(batch, self.by_site, self.special, self.claims, self.op_claims, self.unfinished),
                *(slow, slow_op, PLAIN_OP, number_of),
            )
            return
        special, claim, op_claim = (
            self.special.append,
            self.claims.append,
            self.op_claims.append,
        )
        plain_op = PLAIN_OP
        site: Any = None
        add: Any = None
        operation: Any = None
        above: Any = None
        named: Any = None
        number = 0
        for raw in batch:
            end = raw[5]
            if end is None:
                raw[7] = True
                # Looked at again, now that an end from here on is announced in `_ended`.
                if raw[5] is None:
                    self.unfinished.append(raw)
                    continue
                end = raw[5]
            parent = raw[2]
            # Only the identifier stays, or a chain of parents would; roots live on anyway.
            if parent is not above:
                if parent.__class__ is list and parent[0] is not None:
                    if parent is not named:
                        named, number = parent, number_of(parent)
                    raw[2] = number
                else:
                    above = parent
            if raw[0] is not site:
                site = raw[0]
                add, operation = self[site]
            duration = end - raw[3]
            add(duration)
            extra = raw[6]
            if extra is None:
                if duration > slow:
                    claim(raw)
            elif extra is plain_op:
                operation(raw)
                if duration > slow_op:
                    op_claim(raw)
            else:
                special(raw)


def need_stack(calls: int) -> None:
    """Raise RecursionError unless so many calls fit into each other here."""
    if calls:
        need_stack(calls - 1)
