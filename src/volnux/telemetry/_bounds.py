"""Anything made plain, short and harmless, whatever its class does; what that cost is counted."""

from __future__ import annotations

from _collections_abc import Mapping
from contextvars import ContextVar
from itertools import count, islice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final, TypeVar

    T = TypeVar("T")
    X = TypeVar("X")

MAPPING_PROXY: Final = type(type.__dict__)
_LONGEST_INT: Final = 63
_LONGEST_SHOWN: Final = 256
_LATIN: Final = 256
CONTROLS: Final = {
    code: f"\\x{code:02x}" if code < _LATIN else f"\\u{code:04x}"
    for code in (
        *range(0x20),
        0x7F,
        *range(0x80, 0xA0),
        0x2028,
        0x2029,
        *range(0x202A, 0x202F),
        *range(0x2066, 0x206A),
    )
}
CONTROLS.update({0x09: "\\t", 0x0A: "\\n", 0x0D: "\\r"})
LINES: Final = {code: escape for code, escape in CONTROLS.items() if code not in (0x09, 0x0A)}

REASONS: Final = ("name", "text", "attributes", "items", "depth", "cycle", "unprintable")
# One counter per reason: `next` is atomic and takes no lock, so a finaliser that runs in the middle of a count, or a
# child forked there, cannot hang.
_tally: Final = {reason: count() for reason in REASONS}
#: Counts a cut in the registry that is current, and says whether there is one: set from further up, where it is known.
_counting: Final[list[Callable[[str], bool]]] = []
_collecting: Final[ContextVar[list[str] | None]] = ContextVar("volnux_cuts", default=None)


def cuts() -> dict[str, int]:
    """Return how often something was cut or swallowed where no registry was current, by reason.

    `name`, `text`: too long · `attributes`, `items`: too many · `depth`, `cycle`: too deep, or containing itself ·
    `unprintable`: its `__str__`, `__repr__` or iteration raised. Reasons that never arose are left out. Safe to call
    from any thread.
    """
    totals = {reason: int(repr(counter)[6:-1]) for reason, counter in _tally.items()}
    return {reason: total for reason, total in totals.items() if total}


def count_by(counting: Callable[[str], bool]) -> None:
    """Have `counting` count what is cut from now on; what it answers False for is counted for the process."""
    _counting[:] = [counting]


def collect(make: Callable[[X], T], value: X) -> tuple[T, list[str]]:
    """Return what `make` makes of the value, and the reasons of all that was cut meanwhile, counted nowhere yet."""
    reasons: list[str] = []
    token = _collecting.set(reasons)
    try:
        return make(value), reasons
    finally:
        _collecting.reset(token)


def cut(reason: str) -> None:
    """Count that something was cut: in the registry that is current, else for the process.

    Raises:
        TelemetryError: it could not be looked at, and the registry is strict.
    """
    collected = _collecting.get()
    if collected is not None:
        collected.append(reason)
    elif not _is_counted(reason):
        next(_tally[reason])


def _is_counted(reason: str) -> bool:
    try:
        return bool(_counting) and _counting[0](reason)
    except (RecursionError, MemoryError):  # `lost` is called when there is no room for more
        return False


def lost(what: str) -> str:
    """Stand in for what could not be made safe: no stack or no memory was left, or a rule of the user's raised."""
    cut("unprintable")
    return f"<unprintable {what}>"


def host_of(text: str) -> str:
    """Return the host in a text: a URL's without its port and brackets, anything else's as it is written."""
    _, is_url, rest = text.partition("://")
    text = (rest if is_url else text).strip()
    if "@" in text:
        text = text.rpartition("@")[2]
    for mark in "/?#\\":
        text = text.partition(mark)[0]
    return _without_port(text) if is_url else text


def _without_port(text: str) -> str:
    if text.startswith("["):
        return text[1:].partition("]")[0]
    host, colon, _ = text.partition(":")
    return text if ":" in text[len(host) + len(colon) :] else host


def as_text(value: object, limit: int) -> str:
    """Return an exact `str`, of `limit` characters at most, whatever the value's class overrides."""
    kind = type(value)
    if kind is str:
        return value[:limit]  # type: ignore[index,no-any-return]
    if issubclass(kind, str):
        return str.__str__(value)[:limit]
    try:
        if issubclass(kind, (bytes, bytearray)):
            return bytes(value[:limit]).decode("utf-8", "backslashreplace")  # type: ignore[index]
        if issubclass(kind, int) and kind is not bool:
            return str(plain_int(int.__int__(value)))  # type: ignore[arg-type]
        said = str(value)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # noqa: BLE001  # whatever the value raises, its program must not see it
        cut("unprintable")
        return f"<unprintable {type_name(value)}>"
    return said[:limit] if type(said) is str else str.__str__(said)[:limit]


def type_name(value: object) -> str:
    try:
        name = type.__dict__["__name__"].__get__(type(value))
        return one_line(str.__str__(name))[:100]
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # noqa: BLE001  # whatever the value raises, its program must not see it
        return "object"


def one_line(text: str) -> str:
    return text if text.isprintable() else printable(text, CONTROLS)


def printable(text: str, escapes: dict[int, str]) -> str:
    """Escape control characters and lone surrogates, so that the text encodes as UTF-8 and harms no terminal."""
    return text.translate(escapes).encode("utf-8", "backslashreplace").decode("utf-8")


def without_torn_end(text: str) -> str:
    """Drop the last word of a text that was cut: it may be the head of a secret too short to be known as one."""
    at = max(text.rfind(" ", len(text) - 256), text.rfind("\n", len(text) - 256))
    return text[: at if at >= 0 else max(len(text) - 256, 0)]


def plain_int(value: int) -> int | str:
    bits = value.bit_length()
    if bits <= _LONGEST_INT or value == -(2**63):
        return value
    return str(value) if bits <= _LONGEST_SHOWN else f"<int of {bits} bits>"


def plain_float(value: float) -> float | str:
    if value - value == 0.0:
        return value
    if value > 0:
        return "Infinity"
    return "-Infinity" if value < 0 else "NaN"


def pairs_of(value: object) -> list[tuple[object, object]] | None:
    """Return up to 1,025 pairs of a mapping, whatever its class overrides; `None` for what is no mapping."""
    kind = type(value)
    pairs: list[tuple[object, object]] = []
    try:
        if issubclass(kind, dict):
            pairs.extend(islice(dict.items(value), 1025))  # type: ignore[arg-type]
        elif kind is MAPPING_PROXY:
            pairs.extend(islice(value.items(), 1025))  # type: ignore[attr-defined]
        elif issubclass(kind, Mapping):
            pairs.extend((key, value[key]) for key in islice(iter(value), 1025))  # type: ignore[call-overload,index]
        else:
            return None
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # noqa: BLE001  # whatever the value raises, its program must not see it
        cut("unprintable")  # another thread changed it meanwhile; what was read is kept
    return pairs


def items_of(value: object, limit: int) -> list[object]:
    """Return up to `limit` items of a list, tuple or set, whatever its class overrides."""
    items: list[object] = []
    kind = type(value)
    try:
        for base in (list, tuple, set, frozenset):
            if issubclass(kind, base):
                items.extend(islice(base.__iter__(value), limit))  # type: ignore[arg-type]
                break
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # noqa: BLE001  # whatever the value raises, its program must not see it
        cut("unprintable")
    return items
