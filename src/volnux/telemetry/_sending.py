"""One attempt to hand records to a publisher, and what came of it."""

from __future__ import annotations

import os
from _thread import get_ident
from typing import TYPE_CHECKING, NamedTuple

from volnux.telemetry._certificates import certificate_fault
from volnux.telemetry._publisher import MetricsPublisher, publish_one
from volnux.telemetry.errors import PublishError, TelemetryError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from volnux.telemetry._publisher import Record

OK = "ok"
VERDICTS = frozenset({OK, "duplicate", "retry", "reject"})
#: The threads of all deliveries: they never wait for one another.
DELIVERING: set[int] = set()


class Sent(NamedTuple):
    """What came of an attempt.

    Attributes:
        verdicts: one for each record that was dealt with, from the oldest on.
        error: what stopped it before the others, if anything did.
        suspects: how many of the others the error speaks of, from the oldest on.
        fault: what the publisher answered instead of verdicts, as an error.
        refusal: why the publisher's last "reject" was one, as far as it says so.
    """

    verdicts: Sequence[str]
    error: BaseException | None = None
    suspects: int = 0
    fault: Exception | None = None
    refusal: str | None = None

    @property
    def is_backend_away(self) -> bool:
        """Whether the error says that the back end is away, and nothing about the records."""
        return isinstance(self.error, (OSError, PublishError)) and not self.is_permanent

    @property
    def is_permanent(self) -> bool:
        """Whether the error says that another try cannot help."""
        return isinstance(self.error, PublishError) and self.error.permanent

    @property
    def retry_after(self) -> float | None:
        """The seconds that the back end asked to wait."""
        return self.error.retry_after if isinstance(self.error, PublishError) else None


def takes_batches(publisher: Any) -> bool:
    """Whether a publisher has a way of its own to take many records at once."""
    own = getattr(type(publisher), "publish_batch", None)
    return own is not None and own is not MetricsPublisher.publish_batch


def send_batch(publisher: Any, records: Sequence[Record]) -> Sent:
    """Send records in one call."""
    try:
        verdicts = publisher.publish_batch(records)
    except BaseException as error:  # a publisher's SystemExit stops nothing either
        if is_for_the_program(error):
            raise
        return Sent((), error, len(records))
    if verdicts is None:
        return Sent([OK] * len(records))
    if _is_answer(verdicts, len(records)):
        return Sent(verdicts, refusal=getattr(publisher, "refusal", None))
    # It returned, so it has taken them: sending them again would only double them.
    fault = TelemetryError(
        f"publish_batch must return None or one verdict for each of {len(records)} records, "
        f"not a {type(verdicts).__name__}"
    )
    return Sent([OK] * len(records), fault=fault)


def _is_answer(verdicts: object, count: int) -> bool:
    return (
        isinstance(verdicts, (list, tuple))
        and len(verdicts) == count
        and all(isinstance(verdict, str) and verdict in VERDICTS for verdict in verdicts)
    )


def send_singly(publisher: Any, records: Sequence[Record], is_over: Callable[[], bool]) -> Sent:
    """Send records one at a time, until one fails or time is over."""
    done = 0
    for record in records:
        if done and is_over():
            break
        try:
            publish_one(publisher, record)
        except BaseException as error:
            if is_for_the_program(error):
                raise
            return Sent([OK] * done, error, 1)
        done += 1
    return Sent([OK] * done)


def is_for_the_program(error: BaseException) -> bool:
    """Whether an error is a Ctrl-C that struck while the program itself did a delivery's work."""
    return isinstance(error, KeyboardInterrupt) and get_ident() not in DELIVERING


def call_hook(publisher: Any, name: str, seconds: float) -> bool:
    """Call `flush` or `close` of a publisher, if it has one; False if it answers so.

    It may or may not want to know how many seconds it has: a `close(self)` is as good.
    """
    hook = getattr(publisher, name, None)
    if hook is None:
        return True
    if not _wants_timeout(hook):
        return hook() is not False
    return hook(None if seconds == float("inf") else max(0.0, seconds)) is not False


def _wants_timeout(hook: Callable[..., Any]) -> bool:
    import inspect

    try:
        inspect.signature(hook).bind(None)
    except TypeError:
        return False
    except ValueError:  # written in C, and silent about what it takes
        return True
    return True


def describe(error: BaseException) -> str:
    """Return an error's type, and what is wrong with a certificate, or the system's own words.

    Never its text: addresses and credentials stand in that.
    """
    if (fault := certificate_fault(error)) is not None:  # whose number is none of the system's
        return f"{type(error).__name__}: {fault}"
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__
    number = getattr(cause, "errno", None)
    return type(error).__name__ + (f": {os.strerror(number)}" if type(number) is int else "")
