"""Bounds and secrets, applied before a record exists."""

from __future__ import annotations

from volnux.telemetry._bounds import (
    LINES,
    as_text,
    cut,
    cuts,
    host_of,
    lost,
    one_line,
    pairs_of,
    printable,
    type_name,
    without_torn_end,
)
from volnux.telemetry._plain import Walk
from volnux.telemetry._secret_keys import is_count_key, is_secret_key, words_of
from volnux.telemetry._secrets import hide
from volnux.telemetry.errors import TelemetryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterable, Mapping
    from typing import Final, TypeVar

    from volnux.telemetry._plain import Plain

    T = TypeVar("T")

__all__ = ["Redactor", "cuts", "get_redactor", "set_redactor"]

_MARK: Final = "…"
_LONGEST_LINE: Final = 64
_LONGEST_KEY: Final = 64
_KEPT_VERDICTS: Final = 2048
_CUT: Final = "…[cut]"
_PASSES: Final = 4


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

    Its methods never raise, return plain data that `json` can write, and may be called from any thread. What passes is
    a `KeyboardInterrupt` or `SystemExit` that arrives meanwhile, and the `TelemetryError` of a strict registry.
    """

    __slots__ = (
        "_allow",
        "_hints",
        "_keys",
        "_names",
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
        self.max_name: int = _limit("max_name", max_name, 16)
        self.max_text: int = _limit("max_text", max_text, 16)
        self.max_items: int = _limit("max_items", max_items, 1)
        self.max_depth: int = _limit("max_depth", max_depth, 1)
        self.max_attributes: int = _limit("max_attributes", max_attributes, 1)
        if not _is_short_line(replacement):
            raise ValueError("replacement must be one short printable line, such as '[redacted]'")
        self.replacement: str = replacement
        self.enabled: bool = bool(enabled)
        extra = _strings("keys", keys)
        allowed = _strings("allow", allow)
        self._keys = tuple(words_of(key) for key in extra)
        self._allow = frozenset("".join(words_of(key)) for key in allowed)
        self._hints = tuple({word for key in extra for word in words_of(key)[-1:]})
        self._patterns = _compile(patterns)
        self._verdicts: dict[str, bool] = {}
        self._names: set[str] = set()  # words seen before that hold no secret
        self._settings = (tuple(extra), self._patterns, tuple(allowed))

    def __repr__(self) -> str:
        """Show the bounds and how many rules were added, never the rules."""
        added = ", ".join(
            f"{len(rule)} {name}"
            for name, rule in zip(("keys", "patterns", "allow"), self._settings, strict=True)
        )
        return f"<Redactor: {added} added; max_name={self.max_name}, max_text={self.max_text}>"

    def __reduce__(self) -> tuple[object, ...]:
        """Travel to worker processes with every rule."""
        bounds = (
            self.max_name,
            self.max_text,
            self.max_items,
            self.max_depth,
            self.max_attributes,
            self.enabled,
        )
        return _rebuild, (*self._settings, self.replacement, *bounds)

    # --- questions ------------------------------------------------------------------------------

    def is_secret(self, key: str) -> bool:
        """Tell whether a value under `key` is hidden."""
        verdict = self._verdicts.get(key)
        if verdict is None:
            verdict = self._judge(key)
            if len(self._verdicts) < _KEPT_VERDICTS and len(key) <= _LONGEST_KEY:
                self._verdicts[key] = verdict
        return verdict

    def _judge(self, key: str) -> bool:
        if not self.enabled:
            return False
        if len(key) > 4 * _LONGEST_KEY:
            key = key[: 2 * _LONGEST_KEY] + "_" + key[-2 * _LONGEST_KEY :]
        if self._allow or self._keys:
            words = words_of(key)
            squeezed = "".join(words)
            if squeezed in self._allow:
                return False
            if any(_is_within(own, words) or squeezed == "".join(own) for own in self._keys):
                return True
        return is_secret_key(key)

    def is_hidden(self, key: object, value: object) -> bool:
        """Tell whether this value under this key is hidden; a number under `max_tokens` is none."""
        if value is None or value is True or value is False:
            return False
        name = key if type(key) is str else as_text(key, 512)
        if not self.is_secret(name):
            return False
        return not (type(value) in (int, float) and is_count_key(name))

    # --- what enters a record -------------------------------------------------------------------

    def name(self, value: object) -> str:
        """Return a name (event, operation, attribute) on one line of at most `max_name` characters."""
        return _safely(self._name, "name", value)

    def host(self, value: object) -> str:
        """Return a host without user information, path or query; of a URL without scheme and port too."""
        return _safely(self._host, "host", value)

    def text(self, value: object) -> str:
        """Return an error text or a string, its secrets hidden, cut to `max_text` characters."""
        return _safely(self._text, "text", value)

    def error_text(self, error: object) -> str:
        """Return what `str(error)` says, with its secrets hidden; a placeholder when it raises."""
        return _safely(self._error_text, "text", error)

    def value(self, key: object, value: object) -> Plain:
        """Return an attribute's value as plain data, or the replacement when its key is secret."""
        return _safely(lambda given: self._value(key, given), "value", value)

    def attributes(self, mapping: Mapping[str, object] | object) -> dict[str, Plain]:
        """Return at most `max_attributes` attributes as plain data with their secrets hidden."""
        found = _safely(self._attributes, "attributes", mapping)
        return found if isinstance(found, dict) else {"value": found}

    # --- how ------------------------------------------------------------------------------------

    def _name(self, value: object) -> str:
        text = as_text(value, self.max_name * 4)
        if text in self._names or self._is_plain_word(text):
            return text
        if len(text) >= self.max_name * 4:
            text = without_torn_end(text) + _MARK
        text = self._hide(text)
        if not text.isprintable():
            text = self._hide(one_line(text))
        if len(text) <= self.max_name:
            return text
        cut("name")
        return self._hide(text[: self.max_name - 1] + _MARK)[: self.max_name]

    def _is_plain_word(self, text: str) -> bool:
        if len(text) > self.max_name or not (text.isascii() and text.isidentifier()):
            return False
        is_plain = self._hide(text) == text
        if is_plain and len(self._names) < _KEPT_VERDICTS and len(text) <= _LONGEST_KEY:
            self._names.add(text)
        return is_plain

    def _host(self, value: object) -> str:
        return self._name(host_of(as_text(value, self.max_name * 4)))

    def _error_text(self, error: object) -> str:
        try:
            said = str(error)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # noqa: BLE001  # the user's error must not be replaced by this one
            cut("unprintable")
            return f"<unprintable {type_name(error)}>"
        return self._text(said)

    def _value(self, key: object, value: object) -> Plain:
        return self.replacement if self.is_hidden(key, value) else Walk(self).plain(value)

    def _attributes(self, mapping: object) -> dict[str, Plain]:
        pairs = [] if mapping is None else pairs_of(mapping)
        if pairs is None:
            return {"value": Walk(self).plain(mapping)}
        return Walk(self).mapping(pairs, 0, self.max_attributes, "attributes")

    def _text(self, value: object) -> str:
        limit = self.max_text
        text = as_text(value, limit * 4)
        whole = len(text) < limit * 4
        if not whole:
            text = without_torn_end(text)
        marked = whole and text.endswith(_CUT)
        if marked:
            text = text[: -len(_CUT)]
        text = self._hide(text)
        if not text.isprintable():
            # Escapes change what stands around a secret, and so what is found: look before and after.
            text = self._hide(printable(text.replace("\r\n", "\n"), LINES))
        if whole and len(text) + marked * len(_CUT) <= limit:
            return text + _CUT if marked else text
        cut("text")
        return self._stable(text, limit - len(_CUT)) + _CUT

    def _stable(self, text: str, room: int) -> str:
        """Cut a text so that hiding secrets again would change nothing, whatever the cut tore."""
        text = text[:room]
        for _ in range(_PASSES):
            again = self._hide(self._without_torn_mask(text))[:room]
            if again == text:
                break
            text = again
        return text

    def _without_torn_mask(self, text: str) -> str:
        mask = self.replacement
        for size in range(min(len(mask) - 1, len(text)), 0, -1):
            if text.endswith(mask[:size]):
                return text[:-size]
        return text

    def _hide(self, text: str) -> str:
        if not self.enabled:
            return text
        for _ in range(_PASSES):  # hiding one secret may lay open where another begins
            found = hide(text, self.replacement, self.is_secret, self._hints)
            for pattern in self._patterns:
                found = pattern.sub(lambda _: self.replacement, found)
            if found == text:
                break
            text = found
        return text


def _safely(make: Callable[[object], T], what: str, value: object) -> T | str:
    """Call `make`; the only place where what went wrong on the way into a record stops."""
    try:
        return make(value)
    except (KeyboardInterrupt, SystemExit, TelemetryError):
        raise  # the program's own: a Ctrl-C or a signal's handler that ran here, or what a strict registry raises
    except BaseException:  # noqa: BLE001  # no stack or memory left, or a rule of the user's raised
        return lost(what)


def _rebuild(  # noqa: PLR0917  # what __reduce__ hands over comes by position
    keys: tuple[str, ...], patterns: tuple[re.Pattern[str], ...], allow: tuple[str, ...], replacement: str,
    max_name: int, max_text: int, max_items: int, max_depth: int, max_attributes: int, enabled: bool,  # noqa: FBT001
) -> Redactor:  # fmt: skip
    return Redactor(
        keys, patterns, allow, replacement, max_name=max_name, max_text=max_text, max_items=max_items,
        max_depth=max_depth, max_attributes=max_attributes, enabled=enabled,
    )  # fmt: skip


def _is_within(part: list[str], whole: list[str]) -> bool:
    size = len(part)
    return any(whole[at : at + size] == part for at in range(len(whole) - size + 1))


def _is_short_line(value: object) -> bool:
    return isinstance(value, str) and value.isprintable() and 0 < len(value) <= _LONGEST_LINE


def _limit(name: str, value: int, least: int) -> int:
    if type(value) is not int or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, not {value!r}")
    return value


def _strings(name: str, values: Iterable[str]) -> list[str]:
    if isinstance(values, (str, bytes)):
        raise TypeError(f"{name} must be a list of strings: write {name}=[{values!r}]")
    found = list(values)
    for value in found:
        if not (_is_short_line(value) and words_of(value)):
            raise ValueError(f"{name} must hold words such as 'customer_email', not {value!r}")
    return found


def _compile(patterns: Iterable[str | re.Pattern[str]]) -> tuple[re.Pattern[str], ...]:
    if isinstance(patterns, (str, bytes)):
        raise TypeError(
            f"patterns must be a list of regular expressions: write patterns=[{patterns!r}]"
        )
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
            raise ValueError(
                f"patterns must hold regular expressions for text; {pattern!r} is not one: {error}"
            ) from error
        compiled.append(ready)
    return tuple(compiled)


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
        raise TypeError(
            f"set_redactor needs a Redactor, such as Redactor(keys=['customer_email']), not {redactor!r}"
        )
    previous, _current = _current, redactor
    return previous
