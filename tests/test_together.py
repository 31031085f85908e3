"""Calls that run beside one another."""

from __future__ import annotations

import threading
from contextvars import ContextVar

import pytest

from volnux.telemetry.formats._together import Call

here = ContextVar("here", default="nowhere")


def test_a_call_that_was_begun_runs_beside_others():
    """Two that wait for each other both come to an end."""
    meeting = threading.Barrier(2, timeout=10)
    calls = [Call(meeting.wait), Call(meeting.wait)]
    for call in calls:
        call.begin()
    assert sorted(call.result(10) for call in calls) == [0, 1]


def test_a_call_that_was_not_begun_runs_when_it_is_asked_for():
    """As at the exit of the interpreter, where no thread can be had."""
    call = Call(lambda text: text.upper(), "a")
    call.wait(0)
    assert call.result() == "A"


def test_it_runs_in_the_context_of_whoever_begins_it():
    """A publisher's own traffic stays nobody's."""
    token = here.set("publisher")
    call = Call(here.get)
    call.begin()
    here.reset(token)
    assert call.result(10) == "publisher"


def test_its_error_is_raised_where_the_result_is_asked_for():
    """Whatever it is."""
    call = Call(int, "x")
    call.begin()
    with pytest.raises(ValueError, match="invalid literal"):
        call.result(10)


def test_nobody_has_to_wait_for_it_for_ever():
    """What takes too long goes on without anybody."""
    over = threading.Event()
    call = Call(over.wait, 10)
    call.begin()
    with pytest.raises(TimeoutError):
        call.result(0.01)
    over.set()


def test_without_a_thread_it_is_done_later(monkeypatch):
    """A limit of threads, or the end of the interpreter, is no error."""

    def refuse(self):
        raise RuntimeError("can't start new thread")

    call = Call(lambda: 1)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    call.begin()
    assert call.result(10) == 1
