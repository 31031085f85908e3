"""What bounds hold for one record, where cuts are counted, and what a strict registry makes of them."""

from __future__ import annotations

import contextvars
import json
import threading
import weakref

import pytest

from volnux.telemetry import (
    EventMetrics,
    NetworkMetrics,
    Redactor,
    Registry,
    TelemetryError,
    capture,
    current_event,
    network_op,
    pipeline,
    record_retry,
    set_redactor,
    traced_event,
)
from volnux.telemetry._queue import weigh_all
from volnux.telemetry._render import PLAIN_WEIGHT


class Mute:
    """An object that cannot say what it is."""

    def __str__(self):
        raise ValueError("nothing to say")

    __repr__ = __str__


class MuteError(Exception):
    """An exception without a text."""

    def __str__(self):
        raise ValueError("nothing to say")


@pytest.fixture(name="three")
def _three():
    """For the length of a test, a record has three attributes at most."""
    previous = set_redactor(Redactor(max_attributes=3))
    yield
    set_redactor(previous)


def numbered(prefix, count):
    return {f"{prefix}{number}": number for number in range(count)}


class TestJoinedAttributes:
    """Of the pipeline, the step and the execution: one bound for all of them."""

    @pytest.mark.parametrize("own", [0, 5_000])
    def test_are_no_more_than_the_bound(self, own):
        """However they came together."""
        with capture() as registry, pipeline("p", **numbered("p", 500)):
            with traced_event("x", attributes=numbered("d", 500)) as event:
                event.set_attributes(numbered("s", own))
            with network_op("h", 1) as op:
                for number in range(200):
                    op.set_attribute(f"s{number}", number)
        records = registry.events() + registry.network_ops()
        assert [len(record.attributes) for record in records] == [128, 128]

    def test_keep_the_nearest(self, three):
        """What the execution says itself goes before the step's, and that before the pipeline's."""
        step = {"c": "d", "d": "d"}
        with (
            capture() as registry,
            pipeline("p", a="p", b="p", c="p"),
            traced_event("x", attributes=step) as event,
        ):
            event.set_attribute("e", "s")
        assert registry.events()[0].attributes == {"e": "s", "c": "d", "d": "d"}

    def test_keep_the_last_word(self, three):
        """An attribute that several speak of has the value of the nearest."""
        with (
            capture() as registry,
            pipeline("p", a="p", b="p", c="p"),
            traced_event("x", attributes={"a": "d"}) as event,
        ):
            event.set_attributes({"a": "s", "e": "s"})
        assert registry.events()[0].attributes == {"a": "s", "e": "s", "b": "p"}

    def test_are_counted_once_when_cut(self, three):
        """However often the record is looked at."""
        with capture() as registry, pipeline("p", a=1, b=1, c=1), traced_event("x") as event:
            event.set_attribute("e", 1)
        for _ in range(3):
            assert len(registry.events()[0].attributes) == 3
        assert registry.health().errors == {"bounds": {"attributes": 1}}

    def test_are_counted_when_the_event_has_ended(self, three):
        """A look at one in flight is not the last one."""
        with capture() as registry, pipeline("p", a=1, b=1, c=1), traced_event("x") as event:
            event.set_attribute("e", 1)
            assert len(registry.events()[0].attributes) == 3
            assert registry.health().errors == {}

    def test_that_fit_are_all_there(self, three):
        """The bound itself is not too many."""
        with (
            capture() as registry,
            pipeline("p", a=1),
            traced_event("x", attributes={"b": 1}) as event,
        ):
            event.set_attribute("c", 1)
        assert registry.events()[0].attributes == {"a": 1, "b": 1, "c": 1}
        assert registry.health().errors == {}


class TestNames:
    """Names that are too long."""

    def test_that_were_cut_stay_as_they_are(self):
        """Another look finds no secret in what the cut left over."""
        name = Redactor().name("x" * 173 + " '--password', 'hunter2Xyz']' returned 1")
        assert name == "x" * 173 + " '--password', '[redacted]"
        assert Redactor().name(name) == name


class TestSharing:
    """A record is nobody else's."""

    def test_what_is_done_to_one_record_stays_there(self):
        """Neither the step's other events nor the next query see it."""
        step = traced_event("x", attributes={"tags": ["a"], "deep": {"er": [1]}})(lambda: None)
        with capture() as registry:
            step()
            step()
            record = registry.events()[0]
            record.attributes["tags"].append("seen")
            record.attributes["deep"]["er"].append("seen")
            step()
        assert [event.attributes for event in registry.events()] == [
            {"tags": ["a"], "deep": {"er": [1]}}
        ] * 3

    def test_of_the_pipeline_and_the_execution(self):
        """Wherever a container comes from."""
        with capture() as registry, pipeline("p", tags=["p"]), traced_event("x") as event:
            event.set_attribute("own", ["s"])
        for tags in registry.events()[0].attributes.values():
            tags.append("seen")
        assert registry.events()[0].attributes == {"tags": ["p"], "own": ["s"]}

    def test_of_an_event_in_flight(self):
        """What is shown of it is a copy as well."""
        with capture() as registry, traced_event("x", attributes={"tags": ["a"]}) as event:
            event.attributes["tags"].append("seen")
        assert registry.events()[0].attributes == {"tags": ["a"]}

    @pytest.mark.parametrize(
        "record",
        [
            EventMetrics(event_name="x", task_id="1", attributes={"tags": [{"a": [1]}]}),
            NetworkMetrics(host="h", task_id="1", attributes={"tags": [{"a": [1]}]}),
        ],
    )
    def test_a_dict_of_a_record_is_a_copy(self, record):
        """What a back end does to its dict, the record does not see."""
        record.to_dict()["attributes"]["tags"][0]["a"].append("seen")
        assert record.attributes == {"tags": [{"a": [1]}]}


class TestWhereCutsAreCounted:
    """In the registry concerned, and in no other."""

    def test_in_the_registry_that_is_current(self):
        """Not in one that recorded nothing."""
        other = Registry()
        with capture(isolated=True) as registry, traced_event("x") as event:
            event.set_attribute("text", "x" * 10_000)
        assert registry.health().errors == {"bounds": {"text": 1}}
        assert other.health().errors == {}

    def test_in_the_innermost_one(self):
        """Though its records flow to others."""
        with capture() as outer, capture() as inner, traced_event("x") as event:
            event.set_attribute("list", list(range(100)))
        assert inner.health().errors == {"bounds": {"items": 1}}
        assert outer.health().errors == {}

    def test_of_a_decorator_in_the_registry_of_the_event(self):
        """Though they are cut when the record is looked at, wherever that is."""
        with capture() as registry, traced_event("x", attributes={"t": "x" * 10_000}):
            pass
        with capture() as other:
            assert len(registry.events()[0].attributes["t"]) == 1_024
        assert registry.health().errors == {"bounds": {"text": 1}}
        assert other.health().errors == {}

    def test_of_a_decorator_once(self):
        """Its attributes are cut once for all events."""
        step = traced_event("x", attributes={"t": "x" * 10_000})(lambda: None)
        with capture() as registry:
            step()
            step()
        assert len({event.attributes["t"] for event in registry.events()}) == 1
        assert registry.health().errors == {"bounds": {"text": 1}}

    def test_for_the_process_where_no_registry_is_current(self):
        """Every registry shows them then."""
        registry = Registry()
        contextvars.Context().run(Redactor().text, "x" * 10_000)
        assert registry.health().errors == {"bounds": {"text": 1}}

    def test_once_in_each_of_many_threads(self):
        """No count is lost where several count at once."""
        barrier = threading.Barrier(4)
        with capture() as registry:
            context = contextvars.copy_context()

            def cut():
                barrier.wait(20)
                for _ in range(200):
                    context.copy().run(Redactor(max_text=16).text, "x" * 100)

            threads = [threading.Thread(target=cut) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert registry.health().errors == {"bounds": {"text": 800}}

    def test_attempts_that_were_let_go(self):
        """Of a thousand retries, the last hundred attempts are listed."""
        with capture() as registry, traced_event("x"):
            for _ in range(1_000):
                record_retry()
        assert len(registry.events()[0].attempts) == 100
        assert registry.health().errors == {"bounds": {"attempts": 901}}


class TestStrict:
    """What cannot be looked at is an error, what is merely too much is not."""

    def test_hostile_attributes_raise(self, registry):
        """Where the program gives them."""
        with traced_event("x") as event, pytest.raises(TelemetryError, match="unprintable"):
            event.set_attribute("value", Mute())
        assert registry.health().errors == {"bounds": {"unprintable": 1}}

    def test_hostile_attributes_of_operations_raise(self, registry):
        """Before the operation begins."""
        with (
            pytest.raises(TelemetryError, match="unprintable"),
            network_op("h", 1, attributes={"value": Mute()}),
        ):
            pass
        assert registry.network_ops() == []

    def test_hostile_attributes_of_pipelines_raise(self, registry):
        """Where the pipeline is made."""
        with pytest.raises(TelemetryError, match="unprintable"):
            pipeline("p", shared=Mute())

    def test_hostile_attributes_of_blocks_raise(self, registry):
        """Where the block begins."""
        with (
            pytest.raises(TelemetryError, match="unprintable"),
            traced_event("x", attributes={"value": Mute()}),
        ):
            pass
        assert registry.events() == []

    def test_hostile_attributes_of_decorators_raise_once(self, registry):
        """At the first look; the records are there all the same."""
        traced_event("x", attributes={"value": Mute()})(len)("")
        [event] = registry.events()
        with pytest.raises(TelemetryError, match="unprintable"):
            _ = event.attributes
        assert event.attributes == {"value": "<unprintable Mute>"}

    def test_hostile_errors_of_attempts_raise(self, registry):
        """Where the program tells of them."""
        with traced_event("x"), pytest.raises(TelemetryError, match="unprintable"):
            record_retry(MuteError())

    def test_hostile_errors_of_events_raise(self, registry):
        """The event has ended, as failed."""
        with pytest.raises(TelemetryError, match="unprintable"), traced_event("x"):
            raise MuteError
        assert [(event.status, event.error_type) for event in registry.events()] == [
            ("failed", "MuteError")
        ]

    def test_hostile_errors_of_functions_raise(self, registry):
        """Likewise; and nothing stays current."""

        @traced_event("x")
        def step():
            raise MuteError

        with pytest.raises(TelemetryError, match="unprintable"):
            step()
        assert [event.status for event in registry.events()] == ["failed"]
        assert current_event() is None

    def test_hostile_errors_of_operations_raise(self, registry):
        """The operation has ended, as failed."""
        with pytest.raises(TelemetryError, match="unprintable"), network_op("h", 1):
            raise MuteError
        assert [op.status for op in registry.network_ops()] == ["failed"]

    def test_the_hostile_value_s_own_error_is_the_context(self, registry):
        """Whoever reads the traceback sees what went wrong."""
        with traced_event("x") as event, pytest.raises(TelemetryError) as caught:
            event.set_attribute("value", Mute())
        assert repr(caught.value.__context__) == "ValueError('nothing to say')"

    def test_bounding_is_counted_only(self, registry):
        """Too many, too long, too deep: that is what the bounds are for."""
        with traced_event("x" * 1_000, attributes=numbered("d", 500)) as event:
            event.set_attributes({"text": "x" * 10_000, "list": [[[[[[1]]]]], *range(100)]})
        json.dumps(registry.events()[0].to_dict())
        assert registry.health().errors["bounds"].keys() == {
            "name",
            "text",
            "items",
            "depth",
            "attributes",
        }

    def test_elsewhere_nothing_raises(self):
        """An ordinary registry counts."""
        with capture() as registry, traced_event("x") as event:
            event.set_attribute("value", Mute())
        assert registry.events()[0].attributes == {"value": "<unprintable Mute>"}
        assert registry.health().errors == {"bounds": {"unprintable": 1}}


class TestHostsAndPorts:
    """What is no host or no port."""

    @pytest.mark.parametrize("port", ["abc", -5, 65_536, [], Mute()])
    def test_no_port_raises_in_strict_mode(self, registry, port):
        """A number from 0 to 65,535, or None."""
        with (
            pytest.raises(TelemetryError, match="network: port is no port number"),
            network_op("h", port),
        ):
            pass

    @pytest.mark.parametrize("host", [None, 5, 1.5, True, ["h"], ("h", 1), {"h": 1}])
    def test_no_host_raises_in_strict_mode(self, registry, host):
        """A name or an address."""
        with pytest.raises(TelemetryError, match="network: host is no name"), network_op(host, 1):
            pass

    def test_are_counted_each_time(self):
        """Not only the first time that somebody gets it wrong."""
        with capture() as registry:
            for _ in range(3):
                with network_op("h", "abc"), network_op(None, -5):
                    pass
        assert registry.health().errors == {
            "network": {"port is no port number": 6, "host is no name": 3}
        }

    def test_are_recorded_somehow(self):
        """One total for all of them, as ever."""
        with capture() as registry:
            for _ in range(2):
                with network_op("h", "abc"):
                    pass
        assert [(key, one.count) for key, one in registry.network_stats().items()] == [
            (("h", None, "exchange"), 2)
        ]

    @pytest.mark.parametrize("host", ["h", b"h", "", "::1"])
    @pytest.mark.parametrize("port", [None, 0, 443, "443", 65_535])
    def test_good_ones_are_nothing_to_speak_of(self, registry, host, port):
        """Whatever can be understood is taken."""
        with network_op(host, port):
            pass
        assert registry.health().errors == {}

    @pytest.mark.parametrize(
        ("url", "host"),
        [
            ("https://api.example.org:8443/x", "api.example.org"),
            ("https://user:pw@api.example.org:8443", "api.example.org"),
            ("https://api.example.org", "api.example.org"),
            ("http://[::1]:80/", "::1"),
            ("http://[fe80::1]/x", "fe80::1"),
            ("http://::1/x", "::1"),
            ("db.example.org:5432", "db.example.org:5432"),
            ("[::1]:80", "[::1]:80"),
        ],
    )
    def test_of_a_url_only_the_host_is_kept(self, registry, url, host):
        """The port has a field of its own."""
        with network_op(url, 8443):
            pass
        assert [(op.host, op.port) for op in registry.network_ops()] == [(host, 8443)]


def test_what_a_block_is_given_is_let_go_of(registry):
    """A block that is given something large keeps what its record shows of it, and no more."""

    class Large(list):
        """What a weak reference can be had of."""

    large = Large(range(100_000))
    gone = weakref.ref(large)
    with traced_event("load", attributes={"rows": large}):
        del large
    assert gone() is None
    assert len(registry.events()[0].attributes["rows"]) < 1_000


def test_what_a_block_is_given_weighs_in_the_queue():
    """So that records with attributes fill its bytes as those with `set_attribute` do."""
    text = "x" * 1_000
    weights = []
    for given, later in (({"text": text}, {}), ({}, {"text": text}), ({"n": 1}, {})):
        with capture(isolated=True) as registry:
            with traced_event("load", attributes=given) as event:
                for key, value in later.items():
                    event.set_attribute(key, value)
            weights.append(weigh_all([registry.events()[0]._raw]))
    assert weights[0] >= 1_000 + PLAIN_WEIGHT
    assert weights[1] >= 1_000 + PLAIN_WEIGHT
    assert PLAIN_WEIGHT < weights[2] < 1_000
