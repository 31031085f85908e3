"""Value objects that no class in the standard library makes cheaply enough."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TypeVar

    T = TypeVar("T")


class _Field:
    """One field of a record: read from its values, never set."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, record: Frozen | None, kind: type) -> Any:
        return self if record is None else record._values[self.name]

    def __set__(self, record: Frozen, value: object) -> None:
        raise AttributeError(f"{type(record).__name__} is frozen: cannot set {self.name!r}")

    def __delete__(self, record: Frozen) -> None:
        raise AttributeError(f"{type(record).__name__} is frozen: cannot delete {self.name!r}")


class Frozen:
    """A value object: keyword constructor, equality, hash, repr, pickling, no changes.

    A dataclass would be shorter, and importing dataclasses alone would take longer than all of
    volnux.telemetry may. An instance may hold an entry instead of values, and render it when one is
    first asked for: a query hands out ten thousand records, and few of them are looked at. That also
    is why fields refuse to be set, instead of `__setattr__`: the registry sets `_raw` ten thousand
    times.
    """

    __slots__ = ("_raw", "_values")
    _fields: tuple[str, ...] = ()
    _defaults: Mapping[str, Any] = {}
    _render: Callable[[Any], dict[str, Any]]
    _raw: Any
    _values: dict[str, Any]

    def __init__(self, **fields: Any) -> None:
        values = {**self._defaults, **fields}
        for name, value in self._defaults.items():
            if type(value) is dict and name not in fields:
                values[name] = value.copy()
        if values.keys() != set(self._fields):
            unknown = values.keys() - set(self._fields)
            if unknown:
                raise TypeError(f"{type(self).__name__} has no field {min(unknown)!r}")
            missing = [name for name in self._fields if name not in values]
            raise TypeError(f"{type(self).__name__} needs {', '.join(missing)}")
        self._values = {name: values[name] for name in self._fields}

    def __init_subclass__(cls) -> None:
        for name in cls._fields:
            setattr(cls, name, _Field(name))

    @classmethod
    def _of(cls: type[T], values: dict[str, Any]) -> T:
        """Return an instance of values that are known to be complete, and in order."""
        made = cls.__new__(cls)
        made._values = values  # type: ignore[attr-defined]  # T is one of ours
        return made

    if not TYPE_CHECKING:  # what there is, is declared

        def __getattr__(self, name: str) -> Any:
            if name == "_values":
                values = self._values = type(self)._render(self._raw)
                return values
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _as_dict(self) -> dict[str, Any]:
        return self._values.copy()

    def _to_show(self) -> dict[str, Any]:
        """Return the values for a look or two: what has not been rendered before is not kept."""
        try:
            return _values_of(self)
        except AttributeError:
            return type(self)._render(self._raw)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Frozen) or type(other) is not type(self):
            return NotImplemented
        return self._as_dict() == other._as_dict()

    def __hash__(self) -> int:
        return hash((type(self), *(self._values[name] for name in self._fields[:2])))

    def __repr__(self) -> str:
        text = ", ".join(
            f"{name}={value!r}"
            for name, value in self._as_dict().items()
            if name not in self._defaults or value != self._defaults[name]
        )
        return f"{type(self).__name__}({text})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self._as_dict())

    def __replace__(self: T, **changes: Any) -> T:
        fields: dict[str, Any] = self._as_dict()  # type: ignore[attr-defined]  # T is one of ours
        return type(self)(**{**fields, **changes})


# The slot itself, which does not ask `__getattr__` to fill it.
_values_of: Callable[[Frozen], dict[str, Any]] = vars(Frozen)["_values"].__get__


def _rebuild(kind: type[Frozen], fields: dict[str, Any]) -> Frozen:
    return kind(**fields)
