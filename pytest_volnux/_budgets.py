"""Budgets: what may happen inside a test at most, by its markers and by the ini file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

from pytest_volnux._numbers import read_number
from volnux.telemetry import Budget
from volnux.telemetry._budget import LIMITS, check_limit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import pytest


class BudgetError(ValueError):
    """What is said of a budget makes no sense; the text says what would."""


@dataclass(frozen=True)
class Allowance:
    """What may happen inside a test at most. None is no limit.

    Attributes:
        whole: the limits of all that happens in it.
        hosts: globs of the only hosts, `host` or `host:port`.
        events: a glob of event names -> limits of what these are together.
        allow_failed: globs of events that may fail, and all that fails inside of them.
        lint: whether a test that passes is looked into, if any is.
    """

    whole: Budget = field(default_factory=Budget)
    hosts: tuple[str, ...] | None = None
    events: Mapping[str, Budget] = field(default_factory=dict)
    allow_failed: tuple[str, ...] = ()
    lint: bool = True

    def __bool__(self) -> bool:
        return bool(self.whole.limits() or self.hosts is not None or self.events)

    def under(self, budgets: Mapping[str, Budget]) -> Allowance:
        """Return it with what the program says of its steps, where nothing nearer says otherwise."""
        events = {
            name: Budget(**{**budget.limits(), **self.events.get(name, Budget()).limits()})
            for name, budget in budgets.items()
        }
        return replace(self, events={**self.events, **events})


def allowance_of(marks: Iterable[pytest.Mark], default: Mapping[str, Any]) -> Allowance:
    """Return what markers allow, the nearest first; each key by the nearest that has it."""
    found: dict[str, Any] = {}
    events: dict[str, dict[str, Any]] = {}
    for given in (*(mark.kwargs for mark in marks), default):
        for key, value in given.items():
            if key == "events":
                for name, limits in value.items():
                    events[name] = {**limits, **events.get(name, {})}
            else:
                found.setdefault(key, value)
    hosts = found.pop("hosts", None)
    return Allowance(
        hosts=None if hosts is None else _listed(hosts),
        allow_failed=_listed(found.pop("allow_failed", ())),
        lint=found.pop("lint", True),
        whole=Budget(**found),
        events={name: Budget(**limits) for name, limits in events.items()},
    )


def _listed(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def check_mark(mark: pytest.Mark) -> None:
    """See whether a marker says what markers can say.

    Raises:
        ValueError: it does not; the text says what would be right.
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
    check_limit(key, value, whole=True)


def _seconds(key: str, value: Any) -> None:
    check_limit(key, value, whole=False)


def _names(key: str, value: Any) -> None:
    names = value if isinstance(value, (list, tuple, set, frozenset)) else [value]
    wrong = [name for name in names if not isinstance(name, str) or not name]
    if wrong:
        raise BudgetError(f"{key} is a list of names, such as ['api.*'], not {value!r}")


def _lint(key: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise BudgetError(f"{key} is True or False, not {value!r}")


def _events(key: str, value: Any) -> None:
    example = '{"fetch*": {"max_calls": 2}}'
    if not isinstance(value, Mapping):
        raise BudgetError(f"{key} is a dict such as {example}, not {value!r}")
    for name, limits in value.items():
        if not isinstance(name, str) or not isinstance(limits, Mapping):
            raise BudgetError(f"{key} is a dict such as {example}; {name!r} has {limits!r}")
        for one, limit in limits.items():
            _known(one, LIMITS, f" in {key}[{name!r}]")
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
    "lint": _lint,
}


def read_ini(get: Callable[[str], Any]) -> dict[str, Any]:
    """Return what the ini file says for all tests, as a marker would.

    Raises:
        ValueError: something there makes no sense; the text names it.
    """
    found: dict[str, Any] = {}
    for key in KEYS:
        value = get(f"volnux_{key}") if key != "lint" else None  # which says how, not whether
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
            _known(key, LIMITS, f" in volnux_events, {line!r}")
            found[key] = read_number(
                f"volnux_events, {line!r}: {key}", value, whole=key != "max_seconds"
            )
        if not found:
            raise BudgetError(f"volnux_events: {line!r} has no limit, such as max_calls=2")
        yield name, found
