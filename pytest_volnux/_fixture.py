"""The fixture `volnux`: what was recorded in the test, and asserts on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_volnux._again import errors_of, repeats, retries_of
from pytest_volnux._facts import Facts, has_recovered, is_with, matches
from pytest_volnux._failing import (
    arguments,
    check_numbers,
    described,
    events_around,
    fail,
    has_attributes,
    in_order,
    near,
    ways_of,
)
from pytest_volnux._text import apart, errors, listed, rounded_up
from volnux._text import seconds as time_of
from volnux._text import size, some
from volnux._tree import name_of, place_of
from volnux.telemetry import Registry, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from volnux.telemetry import EventMetrics, EventStats, NetworkMetrics, RetryStats


class VolnuxFixture:
    """What has been recorded in this test so far, its own fixtures included.

    Names are globs, such as `fetch*`; without any, all events are meant. Each assert raises an
    `AssertionError` that shows what happened, and a ValueError if it is asked for what makes no
    sense. Everything may be called from any thread.
    """

    def __init__(self, registries: Callable[[], Iterable[Registry]]) -> None:
        self._registries = registries
        self._allowed: tuple[str, ...] = ()

    def __repr__(self) -> str:
        facts = self._facts()
        failed = len(facts.failed_for_good(self._allowed))
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
        return ops if host is None else [op for op in ops if is_with(op, [host])]

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

        An error counts where it arose. What `allow_failed` names may fail. So may an attempt that was
        retried, in an event that completed: that is a retry, and no failure.
        """
        __tracebackhide__ = True
        facts = self._facts()
        failed = facts.failed_for_good(self._allowed, names)
        if failed:
            what = f"{len(failed)} failed: {errors(failed)}"
            allow = arguments(dict.fromkeys(events_around(facts, failed)))
            fail(what, facts, failed, f"volnux.allow_failed({allow})")

    def assert_no_slow(self, threshold_seconds: float, *names: str) -> None:
        """Fail if an event took longer than so many seconds; one in flight counts by its age."""
        __tracebackhide__ = True
        check_numbers(threshold_seconds=threshold_seconds)
        facts = self._facts()
        slow = facts.slow(threshold_seconds, names)
        if slow:
            worst = listed(f"{it.event_name} {time_of(it.duration)}" for it in slow)
            some_of = f"{len(slow)} of {len(facts.named(names))}"
            what = f"{some_of} took longer than {time_of(threshold_seconds)}: {worst}"
            fail(what, facts, slow, f"a threshold of {rounded_up(slow[0].duration)} seconds")

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
        check_numbers(count=count)
        facts = self._facts()
        named = facts.named([name])
        found = [event for event in named if status in {None, event.status}]
        found = [event for event in found if has_attributes(event, attributes or {})]
        if len(found) == count or (count is None and found):
            return
        asked = described(name, status, attributes)
        if named and not found:
            what = f"no event {asked}; {len(named)} so named: {ways_of(named, attributes)}"
        elif not found:
            what = f"no event {asked}{near(name, facts)}"
        else:
            what = f"{some(len(found), 'event')} {asked}, not {count}"
        fail(what, facts, named)

    def assert_not_recorded(self, name: str) -> None:
        """Fail if there was an event of this name, a glob."""
        __tracebackhide__ = True
        facts = self._facts()
        found = facts.named([name])
        if found:
            fail(f"{some(len(found), 'event')} {name!r}, and there was to be none", facts, found)

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
                hint = f"; they began so: {in_order(facts)}" if found else near(name, facts)
                fail(f"no event {name!r} began{before}{hint}", facts, found)

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
        check_numbers(max=max, exactly=exactly)
        if max is None and exactly is None:
            raise ValueError("assert_retries needs max=N or exactly=N")
        facts = self._facts()
        found = facts.named([name])
        kind = error_type.__name__ if isinstance(error_type, type) else error_type
        if not found:
            fail(f"no event {name!r}{near(name, facts)}", facts, [])
        retried = [event for event in found if retries_of(event, kind)]
        number = sum(retries_of(event, kind) for event in retried)
        after = f" after {kind}" if kind else errors_of(retried)
        counted = f"{some(number, 'retry', 'retries')} of {name!r}{after}"
        if exactly is not None and number != exactly:
            fail(f"{counted}, not {exactly}", facts, retried or found)
        if max is not None and number > max:
            are = "is" if max == 1 else "are"
            fail(f"{counted}, at most {max} {are} allowed", facts, retried, f"max={number}")

    def assert_recovered(self, name: str) -> None:
        """Fail unless an event so named was retried, and completed after all."""
        __tracebackhide__ = True
        facts = self._facts()
        found = facts.named([name])
        if any(map(has_recovered, found)):
            return
        retried = [event for event in found if event.retry_count]
        if not found:
            what = f"no event {name!r}{near(name, facts)}"
        elif not retried:
            what = f"{name!r} was not retried"
        else:
            what = f"{name!r} was retried{errors_of(retried)}, and did not recover"
        fail(what, facts, found)

    def assert_max_seconds(self, name: str, seconds: float, quantile: float | None = None) -> None:
        """Fail if events so named took longer.

        Args:
            name: a glob.
            seconds: at most.
            quantile: of all that are so named, such as 0.9; by default the longest counts.
        """
        __tracebackhide__ = True
        check_numbers(seconds=seconds)
        if quantile is not None and not 0 < quantile <= 1:
            raise ValueError(f"quantile is above 0 and at most 1, such as 0.9, not {quantile!r}")
        facts = self._facts()
        found = sorted(facts.named([name]), key=lambda event: event.duration)
        if not found:
            fail(f"no event {name!r}{near(name, facts)}", facts, [])
        # The nearest rank, as everywhere here.
        rank = len(found) if quantile is None else -int(-quantile * len(found) // 1)
        took = found[rank - 1].duration
        if took > seconds:
            which = "the longest" if quantile is None else f"the {quantile} quantile"
            was, limit = apart(took, seconds, time_of)
            named = f"{some(len(found), 'event')} {name!r}"
            what = f"{which} of {named} took {was}, at most {limit} is allowed"
            long = [event for event in found if event.duration > seconds]
            fail(what, facts, long, f"seconds={rounded_up(took)}")

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
        check_numbers(max_sent=max_sent, max_received=max_received)
        if max_sent is None and max_received is None:
            raise ValueError("assert_bytes needs max_sent=BYTES or max_received=BYTES")
        facts = self._facts()
        ops = [op for op in facts.ops if host is None or is_with(op, [host])]
        where = "" if host is None else f" {{}} {host!r}"
        for done, word, limit, number in (
            ("sent", "to", max_sent, sum(op.bytes_sent for op in ops)),
            ("received", "from", max_received, sum(op.bytes_received for op in ops)),
        ):
            if limit is not None and number > limit:
                was, most = apart(number, limit, size)
                what = f"{was} {done}{where.format(word)}, at most {most} are allowed"
                fail(what, facts, ops, f"max_{done}={number}")

    def assert_only_hosts(self, *patterns: str) -> None:
        """Fail if there was a network operation with another host; globs of `host` or `host:port`."""
        __tracebackhide__ = True
        facts = self._facts()
        strangers = facts.strangers(patterns)
        if strangers:
            found = listed(place_of(op.host, op.port) for op in strangers)
            hosts = [*patterns, *sorted({op.host for op in strangers})]
            what = f"{some(len(strangers), 'operation')} with other hosts: {found}"
            fail(what, facts, strangers, f"volnux.assert_only_hosts({arguments(hosts)})")

    def assert_no_network(self) -> None:
        """Fail if there was any network operation."""
        __tracebackhide__ = True
        facts = self._facts()
        if facts.ops:
            found = listed(map(name_of, facts.ops))
            what = f"{some(len(facts.ops), 'network operation')}, and there was to be none: {found}"
            hosts = sorted({op.host for op in facts.ops})
            fail(what, facts, facts.ops, f"volnux.assert_only_hosts({arguments(hosts)})")

    def assert_no_repeats(self, name: str = "*", max: int = 1) -> None:
        """Fail if the same event, or the same operation with a host, ran more than `max` times in one event.

        That is how a query in a loop shows (N+1). The test itself counts as one event. What is retried
        may run so often at each attempt.

        Args:
            name: a glob of events, or of operations as `GET example.org:443`.
            max: how often is not too often.
        """
        __tracebackhide__ = True
        check_numbers(max=max)
        facts = self._facts()
        found = repeats(facts, name, max)
        if found:
            often = "once" if max == 1 else f"{max} times"
            what = f"ran more than {often}: {listed(one.said for one in found)}"
            most = builtin_max(one.times for one in found)
            fail(what, facts, [it for one in found for it in one.records], f"max={most}")

    def assert_no_leaks(self) -> None:
        """Fail if something that began in this test has not ended yet."""
        __tracebackhide__ = True
        facts = self._facts()
        running = [record for record in facts.records() if record.status == Status.RUNNING]
        if running:
            fail(f"{len(running)} not ended: {listed(map(name_of, running))}", facts, running)

    # -- inside ----------------------------------------------------------------------------------

    def _facts(self) -> Facts:
        return Facts(self._registries())

    def _together(self) -> Registry:
        whole = Registry(capacity=0)
        for registry in self._registries():
            whole.merge(registry.export())
        return whole


builtin_max = max
