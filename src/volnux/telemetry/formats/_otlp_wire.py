"""The wire format of Protocol Buffers, as far as attributes and spans of OTLP need it.

Objects of its library cost several times what the bytes that they become do, so spans are written as bytes at once.
The format: https://protobuf.dev/programming-guides/encoding/. The numbers of the fields: `opentelemetry/proto`.
"""

from __future__ import annotations

from hashlib import blake2b
from struct import Struct
from typing import TYPE_CHECKING

from volnux.telemetry._bounds import as_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

#: So deep a list or dict may be. Parsers refuse messages in messages at 100, and a dict in a dict makes three.
DEEPEST = 16
#: So long a text may be that stands for a value of no type that OTLP has.
_LONGEST = 10_000
#: Keys that are kept encoded; a program that makes up ever new ones must not fill the memory.
_MOST_KEYS = 4_096

_SMALL = [bytes((number,)) for number in range(128)]
#: The largest number of 64 bits.
LAST = (1 << 64) - 1
_double = Struct("<d").pack
_keys: dict[str, bytes] = {}


def varint(number: int) -> bytes:
    """Return a number from 0 to 2**64 - 1 in as few bytes as it needs."""
    if number < 128:
        return _SMALL[number]
    if number < 16_384:
        return bytes((number & 127 | 128, number >> 7))
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)


def part(tag: bytes, content: bytes) -> bytes:
    """Return a field whose content has a length: a text, bytes or a message.

    Args:
        tag: eight times the number of the field, and 2.
        content: what it holds, encoded.
    """
    return tag + varint(len(content)) + content


def text(words: str) -> bytes:
    """Return a text as UTF-8; what is no text, such as half a surrogate pair, becomes a question mark."""
    return words.encode("utf-8", "replace")


def any_value(value: Any, depth: int = 0) -> bytes:
    """Return an `AnyValue`: nothing for None, decimal digits for an integer of more than 64 bits."""
    kind = type(value)
    if kind is str:
        return part(b"\x0a", value.encode("utf-8", "replace"))
    if kind is bool:
        return b"\x10\x01" if value else b"\x10\x00"
    if kind is int:
        return _integer(value)
    if kind is float:
        return b"\x21" + _double(value)
    if value is None:
        return b""
    return _other(value, depth)


def _integer(value: int) -> bytes:
    if -(1 << 63) <= value < 1 << 63:
        return b"\x18" + varint(value & LAST)
    try:
        digits = str(value)
    except ValueError:  # Python writes no number of so many digits
        digits = hex(value)
    return part(b"\x0a", digits.encode())


def _other(value: Any, depth: int) -> bytes:
    if isinstance(value, (bytes, bytearray)):
        return part(b"\x3a", bytes(value))
    if isinstance(value, (dict, list, tuple, set, frozenset)):
        return _container(value, depth + 1) if depth < DEEPEST else any_value("[too deep]")
    # Whatever its class overrides: it is asked as what it is at bottom.
    if isinstance(value, str):
        return any_value(str.__str__(value))
    if isinstance(value, int):
        return _integer(int.__int__(value))
    plain = float.__float__(value) if isinstance(value, float) else as_text(value, _LONGEST)
    return any_value(plain)


def _container(value: Any, depth: int) -> bytes:
    if isinstance(value, dict):
        pairs = [_pair(b"\x0a", key, one, depth) for key, one in value.items()]
        return part(b"\x32", b"".join(pairs))
    return part(b"\x2a", b"".join([part(b"\x0a", any_value(one, depth)) for one in value]))


def _pair(tag: bytes, key: Any, value: Any, depth: int = 0) -> bytes:
    return part(tag, key_of(key) + part(b"\x12", any_value(value, depth)))


def key_of(key: Any) -> bytes:
    """Return the key of a `KeyValue`, encoded."""
    if type(key) is not str:
        key = as_text(key, _LONGEST)
    found = _keys.get(key)
    if found is None:
        if len(_keys) >= _MOST_KEYS:
            _keys.clear()
        found = _keys[key] = part(b"\x0a", text(key))
    return found


def pairs(tag: bytes, attributes: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> bytes:
    """Return attributes as repeated fields `KeyValue`.

    Args:
        tag: that of the field in the message that they are part of.
        attributes: values by keys.
    """
    items = attributes.items() if hasattr(attributes, "items") else attributes
    return b"".join([_pair(tag, key, value) for key, value in items])


def identifier(digits: str, size: int) -> bytes:
    """Return an identifier of so many bytes: the one that the hexadecimal digits say, else one made of the text."""
    if len(digits) == 2 * size:
        try:
            found = bytes.fromhex(digits)
        except ValueError:
            found = b""
        if len(found) == size and any(found):
            return found
    return blake2b(text(digits), digest_size=size).digest()


def nanoseconds(seconds: float, unit: float = 1e9) -> int:
    """Return seconds as nanoseconds, or as other parts of which so many make one; from 0 to 2**64 - 1.

    What is no number gives 0.
    """
    try:
        return min(max(0, round(seconds * unit)), LAST)
    except (OverflowError, ValueError):
        return LAST if seconds > 0 else 0


def trace_identifier(trace_id: str | None, task_id: str) -> bytes:
    """Return the 16 bytes of a record's trace; one that says none has one made of its `task_id`."""
    if trace_id is None:
        return blake2b(text(task_id), digest_size=16, person=b"volnux.trace").digest()
    return identifier(trace_id, 16)
