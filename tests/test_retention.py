"""Which single records are kept when there are more than may be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from volnux.telemetry import EventMetrics, NetworkMetrics, Registry
from volnux.telemetry.testing import FakeClock

#: (status, seconds) of an event.
events = st.tuples(st.sampled_from(["completed", "failed", "cancelled"]), st.integers(0, 50))
portions = st.lists(st.lists(events, max_size=30), max_size=12)


def event(number, status="completed", seconds=0):
    return EventMetrics(
        event_name="work",
        task_id=f"{number + 1:016x}",
        start_time=float(number),
        end_time=float(number + seconds),
        duration=float(seconds),
        status=status,
    )


def filled(capacity, described):
    """A registry that has taken in one event per (status, seconds), in that order."""
    registry = Registry(capacity, clock=FakeClock(), strict=True)
    for number, (status, seconds) in enumerate(described):
        registry.add(event(number, status, seconds))
    return registry


def numbers(registry):
    return [int(record.task_id, 16) - 1 for record in registry.events()]


def model(capacity, described):
    """What is kept, said in the plainest way: by number, newest, failed and slowest apart."""
    failed_share, slow_share = capacity // 4, capacity // 10
    recent, failed, slow = [], [], []
    for number, (status, seconds) in enumerate(described):
        recent.append((number, status, seconds))
        while len(recent) + len(failed) + len(slow) > capacity:
            leaving = recent.pop(0)
            if failed_share and leaving[1] == "failed":
                failed.append(leaving)
                del failed[:-failed_share]
            elif slow_share and (len(slow) < slow_share or leaving[2] > min(slow, key=_rank)[2]):
                slow.append(leaving)
                slow.sort(key=_rank)
                del slow[:-slow_share]
    return sorted(number for number, _, _ in recent + failed + slow)


def _rank(entry):
    number, _, seconds = entry
    return seconds, number


class TestKeeping:
    @given(st.integers(0, 40), st.lists(events, max_size=150))
    def test_is_what_a_simple_model_says(self, capacity, described):
        """The newest, up to a quarter that failed, and up to a tenth of the slowest."""
        assert numbers(filled(capacity, described)) == model(capacity, described)

    @given(st.integers(0, 40), st.lists(events, max_size=150))
    def test_keeps_as_many_as_it_may(self, capacity, described):
        """Never more than the capacity, and never fewer while there are more."""
        registry = filled(capacity, described)

        assert len(registry.events()) == min(capacity, len(described))

    @given(st.integers(0, 40), st.lists(events, max_size=150))
    def test_every_eviction_is_counted(self, capacity, described):
        """Finished is kept plus evicted."""
        registry = filled(capacity, described)

        health = registry.health()
        assert health.evicted == health.finished - len(registry.events())

    @given(st.integers(0, 40), portions)
    def test_portions_do_not_change_how_many(self, capacity, parts):
        """Merged batch by batch, it keeps as many as one by one."""
        registry = Registry(capacity, strict=True)
        for part in parts:
            registry.merge(filled(100, part).export())

        assert len(registry.events()) == min(capacity, sum(map(len, parts)))


class TestPreference:
    def test_the_newest_are_kept(self):
        """Of equals, the oldest go first."""
        registry = filled(8, [("completed", 0)] * 100)

        assert numbers(registry)[-4:] == [96, 97, 98, 99]

    def test_a_failed_one_outlives_newer_ones(self):
        """Who looks for failures finds them, long after."""
        registry = filled(8, [("failed", 0)] + [("completed", 0)] * 100)

        assert [record.status for record in registry.events(status="failed")] == ["failed"]

    def test_failed_ones_have_a_quarter_and_no_more(self):
        """A storm of failures leaves room for what is newest."""
        registry = filled(8, [("failed", 0)] * 50 + [("completed", 0)] * 50)

        assert numbers(registry)[:2] == [48, 49]
        assert len(registry.events(status="failed")) == 2

    def test_the_slowest_outlive_newer_ones(self):
        """The two longest of a hundred are still there."""
        described = [("completed", 1)] * 100
        described[3], described[7], described[9] = ("completed", 8), ("completed", 9), ("failed", 0)
        registry = filled(20, described)

        assert {3, 7} < set(numbers(registry))

    def test_cancelled_ones_have_no_privilege(self):
        """Being stopped is not being wrong."""
        registry = filled(20, [("completed", 5)] * 3 + [("cancelled", 0)] + [("completed", 1)] * 50)

        assert registry.events(status="cancelled") == []

    def test_a_capacity_below_four_keeps_the_newest_only(self):
        """There is no quarter of three."""
        registry = filled(3, [("failed", 9), ("completed", 0), ("completed", 0), ("completed", 0)])

        assert numbers(registry) == [1, 2, 3]


class TestKinds:
    def test_each_kind_has_a_capacity_of_its_own(self):
        """Many network operations push out no event."""
        registry = filled(4, [("completed", 0)])
        for number in range(20):
            registry.add(NetworkMetrics(host="h", task_id=f"{number + 100:016x}"))

        assert (len(registry.events()), len(registry.network_ops())) == (1, 4)

    def test_a_failed_operation_outlives_newer_ones(self):
        """Operations are kept by the same rule."""
        registry = Registry(8, strict=True)
        registry.add(NetworkMetrics(host="h", task_id="1", status="failed"))
        for number in range(20):
            registry.add(NetworkMetrics(host="h", task_id=f"{number + 100:016x}"))

        assert [op.task_id for op in registry.network_ops(status="failed")] == ["1"]
