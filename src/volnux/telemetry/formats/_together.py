"""Calls that may run beside one another, in threads that nobody has to wait for at the exit."""

from __future__ import annotations

from contextvars import copy_context
from threading import Thread
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

R = TypeVar("R")


class Call(Generic[R]):
    """A call of a function, in a thread of its own if it is begun, else where its result is asked for.

    Not by an executor: that waits, at the exit of the interpreter, for whatever a server keeps waiting.
    """

    def __init__(self, function: Callable[..., R], *args: Any) -> None:
        self._function = function
        self._args = args
        self._thread: Thread | None = None
        self._found: list[R] = []
        self._error: BaseException | None = None

    def begin(self) -> None:
        """Start it, in the context of whoever calls; no thread can be had at the exit, and then nothing is done."""
        thread = Thread(target=copy_context().run, args=(self._run,), daemon=True)
        try:
            thread.start()
        except RuntimeError:  # or a limit is reached
            return
        self._thread = thread

    def wait(self, timeout: float) -> None:
        """Wait until it is over, if it has been begun, or so many seconds."""
        if self._thread is not None:
            self._thread.join(timeout)

    def result(self, timeout: float | None = None) -> R:
        """Return what the function returned, or raise what it raised.

        Args:
            timeout: seconds to wait for that at most, where it was begun.

        Raises:
            TimeoutError: it goes on, and nobody waits for it any more.
        """
        if self._thread is None:
            return self._function(*self._args)
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise TimeoutError
        if self._error is not None:
            raise self._error
        return self._found[0]

    def _run(self) -> None:
        try:
            self._found.append(self._function(*self._args))
        except BaseException as error:  # noqa: BLE001  # raised where the result is asked for
            self._error = error
