"""A traced socket is a socket in all else, and its connection has exactly one end."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import socket
import sys
import warnings
from multiprocessing.reduction import ForkingPickler

import pytest

from tests.network._records import crossed, only
from tests.network._sockets import SECONDS
from tests.workers import in_fork
from volnux.telemetry import capture, traced_socket, untrace


def running(registry):
    return registry.health().in_flight


def test_it_is_a_socket(pair):
    """By `isinstance`, by its attributes and by its equality."""
    near, _ = pair
    with traced_socket(near) as sock:
        assert isinstance(sock, socket.socket)
        assert (sock.family, sock.type, sock.proto) == (near.family, near.type, near.proto)
        assert (sock.fileno(), sock.getsockname()) == (near.fileno(), near.getsockname())
        assert (sock == near, hash(sock) == hash(near)) == (True, True)
        sock.settimeout(3)
        assert (near.gettimeout(), sock.timeout) == (3, 3)


def test_a_subclass_stays_one(registry):
    """Also what a program has made of sockets itself."""

    class Mine(socket.socket):
        mark = 7

        def ask(self):
            return self.send(b"??")

    near, far = socket.socketpair()
    with far, traced_socket(Mine(fileno=near.detach())) as sock:
        assert (isinstance(sock, Mine), sock.mark) == (True, 7)
        sock.send(b"x")

    assert crossed(registry) == (1, 0)


@pytest.mark.parametrize("work", [copy.copy, copy.deepcopy, pickle.dumps])
def test_what_a_socket_refuses(work, pair):
    """It can be copied and pickled as little as a bare one, for the same reason."""
    near, _ = pair
    with pytest.raises(TypeError) as bare:
        work(near)
    with traced_socket(near) as sock, pytest.raises(TypeError) as traced:
        work(sock)

    assert str(traced.value) == str(bare.value)


def test_multiprocessing_hands_it_on(pair):
    """What multiprocessing does with sockets, it does with a traced one: the other end gets a bare one."""
    with traced_socket(pair[0]) as sock:
        # In this process, so that the descriptor is asked for where it is.
        again = pickle.loads(ForkingPickler.dumps(sock))
        with again:
            again.sendall(b"x")
        assert (type(again), pair[1].recv(1)) == (socket.socket, b"x")


def test_a_duplicate_counts_for_the_same(pair, registry):
    """The connection ends with the last of its sockets, in any order, closed once or twice."""
    first = traced_socket(pair[0])
    second = first.dup()
    first.send(b"x")
    second.send(b"xx")
    first.close()
    first.close()
    assert running(registry) == 1
    second.send(b"xxx")
    second.close()

    assert (crossed(registry), running(registry)) == ((6, 0), 0)


def test_a_duplicate_of_a_duplicate(pair, registry):
    """However many there are."""
    first = traced_socket(pair[0])
    others = [first.dup(), first.dup()]
    others.append(others[0].dup())
    for number, sock in enumerate([*others, first]):
        sock.send(b"x")
        sock.close()
        assert running(registry) == (number < 3)

    assert crossed(registry) == (4, 0)


def test_detached(pair, registry):
    """Whoever takes the descriptor has the connection; it is not ours any more."""
    sock = traced_socket(pair[0])
    sock.send(b"x")
    with socket.socket(fileno=sock.detach()) as bare:
        bare.send(b"xx")
        assert sock.fileno() == -1

    assert (crossed(registry), pair[1].recv(10)) == ((1, 0), b"xxx")


def test_untraced(pair, registry):
    """`untrace` gives the bare socket back, open."""
    near, far = pair
    sock = traced_socket(near)
    sock.send(b"x")
    assert untrace(sock) is near
    near.send(b"xx")

    assert (crossed(registry), far.recv(10)) == ((1, 0), b"xxx")


def test_a_file_outlives_the_socket(pair, registry):
    """The connection lasts until the file is closed."""
    near, far = pair
    sock = traced_socket(near)
    file = sock.makefile("rb")
    sock.close()
    far.sendall(b"late")
    assert (file.read(4), running(registry)) == (b"late", 1)
    file.close()

    assert (crossed(registry), running(registry)) == ((0, 4), 0)


def test_a_socket_outlives_its_file(pair, registry):
    """A file that is closed ends nothing."""
    near, far = pair
    with traced_socket(near) as sock:
        sock.makefile("rb").close()
        far.sendall(b"x")
        assert (sock.recv(1), running(registry)) == (b"x", 1)

    assert crossed(registry) == (0, 1)


def test_half_closed(pair, registry):
    """After `shutdown` of one direction the other goes on counting."""
    near, far = pair
    with traced_socket(near) as sock:
        sock.sendall(b"last")
        sock.shutdown(socket.SHUT_WR)
        assert (far.recv(10), far.recv(10)) == (b"last", b"")
        far.sendall(b"answer")
        assert sock.recv(10) == b"answer"

    assert crossed(registry) == (4, 6)


def test_dropped_without_a_close(registry):
    """The operation ends with the socket, and Python warns as it would."""
    near, far = socket.socketpair()
    sock = traced_socket(near)
    sock.send(b"x")
    del near
    with far, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del sock
        gc.collect()

    assert (crossed(registry), only(registry).status) == ((1, 0), "completed")
    assert [(it.category, "unclosed <socket" in str(it.message)) for it in caught] == [
        (ResourceWarning, True)
    ]


def test_dropped_after_a_failure(registry):
    """What failed does not keep the socket: it goes at once, without the collector."""
    near, far = socket.socketpair()
    sock = traced_socket(near)
    sock.settimeout(0.001)
    del near
    gc.disable()
    try:
        try:
            sock.recv(1)
        except TimeoutError:
            pass
        with far, pytest.warns(ResourceWarning):
            del sock
    finally:
        gc.enable()

    assert (only(registry).status, only(registry).error_type) == ("failed", "TimeoutError")


def test_dropped_in_a_cycle(registry):
    """The collector ends it."""
    near, far = socket.socketpair()
    cycle = [traced_socket(near)]
    cycle.append(cycle)
    del near
    del cycle
    with far, pytest.warns(ResourceWarning):
        gc.collect()

    assert only(registry).status == "completed"


def test_a_with_block_closes_once(pair, registry):
    """Closing inside of the block and at its end is one end."""
    with traced_socket(pair[0]) as sock:
        sock.close()

    assert registry.health().finished == 1


def test_an_error_of_the_block(pair, registry):
    """An exception that leaves the block is the operation's, and the program's."""
    boom = ZeroDivisionError("boom")
    with pytest.raises(ZeroDivisionError) as caught, traced_socket(pair[0]) as sock:
        sock.send(b"x")
        raise boom
    op = only(registry)

    assert caught.value is boom
    assert (op.status, op.error_type, op.error, op.bytes_sent) == (
        "failed",
        "ZeroDivisionError",
        "boom",
        1,
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("is_folded", [False, True])
def test_forked_with_one_open(is_folded, pair):
    """The connection is the parent's: the child may use and close its copy, and records nothing of it."""
    with capture(strict=True) as registry:
        sock = traced_socket(pair[0])
        if is_folded:
            registry.fold()

        def child():
            sock.send(b"child")
            sock.close()
            health = registry.health()
            return health.started, health.finished, health.in_flight

        assert in_fork(child) == (0, 0, 0)
        sock.send(b"parent")
        sock.close()
        pair[1].settimeout(SECONDS)

    assert crossed(registry) == (6, 0)
    assert pair[1].recv(100) == b"childparent"


@pytest.mark.skipif(sys.platform == "win32", reason="hands on descriptors")
def test_descriptors_go_along(registry):
    """`socket.send_fds` and `recv_fds` work through a traced socket; a descriptor is no byte."""
    near, far = socket.socketpair()
    with traced_socket(near) as first, traced_socket(far) as second:
        socket.send_fds(first, [b"take"], [0])
        data, [descriptor], _, _ = socket.recv_fds(second, 10, 1)
        os.close(descriptor)

    assert data == b"take"
    assert sorted((op.bytes_sent, op.bytes_received) for op in registry.network_ops()) == [
        (0, 4),
        (4, 0),
    ]
