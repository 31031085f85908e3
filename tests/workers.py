"""What runs in other processes, in a module that they can import."""

from __future__ import annotations

import os
import pickle
import signal
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from volnux.telemetry import (
    current_event,
    inject,
    network_op,
    pipeline,
    propagate,
    record_retry,
    traced_event,
)


def in_fork(function):
    """Call a function in a forked child; return what it returned, raise what it raised."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            try:
                answer = (function(), None)
            except BaseException as error:
                answer = (None, error)
            with os.fdopen(writing, "wb") as pipe:
                pickle.dump(answer, pipe)
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        data = pipe.read()
    os.waitpid(child, 0)
    result, error = pickle.loads(data)
    if error is not None:
        raise error
    return result


@traced_event("square")
def square(number):
    """Return the square of a number."""
    return number * number


@traced_event("whereabouts")
def whereabouts():
    """Return the process that this runs in."""
    return os.getpid()


@traced_event("busy")
def busy():
    """Do a bit of everything that leaves a record."""
    current_event().set_attribute("rows", 3)
    record_retry(OSError("once"), delay=0.0)
    with traced_event("inner"), network_op("db.internal", 5432, "query") as op:
        op.sent(10)
        op.received(20)
    return "done"


def in_pipeline():
    """Record an event in a pipeline of the worker's own."""
    with pipeline("inner", tier=2):
        return square(2)


@traced_event("send")
def trace_headers():
    """Return the headers that go along with a request from here."""
    headers = {}
    inject(headers)
    return headers


@traced_event("weigh")
def weigh(size):
    """Return so many bytes."""
    return b"x" * size


class Plain(Exception):
    """An exception like most."""


class Told(Exception):
    """An exception with an initializer of its own, and a way to pickle it."""

    def __init__(self, code, detail):
        super().__init__(f"{code}: {detail}")
        self.code, self.detail = code, detail

    def __reduce__(self):
        return Told, (self.code, self.detail)


class Slotted(Exception):
    """An exception that keeps its data in slots."""

    __slots__ = ("code",)

    def __init__(self, code=0):
        super().__init__(code)
        self.code = code

    def __reduce__(self):
        return Slotted, (self.code,)


class Extended(Exception):
    """An exception whose reduction is decided by protocol."""

    def __init__(self, code):
        super().__init__("extended")
        self.code = code

    def __reduce_ex__(self, protocol):
        return Extended, (self.code,)


class Sealed(Exception):
    """An exception that cannot be pickled."""

    def __reduce__(self):
        raise TypeError("sealed")


class Closed(Exception):
    """An exception that does not show its attributes."""

    @property
    def __dict__(self):
        raise OSError("closed")


def with_attributes():
    """An exception that somebody has written on."""
    error = Plain("no such value")
    error.hint = {"try": ["again"]}
    return error


ERRORS = {
    "plain": lambda: Plain("no such value", 3),
    "attributes": with_attributes,
    "told": lambda: Told(404, "no such value"),
    "slotted": lambda: Slotted(7),
    "extended": lambda: Extended(8),
    "builtin": lambda: FileNotFoundError(2, "No such file", "a.csv"),
    "unicode": lambda: UnicodeDecodeError("utf-8", b"x", 0, 1, "no"),
    "sealed": lambda: Sealed("never leaves"),
    "chained": lambda: _chained(),
}


def _chained():
    error = Plain("second")
    error.__cause__ = KeyError("first")
    return error


def fail(kind):
    """Raise an exception inside an event."""
    with traced_event("fail"):
        error = ERRORS[kind]()
        raise error


class Unsendable:
    """A result that cannot be pickled."""

    def __repr__(self):
        return "Unsendable()"

    def __reduce__(self):
        raise TypeError("this stays here")


@traced_event("sign in")
def sign_in(mail):
    """Say who signs in, and fail."""
    current_event().set_attribute("customer_mail", mail)
    raise Plain(f"customer_mail={mail}")


@traced_event("unsendable")
def unsendable():
    """Return what cannot be sent."""
    return Unsendable()


@traced_event("die")
def die(way):
    """End this process at once."""
    if way == "exit":
        os._exit(3)
    os.kill(os.getpid(), signal.SIGKILL)


@traced_event("unfinished")
def unfinished():
    """Leave an event open."""
    traced_event("open").__enter__()


@traced_event("spread")
def spread(numbers):
    """Hand work to a pool of one's own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return list(pool.map(propagate(square), numbers))
