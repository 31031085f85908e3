"""What kind of callable something is, as far as it can be believed: an object may say anything."""

from __future__ import annotations

import sys
from types import (
    BuiltinFunctionType,
    ClassMethodDescriptorType,
    CodeType,
    FunctionType,
    MethodDescriptorType,
    MethodType,
    MethodWrapperType,
    WrapperDescriptorType,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# `inspect.CO_…` flags: importing inspect costs more than all of volnux.telemetry may.
GENERATOR, COROUTINE, ASYNC_GENERATOR = 0x20, 0x80, 0x200
#: A generator made by `types.coroutine`, to be awaited.
ITERABLE_COROUTINE = 0x100

#: Wrappers that are looked through: one may say that it wraps itself.
_WRAPPERS = 32
#: What a plain function may stand for. Other callables have a state and attributes of their own.
_FUNCTIONS = (
    FunctionType,
    MethodType,
    BuiltinFunctionType,
    WrapperDescriptorType,
    MethodWrapperType,
    MethodDescriptorType,
    ClassMethodDescriptorType,
)


def is_function(target: object) -> bool:
    """Return whether something is a function or method, in Python or in C."""
    return issubclass(type(target), _FUNCTIONS)


def is_a(kind: str, target: object) -> bool:
    """Return whether something is of a class in functools, such as "partial"."""
    # Asked only if the program has loaded functools: it is the dearest import of all this.
    functools = sys.modules.get("functools")
    return functools is not None and isinstance(target, getattr(functools, kind))


def flags_of(target: Any) -> int:
    """Return the code flags of what will run: through partials, methods and `__call__`."""
    while is_a("partial", target) or type(target) is MethodType:
        target = target.__func__ if type(target) is MethodType else target.func
    code = _code(target)
    return 0 if code is None else code.co_flags


def written_in(target: Any) -> tuple[CodeType, ...]:
    """Return what was written for a callable: the code of what is called in the end, then of what wraps it.

    Partials, methods and `__call__` are looked through. What is not written in Python has no code.
    """
    found: list[CodeType] = []
    for _ in range(_WRAPPERS):
        if is_a("partial", target):
            target = target.func
            continue
        if type(target) is MethodType:
            target = target.__func__
        code, inner = _code(target), _ask(target, "__wrapped__")
        if code is not None:
            found.insert(0, code)
        if inner is None or inner is target:
            break
        target = inner
    return tuple(found)


def _code(target: Any) -> CodeType | None:
    code = _ask(target, "__code__")
    if type(code) is not CodeType:  # an object may say yes to any name
        called = vars(type(target)).get("__call__") or _ask(type(target), "__call__")
        code = _ask(called, "__code__")
    return code if type(code) is CodeType else None


def name_of(target: Any) -> str:
    """Return the name that an event of it gets: the qualified one, of what is really called."""
    while is_a("partial", target) or is_a("partialmethod", target):
        target = target.func
    name = _ask(target, "__qualname__")
    if type(name) is not str:
        name = type(target).__qualname__
    return name.rpartition("<locals>.")[2]


def is_marked(target: Any) -> bool:
    """Return whether something is marked as a coroutine function; only its maker's marks count."""
    marks = (("inspect", "_is_coroutine_mark"), ("asyncio.coroutines", "_is_coroutine"))
    for module, name in marks:  # asked only if loaded, and unmarked if not
        mark = getattr(sys.modules.get(module), name, None)
        if mark is not None and _ask(target, name) is mark:
            return True
    return False


def _ask(target: Any, name: str) -> Any:
    """Return an attribute, or None if there is none or looking for it fails."""
    try:
        return getattr(target, name, None)
    except Exception:  # noqa: BLE001  # a proxy of something that is not there yet
        return None
