"""The open entry: what the hot path writes, and what folding reads.

An event or a network operation in flight is a plain list, because nothing in Python is made faster.
It is begun by one list display, ended by setting `END`, and never changes afterwards. This module
names its places; the hot path itself uses the numbers.
"""

from __future__ import annotations

from volnux.telemetry._ids import IDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    from volnux.telemetry._clock import Anchor

    Raw: TypeAlias = list[Any]

#: What is being recorded: an `EventSite` or an `OpSite`; None in the root of a scope.
SITE = 0
#: The `Scope` it runs in, or None where nothing is recorded.
SCOPE = 1
#: The enclosing entry until the fold, its identifier afterwards (0: none).
PARENT = 2
#: Nanoseconds on the clock of the scope.
START = 3
#: `threading.get_ident()` of the thread that began an event; 0 for operations.
THREAD = 4
#: Nanoseconds; None while in flight. Set last: everything else is final then.
END = 5
#: None or `PLAIN_OP` for what completed and has nothing more to say; else an `Extra` or `OpExtra`.
EXTRA = 6
#: True once a fold has met it unfinished: its end must then be announced.
LATE = 7
#: The identifier, drawn when first needed: most events live and go without one.
ID = 8
#: Only blocks that were left before something inside of them: what was current around them. `PARENT`
#: does not say so once it is folded.
AROUND = 9
#: Network operations only: bytes each way, and when the first byte came.
SENT = 9
RECEIVED = 10
FIRST = 11
#: Exchanges of HTTP clients only: what they say besides, or of what that is made when somebody looks;
#: see `_render.find_later_by`.
LATER = 12

#: Attempts of one event that are kept singly; the count goes on, the oldest are let go.
MAX_ATTEMPTS = 100


def identify(raw: Raw) -> int:
    """Return the identifier of an entry, drawing it if it has none. Safe from any thread."""
    number: int | None = raw[8]
    if number is None:
        fresh = IDS.take()
        with IDS.lock:
            if raw[8] is None:
                raw[8] = fresh
            number = raw[8]
    return number


class Try:
    """One attempt of a retried call, as who retries has told it; times in nanoseconds."""

    __slots__ = ("begun", "call", "error", "error_type", "number", "status", "stopped", "until")

    def __init__(self, call: int, number: int, begun: int) -> None:
        self.call = call
        self.number = number
        self.begun = begun
        #: None while it goes on; it then is as its event is.
        self.stopped: int | None = None
        self.status: str | None = None
        self.error: str | None = None
        self.error_type: str | None = None
        #: When the wait for the next one is over, or was; None if nothing is waited for.
        self.until: int | None = None


class Extra:
    """What a finished event says beyond "completed": outcome, error, attributes, attempts, stream."""

    __slots__ = (
        "active",
        "attributes",
        "calls",
        "error",
        "error_type",
        "first",
        "gave_up",
        "items",
        "origin",
        "resumed",
        "retries",
        "retry_count",
        "status",
        "told",
        "tries",
    )
    network = False

    def __init__(self) -> None:
        self.status = "completed"
        self.error: str | None = None
        self.error_type: str | None = None
        #: The identifier of the event where the error arose, if that is another one.
        self.origin: int | str = 0
        self.attributes: dict[str, Any] | None = None
        #: One (end of work, error type, error text, delay) per retry, times in nanoseconds.
        self.retries: list[tuple[int, str | None, str | None, int]] | None = None
        self.retry_count = 0
        #: When the first attempt that is still listed began, if earlier ones were let go.
        self.resumed: int | None = None
        #: Attempts of retried calls in the event, in the order they began; how many calls they belong
        #: to; how many of `retry_count` are theirs; and whether a call was retried in vain.
        self.tries: list[Try] | None = None
        self.calls = 0
        self.told = 0
        self.gave_up = False
        #: Streams only: nanoseconds in the producer, items, nanoseconds to the first of them.
        self.active = 0
        self.items: int | None = None
        self.first: int | None = None


class OpExtra:
    """What a finished network operation says beyond "completed": outcome, error, attributes."""

    __slots__ = ("attributes", "error", "error_type", "status")
    network = True

    def __init__(self) -> None:
        self.status = "completed"
        self.error: str | None = None
        self.error_type: str | None = None
        self.attributes: dict[str, Any] | None = None


#: The `EXTRA` of every operation that completed and has nothing more to say. Never changed.
PLAIN_OP = OpExtra()


class Adopted:
    """Stands where `Extra` stands for a finished record that was made elsewhere."""

    __slots__ = ("network", "record", "status")

    def __init__(self, record: Any, *, network: bool) -> None:
        self.record = record
        self.network = network
        self.status: str = record.status


def extra_of(raw: Raw) -> Extra:
    """Return the `Extra` of an open event, making it if need be. Safe from any thread."""
    extra = raw[6]
    if extra is None:
        fresh = Extra()
        with IDS.lock:
            if raw[6] is None:
                raw[6] = fresh
            extra = raw[6]
    return extra  # type: ignore[no-any-return]  # raw entries are untyped on purpose


def op_extra_of(raw: Raw) -> OpExtra:
    """Return the `OpExtra` of an open operation that may be written to. Safe from any thread."""
    with IDS.lock:
        if raw[6] is PLAIN_OP:
            raw[6] = OpExtra()
        return raw[6]  # type: ignore[no-any-return]  # raw entries are untyped on purpose


class Pending(list["Raw"]):
    """Entries not yet folded, and how many may wait before who adds one more folds them."""

    __slots__ = ("limit",)

    limit: int


class Scope:
    """Where entries go and what they share: one per registry, and one more per `pipeline` in it.

    Attributes:
        append, late: take an entry that begins, and one that ends after a fold has met it.
        now: the measuring clock, in nanoseconds.
        pending: entries not yet folded, by which the hot path sees when it is time to.
        fold: folds them, unless another thread is doing so.
        registries: the innermost first, then those that its records also flow to.
        anchor: turns stamps of `now` into dates.
        pipeline, attributes: the `pipeline_id` and the shared attributes.
        hot: `now`, `append` and `pending`, which one look gives to the hot path.
    """

    __slots__ = (
        "__weakref__",
        "anchor",
        "append",
        "attributes",
        "fold",
        "hot",
        "late",
        "now",
        "pending",
        "pipeline",
        "registries",
    )

    append: Callable[[Raw], None]
    late: Callable[[Raw], None]
    now: Callable[[], int]
    pending: Pending
    fold: Callable[[], None]
    registries: tuple[Any, ...]
    anchor: Anchor
    pipeline: str | None
    attributes: dict[str, Any] | None
    hot: tuple[Callable[[], int], Callable[[Raw], None], Pending]

    def __init__(self, **parts: Any) -> None:
        for name, part in parts.items():
            setattr(self, name, part)
        self.hot = (self.now, self.append, self.pending)

    def derive(self, **changes: Any) -> Scope:
        """Return a scope like this one but for some parts."""
        parts = {name: getattr(self, name) for name in _PARTS}
        return Scope(**{**parts, **changes})


_PARTS = tuple(name for name in Scope.__slots__ if name not in {"__weakref__", "hot"})
