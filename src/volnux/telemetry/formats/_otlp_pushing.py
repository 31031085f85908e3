"""Pushing the state of something regularly: at its time, one push at once, and only ever the newest state."""

from __future__ import annotations

import logging
from contextvars import copy_context
from threading import Event, Lock, Thread
from time import monotonic
from typing import TYPE_CHECKING

from volnux.telemetry._redaction import get_redactor
from volnux.telemetry.errors import PublishError
from volnux.telemetry.formats._together import Call

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds that a back end may ask to be left alone.
_LONGEST_PAUSE = 3_600.0
_log = logging.getLogger("volnux.telemetry")


class Pushing:
    """Calls a function every so often, in a thread that nobody has to wait for, and when it is told to.

    Args:
        push: takes the seconds that it has, and raises `PublishError` if it has failed.
        give_up: called when it has taken longer.
        interval: seconds between two calls, and more where a back end asks for more.
        patience: seconds that a call may take at most.
        name: of the publisher, for the log.
    """

    def __init__(
        self,
        push: Callable[[float], None],
        give_up: Callable[[], None],
        *,
        interval: float,
        patience: float,
        name: str,
    ) -> None:
        self._push = push
        self._give_up = give_up
        self._interval = interval
        self._patience = patience
        self._name = name
        self._lock = Lock()
        self._stop = Event()
        self._thread: Thread | None = None
        self._not_before = 0.0
        self._is_failing = False

    def begin(self) -> None:
        """Start the thread, in the context of who calls, unless there is one."""
        if self._thread is not None or self._stop.is_set():
            return
        context = copy_context()
        thread = Thread(
            target=context.run,
            args=(self._push_regularly,),
            name=f"volnux-{self._name}-metrics",
            daemon=True,
        )
        try:
            thread.start()
        except RuntimeError:  # the interpreter is on its way out: the last push is not far
            return
        self._thread = thread

    def end(self) -> None:
        """Push regularly no more."""
        self._stop.set()

    def now(self, timeout: float | None = None, *, at_any_rate: bool = False) -> None:
        """Push.

        Args:
            timeout: seconds that it may take.
            at_any_rate: also where the back end has asked to be left alone.

        Raises:
            PublishError: it has failed.
        """
        begun = monotonic()
        if begun < self._not_before and not at_any_rate:
            raise PublishError(
                "metrics wait for as long as they were asked to",
                retry_after=self._not_before - begun,
            )
        seconds = self._patience if timeout is None else min(timeout, self._patience)
        if not self._lock.acquire(timeout=max(0.0, seconds)):
            raise PublishError("an earlier push of metrics is still under way")
        try:
            self._call(max(0.0, seconds - (monotonic() - begun)))
        finally:
            self._lock.release()

    def _call(self, seconds: float) -> None:
        call = Call(self._push, max(0.001, seconds))
        call.begin()
        try:
            call.result(seconds)
        except TimeoutError:
            self._give_up()
            raise PublishError(f"no answer to metrics within {seconds:.3g} s") from None
        except PublishError as error:
            self._not_before = monotonic() + min(error.retry_after or 0.0, _LONGEST_PAUSE)
            raise
        self._not_before = 0.0

    def _push_regularly(self) -> None:
        while not self._stop.wait(max(self._interval, self._not_before - monotonic())):
            try:
                self.now()
            except Exception as error:  # noqa: BLE001  # nothing must end the thread
                self._warn(error)
            else:
                self._is_failing = False

    def _warn(self, error: Exception) -> None:
        """Say that it fails: when that begins, not each time."""
        if not self._is_failing:
            self._is_failing = True
            told = type(error).__name__
            if isinstance(error, PublishError):  # the text of any other may hold an address
                told += f": {get_redactor().error_text(error)}"
            _log.warning("publisher %s cannot push its metrics: %s", self._name, told)
