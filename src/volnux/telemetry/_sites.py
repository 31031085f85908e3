"""A site is what all executions of one traced step share, made once: name, attributes, totals' key."""

from __future__ import annotations

from volnux.telemetry._guard import note

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import CodeType
    from typing import Any

    from volnux.telemetry._guard import Notes
    from volnux.telemetry._redaction import Redactor


_get: list[Callable[[], Redactor]] = []
#: Says which registry is current: set from further up, where that is known.
_find: list[Callable[[], Notes | None]] = []


def redactor() -> Redactor:
    """Return the rule in force. Loaded when first asked for: importing volnux has a budget."""
    if not _get:
        from volnux.telemetry._bounds import count_by
        from volnux.telemetry._redaction import get_redactor

        count_by(_count_here)
        _get.append(get_redactor)
    return _get[0]()


def find_registry_by(find: Callable[[], Notes | None]) -> None:
    """Have `find` say which registry is current, to count there what is cut, and what is no host or port."""
    _find[:] = [find]


def _registry_here() -> Notes | None:
    return _find[0]() if _find else None


def _count_here(reason: str) -> bool:
    registry = _registry_here()
    if registry is not None:
        note_cut(registry, reason)
    return registry is not None


def note_cut(registry: Notes, reason: str) -> None:
    """Count what was cut.

    Raises:
        TelemetryError: it could not be looked at, and the registry is strict. Bounding is no error.
    """
    if reason == "unprintable":
        note(registry, "bounds", reason)
    else:
        registry.count_error("bounds", reason)


#: Sites made by name at run time that are kept for reuse; beyond, each use makes its own.
KEPT = 10_000


class Site:
    """The shared part: attributes given by the programmer, cleaned once for each redactor.

    Attributes:
        weight: bytes, by estimate, that go with a single entry, since its site is nobody else's.
    """

    __slots__ = ("_clean", "_given", "_redactor", "weight")
    network: bool
    key: Any
    codes: tuple[CodeType, ...] = ()

    def __init__(self, given: Mapping[str, Any] | None) -> None:
        self._given = given
        self._clean: dict[str, Any] = {}
        self._redactor: Redactor | None = None
        self.weight = 0

    def settle(self) -> dict[str, Any]:
        """Clean the attributes at once, and let go of what was given; return them."""
        clean = self.attributes()
        self._given = clean
        return clean

    def attributes(self, registry: Notes | None = None) -> dict[str, Any]:
        """Return the attributes as records carry them: bounded and redacted, and shared.

        What is cut of them is counted in the registry, else in the one that is current.
        """
        if self._given is None:
            return self._clean
        rule = redactor()
        if self._redactor is not rule:
            self._make_clean(rule, registry)
        return self._clean

    def max_attributes(self) -> int:
        """Return the most attributes that one record may have."""
        return redactor().max_attributes

    def _make_clean(self, rule: Redactor, registry: Notes | None) -> None:
        from volnux.telemetry._bounds import collect, cut

        # Kept before anything is noted: a strict registry raises once, and not at every look.
        self._clean, reasons = collect(rule.attributes, self._given)
        self._redactor = rule
        for reason in reasons:
            if registry is None:
                cut(reason)
            else:
                note_cut(registry, reason)


class EventSite(Site):
    """A traced step: every execution of it is an event of this name."""

    __slots__ = ("key", "name")
    network = False

    def __init__(self, name: str, given: Mapping[str, Any] | None = None) -> None:
        super().__init__(given)
        self.name = redactor().name(name)
        self.key = self.name


class FunctionSite(EventSite):
    """A traced function, of which it is known where it is written.

    A block's site does without: there may be one for each execution, or one for all blocks of a name.

    Attributes:
        codes: its own and those of what wraps it; not the function, which may hold on to much.
    """

    __slots__ = ("codes",)

    def __init__(
        self, name: str, given: Mapping[str, Any] | None, codes: tuple[CodeType, ...]
    ) -> None:
        super().__init__(name, given)
        self.codes = codes


def codes_of(record: Any) -> tuple[CodeType, ...]:
    """Return the code of the traced function that a record is of, then that of what wraps it.

    Returns:
        Nothing for blocks and operations, for what is in flight, and for what another process recorded.
    """
    raw = getattr(record, "_raw", None)
    return () if raw is None else raw[0].codes


class OpSite(Site):
    """A host, port and operation: every exchange of that kind is an operation of this site."""

    __slots__ = ("host", "key", "operation", "port", "said")
    network = True

    def __init__(self, host: Any, port: Any, operation: Any) -> None:
        super().__init__(None)
        rule = redactor()
        self.host = rule.host(host)
        self.port = port_number(port)
        self.operation = rule.name(operation)
        self.key = (self.host, self.port, self.operation)
        #: What the last exchange said, and the head of its response in lower case. Most say the same, at
        #: least within a second: so less is kept, and less looked at.
        self.said: tuple[Any, bytes] = (None, b"")


def port_number(port: Any) -> int | None:
    """Return a port as a number from 0 to 65535; None for what is none."""
    try:
        number = int(port)
    except Exception:  # noqa: BLE001  # whatever was given, it must not hurt
        return None
    return number if 0 <= number <= 65_535 else None


_event_sites: dict[str, EventSite] = {}
#: What names no host, whatever its text says.
_NO_HOSTS = (type(None), int, float, list, tuple, dict)
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
    """Return the site of that exchange, the same one at every call; what is no host or port is noted at each."""
    key = (host, port, operation)
    try:
        site, may_keep = KNOWN_OPS.get(key), len(KNOWN_OPS) < KEPT
    except Exception:  # noqa: BLE001  # unhashable, or hostile: described afresh each time
        site, may_keep = None, False
    if site is None:
        site = OpSite(host, port, operation)
        mistakes = _mistakes(host, port, site)
        for mistake in mistakes:
            note(_registry_here(), "network", mistake)
        if may_keep and not mistakes:
            site = KNOWN_OPS.setdefault(key, site)
    return site


def _mistakes(host: Any, port: Any, site: OpSite) -> list[str]:
    mistakes = []
    if issubclass(type(host), _NO_HOSTS):
        mistakes.append("host is no name")
    if port is not None and site.port is None:
        mistakes.append("port is no port number")
    return mistakes
