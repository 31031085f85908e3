"""The event that is running, as the program sees it: attributes and retries."""

from __future__ import annotations

from volnux.telemetry._guard import note
from volnux.telemetry._ids import IDS, show_id
from volnux.telemetry._outcome import note_in, type_name
from volnux.telemetry._raw import EXTRA, MAX_ATTEMPTS, SITE, extra_of, identify
from volnux.telemetry._records import Status, unshared
from volnux.telemetry._scope import CURRENT, enclosing_event, still_open
from volnux.telemetry._sites import redactor
from volnux.telemetry._switch import SWITCH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from volnux.telemetry._raw import Raw


class Event:
    """An event in flight: what `with traced_event(...) as event` and `current_event()` give.

    Nothing that is done with it raises, and once the event has ended nothing changes it any more.
    Safe from any thread.
    """

    __slots__ = ("_raw",)

    def __init__(self, raw: Raw | None) -> None:
        self._raw = raw

    def __repr__(self) -> str:
        return f"<Event {self.name!r} {self.task_id} {self.status}>"

    @property
    def name(self) -> str:
        """The name of the step; empty while telemetry is off."""
        return "" if self._raw is None else self._raw[SITE].name

    @property
    def task_id(self) -> str | None:
        """The identifier that the record will have; None while telemetry is off."""
        return None if self._raw is None else show_id(identify(self._raw))

    @property
    def status(self) -> str:
        """How it stands: "running", or how it ended."""
        if self._raw is None or self._raw[5] is None:
            return Status.RUNNING
        extra = self._raw[EXTRA]
        return Status.COMPLETED if extra is None else extra.status

    @property
    def attributes(self) -> dict[str, Any]:
        """A copy of the attributes it has so far: of the pipeline, the step, and this execution."""
        if self._raw is None:
            return {}
        extra = self._raw[EXTRA]
        shared = self._raw[1].attributes or {}
        own = (extra.attributes if extra is not None else None) or {}
        return unshared({**shared, **self._raw[SITE].attributes(), **own})

    def set_attribute(self, key: str, value: Any) -> None:
        """Say something about this event: text, numbers, or lists and dicts of them.

        Bounded in size and number, and redacted; anything else is turned into text.
        """
        # Whatever is given for a key, its hash must not hurt.
        self.set_attributes({key if type(key) is str else redactor().name(key): value})

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Say several things about this event; see `set_attribute`."""
        raw = self._raw
        if raw is None:
            return
        if raw[5] is not None:
            note_in(raw, "event", "changed after its end")
            return
        extra = extra_of(raw)
        rule = redactor()
        known = extra.attributes or {}
        # Cleaned together, so that the bound on their number holds for all of them.
        extra.attributes = {**known, **rule.attributes(attributes)}
        if len(extra.attributes) > rule.max_attributes:
            extra.attributes = rule.attributes(extra.attributes)

    def retry(self, error: BaseException | None = None, delay: float | None = None) -> None:
        """Record that the attempt just made failed and is made again.

        Args:
            error: what it failed with.
            delay: seconds waited before the next attempt; counted as backoff, not as work.
        """
        raw = self._raw
        if raw is None:
            return
        if raw[5] is not None:
            note_in(raw, "retry", "after the end of the event")
            return
        wait = nanoseconds(raw, delay)
        extra = extra_of(raw)
        text = None if error is None else redactor().error_text(error)
        kind = None if error is None else type_name(error)
        stopped = raw[1].now()
        # One lock for all events: retries are rare, and several threads may retry on one event.
        with IDS.lock:
            if extra.retries is None:
                extra.retries = []
            extra.retries.append((stopped, kind, text, wait))
            extra.retry_count += 1
            cut = len(extra.retries) >= MAX_ATTEMPTS  # the last attempt is still to come
            if cut:
                ended, _, _, waited = extra.retries.pop(0)
                extra.resumed = ended + waited
        if cut:
            raw[1].registries[0].count_error("bounds", "attempts")


def nanoseconds(raw: Raw, delay: float | None) -> int:
    """Return how long is waited before the next attempt; what is no number is noted, and none."""
    try:
        return 0 if delay is None else max(0, round(float(delay) * 1e9))
    except Exception as mishap:  # noqa: BLE001  # whatever was given, it must not hurt
        note_in(raw, "retry", "delay is no number", mishap)
        return 0


def current_event() -> Event | None:
    """Return the innermost event that is running here, or None (also while telemetry is off).

    A task may outlive the event that it was created in; that one is not running any more.
    """
    if not SWITCH.on:
        return None
    raw = enclosing_event(still_open(CURRENT.get()))
    return None if raw is None or raw[5] is not None else Event(raw)


def record_retry(error: BaseException | None = None, delay: float | None = None) -> None:
    """Record that the current event's attempt failed and is made again; see `Event.retry`.

    Outside of any event it is counted in `health().errors` and does nothing.

    Example:
        >>> for attempt in range(5):
        ...     try:
        ...         return fetch(url)
        ...     except OSError as error:
        ...         record_retry(error, delay=0.1)
        ...         time.sleep(0.1)
    """
    if not SWITCH.on:
        return
    current = CURRENT.get()
    raw = enclosing_event(current)
    if raw is not None:
        Event(raw).retry(error, delay)
    elif current[1] is not None:
        note(current[1].registries[0], "retry", "outside of any event")
