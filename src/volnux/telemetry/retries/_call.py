"""A retried call: who retries tells it of every attempt, and it tells the event around it."""

from __future__ import annotations

from functools import wraps

from volnux.telemetry._current import current_event, nanoseconds
from volnux.telemetry._events import traced_event
from volnux.telemetry._guard import note
from volnux.telemetry._ids import IDS
from volnux.telemetry._kinds import name_of
from volnux.telemetry._outcome import status_of, type_name
from volnux.telemetry._raw import MAX_ATTEMPTS, Try, extra_of
from volnux.telemetry._records import Status
from volnux.telemetry._scope import CURRENT, enclosing_event, still_open
from volnux.telemetry._sites import redactor
from volnux.telemetry._switch import SWITCH
from volnux.telemetry.errors import TelemetryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Concatenate, ParamSpec

    from volnux.telemetry._events import TracedEvent
    from volnux.telemetry._raw import Raw

    P = ParamSpec("P")


def _harmless(method: Callable[Concatenate[Call, P], None]) -> Callable[Concatenate[Call, P], None]:
    """Have a method count what goes wrong in it, for it runs between a program and its retries."""

    @wraps(method)
    def harmless(self: Call, /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            method(self, *args, **kwargs)
        except TelemetryError:  # the registry is strict
            raise
        except Exception as error:  # noqa: BLE001  # nothing here is the program's fault
            note(self._registry, "retry", type(error).__name__, error)

    return harmless


class Call:
    """One call that may be made several times, in the event that it was begun in.

    For one thread or task at a time; any number of calls may run in one event at once. Once the
    event has ended nothing changes it any more, and what is retried then is counted as an error.
    Nothing raises, unless the registry is strict.
    """

    __slots__ = ("_id", "_last", "_number", "_raw", "_registry", "_waiting")

    def __init__(self, raw: Raw | None, registry: Any) -> None:
        self._raw = raw
        self._registry = registry
        self._id = 0
        self._number = 0
        self._last: Try | None = None
        self._waiting = False

    def _told(self) -> tuple[Try, Raw] | None:
        """Return the last attempt and its event, if more can be said about it."""
        last, raw = self._last, self._raw
        return None if last is None or raw is None or raw[5] is not None else (last, raw)

    @_harmless
    def start(self, at: int | None = None) -> None:
        """Begin an attempt, unless one is going on, now or at a time on the clock of the event."""
        if self._last is not None and self._last.stopped is None:
            return
        self._number += 1
        self._waiting = False
        raw = self._raw
        if raw is not None and raw[5] is None:
            self._add(raw, raw[1].now() if at is None else at)
        elif self._number > 1:
            missing = "outside of any event" if raw is None else "after the end of the event"
            note(self._registry, "retry", missing)

    def _add(self, raw: Raw, begun: int) -> None:
        if self._last is not None:
            self._last.until, self._last.status = begun, Status.FAILED
        with IDS.lock:
            extra = extra_of(raw)
            if self._id:
                extra.retry_count += 1
                extra.told += 1
            else:
                extra.calls += 1
                self._id = extra.calls
            if extra.tries is None:
                extra.tries = []
            self._last = Try(self._id, self._number, begun)
            extra.tries.append(self._last)
            cut = len(extra.tries) > MAX_ATTEMPTS
            if cut:
                del extra.tries[0]
        if cut:
            self._registry.count_error("bounds", "attempts")

    @_harmless
    def stop(self, error: BaseException | None = None) -> None:
        """End the attempt that is going on, if there is one; with an error it has failed."""
        told = self._told()
        if told is None or told[0].stopped is not None:
            return
        last, raw = told
        last.stopped = raw[1].now()
        if error is None:
            last.status = Status.COMPLETED
        else:
            last.status = Status.FAILED
            last.status, last.error_type = status_of(error), type_name(error)
            last.error = redactor().error_text(error)

    @_harmless
    def reject(self) -> None:
        """Say that what came of the last attempt is not good enough."""
        told = self._told()
        if told is not None:
            told[0].status = Status.FAILED

    @_harmless
    def wait(self, delay: float | None = None) -> None:
        """Say that another attempt follows, after so many seconds if that is known."""
        self._waiting = True
        told = self._told()
        stopped = None if told is None else told[0].stopped
        if told is None or stopped is None:
            return
        last, raw = told
        last.status = Status.FAILED
        if delay is not None:
            last.until = stopped + nanoseconds(raw, delay)

    @property
    def is_early(self) -> bool:
        """Whether the wait that was announced is not over yet."""
        told = self._told() if self._waiting else None
        until = None if told is None else told[0].until
        return until is not None and told is not None and bool(told[1][1].now() < until)

    @_harmless
    def resume(self) -> None:
        """Begin the attempt that was waited for, where nobody has told when it began."""
        if not self._waiting:
            return
        told = self._told()
        until = None if told is None else told[0].until
        self.start(None if told is None or until is None else min(until, told[1][1].now()))

    @_harmless
    def end(self, error: BaseException | None = None) -> None:
        """End the call with what came of it. Once is enough: nothing comes after that."""
        self.stop(error)
        told = self._told()
        self._last = None
        if told is None or told[0].status != Status.FAILED:
            return
        last, raw = told
        if self._waiting or (error is not None and status_of(error) == Status.CANCELLED):
            # The wait has been broken off, and what was waited for has never been made.
            last.until = raw[1].now()
        elif last.number > 1:
            extra_of(raw).gave_up = True

    def since(self) -> int | None:
        """Return the earliest moment, on its event's clock, at which an untold attempt began.

        That is the last one known before: the end of another attempt, the begin of one that goes on,
        or that of the event.
        """
        raw = self._raw
        if raw is None:
            return None
        tries: tuple[Try, ...] = tuple((raw[6] and raw[6].tries) or ())
        known = [one.begun if one.stopped is None else one.stopped for one in tries]
        begun: int = raw[3]
        return max(begun, *known) if known else begun


def begin_call() -> Call | None:
    """Return a new call in the current event; None where nothing is recorded."""
    if not SWITCH.on:
        return None
    current = CURRENT.get()
    if current[1] is None:
        return None
    raw = enclosing_event(still_open(current))
    return Call(None if raw is None or raw[5] is not None else raw, current[1].registries[0])


class _Nothing:
    """Stands where no event of its own is needed."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exc_info: object) -> None:
        return None


_NOTHING = _Nothing()


def own_event(function: Callable[..., Any]) -> TracedEvent | _Nothing:
    """Return a block that makes a call an event named after its function, where there is none."""
    if not SWITCH.on or CURRENT.get()[1] is None or current_event() is not None:
        return _NOTHING
    return traced_event(name_of(function).strip() or "call")
