"""Bounds and secrets, applied before a record exists."""

from __future__ import annotations

from _collections_abc import Mapping
from itertools import count, islice

from volnux.telemetry import _secrets

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Iterable
    from typing import Final

    Plain = None | bool | int | float | str | list["Plain"] | dict[str, "Plain"]

_MARK: Final = "…"
_CUT: Final = "…[cut]"
_LONGEST_INT: Final = 63
_CONTROLS: Final = {
    code: f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
    for code in (*range(0x20), 0x7F, *range(0x80, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
}
_CONTROLS.update({0x09: "\\t", 0x0A: "\\n", 0x0D: "\\r"})
_LINES: Final = {code: escape for code, escape in _CONTROLS.items() if code not in (0x09, 0x0A)}

REASONS: Final = ("name", "text", "attributes", "items", "depth", "cycle", "unprintable")
# One counter per reason: `next` is atomic and takes no lock, so a finaliser that runs in the middle of a count, or a
# child forked there, cannot hang.
_tally: Final = {reason: count() for reason in REASONS}


def cuts() -> dict[str, int]:
    """Return how often this process has cut or swallowed something, by reason; reasons that never arose are left out.

    `name`, `text`: too long · `attributes`, `items`: too many · `depth`, `cycle`: too deep, or containing itself ·
    `unprintable`: its `__str__`, `__repr__` or iteration raised. Safe to call from any thread.
    """
    totals = {reason: int(repr(counter)[6:-1]) for reason, counter in _tally.items()}
    return {reason: total for reason, total in totals.items() if total}


def _cut(reason: str) -> None:
    next(_tally[reason])


class _Budget:
    """What is left of the room for one value or one set of attributes."""

    __slots__ = ("characters", "items", "path")

    def __init__(self, items: int, characters: int) -> None:
        self.items = items
        self.characters = characters
        self.path: set[int] = set()


class Redactor:
    """The rule that decides what may enter a record: secrets are hidden, everything is bounded.

    Example:
        >>> set_redactor(Redactor(keys=["customer_email"], allow=["session_id"]))

    Args:
        keys: further attribute keys (and keys in texts) whose values are secret; case and separators do not matter.
        patterns: further regular expressions, text or compiled; what they match in any text is hidden.
        allow: keys that are not secret although the built-in rule says so.
        replacement: what stands in a secret's place.
        max_name: the longest event name, operation, host or attribute key, in characters.
        max_text: the longest error text or string value, in characters.
        max_items: the most items kept of one container.
        max_depth: the deepest nesting kept.
        max_attributes: the most attributes kept of one event or network operation.
        enabled: `False` hides nothing; the bounds stay.

    Raises:
        TypeError, ValueError: at once, for a setting that cannot work.

    Its methods never raise (a `KeyboardInterrupt` or `SystemExit` that arrives meanwhile is the program's own and
    passes), return plain data that `json` can write, and may be called from any thread.
    """

    __slots__ = (
        "_allow",
        "_hints",
        "_keys",
        "_patterns",
        "_settings",
        "_verdicts",
        "enabled",
        "max_attributes",
        "max_depth",
        "max_items",
        "max_name",
        "max_text",
        "replacement",
    )

    def __init__(
        self,
        keys: Iterable[str] = (),
        patterns: Iterable[str | re.Pattern[str]] = (),
        allow: Iterable[str] = (),
        replacement: str = "[redacted]",
        *,
        max_name: int = 200,
        max_text: int = 1024,
        max_items: int = 64,
        max_depth: int = 4,
        max_attributes: int = 128,
        enabled: bool = True,
    ) -> None:
        self.max_name = _limit("max_name", max_name, 16)
        self.max_text = _limit("max_text", max_text, 16)
        self.max_items = _limit("max_items", max_items, 1)
        self.max_depth = _limit("max_depth", max_depth, 1)
        self.max_attributes = _limit("max_attributes", max_attributes, 1)
        if not isinstance(replacement, str) or not replacement.isprintable() or len(replacement) > 64:
            raise ValueError("replacement must be one short printable line, such as '[redacted]'")
        self.replacement = replacement
        self.enabled = bool(enabled)
        extra = _strings("keys", keys)
        self._keys = frozenset("".join(_secrets.words_of(key)) for key in extra)
        self._allow = frozenset("".join(_secrets.words_of(key)) for key in _strings("allow", allow))
        self._hints = tuple({word for key in extra for word in _secrets.words_of(key)[-1:]})
        self._patterns = _compile(patterns)
        self._verdicts: dict[str, bool] = {}
        self._settings = (tuple(extra), self._patterns, tuple(_strings("allow", allow)))

    def __repr__(self) -> str:
        """Show the bounds and how many rules were added, never the rules."""
        added = ", ".join(f"{len(rule)} {name}" for name, rule in zip(("keys", "patterns", "allow"), self._settings))
        return f"<Redactor: {added} added; max_name={self.max_name}, max_text={self.max_text}>"

    def __reduce__(self) -> tuple[object, ...]:
        """Travel to worker processes with every rule."""
        bounds = (self.max_name, self.max_text, self.max_items, self.max_depth, self.max_attributes, self.enabled)
        return _rebuild, (*self._settings, self.replacement, *bounds)

    # --- questions -------------------------------------------------------------------------------------------------

    def is_secret(self, key: str) -> bool:
        """Tell whether a value under `key` is hidden."""
        verdict = self._verdicts.get(key)
        if verdict is None:
            verdict = self._judge(key)
            if len(self._verdicts) < 2048 and len(key) <= 64:
                self._verdicts[key] = verdict
        return verdict

    def _judge(self, key: str) -> bool:
        if not self.enabled:
            return False
        if len(key) > 256:
            key = key[:128] + "_" + key[-128:]
        if self._allow or self._keys:
            words = _secrets.words_of(key)
            squeezed = "".join(words)
            if squeezed in self._allow:
                return False
            if any(squeezed.endswith(own) or squeezed.startswith(own) for own in self._keys):
                return True
        return _secrets.is_secret_key(key)

    # --- what enters a record --------------------------------------------------------------------------------------

    def name(self, value: object) -> str:
        """Return an event's, an operation's or an attribute's name on one line of at most `max_name` characters."""
        try:
            return self._name(_as_text(value, self.max_name * 4))
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:
            return _lost("name")

    def host(self, value: object) -> str:
        """Return a host's name alone: without scheme, user information, path or query; a port stays."""
        try:
            return self._name(_host_of(_as_text(value, self.max_name * 4)))
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:
            return _lost("host")

    def text(self, value: object) -> str:
        """Return an error text or a string value with its secrets hidden, cut to `max_text` characters."""
        try:
            return self._text(_as_text(value, self.max_text * 4))
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:
            return _lost("text")

    def error_text(self, error: object) -> str:
        """Return what `str(error)` says, with its secrets hidden; a placeholder when it raises."""
        try:
            said = str(error)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:
            _cut("unprintable")
            return f"<unprintable {_type_name(error)}>"
        return self.text(said)

    def value(self, key: object, value: object) -> Plain:
        """Return an attribute's value as plain data, or the replacement when its key is secret."""
        try:
            if self._is_hidden(key, value):
                return self.replacement
            return self._plain(value, 0, self._budget())
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:
            return _lost("value")

    def attributes(self, mapping: Mapping[str, object] | object) -> dict[str, Plain]:
        """Return at most `max_attributes` attributes as plain data with their secrets hidden."""
        try:
            pairs = _pairs_of(mapping)
            if pairs is None:
                return {} if mapping is None else {"value": self._plain(mapping, 0, self._budget())}
            return self._mapping(pairs, 0, self._budget(), self.max_attributes, "attributes")
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:
            return {"value": _lost("attributes")}

    # --- how -------------------------------------------------------------------------------------------------------

    def _name(self, text: str) -> str:
        if len(text) <= self.max_name and text.isascii() and text.isidentifier():
            return text
        torn = len(text) > self.max_name
        text = _one_line(self._hide(_without_torn_end(text) if len(text) >= self.max_name * 4 else text))
        if not torn and len(text) <= self.max_name:
            return text
        _cut("name")
        return text[: self.max_name - 1] + _MARK

    def _budget(self) -> _Budget:
        return _Budget(self.max_items * 16, self.max_text * 64)

    def _is_hidden(self, key: object, value: object) -> bool:
        if value is None or value is True or value is False:
            return False
        name = key if type(key) is str else _as_text(key, 512)
        if not self.is_secret(name):
            return False
        return not (type(value) in (int, float) and _secrets.is_count_key(name))

    def _hide(self, text: str) -> str:
        if not self.enabled:
            return text
        text = _secrets.hide(text, self.replacement, self.is_secret, self._hints)
        for pattern in self._patterns:
            text = pattern.sub(lambda _: self.replacement, text)
        return text

    def _text(self, text: str) -> str:
        limit = self.max_text
        whole = len(text) < limit * 4
        if not whole:
            text = _without_torn_end(text)
        if not text.isprintable():
            text = _printable(text.replace("\r\n", "\n"), _LINES)
        text = self._hide(text)
        if whole and len(text) <= limit:
            return text
        _cut("text")
        # Hiding once more leaves nothing for a second pass to change: the cut may have torn a replacement.
        return self._hide(self._without_torn_mask(text[: limit - len(_CUT)])) [: limit - len(_CUT)] + _CUT

    def _without_torn_mask(self, text: str) -> str:
        mask = self.replacement
        for size in range(min(len(mask) - 1, len(text)), 0, -1):
            if text.endswith(mask[:size]):
                return text[:-size]
        return text

    def _plain(self, value: object, depth: int, budget: _Budget) -> Plain:
        kind = type(value)
        if value is None or kind is bool:
            return value  # type: ignore[return-value]
        if issubclass(kind, str):
            return self._charge(self._text(_as_text(value, self.max_text * 4)), budget)
        if issubclass(kind, int):
            return _int(int.__int__(value))  # type: ignore[arg-type]
        if issubclass(kind, float):
            return _float(float.__float__(value))  # type: ignore[arg-type]
        if issubclass(kind, _CONTAINERS):
            return self._container(value, depth, budget)
        return self._charge(self._other(value), budget)

    def _charge(self, value: Plain, budget: _Budget) -> Plain:
        if type(value) is not str:
            return value
        if len(value) > budget.characters:
            _cut("text")
            return _CUT
        budget.characters -= len(value)
        return value

    def _container(self, value: object, depth: int, budget: _Budget) -> Plain:
        if id(value) in budget.path:
            _cut("cycle")
            return "[cycle]"
        if depth >= self.max_depth:
            _cut("depth")
            return "[too deep]"
        budget.path.add(id(value))
        try:
            pairs = _pairs_of(value)
            if pairs is not None:
                return self._mapping(pairs, depth, budget, self.max_items, "items")
            return self._sequence(value, depth, budget)
        finally:
            budget.path.discard(id(value))

    def _mapping(
        self, pairs: list[tuple[object, object]], depth: int, budget: _Budget, limit: int, reason: str
    ) -> dict[str, Plain]:
        out: dict[str, Plain] = {}
        for key, value in pairs:
            if len(out) >= limit or budget.items <= 0 or budget.characters <= 0:
                _cut(reason)
                break
            budget.items -= 1
            name = self.name(key)
            if name in out:
                _cut(reason)
            out[name] = self.replacement if self._is_hidden(key, value) else self._plain(value, depth + 1, budget)
        return out

    def _sequence(self, value: object, depth: int, budget: _Budget) -> list[Plain]:
        out: list[Plain] = []
        for item in _items_of(value, self.max_items + 1):
            if len(out) >= self.max_items or budget.items <= 0 or budget.characters <= 0:
                _cut("items")
                break
            budget.items -= 1
            out.append(self._plain(item, depth + 1, budget))
        return out

    def _other(self, value: object) -> Plain:
        """Return a short text (or a number) for an object of any other class."""
        kind = type(value)
        try:
            if issubclass(kind, (bytes, bytearray)):
                return self.text(bytes(value[: self.max_text * 4]).decode("utf-8", "backslashreplace"))  # type: ignore[index]
            if kind.__module__ == "numpy" and getattr(value, "ndim", 1) == 0:
                item = value.item()  # type: ignore[attr-defined]
                return self._plain(item, self.max_depth, self._budget()) if type(item) in (bool, int, float) else str(item)
            if kind.__repr__ is object.__repr__ and kind.__str__ is object.__str__:
                return f"<{_type_name(value)}>"
            said = repr(value) if kind.__str__ is object.__str__ else str(value)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:
            _cut("unprintable")
            return f"<unprintable {_type_name(value)}>"
        return self.text(said)


_MAPPING_PROXY: Final = type(type.__dict__)
_CONTAINERS: Final = (dict, list, tuple, set, frozenset, _MAPPING_PROXY)


def _rebuild(
    keys: tuple[str, ...], patterns: tuple[re.Pattern[str], ...], allow: tuple[str, ...], replacement: str,
    max_name: int, max_text: int, max_items: int, max_depth: int, max_attributes: int, enabled: bool,
) -> Redactor:  # fmt: skip
    return Redactor(
        keys, patterns, allow, replacement, max_name=max_name, max_text=max_text, max_items=max_items,
        max_depth=max_depth, max_attributes=max_attributes, enabled=enabled,
    )  # fmt: skip


def _limit(name: str, value: int, least: int) -> int:
    if type(value) is not int or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, not {value!r}")
    return value


def _strings(name: str, values: Iterable[str]) -> list[str]:
    if isinstance(values, (str, bytes)):
        raise TypeError(f"{name} must be a list of strings: write {name}=[{values!r}]")
    found = list(values)
    for value in found:
        if not isinstance(value, str) or not _secrets.words_of(value):
            raise ValueError(f"{name} must hold words such as 'customer_email', not {value!r}")
    return found


def _compile(patterns: Iterable[str | re.Pattern[str]]) -> tuple[re.Pattern[str], ...]:
    if isinstance(patterns, (str, bytes)):
        raise TypeError(f"patterns must be a list of regular expressions: write patterns=[{patterns!r}]")
    found = list(patterns)
    if not found:
        return ()
    import re

    compiled = []
    for pattern in found:
        try:
            ready = re.compile(pattern)
            ready.search("")
        except (re.error, TypeError) as error:
            raise ValueError(f"patterns must hold regular expressions for text; {pattern!r} is not one: {error}") from error
        compiled.append(ready)
    return tuple(compiled)


def _lost(what: str) -> str:
    """Stand in for what could not be made safe: no stack or no memory was left, or a rule of the user's raised."""
    _cut("unprintable")
    return f"<unprintable {what}>"


def _host_of(text: str) -> str:
    _, found, rest = text.partition("://")
    text = (rest if found else text).strip()
    if "@" in text:
        text = text.rpartition("@")[2]
    for mark in "/?#\\":
        text = text.partition(mark)[0]
    return text


def _as_text(value: object, limit: int) -> str:
    """Return an exact `str`, of `limit` characters at most, whatever the value's class overrides."""
    kind = type(value)
    if kind is str:
        return value[:limit]  # type: ignore[index]
    if issubclass(kind, str):
        return str.__str__(value)[:limit]
    try:
        if issubclass(kind, (bytes, bytearray)):
            return bytes(value[:limit]).decode("utf-8", "backslashreplace")  # type: ignore[index]
        if issubclass(kind, int) and kind is not bool:
            return str(_int(int.__int__(value)))  # type: ignore[arg-type]
        said = str(value)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:
        _cut("unprintable")
        return f"<unprintable {_type_name(value)}>"
    return said[:limit] if type(said) is str else str.__str__(said)[:limit]


def _type_name(value: object) -> str:
    try:
        name = type.__dict__["__name__"].__get__(type(value))
        return _one_line(str.__str__(name))[:100]
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:
        return "object"


def _one_line(text: str) -> str:
    return text if text.isprintable() else _printable(text, _CONTROLS)


def _printable(text: str, escapes: dict[int, str]) -> str:
    """Escape control characters and lone surrogates, so that the text encodes as UTF-8 and harms no terminal."""
    return text.translate(escapes).encode("utf-8", "backslashreplace").decode("utf-8")


def _without_torn_end(text: str) -> str:
    """Drop the last word of a text that was cut: it may be the head of a secret too short to be known as one."""
    at = max(text.rfind(" ", len(text) - 256), text.rfind("\n", len(text) - 256))
    return text[: at if at >= 0 else max(len(text) - 256, 0)]


def _int(value: int) -> int | str:
    bits = value.bit_length()
    if bits <= _LONGEST_INT or value == -(2**63):
        return value
    return str(value) if bits <= 256 else f"<int of {bits} bits>"


def _float(value: float) -> float | str:
    if value - value == 0.0:
        return value
    return "NaN" if value != value else ("Infinity" if value > 0 else "-Infinity")


def _pairs_of(value: object) -> list[tuple[object, object]] | None:
    """Return up to 1,025 pairs of a mapping, whatever its class overrides; `None` for what is no mapping."""
    kind = type(value)
    pairs: list[tuple[object, object]] = []
    try:
        if issubclass(kind, dict):
            pairs.extend(islice(dict.items(value), 1025))  # type: ignore[arg-type]
        elif kind is _MAPPING_PROXY:
            pairs.extend(islice(value.items(), 1025))  # type: ignore[attr-defined]
        elif issubclass(kind, Mapping):
            pairs.extend((key, value[key]) for key in islice(iter(value), 1025))  # type: ignore[call-overload,index]
        else:
            return None
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:
        _cut("unprintable")  # another thread changed it meanwhile; what was read is kept
    return pairs


def _items_of(value: object, limit: int) -> list[object]:
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
    except BaseException:
        _cut("unprintable")
    return items


_current = Redactor()


def get_redactor() -> Redactor:
    """Return the redactor that everything in this process goes through."""
    return _current


def set_redactor(redactor: Redactor) -> Redactor:
    """Make `redactor` the rule for this process from now on, and return the one it replaces.

    Names and attributes given to a decorator are judged when the decorator runs, so set it first.
    """
    global _current
    if not isinstance(redactor, Redactor):
        raise TypeError(f"set_redactor needs a Redactor, such as Redactor(keys=['customer_email']), not {redactor!r}")
    previous, _current = _current, redactor
    return previous
