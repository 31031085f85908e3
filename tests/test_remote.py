"""Records made in other processes come home with what the call returns."""

from __future__ import annotations

import gc
import pickle
import re
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from tests import workers
from volnux.telemetry import (
    Redactor,
    Registry,
    capture,
    pipeline,
    propagate,
    set_redactor,
    traced_event,
)
from volnux.telemetry._guard import PROCESS
from volnux.telemetry._scope import switch_off, switch_on
from volnux.telemetry.testing import FakeClock

# Pools have threads, and a fork beside threads is what is tested here.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
METHODS = ["fork", "forkserver", "spawn"]


class Executor:
    """A pool of concurrent.futures."""

    def __init__(self, method):
        self.pool = ProcessPoolExecutor(2, mp_context=get_context(method))

    def call(self, function, *args):
        return self.pool.submit(function, *args).result()

    def map(self, function, items, chunksize=1):
        return list(self.pool.map(function, items, chunksize=chunksize))

    def close(self):
        self.pool.shutdown()


class Workers:
    """A pool of multiprocessing."""

    def __init__(self, method):
        self.pool = get_context(method).Pool(2)

    def call(self, function, *args):
        return self.pool.apply_async(function, args).get()

    def map(self, function, items, chunksize=1):
        return self.pool.map(function, items, chunksize)

    def close(self):
        self.pool.close()
        self.pool.join()


@pytest.fixture(
    scope="module",
    params=[(kind, method) for kind in (Executor, Workers) for method in METHODS],
    ids=lambda param: f"{param[0].__name__}-{param[1]}",
)
def pool(request):
    """A pool of each kind, its processes started in each way."""
    kind, method = request.param
    opened = kind(method)
    yield opened
    opened.close()


@pytest.fixture(scope="module", params=[Executor, Workers], ids=lambda kind: kind.__name__)
def quick_pool(request):
    """A pool of each kind, where the way of starting does not matter."""
    opened = request.param("fork")
    yield opened
    opened.close()


def sent(function):
    """What arrives in another process when a propagated function is sent there."""
    return pickle.loads(pickle.dumps(propagate(function)))


def home(parcel):
    """What arrives here when a result is sent back."""
    return pickle.loads(pickle.dumps(parcel))


def error_of(call):
    """The exception that a call raises, and what somebody may look at in it."""
    try:
        call()
    except BaseException as error:
        marks = {key: value for key, value in vars(error).items() if key != "__volnux__"}
        slots = getattr(error, "code", None)
        shown = f"{error!r} {error} {error.args} {marks} {slots}"
        return type(error), re.sub("0x[0-9a-f]+", "0x", shown), type(error.__cause__)
    raise AssertionError("it did not raise")


class TestPools:
    def test_the_result_is_the_bare_one(self, pool):
        """The caller gets what the function returned."""
        with capture(strict=True):
            assert pool.call(propagate(workers.square), 7) == 49

    def test_records_come_home_under_the_submitting_event(self, pool):
        """With the process they were made in."""
        with capture(strict=True) as registry, traced_event("batch") as batch:
            process = pool.call(propagate(workers.whereabouts))

        [event] = registry.events("whereabouts")
        assert (event.parent_id, event.process_id) == (batch.task_id, process)

    def test_everything_comes_home(self, pool):
        """Attributes, retries, children and network operations."""
        with capture(strict=True) as registry, pipeline("nightly", region="eu"):
            pool.call(propagate(workers.busy))

        [busy], [inner], [op] = (
            registry.events("busy"),
            registry.events("inner"),
            registry.network_ops(),
        )
        assert (busy.attributes, busy.retry_count) == ({"region": "eu", "rows": 3}, 1)
        assert (inner.parent_id, op.parent_id) == (busy.task_id, inner.task_id)
        assert (op.bytes_sent, op.bytes_received) == (10, 20)
        assert {record.pipeline_id for record in (busy, inner, op)} == {"nightly"}

    def test_totals_add_up(self, pool):
        """Many calls are counted exactly."""
        with capture(strict=True) as registry:
            assert pool.map(propagate(workers.square), range(20)) == [x * x for x in range(20)]

        health = registry.health()
        assert registry.event_stats()["square"].count == 20
        assert (health.started, health.finished, health.in_flight) == (20, 20, 0)
        assert health.remote == {"sent": 20, "reported": 20, "missing": 0}

    def test_a_chunk_is_one_call(self, pool):
        """Every record of it comes home."""
        with capture(strict=True) as registry:
            assert pool.map(propagate(workers.square), range(20), 5) == [x * x for x in range(20)]

        health = registry.health()
        assert registry.event_stats()["square"].count == 20
        assert health.remote == {"sent": 4, "reported": 4, "missing": 0}

    def test_an_exception_brings_its_records(self, pool):
        """It is the one that was raised, and it is recorded once, where it arose."""
        with (
            capture(strict=True) as registry,
            pytest.raises(workers.Told) as caught,
            traced_event("batch"),
        ):
            pool.call(propagate(workers.fail), "told")

        [batch], [failed] = registry.events("batch"), registry.events("fail")
        assert (caught.value.code, caught.value.detail) == (404, "no such value")
        assert (failed.status, failed.error_type, failed.parent_id) == (
            "failed",
            "Told",
            batch.task_id,
        )

    def test_identifiers_are_unique(self, pool):
        """Over all processes."""
        with capture(strict=True) as registry:
            pool.map(propagate(workers.square), range(50))
            for number in range(50):
                workers.square(number)

        assert len({event.task_id for event in registry.events()}) == 100

    def test_a_large_result_arrives(self, pool):
        """Many megabytes pass through."""
        with capture(strict=True) as registry:
            assert len(pool.call(propagate(workers.weigh), 5_000_000)) == 5_000_000

        assert len(registry.events("weigh")) == 1

    def test_captures_around_each_other_all_get_the_records(self, pool):
        """And each of them knows what is out."""
        with capture(strict=True) as outer, capture(strict=True) as inner:
            pool.call(propagate(workers.square), 2)

        assert outer.events() == inner.events() != []
        assert outer.health().remote == inner.health().remote
        assert outer.health().remote == {"sent": 1, "reported": 1, "missing": 0}

    def test_without_telemetry_nothing_is_carried(self, pool):
        """Off means off, there too."""
        assert pool.call(propagate(workers.square), 3) == 9


class TestErrors:
    @pytest.mark.parametrize("kind", sorted(workers.ERRORS))
    def test_arrive_as_without_propagate(self, quick_pool, kind):
        """Type, arguments, attributes, slots, text and cause are the same."""
        with capture(strict=True):
            bare = error_of(lambda: quick_pool.call(workers.fail, kind))
            carried = error_of(lambda: quick_pool.call(propagate(workers.fail), kind))

        assert bare == carried

    @pytest.mark.parametrize("kind", sorted({*workers.ERRORS} - {"sealed"}))
    def test_bring_their_records(self, quick_pool, kind):
        """Whatever the exception is made like."""
        with capture(strict=True) as registry:
            error_of(lambda: quick_pool.call(propagate(workers.fail), kind))

        assert [event.status for event in registry.events("fail")] == ["failed"]

    def test_of_a_result_that_cannot_be_sent_are_the_same(self, quick_pool):
        """What a pool says about the result, it says about the bare one."""
        with capture(strict=True) as registry:
            bare = error_of(lambda: quick_pool.call(workers.unsendable))
            carried = error_of(lambda: quick_pool.call(propagate(workers.unsendable)))

        assert bare == carried
        assert registry.health().remote["missing"] == 1

    def test_keep_their_origin_across_processes(self, quick_pool):
        """The event that handed them on refers to the one in the worker."""
        with capture(strict=True) as registry, pytest.raises(workers.Plain), traced_event("batch"):
            quick_pool.call(propagate(workers.fail), "plain")

        [batch], [failed] = registry.events("batch"), registry.events("fail")
        assert (batch.error, batch.error_origin) == (None, failed.task_id)


class TestLostWorkers:
    @pytest.mark.parametrize("way", ["exit", "kill"])
    def test_lose_their_own_records_only(self, way):
        """The parent says how many calls never reported."""
        with capture(strict=True) as registry:
            pool = ProcessPoolExecutor(1, mp_context=get_context("fork"))
            pool.submit(propagate(workers.square), 2).result()
            with pytest.raises(BrokenExecutor):
                pool.submit(propagate(workers.die), way).result()
            pool.shutdown()

        assert [event.event_name for event in registry.events()] == ["square"]
        assert registry.health().remote == {"sent": 2, "reported": 1, "missing": 1}

    def test_are_replaced_by_multiprocessing(self):
        """Later calls report as ever."""
        with capture(strict=True) as registry, get_context("fork").Pool(1) as pool:
            pool.apply_async(propagate(workers.die), ("kill",))
            assert pool.apply_async(propagate(workers.square), (3,)).get() == 9

        assert registry.health().remote == {"sent": 2, "reported": 1, "missing": 1}


class TestNesting:
    def test_a_pool_in_a_pool_brings_everything_home(self):
        """Records of the innermost worker hang under the event of the one between."""
        with (
            capture(strict=True) as registry,
            ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool,
            traced_event("batch") as batch,
        ):
            assert pool.submit(propagate(workers.spread), [1, 2, 3]).result() == [1, 4, 9]

        [spread] = registry.events("spread")
        assert spread.parent_id == batch.task_id
        assert [event.parent_id for event in registry.events("square")] == [spread.task_id] * 3
        assert len({event.process_id for event in registry.events()}) == 3


class TestPipelines:
    def test_of_the_worker_win(self, quick_pool):
        """The inner name, and both attributes."""
        with capture(strict=True) as registry, pipeline("outer", region="eu"):
            quick_pool.call(propagate(workers.in_pipeline))

        [event] = registry.events()
        assert (event.pipeline_id, event.attributes) == ("inner", {"region": "eu", "tier": 2})

    def test_may_be_left_before_the_result_is_there(self):
        """Records find the registry, not the block."""
        with capture(strict=True) as registry:
            with pipeline("nightly"):
                message = pickle.dumps(propagate(workers.square))
            gc.collect()
            home(pickle.loads(message)(2))

        assert [event.pipeline_id for event in registry.events()] == ["nightly"]


class TestRedaction:
    def test_the_rule_set_here_holds_there(self, pool):
        """Also in a process that has been imported afresh, and whatever that one has set."""
        before = set_redactor(Redactor(keys=["customer_mail"]))
        try:
            with capture(strict=True) as registry, pytest.raises(workers.Plain):
                pool.call(propagate(workers.sign_in), "ada@example.org")
        finally:
            set_redactor(before)

        [event] = registry.events()
        assert event.attributes == {"customer_mail": "[redacted]"}
        assert event.error == "customer_mail=[redacted]"


class TestSending:
    """Both ends in one process, which a pickle cannot tell."""

    def test_works_in_the_registry_of_the_process(self):
        """Without any capture."""
        registry = switch_on(Registry(strict=True))
        try:
            home(sent(workers.square)(2))
        finally:
            switch_off(registry)

        assert [event.event_name for event in registry.events()] == ["square"]

    def test_takes_the_context_of_the_asking(self):
        """Pickled later and elsewhere, it belongs to who asked for it."""
        with capture(strict=True) as asked:
            later = propagate(workers.square)
        with capture(strict=True) as other:
            home(pickle.loads(pickle.dumps(later))(2))

        assert (len(asked.events()), len(other.events())) == (1, 0)

    def test_asked_for_outside_of_any_capture_belongs_to_none(self):
        """A capture that is open at pickling is not meant."""
        later = propagate(workers.square)
        with capture(strict=True) as registry:
            arrived = pickle.loads(pickle.dumps(later))

        assert arrived(3) == 9
        assert registry.health().remote["sent"] == 0

    def test_can_be_sent_on(self):
        """What arrived may travel further before it is called."""
        with capture(strict=True) as registry:
            home(pickle.loads(pickle.dumps(sent(workers.square)))(2))

        assert len(registry.events()) == 1

    def test_leaves_the_worker_as_it_was(self):
        """A worker serves many callers."""
        with capture(strict=True) as mine:
            arrived = sent(workers.square)
        with capture(isolated=True) as other:
            arrived(2)
            workers.square(3)

        assert (len(mine.events()), len(other.events())) == (0, 1)

    def test_a_worker_that_is_switched_off_runs_the_bare_function(self, monkeypatch):
        """VOLNUX_TELEMETRY=off holds in each process."""
        with capture(strict=True):
            arrived = sent(workers.square)
        monkeypatch.setenv("VOLNUX_TELEMETRY", "off")

        assert arrived(3) == 9

    def test_a_result_read_in_a_third_process_is_only_a_result(self, monkeypatch):
        """Records go to who asked for them and nobody else."""
        with capture(strict=True) as registry:
            message = pickle.dumps(sent(workers.square)(3))
            monkeypatch.setattr("os.getpid", lambda: -1)
            assert pickle.loads(message) == 9

        assert registry._finished == 0

    def test_a_registry_that_is_gone_costs_no_result(self):
        """Nobody is there to take the records, which is counted."""
        PROCESS.clear()
        with capture(strict=True) as registry:
            message = pickle.dumps(sent(workers.square)(3))
        del registry
        gc.collect()

        assert pickle.loads(message) == 9
        assert PROCESS.nested()["remote"] == {"nobody to report to": 1}
        PROCESS.clear()

    def test_records_that_do_not_fit_cost_no_result(self):
        """Another version's records are counted as an error."""
        with capture() as registry:
            parcel = sent(workers.square)(3)
            parcel._registry.export = lambda: {"schema": "volnux.registry/99"}
            assert home(parcel) == 9

        assert registry.health().errors["remote"] == {"ValueError": 1}

    def test_what_was_still_running_there_is_counted(self):
        """An event that a call left open cannot come home."""
        with capture() as registry:
            home(sent(workers.unfinished)())

        assert [event.event_name for event in registry.events()] == ["unfinished"]
        assert registry.health().errors["remote"] == {"unfinished": 1}

    def test_an_exception_that_takes_no_records_is_raised(self):
        """The program gets its exception, whatever it is like."""
        PROCESS.clear()

        def fail():
            raise workers.Closed("for today")

        with capture(strict=True):
            arrived = sent(workers.fail)
            arrived._function = fail
            with pytest.raises(workers.Closed):
                arrived()

        assert PROCESS.nested()["remote"] == {"exception takes no records": 1}
        PROCESS.clear()

    def test_shows_what_it_runs(self):
        """Before and after the journey."""
        shown = f"propagate({workers.square!r})"

        assert (repr(propagate(workers.square)), repr(sent(workers.square))) == (shown, shown)

    def test_a_parcel_shows_what_is_in_it(self):
        """A pool quotes it in its own errors."""
        with capture(strict=True):
            assert repr(sent(workers.square)(3)) == "9"

    def test_clearing_the_registry_forgets_what_is_out(self):
        """The count starts again."""
        with capture(clock=FakeClock(), strict=True) as registry:
            pickle.dumps(propagate(workers.square))
            registry.clear()

        assert registry.health().remote == {"sent": 0, "reported": 0, "missing": 0}

    def test_what_cannot_be_pickled_says_so(self):
        """The error is pickle's own."""
        with capture(strict=True), pytest.raises((pickle.PicklingError, AttributeError)):
            pickle.dumps(propagate(lambda: None))
