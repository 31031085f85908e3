"""The registries that one delivery takes records from."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from volnux.telemetry._raw import Raw
    from volnux.telemetry._registry import Registry


class Sources:
    """Registries that hand over what they record, and those that did so before."""

    def __init__(self) -> None:
        self._open: dict[Registry, Callable[[], None]] = {}
        #: All of them, also those that were let go: they count what goes wrong.
        self.registries: tuple[Registry, ...] = ()

    def __bool__(self) -> bool:
        return bool(self._open)

    def attach(
        self,
        registry: Registry,
        accept: Callable[[list[Raw]], None],
        ask: Callable[[], None] | None,
    ) -> None:
        """Have a registry hand over what it records from now on; see `Registry.subscribe`."""
        if registry not in self._open:
            self._open[registry] = registry.subscribe(accept, ask)
            self.registries = tuple(dict.fromkeys((*self.registries, registry)))

    def detach(self) -> None:
        """Take no more from any of them, after what they have recorded so far."""
        for registry in list(self._open):
            if unsubscribe := self._open.pop(registry, None):
                unsubscribe()

    def fold(self) -> None:
        """Make them hand over what they have, those that are free to."""
        for registry in list(self._open):
            # Not the fold that waits: who holds it may be waiting for room in this queue.
            registry.fold_if_free()
