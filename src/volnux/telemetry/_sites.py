"""A site is what all executions of one traced step share, made once: name, attributes, totals' key."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from volnux.telemetry._redaction import Redactor


_get: list[Callable[[], Redactor]] = []


def redactor() -> Redactor:
    """Return the rule in force. Loaded when first asked for: importing volnux has a budget."""
    if not _get:
        from volnux.telemetry._redaction import get_redactor

        _get.append(get_redactor)
    return _get[0]()


#: Sites made by name at run time that are kept for reuse; beyond, each use makes its own.
KEPT = 10_000


class Site:
    """The shared part: attributes given by the programmer, cleaned once for each redactor."""

    __slots__ = ("_clean", "_given", "_redactor")
    network: bool
    key: Any

    def __init__(self, given: Mapping[str, Any] | None) -> None:
        self._given = given
        self._clean: dict[str, Any] = {}
        self._redactor: Redactor | None = None

    def attributes(self) -> dict[str, Any]:
        """Return the attributes as records carry them: bounded and redacted."""
        if self._given is None:
            return self._clean
        rule = redactor()
        if self._redactor is not rule:
            self._clean = rule.attributes(self._given)
            self._redactor = rule
        return self._clean


class EventSite(Site):
    """A traced step: every execution of it is an event of this name."""

    __slots__ = ("key", "name")
    network = False

    def __init__(self, name: str, given: Mapping[str, Any] | None = None) -> None:
        super().__init__(given)
        self.name = redactor().name(name)
        self.key = self.name


class OpSite(Site):
    """A host, port and operation: every exchange of that kind is an operation of this site."""

    __slots__ = ("host", "key", "operation", "port")
    network = True

    def __init__(self, host: Any, port: Any, operation: Any) -> None:
        super().__init__(None)
        rule = redactor()
        self.host = rule.host(host)
        self.port = port_number(port)
        self.operation = rule.name(operation)
        self.key = (self.host, self.port, self.operation)


def port_number(port: Any) -> int | None:
    """Return a port as a number from 0 to 65535; None for what is none."""
    try:
        number = int(port)
    except Exception:  # noqa: BLE001  # whatever was given, it must not hurt
        return None
    return number if 0 <= number <= 65_535 else None


_event_sites: dict[str, EventSite] = {}
#: The sites of exchanges seen before, by host, port and operation as they were given.
KNOWN_OPS: dict[Any, OpSite] = {}


def event_site(name: str) -> EventSite:
    """Return the site of that name without attributes, the same one at every call."""
    site = _event_sites.get(name)
    if site is None:
        site = EventSite(name)
        if len(_event_sites) < KEPT:
            site = _event_sites.setdefault(name, site)
    return site


def op_site(host: Any, port: Any, operation: Any) -> OpSite:
    """Return the site of that exchange, the same one at every call."""
    key = (host, port, operation)
    try:
        site = KNOWN_OPS.get(key)
    except Exception:  # noqa: BLE001  # unhashable, or hostile: described afresh each time
        return OpSite(host, port, operation)
    if site is None:
        site = OpSite(host, port, operation)
        if len(KNOWN_OPS) < KEPT:
            site = KNOWN_OPS.setdefault(key, site)
    return site
