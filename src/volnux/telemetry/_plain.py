"""Attribute values as plain data: bounded, acyclic, and what `json` can write."""

from __future__ import annotations

from volnux.telemetry._bounds import (
    MAPPING_PROXY,
    as_text,
    cut,
    items_of,
    pairs_of,
    plain_float,
    plain_int,
    type_name,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final, Protocol

    Plain = None | bool | int | float | str | list["Plain"] | dict[str, "Plain"]

    class Rule(Protocol):
        """What a walk asks of the redactor."""

        max_depth: int
        max_items: int
        max_text: int
        replacement: str

        def is_hidden(self, key: object, value: object) -> bool: ...
        def name(self, value: object) -> str: ...
        def text(self, value: object) -> str: ...


_CONTAINERS: Final = (dict, list, tuple, set, frozenset, MAPPING_PROXY)
_NO_STR: Final[object] = object.__str__
_NO_REPR: Final[object] = object.__repr__
_SCALARS: Final = (bool, int, float)
_SETS: Final = (set, frozenset)
_TEXTS: Final = (str, bytes, bytearray)


class Walk:
    """One pass over one value or one set of attributes, with the room left for it."""

    __slots__ = ("_characters", "_items", "_path", "_rule")

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._items = rule.max_items * 16
        self._characters = rule.max_text * 64
        self._path: set[int] = set()

    def plain(self, value: Any, depth: int = 0) -> Plain:
        """Return the value as plain data."""
        kind = type(value)
        if value is None or kind is bool:
            return value  # type: ignore[no-any-return]  # narrowed by its class
        if issubclass(kind, str):
            return self._charged(self._rule.text(value))
        if issubclass(kind, int):
            return plain_int(int.__int__(value))
        if issubclass(kind, float):
            return plain_float(float.__float__(value))
        if issubclass(kind, _CONTAINERS):
            return self._container(value, depth)
        return self._other(value)

    def mapping(
        self, pairs: list[tuple[object, object]], depth: int, limit: int, reason: str
    ) -> dict[str, Plain]:
        """Return at most `limit` pairs as a plain dict, the values of secret keys replaced."""
        rule = self._rule
        out: dict[str, Plain] = {}
        for key, value in pairs:
            if len(out) >= limit or not self._has_room():
                cut(reason)
                break
            name = rule.name(key)
            if name in out:
                cut(reason)
            hidden = rule.is_hidden(key, value)
            out[name] = rule.replacement if hidden else self.plain(value, depth + 1)
        return out

    def _has_room(self) -> bool:
        self._items -= 1
        return self._items >= 0 and self._characters > 0

    def _charged(self, text: str) -> str:
        if len(text) > self._characters:
            cut("text")
            text = "…[cut]"
        self._characters -= len(text)
        return text

    def _container(self, value: object, depth: int) -> Plain:
        if id(value) in self._path:
            cut("cycle")
            return "[cycle]"
        if depth >= self._rule.max_depth:
            cut("depth")
            return "[too deep]"
        self._path.add(id(value))
        try:
            pairs = pairs_of(value)
            if pairs is None:
                return self._sequence(value, depth)
            return self.mapping(pairs, depth, self._rule.max_items, "items")
        finally:
            self._path.discard(id(value))

    def _sequence(self, value: object, depth: int) -> list[Plain]:
        rule = self._rule
        items = items_of(value, rule.max_items + 1)
        secret = self._secret_places(type(value), items)
        out: list[Plain] = []
        for place, item in enumerate(items):
            if place >= rule.max_items or not self._has_room():
                cut("items")
                break
            out.append(rule.replacement if place in secret else self.plain(item, depth + 1))
        return out

    def _secret_places(self, kind: type, items: list[object]) -> set[int]:
        """Return the places of items that a key makes secret: a field's name, a flag, the first half of a pair."""
        if issubclass(kind, _SETS):
            return set()
        keys = [(place, key) for place, key in enumerate(_fields_of(kind)) if place < len(items)]
        keys += [(place, flag) for place, flag in enumerate(items[:-1], 1) if _is_flag(flag)]
        if len(items) == 2 and _is_text(items[0]):
            keys.append((1, items[0]))
        return {place for place, key in keys if self._rule.is_hidden(key, items[place])}

    def _other(self, value: Any) -> Plain:
        """Return a number for a number of numpy's, a short text for anything else."""
        if issubclass(type(value), (bytes, bytearray)):
            return self._charged(self._rule.text(value))
        try:
            said = _said_by(value)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # noqa: BLE001  # whatever the value raises, its program must not see it
            cut("unprintable")
            return f"<unprintable {type_name(value)}>"
        if type(said) in _SCALARS:
            return self.plain(said)
        return self._charged(self._rule.text(said))


def _said_by(value: Any) -> bool | float | str:
    kind = type(value)
    if kind.__module__ == "numpy" and getattr(value, "ndim", 1) == 0:
        item = value.item()
        return item if type(item) in _SCALARS else str(item)
    if getattr(kind, "__str__") is not _NO_STR:  # noqa: B009  # mypy knows better
        return str(value)
    if getattr(kind, "__repr__") is not _NO_REPR:  # noqa: B009  # likewise
        return repr(value)
    return f"<{type_name(value)}>"


def _fields_of(kind: type) -> tuple[object, ...]:
    """Return the names of a named tuple's fields; nothing for any other class."""
    if kind is tuple or not issubclass(kind, tuple):
        return ()
    try:
        # By way of `type`: a metaclass may say anything, or raise.
        fields = type.__getattribute__(kind, "_fields")
    except AttributeError:
        return ()
    return fields if type(fields) is tuple else ()


def _is_text(value: object) -> bool:
    return issubclass(type(value), _TEXTS)


def _is_flag(value: object) -> bool:
    """Tell whether an item announces the next one, as in `["--password", "value"]`."""
    if not _is_text(value):
        return False
    text = as_text(value, 512)
    return text.startswith("-") and "=" not in text and " " not in text
