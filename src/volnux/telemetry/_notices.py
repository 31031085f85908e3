"""How a delivery says that something is wrong: seldom, and without secrets."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from volnux.telemetry._bounds import one_line
from volnux.telemetry._redaction import get_redactor
from volnux.telemetry._sending import describe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from volnux.telemetry._registry import Registry
    from volnux.telemetry._sender import Judgement
    from volnux.telemetry._sending import Sent

log = logging.getLogger("volnux.telemetry")

#: Seconds between two warnings of one kind.
QUIET_SECONDS = 60.0
#: Seconds that who closes waits for a thread that is about to tell what is lost.
TELL_SECONDS = 1.0
#: Errors that strict mode remembers; the first one is raised.
KEPT_ERRORS = 100
#: Characters of an error's text that are logged.
LONGEST_TEXT = 200


class Notices:
    """Warnings in the log, at most one of a kind a minute, and error counts in health.

    Args:
        name: the publisher's.
        strict: remember errors for `raise_first`.
        now: a monotonic clock, in seconds.
    """

    def __init__(self, name: str, now: Callable[[], float], *, strict: bool) -> None:
        self._name = name
        self._now = now
        self._strict = strict
        self._errors: list[BaseException] = []
        self._warned: dict[str, float] = {}
        self._is_failing = False
        self._drops = 0
        self._telling = threading.RLock()

    def warn(self, kind: str, text: str) -> None:
        """Log a warning, unless there was one of this kind just now."""
        now = self._now()
        if now - self._warned.get(kind, -QUIET_SECONDS) >= QUIET_SECONDS:
            self._warned[kind] = now
            log.warning("publisher %s %s (see Monitor.health())", self._name, text)

    def lost(self, abandon: Callable[[], int]) -> int:
        """Abandon what is pending, and tell how many records that were, which it returns as well.

        Who comes second goes on when the first has told: he may end the process, and the first with it.
        """
        is_first = self._telling.acquire(timeout=TELL_SECONDS)
        try:
            lost = abandon()
            if lost:
                self.warn("lost", f"was too slow to close: lost {lost} records")
        finally:
            if is_first:
                self._telling.release()
        return lost

    def error(self, error: BaseException, registries: Iterable[Registry]) -> None:
        """Count an error, by its type, in the health of registries."""
        for registry in registries:
            registry.count_error("publish", type(error).__name__)
        if self._strict and len(self._errors) < KEPT_ERRORS:
            self._errors.append(error)

    def attempt(self, sent: Sent, judgement: Judgement, registries: Iterable[Registry]) -> None:
        """Count what went wrong in an attempt, and tell of it: of an outage once, at its start."""
        for error in (sent.error, sent.fault):
            if error is not None:
                self.error(error, registries)
        if sent.error is not None and not self._is_failing:
            waits = "; records wait in its queue" if judgement.keep or judgement.behind else ""
            self.warn("failing", f"fails: {tell(sent.error)}{waits}")
        self._is_failing = sent.error is not None
        if judgement.rejected:
            why = f"; the last: {_short(get_redactor().text(sent.refusal))}" if sent.refusal else ""
            self.warn("rejected", f"rejected records: {judgement.rejected}{why}")
        if judgement.poison:
            self.warn("poison", f"fails at some records; gave up on {judgement.poison}")

    def spool(self, error: Exception, registries: Iterable[Registry]) -> None:
        """Count what the disk refuses, and tell of it."""
        for registry in registries:
            registry.count_error("spool", type(error).__name__)
        self.warn("spool", f"cannot use its spool: {error}; records wait in memory instead")

    def drops(self, dropped: Mapping[str, int]) -> None:
        """Tell of records that found the queue full."""
        drops = sum(dropped.get(why, 0) for why in ("queue_full", "queue_bytes", "spool_full"))
        if drops > self._drops:
            self._drops = drops
            self.warn("full", f"does not keep up: its queue is full, dropped {drops} records")

    def raise_first(self) -> None:
        """Raise the first error since the last time, if errors are remembered."""
        if self._errors:
            first = self._errors[0]
            self._errors.clear()
            raise first


def tell(error: BaseException) -> str:
    """Return on one line what went wrong: an error's type and its text, without secrets.

    Of an error of the system only the system's own words: its text is mostly an address.
    """
    told = describe(error)
    if isinstance(error, OSError) or told != type(error).__name__:
        return told
    text = _short(get_redactor().error_text(error))
    return f"{told}: {text}" if text else told


def _short(text: str) -> str:
    line = one_line(text)
    return line if len(line) <= LONGEST_TEXT else line[: LONGEST_TEXT - 1] + "…"
