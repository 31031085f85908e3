# The hot path, compiled; see `_speedups.c`.

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from volnux.telemetry._raw import Raw

def begin(event: Raw, /) -> object: ...
def end(event: Raw, only_if_current: bool, /) -> None: ...
def end_failed(event: Raw, error: BaseException, only_if_current: bool, /) -> None: ...
def sort_out(
    batch: list[Raw],
    by_site: dict[Any, tuple[list[int], list[Raw]]],
    special: list[Raw],
    claims: list[Raw],
    op_claims: list[Raw],
    unfinished: list[Raw],
    slow: int,
    slow_op: int,
    plain_op: object,
    number_of: Callable[[Raw], int],
    /,
) -> None: ...
def bind(
    current: ContextVar[Raw], switch: object, fail: Callable[..., None], overrun: object, /
) -> None: ...
def bind_op(
    known_ops: dict[Any, Any],
    plain_op: object,
    fail_op: Callable[..., None],
    overrun_op: object,
    enter: Callable[..., Any],
    exit: Callable[..., Any],
    sent: Callable[..., Any],
    received: Callable[..., Any],
    /,
) -> None: ...

class Op:
    _key: tuple[Any, Any, Any]
    _given: Any
    _raw: Raw | None
