"""The fixture `volnux`: what was recorded in the test, and asserts on it."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NoReturn

from pytest_volnux._facts import Facts, matches
from pytest_volnux._text import listed, tree
from volnux._text import seconds, size, some
from volnux._tree import name_of, place_of
from volnux.telemetry import Registry, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from volnux._tree import Record
    from volnux.telemetry import EventMetrics, EventStats, NetworkMetrics, RetryStats


class VolnuxFixture:
    """What has been recorded in this test so far, its own fixtures included.

    Names are globs, such as `fetch*`; without any, all events are meant. Each assert raises an
    `AssertionError` that shows what happened. Everything may be called from any thread.
    """

    def __init__(self, registries: Callable[[], list[Registry]]) -> None:
        self._registries = registries
        self._allowed: tuple[str, ...] = ()

    def __repr__(self) -> str:
        facts = self._facts()
        failed = len(facts.failures(self._allowed))
        return f"<volnux: {some(len(facts.events), 'event')}, {len(facts.ops)} network ops, {failed} failed>"

    # -- asking ----------------------------------------------------------------------------------

    def events(self, name: str | None = None, status: str | None = None) -> list[EventMetrics]:
        """Return the events of this test, oldest first, those in flight included.

        Args:
            name: a glob; only events so named.
            status: only those of this status: "running", "completed", "failed", "cancelled".
        """
        found = self._facts().named([] if name is None else [name])
        return [event for event in found if status is None or event.status == status]

    def network_ops(self, host: str | None = None) -> list[NetworkMetrics]:
        """Return the network operations of this test, oldest first, those in flight included.

        Args:
            host: a glob; only operations with such a `host` or `host:port`.
        """
        ops = self._facts().ops
        return ops if host is None else [op for op in ops if _is_with(op, [host])]

    def event_stats(self) -> dict[str, EventStats]:
        """Return the exact totals of this test's finished events by name; times in seconds."""
        return self._together().event_stats()

    def retry_stats(self) -> RetryStats:
        """Return what retrying came to in this test."""
        return self._together().retry_stats()

    def clear(self) -> None:
        """Forget what has been recorded so far in this test; its budget counts from here, too."""
        for registry in self._registries():
            registry.clear()

    def allow_failed(self, *names: str) -> None:
        """Let events of these names fail in this test, and whatever fails inside of them.

        It holds for `assert_no_failed` and for the test's budget.
        """
        self._allowed += names

    @property
    def allowed(self) -> tuple[str, ...]:
        """The globs that `allow_failed` was given."""
        return self._allowed

    # -- asserting -------------------------------------------------------------------------------

    def assert_no_failed(self, *names: str) -> None:
        """Fail if an event or a network operation failed, or one inside of these events.

        An error counts where it arose. What `allow_failed` names may fail.
        """
        __tracebackhide__ = True
        facts = self._facts()
        failed = facts.failures(self._allowed)
        if names:
            failed = [
                it for it in failed if any(matches(name_of(up), names) for up in facts.path(it))
            ]
        if failed:
            what = f"{len(failed)} failed: {listed(map(name_of, failed))}"
            allow = ", ".join(repr(name) for name in dict.fromkeys(_event_names(facts, failed)))
            _fail(what, facts, failed, f"volnux.allow_failed({allow})")

    def assert_no_slow(self, threshold_seconds: float, *names: str) -> None:
        """Fail if an event took longer than so many seconds; one in flight counts by its age."""
        __tracebackhide__ = True
        facts = self._facts()
        slow = facts.slow(threshold_seconds, names)
        if slow:
            worst = listed(f"{it.event_name} {seconds(it.duration)}" for it in slow)
            what = f"{len(slow)} of {len(facts.named(names))} took longer than {seconds(threshold_seconds)}: {worst}"
            _fail(what, facts, slow, f"a threshold of {_above(slow[0].duration)} seconds")

    def assert_recorded(
        self,
        name: str,
        count: int | None = None,
        status: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """Fail unless there was such an event.

        Args:
            name: a glob.
            count: how many there have to be; at least one by default.
            status: only events of this status.
            attributes: only events that have these attributes, among others.
        """
        __tracebackhide__ = True
        facts = self._facts()
        named = facts.named([name])
        found = [event for event in named if status in {None, event.status}]
        found = [event for event in found if _has(event, attributes or {})]
        if len(found) == count or (count is None and found):
            return
        asked = _described(name, status, attributes)
        if named and not found:
            what = f"no event {asked}; {len(named)} so named: {_ways(named, attributes)}"
        elif not found:
            what = f"no event {asked}{_near(name, facts)}"
        else:
            what = f"{some(len(found), 'event')} {asked}, not {count}"
        _fail(what, facts, named)

    def assert_not_recorded(self, name: str) -> None:
        """Fail if there was an event of this name, a glob."""
        __tracebackhide__ = True
        facts = self._facts()
        found = facts.named([name])
        if found:
            _fail(f"{some(len(found), 'event')} {name!r}, and there was to be none", facts, found)

    def assert_order(self, *names: str) -> None:
        """Fail unless events so named began in this order; others may come between.

        Each name is a glob, and means the first such event that began after the one before it.
        """
        __tracebackhide__ = True
        facts = self._facts()
        events = iter(facts.events)
        for place, name in enumerate(names):
            if not any(matches(event.event_name, [name]) for event in events):
                before = f" after {names[place - 1]!r}" if place else ""
                found = facts.named([name])
                order = listed((event.event_name for event in facts.events), 12)
                hint = f"; they began so: {order}" if found else _near(name, facts)
                _fail(f"no event {name!r} began{before}{hint}", facts, found)

    def assert_retries(
        self,
        name: str,
        max: int | None = None,  # the word that says it
        exactly: int | None = None,
        error_type: str | type[BaseException] | None = None,
    ) -> None:
        """Fail unless events so named were retried as often as this, all of them together.

        Args:
            name: a glob.
            max: retries at most.
            exactly: so many, no fewer and no more.
            error_type: only retries after such an error, a class or its name.

        Raises:
            ValueError: neither `max` nor `exactly` is given.
        """
        __tracebackhide__ = True
        if max is None and exactly is None:
            raise ValueError("assert_retries needs max=N or exactly=N")
        facts = self._facts()
        found = facts.named([name])
        kind = error_type.__name__ if isinstance(error_type, type) else error_type
        number = sum(_retries(event, kind) for event in found)
        after = f" after {kind}" if kind else ""
        counted = f"{some(number, 'retry', 'retries')} of {name!r}{after}"
        retried = [event for event in found if _retries(event, kind)]
        if not found:
            _fail(f"no event {name!r}{_near(name, facts)}", facts, [])
        if exactly is not None and number != exactly:
            _fail(f"{counted}, not {exactly}", facts, retried or found)
        if max is not None and number > max:
            _fail(f"{counted}, at most {max} are allowed", facts, retried, f"max={number}")

    def assert_recovered(self, name: str) -> None:
        """Fail unless an event so named was retried, and completed after all."""
        __tracebackhide__ = True
        facts = self._facts()
        found = facts.named([name])
        if any(event.retry_count and event.status == Status.COMPLETED for event in found):
            return
        if not found:
            what = f"no event {name!r}{_near(name, facts)}"
        elif not any(event.retry_count for event in found):
            what = f"{name!r} was not retried"
        else:
            what = f"{name!r} was retried and did not recover"
        _fail(what, facts, found)

    def assert_max_seconds(self, name: str, seconds: float, quantile: float | None = None) -> None:
        """Fail if events so named took longer.

        Args:
            name: a glob.
            seconds: at most.
            quantile: of all that are so named, such as 0.9; by default the longest counts.
        """
        __tracebackhide__ = True
        self._within(name, seconds, quantile)

    def assert_bytes(
        self,
        host: str | None = None,
        max_sent: int | None = None,
        max_received: int | None = None,
    ) -> None:
        """Fail if more bytes went to, or came from, hosts.

        Args:
            host: a glob; only what was exchanged with such a `host` or `host:port`.
            max_sent, max_received: bytes of all these operations together, at most.

        Raises:
            ValueError: neither maximum is given.
        """
        __tracebackhide__ = True
        if max_sent is None and max_received is None:
            raise ValueError("assert_bytes needs max_sent=BYTES or max_received=BYTES")
        facts = self._facts()
        ops = [op for op in facts.ops if host is None or _is_with(op, [host])]
        where = "" if host is None else f" {{}} {host!r}"
        for done, word, limit, number in (
            ("sent", "to", max_sent, sum(op.bytes_sent for op in ops)),
            ("received", "from", max_received, sum(op.bytes_received for op in ops)),
        ):
            if limit is not None and number > limit:
                what = (
                    f"{size(number)} {done}{where.format(word)}, at most {size(limit)} are allowed"
                )
                _fail(what, facts, ops, f"max_{done}={number}")

    def assert_only_hosts(self, *patterns: str) -> None:
        """Fail if there was a network operation with another host; globs of `host` or `host:port`."""
        __tracebackhide__ = True
        facts = self._facts()
        strangers = facts.strangers(patterns)
        if strangers:
            found = listed(place_of(op.host, op.port) for op in strangers)
            hosts = ", ".join(repr(host) for host in sorted({op.host for op in strangers}))
            what = f"{some(len(strangers), 'operation')} with other hosts: {found}"
            _fail(what, facts, strangers, f"volnux.assert_only_hosts({hosts}, ...)")

    def assert_no_network(self) -> None:
        """Fail if there was any network operation."""
        __tracebackhide__ = True
        facts = self._facts()
        if facts.ops:
            found = listed(map(name_of, facts.ops))
            what = f"{some(len(facts.ops), 'network operation')}, and there was to be none: {found}"
            _fail(what, facts, facts.ops, "volnux.assert_only_hosts(...)")

    def assert_no_repeats(self, name: str = "*", max: int = 1) -> None:
        """Fail if the same event, or the same operation with a host, ran more than `max` times in one event.

        That is how a query in a loop shows (N+1). What runs in no event is not looked at.

        Args:
            name: a glob of events, or of operations as `GET example.org:443`.
            max: how often is not too often.
        """
        __tracebackhide__ = True
        facts = self._facts()
        repeats: dict[tuple[str, str], list[Record]] = {}
        for record in facts.records():
            if record.parent_id and matches(name_of(record), [name]):
                repeats.setdefault((record.parent_id, name_of(record)), []).append(record)
        too_many = [records for records in repeats.values() if len(records) > max]
        if too_many:
            found = []
            for records in too_many:
                *_, parent = list(facts.path(records[0]))[:2]
                found.append(f"{name_of(records[0])} x{len(records)} in {name_of(parent)}")
            most = builtin_max(map(len, too_many))
            what = f"repeated more than {'once' if max == 1 else f'{max} times'}: {listed(found)}"
            _fail(what, facts, [it for records in too_many for it in records], f"max={most}")

    def assert_no_leaks(self) -> None:
        """Fail if something that began in this test has not ended yet."""
        __tracebackhide__ = True
        facts = self._facts()
        running = [record for record in facts.records() if record.status == Status.RUNNING]
        if running:
            _fail(f"{len(running)} not ended: {listed(map(name_of, running))}", facts, running)

    # -- inside ----------------------------------------------------------------------------------

    def _facts(self) -> Facts:
        return Facts(self._registries())

    def _together(self) -> Registry:
        whole = Registry(capacity=0)
        for registry in self._registries():
            whole.merge(registry.export())
        return whole

    def _within(self, name: str, limit: float, quantile: float | None) -> None:
        __tracebackhide__ = True
        if quantile is not None and not 0 < quantile <= 1:
            raise ValueError(
                f"quantile is more than 0 and at most 1, such as 0.9, not {quantile!r}"
            )
        facts = self._facts()
        found = sorted(facts.named([name]), key=lambda event: event.duration)
        if not found:
            _fail(f"no event {name!r}{_near(name, facts)}", facts, [])
        # The nearest rank, as everywhere here.
        rank = len(found) if quantile is None else -int(-quantile * len(found) // 1)
        took = found[rank - 1].duration
        if took > limit:
            which = "the longest" if quantile is None else f"the {quantile} quantile"
            what = f"{which} of {some(len(found), 'event')} {name!r} took {seconds(took)}, at most {seconds(limit)} is allowed"
            _fail(
                what,
                facts,
                [event for event in found if event.duration > limit],
                f"seconds={_above(took)}",
            )


builtin_max = max


def _fail(what: str, facts: Facts, marked: Sequence[Record], allow: str = "") -> NoReturn:
    __tracebackhide__ = True
    lines = [what, "", *tree(facts, marked, indent="")]
    if allow:
        lines += ["", f"to allow it: {allow}"]
    raise AssertionError("\n".join(lines).rstrip())


def _near(name: str, facts: Facts) -> str:
    names = {event.event_name for event in facts.events}
    near = get_close_matches(name, sorted(names), 1, 0.6)
    return f"; did you mean {near[0]!r}? {facts.seen()}" if near else f"; {facts.seen()}"


def _described(name: str, status: str | None, attributes: Mapping[str, Any] | None) -> str:
    parts = [repr(name)]
    if status is not None:
        parts.append(f"that is {status}")
    if attributes:
        parts.append("with " + ", ".join(f"{key}={value!r}" for key, value in attributes.items()))
    return " ".join(parts)


def _ways(events: Sequence[EventMetrics], attributes: Mapping[str, Any] | None) -> str:
    """Return how these events are, in what was asked about."""
    ways = (
        " ".join([it.status, *(f"{key}={it.attributes.get(key)!r}" for key in attributes or {})])
        for it in events
    )
    return listed(ways)


def _has(event: EventMetrics, attributes: Mapping[str, Any]) -> bool:
    return all(
        key in event.attributes and event.attributes[key] == value
        for key, value in attributes.items()
    )


def _retries(event: EventMetrics, error_type: str | None) -> int:
    if error_type is None:
        return event.retry_count
    failed = [attempt for attempt in event.attempts if attempt.error_type == error_type]
    # The last of each call was not retried any more.
    return sum(
        1
        for attempt, following in zip(event.attempts, event.attempts[1:], strict=False)
        if attempt in failed and following.number > attempt.number
    )


def _event_names(facts: Facts, records: Sequence[Record]) -> list[str]:
    found = []
    for record in records:
        names = [name_of(it) for it in facts.path(record) if hasattr(it, "event_name")]
        found.append(names[0] if names else name_of(record))
    return found


def _is_with(op: NetworkMetrics, hosts: Sequence[str]) -> bool:
    return matches(op.host, hosts) or matches(place_of(op.host, op.port), hosts)


def _above(duration: float) -> float:
    return float(f"{duration * 1.05:.2g}")
