"""Budgets: what may happen inside a test at most, by its markers and by the ini file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import pytest

#: Keys that a single event of a budget may have.
OF_EVENTS: Final = ("max_failed", "max_seconds", "max_retries", "max_bytes", "max_calls")


class BudgetError(ValueError):
    """What is said of a budget makes no sense; the text says what would."""


@dataclass(frozen=True)
class Budget:
    """What may happen at most. None is no limit.

    Attributes:
        max_failed: errors that arose, in events and network operations.
        max_seconds: of the longest event, in seconds.
        max_retries: attempts after the first.
        max_bytes: bytes to and from hosts together.
        max_calls: events.
        hosts: globs of the only hosts, `host` or `host:port`.
        events: a glob of event names -> limits of what these are together.
        allow_failed: globs of events that may fail, and all that fails inside of them.
    """

    max_failed: int | None = None
    max_seconds: float | None = None
    max_retries: int | None = None
    max_bytes: int | None = None
    max_calls: int | None = None
    hosts: tuple[str, ...] | None = None
    events: Mapping[str, Budget] = field(default_factory=dict)
    allow_failed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return any(
            getattr(self, one.name) is not None for one in fields(self) if one.name[:3] == "max"
        ) or bool(self.hosts is not None or self.events)


def budget_of(marks: Iterable[pytest.Mark], default: Mapping[str, Any]) -> Budget:
    """Return the budget that markers give, the nearest first; each key by the nearest that has it."""
    found: dict[str, Any] = {}
    events: dict[str, dict[str, Any]] = {}
    for given in (*(mark.kwargs for mark in marks), default):
        for key, value in given.items():
            if key == "events":
                for name, limits in value.items():
                    events[name] = {**limits, **events.get(name, {})}
            else:
                found.setdefault(key, _listed(value) if key in {"hosts", "allow_failed"} else value)
    return Budget(**found, events={name: Budget(**limits) for name, limits in events.items()})


def _listed(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def check_mark(mark: pytest.Mark) -> None:
    """See whether a marker says what markers can say.

    Raises:
        BudgetError: it does not; the text says what would be right.
    """
    if mark.args:
        raise BudgetError(
            f"it takes its limits by name, such as max_failed=0, and not {mark.args[0]!r}"
        )
    for key, value in mark.kwargs.items():
        _known(key, KEYS)
        KEYS[key](key, value)


def _known(key: Any, keys: Iterable[str], where: str = "") -> None:
    if key not in keys:
        near = get_close_matches(str(key), keys, 1, 0.5)
        hint = f"did you mean {near[0]}?" if near else f"it knows {', '.join(keys)}"
        raise BudgetError(f"it knows no {key!r}{where}; {hint}")


def _count(key: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise BudgetError(f"{key} is a whole number, not {value!r}")
    if value < 0:
        raise BudgetError(f"{key} is 0 or more, not {value!r}")


def _seconds(key: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value):
        raise BudgetError(f"{key} is a number of seconds, not {value!r}")
    if value < 0:
        raise BudgetError(f"{key} is 0 or more, not {value!r}")


def _names(key: str, value: Any) -> None:
    names = value if isinstance(value, (list, tuple, set, frozenset)) else [value]
    wrong = [name for name in names if not isinstance(name, str) or not name]
    if wrong:
        raise BudgetError(f"{key} is a list of names, such as ['api.*'], not {value!r}")


def _events(key: str, value: Any) -> None:
    example = '{"fetch*": {"max_calls": 2}}'
    if not isinstance(value, Mapping):
        raise BudgetError(f"{key} is a dict such as {example}, not {value!r}")
    for name, limits in value.items():
        if not isinstance(name, str) or not isinstance(limits, Mapping):
            raise BudgetError(f"{key} is a dict such as {example}; {name!r} has {limits!r}")
        for one, limit in limits.items():
            _known(one, OF_EVENTS, f" in {key}[{name!r}]")
            KEYS[one](f"{key}[{name!r}] {one}", limit)


#: What a marker can say -> what sees to it that it makes sense.
KEYS: Final[Mapping[str, Callable[[str, Any], None]]] = {
    "max_failed": _count,
    "max_seconds": _seconds,
    "max_retries": _count,
    "max_bytes": _count,
    "max_calls": _count,
    "hosts": _names,
    "events": _events,
    "allow_failed": _names,
}


def read_ini(get: Callable[[str], Any]) -> dict[str, Any]:
    """Return what the ini file says for all tests, as a marker would.

    Raises:
        BudgetError: something there makes no sense; the text names it.
    """
    found: dict[str, Any] = {}
    for key in KEYS:
        value = get(f"volnux_{key}")
        if not value:
            continue
        if key == "events":
            found[key] = dict(_event_lines(value))
        elif key in {"hosts", "allow_failed"}:
            found[key] = [name for line in value for name in line.split()]
        else:
            found[key] = read_number(f"volnux_{key}", value, whole=key != "max_seconds")
    return found


def _event_lines(lines: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    for line in lines:
        name, *limits = line.split()
        found: dict[str, Any] = {}
        for limit in limits:
            key, _, value = limit.partition("=")
            _known(key, OF_EVENTS, f" in volnux_events, {line!r}")
            found[key] = read_number(
                f"volnux_events, {line!r}: {key}", value, whole=key != "max_seconds"
            )
        if not found:
            raise BudgetError(f"volnux_events: {line!r} has no limit, such as max_calls=2")
        yield name, found


def read_number(name: str, text: str, *, whole: bool) -> Any:
    """Return a number that somebody wrote.

    Raises:
        BudgetError: it is none, or less than 0; the text names it.
    """
    try:
        number = int(text) if whole else float(text)
    except ValueError:
        kind = "a whole number" if whole else "a number"
        raise BudgetError(f"{name} is {kind}, not {text!r}") from None
    if number < 0 or not isfinite(number):
        raise BudgetError(f"{name} is 0 or more, not {text!r}")
    return number
