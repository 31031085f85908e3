"""Which registry is current, and what is current in it."""

from __future__ import annotations

from contextvars import ContextVar, copy_context

from volnux.telemetry._clock import SYSTEM_CLOCK
from volnux.telemetry._fork import on_fork
from volnux.telemetry._ids import IDS
from volnux.telemetry._raw import AROUND, identify
from volnux.telemetry._registry import Registry
from volnux.telemetry._sites import find_registry_by, redactor
from volnux.telemetry._switch import SWITCH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context
    from types import TracebackType
    from typing import Any, TypeAlias

    from volnux.telemetry._clock import Clock
    from volnux.telemetry._raw import Raw, Scope

    Exit: TypeAlias = (
        "tuple[type[BaseException] | None, BaseException | None, TracebackType | None]"
    )


def root(
    scope: Scope | None,
    parent: int | str = 0,
    event: Raw | None = None,
    shared: tuple[str | None, dict[str, Any] | None] = (None, None),
) -> Raw:
    """Return what is current in a scope before anything runs in it.

    It has the form of an entry without a site. Children take its identifier for their parent's.
    Where nothing is recorded, `shared` keeps a pipeline for captures further in.
    """
    return [None, scope, 0, shared, 0, None, event, False, parent]


#: Current where no context says otherwise: in every thread, while the process records.
PROCESS_ROOT = root(None)
CURRENT: ContextVar[Raw] = ContextVar("volnux_current", default=PROCESS_ROOT)
_default: list[Registry] = []
#: What the process records into: one entry for each time it was switched on.
_recording: list[Registry] = []
#: What looks on meanwhile, and is nobody's registry to ask or to publish from.
_watching: list[Registry] = []
#: Roots of pipelines that were entered while the process did not record: they follow its switch.
_waiting: dict[int, Raw] = {}


def default_registry() -> Registry:
    """Return the registry of the process, which `monitor_events` records into."""
    if not _default:
        _default.append(Registry())
    return _default[0]


def current_registry() -> Registry:
    """Return the registry of the innermost `capture` around the caller, else the process's."""
    registry = _registry_here()
    return default_registry() if registry is None else registry


def _registry_here() -> Registry | None:
    """Return the registry that something is recorded into here, or None."""
    scope: Scope | None = CURRENT.get()[1]
    return None if scope is None else scope.registries[0]


# What is cut is counted there.
find_registry_by(_registry_here)


def switch_on(registry: Registry | None = None) -> Registry:
    """Record in the whole process, into its registry or also into this one, until `switch_off`."""
    with IDS.lock:
        chosen = registry or (_recording[-1] if _recording else default_registry())
        _recording.append(chosen)
        _record_in_process()
    SWITCH.add()
    return chosen


def switch_off(registry: Registry) -> None:
    """Take one `switch_on` of this registry back."""
    with IDS.lock:
        _recording.remove(registry)
        _record_in_process()
    SWITCH.remove()


def watch_process(registry: Registry | None) -> None:
    """Have the process record into this registry as well, in place of the last one; None ends it."""
    with IDS.lock:
        _watching[:] = [] if registry is None else [registry]
        if _recording or _waiting:
            _record_in_process()
        else:
            PROCESS_ROOT[1] = None if registry is None else registry.scope


def _record_in_process() -> None:
    """Have the process record into all registries that it is switched on for, the latest first."""
    scope: Scope | None = None
    # Who looks on by a clock of its own was given it to time what the process does, by whoever recorded.
    timers = [one.scope for one in _watching if one.scope.anchor.clock is not SYSTEM_CLOCK]
    for registry in dict.fromkeys((*_watching, *_recording)):
        timer = timers[0] if timers else registry.scope
        scope = registry.scope if scope is None else _joined(registry.scope, scope, timer)
    PROCESS_ROOT[1] = scope
    for raw in _waiting.values():
        name, attributes = raw[3]
        raw[1] = scope and scope.derive(pipeline=name, attributes=attributes)
    if scope is not None and _recording:
        _default[:] = [scope.registries[0]]


class _Running:
    """Names what runs here before a fork, so that parent and child call it the same.

    A registry does so with what it knows of, but what another thread is folding at that moment is
    nowhere to be seen.
    """

    def _before_fork(self) -> None:
        raw = CURRENT.get()
        while raw.__class__ is list:
            if raw[0] is not None:
                identify(raw)
            raw = raw[6] if raw[0] is None else raw[2]

    def _after_fork(self) -> None:
        """The child goes on under the same names."""


_RUNNING = _Running()
on_fork(_RUNNING)


def enclosing_event(raw: Raw) -> Raw | None:
    """Return the event that is current where this entry is, or None."""
    return raw if raw[0] is not None else raw[6]


def enclosing_id(raw: Raw) -> int | str:
    """Return the identifier that children of this entry take for their parent's; 0 for none."""
    if raw[0] is not None:
        return identify(raw)
    return raw[8]  # type: ignore[no-any-return]  # set in `root`


def still_open(raw: Raw) -> Raw:
    """Return this entry, or the innermost around it that has not ended: blocks may end out of order."""
    while raw[5] is not None:
        around = raw[AROUND] if len(raw) > AROUND else raw[2]
        if type(around) is not list:  # folded: only its parent's identifier is left
            return root(raw[1], around)
        raw = around
    return raw


class _Scoped:
    """Makes something current in a with-block, and puts back what was, in any context.

    One object may be entered by several threads and tasks at once, and by itself again.
    """

    __slots__ = ("_entered",)

    def __init__(self) -> None:
        # What was made current, and what was current before, by the identity of the former.
        self._entered: dict[int, tuple[Raw, Raw]] = {}

    def _set(self, raw: Raw) -> None:
        self._entered[id(raw)] = raw, CURRENT.get()
        CURRENT.set(raw)

    def _unset(self) -> Raw | None:
        """Put back what was current; return what is so no more, if that is known."""
        entered = self._entered.pop(id(CURRENT.get()), None)
        if entered is not None:
            CURRENT.set(still_open(entered[1]))
        elif len(self._entered) == 1:
            # Left while something inside is open, or in another context: leave alone what is current.
            entered = self._entered.popitem()[1]
        if entered is None:
            return None
        raw, outside = entered
        # Whatever is left later, and would put this back, goes on to what was around it.
        raw[2], raw[5] = outside, 0
        return raw


class capture(_Scoped):  # noqa: N801  # a verb, used as one
    """Record what runs in a with-block into a registry of its own.

    It holds for this context and what is started from it: tasks, `asyncio.to_thread`, and threads,
    executors and process pools through `propagate`. Captures nest; records also flow to the
    enclosing registry, if there is one, unless `isolated`.

    Args:
        isolated: keep records from the enclosing registry, and leave its events out of parents.
        clock: what the registry reads time from; the enclosing registry's clock is not inherited.
        capacity: how many single records to keep of each kind.
        strict: raise errors inside volnux, instead of counting them in `health().errors`.

    Yields:
        Registry: filled while the block runs, and readable afterwards.

    Example:
        >>> with capture() as registry:
        ...     work()
        >>> registry.events("work")
    """

    __slots__ = ("_isolated", "registry")

    def __init__(
        self,
        isolated: bool = False,  # noqa: FBT001, FBT002  # the contract's signature
        clock: Clock | None = None,
        *,
        capacity: int = 10_000,
        strict: bool = False,
    ) -> None:
        super().__init__()
        self.registry: Registry = Registry(capacity, clock=clock, strict=strict)
        self._isolated = isolated

    def __enter__(self) -> Registry:
        outside = CURRENT.get()
        outer: Scope | None = None if self._isolated else outside[1]
        scope = self.registry.scope
        if outer is not None:
            scope = _joined(scope, outer, scope)
        elif outside[0] is None and not self._isolated:
            scope = scope.derive(pipeline=outside[3][0], attributes=outside[3][1])
        parent = 0 if self._isolated else enclosing_id(outside)
        event = None if self._isolated else enclosing_event(outside)
        SWITCH.add()
        self._set(root(scope, parent, event))
        return self.registry

    def __exit__(self, *exc_info: object) -> None:
        self._unset()
        SWITCH.remove()


def _joined(inner: Scope, outer: Scope, timer: Scope) -> Scope:
    """Return a scope whose entries go to both, timed by the clock of one of them."""

    def both(first: Callable[[Any], None], second: Callable[[Any], None]) -> Callable[[Any], None]:
        def give(raw: Raw) -> None:
            # What needs more of the stack comes first: where that runs out, nobody is left with an
            # entry that has not begun.
            second(raw)
            first(raw)

        return give

    def fold() -> None:
        inner.fold()
        outer.fold()

    for scope in (inner, outer):
        if scope.anchor.clock is not timer.anchor.clock:
            for registry in scope.registries:
                registry.has_foreign_clocks = True
    return inner.derive(
        now=timer.now,
        anchor=timer.anchor,
        append=both(inner.append, outer.append),
        late=both(inner.late, outer.late),
        fold=fold,
        registries=(*inner.registries, *outer.registries),
        pipeline=outer.pipeline,
        attributes=outer.attributes,
    )


class pipeline(_Scoped):  # noqa: N801  # reads as a sentence: with pipeline("nightly-etl")
    """Give everything that runs in a with-block a `pipeline_id` and shared attributes.

    They flow by context, as `capture` does. Pipelines nest: the inner name wins, attributes join.

    Args:
        name: the `pipeline_id` of every record.
        attributes: part of every record's attributes; bounded and redacted.

    Raises:
        ValueError: the name is empty.
    """

    __slots__ = ("_attributes", "_name")

    def __init__(self, name: str, /, **attributes: Any) -> None:
        given: Any = name
        if not isinstance(given, str) or not given.strip():
            raise ValueError(f'pipeline() needs a name, such as pipeline("nightly"), not {name!r}')
        super().__init__()
        self._name = redactor().name(name)
        self._attributes = redactor().attributes(attributes)

    def __enter__(self) -> pipeline:
        outside = CURRENT.get()
        scope: Scope | None = outside[1]
        known: dict[str, Any] | None = outside[3][1] if scope is None else scope.attributes
        attributes = {**({} if known is None else known), **self._attributes}
        if scope is not None:
            scope = scope.derive(pipeline=self._name, attributes=attributes)
        shared = (self._name, attributes)
        raw = root(scope, enclosing_id(outside), enclosing_event(outside), shared)
        if scope is None and (outside is PROCESS_ROOT or id(outside) in _waiting):
            _waiting[id(raw)] = raw
        self._set(raw)
        return self

    def __exit__(self, *exc_info: object) -> None:
        _waiting.pop(id(self._unset()), None)


class suppressed(_Scoped):  # noqa: N801  # reads as a sentence: with suppressed()
    """Record nothing in a with-block: a publisher's own traffic is nobody's event."""

    __slots__ = ()

    def __enter__(self) -> None:
        self._set(root(None))

    def __exit__(self, *exc_info: object) -> None:
        self._unset()


def run_in(context: Context, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function in a copy of a context, so that any number of calls may use it at once."""
    return context.copy().run(function, *args, **kwargs)


def snapshot() -> Context:
    """Return a copy of the caller's context."""
    return copy_context()
