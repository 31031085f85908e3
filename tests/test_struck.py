"""A Ctrl-C, or a signal handler's SystemExit, while a failure is being described."""

from __future__ import annotations

import pytest

from volnux.telemetry import capture, current_event, network_op, traced_event


class Sudden(ValueError):
    """An error during whose description the program is told to stop."""

    def __init__(self, stop):
        super().__init__("sudden")
        self.stop = stop

    def __str__(self):
        raise self.stop


class SuddenGroup(BaseException):
    """An error that is not even asked what it holds before the program is told to stop."""

    def __init__(self, stop):
        super().__init__("sudden")
        self.stop = stop

    @property
    def exceptions(self):
        raise self.stop


def fail_in_function(stop):
    """Fail in a traced function."""

    @traced_event("struck")
    def step():
        raise Sudden(stop)

    step()


def fail_in_block(stop):
    """Fail in a block."""
    with traced_event("struck"):
        raise Sudden(stop)


def fail_in_operation(stop):
    """Fail in a network operation."""
    with network_op("struck", 1):
        raise Sudden(stop)


def fail_in_generator(stop):
    """Fail in a traced generator."""

    @traced_event("struck")
    def stream():
        yield 1
        raise Sudden(stop)

    list(stream())


WAYS = [fail_in_function, fail_in_block, fail_in_operation, fail_in_generator]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_the_stop_reaches_the_program_and_the_record_is_ended(way, stop):
    """Neither is lost: what was struck has failed, and nothing stays in flight."""
    with capture(isolated=True) as registry, pytest.raises(stop):
        way(stop)
    health = registry.health()
    assert (health.started, health.finished, health.in_flight) == (1, 1, 0)
    [record] = [*registry.events(), *registry.network_ops()]
    assert record.status == "failed"


@pytest.mark.parametrize("way", WAYS)
def test_also_when_a_query_has_seen_it_running(way):
    """An entry that a fold has met is told of its end in another way."""
    with capture(isolated=True) as registry:

        class Stop(KeyboardInterrupt):
            def __init__(self):
                super().__init__()
                assert registry.health().in_flight == 1

        with pytest.raises(Stop):
            way(Stop)
    assert registry.health().in_flight == 0


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_also_before_anything_is_known_of_the_error(stop):
    """What was said of the event until then is kept."""
    with capture(isolated=True) as registry:
        with pytest.raises(stop), traced_event("struck") as event:
            event.set_attribute("rows", 3)
            raise SuddenGroup(stop)
        assert current_event() is None
    [record] = registry.events()
    assert (record.status, record.attributes) == ("failed", {"rows": 3})
    assert registry.health().in_flight == 0
