"""Bad days of a traced socket: the error is the program's own, and the record says how far it came."""

from __future__ import annotations

import asyncio
import errno
import io
import select
import socket
import threading
import time
import traceback

import pytest

from tests.network._sockets import SECONDS, crossed, fill, only, reset, tcp_pair, wait_for
from volnux.telemetry.clients import traced_socket
from volnux.telemetry.clients._kernel import taken_bytes

BIG = 20_000_000


@pytest.fixture(name="pair")
def _pair():
    with tcp_pair() as ends:
        yield ends


@pytest.fixture(name="nobody")
def _nobody():
    """An address where nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()


def outcome(registry):
    op = only(registry)
    return op.status, op.error_type


def test_connection_refused(nobody, registry):
    """`connect` fails as it would, and the operation with it."""
    with traced_socket(socket.socket()) as sock, pytest.raises(ConnectionRefusedError) as caught:
        sock.connect(nobody)
    op = only(registry)

    assert (op.host, op.port) == nobody
    assert (op.status, op.error_type) == ("failed", "ConnectionRefusedError")
    assert op.error == str(caught.value)


def test_connection_refused_by_number(nobody, registry):
    """`connect_ex` returns what it would."""
    with traced_socket(socket.socket()) as sock:
        assert sock.connect_ex(nobody) == errno.ECONNREFUSED

    assert outcome(registry) == ("failed", "ConnectionRefusedError")


def test_no_such_host(registry):
    """A name that nobody knows is recorded as it was given."""
    with traced_socket(socket.socket()) as sock, pytest.raises(socket.gaierror):
        sock.connect(("nowhere.invalid", 80))

    assert (only(registry).host, *outcome(registry)) == ("nowhere.invalid", "failed", "gaierror")


def test_another_try_on_the_same_socket(nobody, echo_server, registry):
    """Each attempt to connect is an operation."""
    with traced_socket(socket.socket()) as sock:
        with pytest.raises(ConnectionRefusedError):
            sock.connect(nobody)
        sock.connect(echo_server.address)
    first, second = registry.network_ops()

    assert (first.port, first.status) == (nobody[1], "failed")
    assert (second.port, second.status) == (echo_server.port, "completed")


def test_a_connect_that_does_not_block(echo_server, registry):
    """That it takes a while is no failure."""
    with traced_socket(socket.socket()) as sock:
        sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            sock.connect(echo_server.address)
        wait_for(sock, select.POLLOUT)
        assert sock.connect_ex(echo_server.address) in {0, errno.EISCONN}
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0

    assert outcome(registry) == ("completed", None)


def test_a_connect_that_fails_later(nobody, registry):
    """How it ended is asked for by `SO_ERROR`, and so recorded."""
    with traced_socket(socket.socket()) as sock:
        sock.setblocking(False)
        assert sock.connect_ex(nobody) in {errno.EINPROGRESS, errno.ECONNREFUSED}
        wait_for(sock, select.POLLOUT)
        sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    assert outcome(registry) == ("failed", "ConnectionRefusedError")


def test_a_connect_of_an_event_loop_that_fails(nobody, registry):
    """So it is with `loop.sock_connect`."""

    async def main():
        with traced_socket(socket.socket()) as sock:
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, nobody)

    with pytest.raises(ConnectionRefusedError):
        asyncio.run(main())

    assert outcome(registry) == ("failed", "ConnectionRefusedError")


def test_connected_twice(echo_server, registry):
    """That a socket is connected already ends nothing."""
    with traced_socket(socket.socket()) as sock:
        sock.connect(echo_server.address)
        with pytest.raises(OSError, match="connected"):
            sock.connect(echo_server.address)
        sock.settimeout(SECONDS)
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"

    assert (crossed(registry), outcome(registry)) == ((1, 1), ("completed", None))


def test_reset(pair, registry):
    """A reset fails the operation, and the bytes before it stay."""
    near, far = pair
    with traced_socket(near) as sock:
        sock.sendall(b"x" * 100)
        far.sendall(b"y" * 50)
        assert sock.recv(50) == b"y" * 50
        reset(far)
        wait_for(sock, select.POLLIN)
        with pytest.raises(ConnectionResetError):
            sock.recv(1)

    assert (crossed(registry), outcome(registry)) == ((100, 50), ("failed", "ConnectionResetError"))


def test_the_error_is_the_program_s(pair):
    """It is the very exception, and its traceback leads to the program's line."""
    near, far = pair
    sock = traced_socket(near)
    reset(far)
    wait_for(sock, select.POLLIN)
    with sock, pytest.raises(ConnectionResetError) as caught:
        sock.recv(1)
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]

    assert names == ["test_the_error_is_the_program_s", "recv"]
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


def test_half_a_message(pair, registry):
    """What comes before the end counts; what the program makes of it is the operation's error."""
    near, far = pair
    with pytest.raises(EOFError), traced_socket(near) as sock:
        far.sendall(b"half")
        far.close()
        if len(sock.recv(8) + sock.recv(8)) < 8:
            raise EOFError("half a message")
    op = only(registry)

    assert (op.bytes_received, op.status, op.error_type) == (4, "failed", "EOFError")
    assert op.error == "half a message"


def test_a_timeout(pair, registry):
    """Nothing comes: the operation fails with that, if nothing comes later either."""
    with traced_socket(pair[0]) as sock:
        sock.settimeout(0.001)
        with pytest.raises(TimeoutError):
            sock.recv(1)

    assert outcome(registry) == ("failed", "TimeoutError")


def test_a_timeout_that_is_made_good(pair, registry):
    """What goes well afterwards makes it good."""
    near, far = pair
    with traced_socket(near) as sock:
        sock.settimeout(0.001)
        with pytest.raises(TimeoutError):
            sock.recv(1)
        sock.settimeout(SECONDS)
        far.sendall(b"x")
        assert sock.recv(1) == b"x"

    assert outcome(registry) == ("completed", None)


def test_nothing_to_read_just_now(pair, registry):
    """That a socket would block is no failure."""
    with traced_socket(pair[0]) as sock:
        sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            sock.recv(1)
        with pytest.raises(BlockingIOError):
            sock.recv_into(bytearray(1))

    assert outcome(registry) == ("completed", None)


def test_sendall_without_blocking(pair, registry):
    """What fitted counts, to the byte, and the kernel says the same."""
    near, _ = pair
    near.setblocking(False)
    with traced_socket(near) as sock:
        with pytest.raises(BlockingIOError):
            sock.sendall(bytes(BIG))
        taken = taken_bytes(near)

    assert (crossed(registry), outcome(registry)) == ((taken, 0), ("completed", None))


def test_sendall_with_a_timeout(pair, registry):
    """The timeout is one for the whole, as it is without us; what fitted counts."""
    near, _ = pair
    near.settimeout(0.2)
    begun = time.monotonic()
    with traced_socket(near) as sock:
        with pytest.raises(TimeoutError, match="^timed out$"):
            sock.sendall(bytes(BIG))
        took, taken = time.monotonic() - begun, taken_bytes(near)

    assert (crossed(registry), outcome(registry)) == ((taken, 0), ("failed", "TimeoutError"))
    assert took >= 0.2


def test_sendall_in_steps(pair, registry):
    """Within its timeout it goes on until all is sent."""
    near, far = pair
    taken = []
    thread = threading.Thread(target=lambda: taken.extend(iter(lambda: len(far.recv(65_536)), 0)))
    with traced_socket(near) as sock:
        thread.start()
        sock.sendall(memoryview(bytes(BIG)).cast("H"))
    thread.join()

    assert (sum(taken), crossed(registry)) == (BIG, (BIG, 0))


def test_sendall_and_a_reset(pair, registry):
    """What the system had taken before the reset counts, and no byte more."""
    near, far = pair
    sent = fill(near)
    near.setblocking(True)
    with traced_socket(near) as sock:
        thread = threading.Thread(target=reset, args=(far,))
        thread.start()
        with pytest.raises((ConnectionResetError, BrokenPipeError)) as caught:
            sock.sendall(bytes(BIG))
        thread.join()
        taken = taken_bytes(near) - sent

    assert crossed(registry) == (taken, 0)
    assert outcome(registry) == ("failed", type(caught.value).__name__)


def test_a_buffer_is_given_back_after_a_failure(pair):
    """A bytearray that could not be sent can change, while the error is looked at."""
    near, _ = pair
    data = bytearray(BIG)
    with traced_socket(near) as sock:
        sock.settimeout(0.01)
        with pytest.raises(TimeoutError) as caught:
            sock.sendall(data)
        del data[:10]

    assert (len(data), caught.type) == (BIG - 10, TimeoutError)


@pytest.mark.parametrize("offset", [0, 1000])
def test_sendfile_that_fails_on_its_way(offset, pair, tmp_path, registry):
    """The file is where it came to, and so many bytes count."""
    near, _ = pair
    (tmp_path / "file").write_bytes(bytes(BIG))
    near.settimeout(0.05)
    with traced_socket(near) as sock, (tmp_path / "file").open("rb") as file:
        with pytest.raises(TimeoutError):
            sock.sendfile(file, offset)
        taken = taken_bytes(near)
        assert file.tell() == offset + taken

    assert (crossed(registry), outcome(registry)) == ((taken, 0), ("failed", "TimeoutError"))


def test_sendfile_that_fails_at_once(pair, tmp_path, registry):
    """Where the file stood before says nothing."""
    near, _ = pair
    (tmp_path / "file").write_bytes(bytes(1000))
    with traced_socket(near) as sock, (tmp_path / "file").open("rb") as file:
        file.seek(500)
        sock.shutdown(socket.SHUT_WR)
        with pytest.raises(BrokenPipeError):
            sock.sendfile(file)

    assert (crossed(registry), outcome(registry)) == ((0, 0), ("failed", "BrokenPipeError"))


def test_sendfile_of_a_file_that_raises(pair, registry):
    """What had been read of it and sent counts."""

    class Torn(io.BytesIO):
        def read(self, size=-1):
            if self.tell() > 8000:
                raise ZeroDivisionError
            return super().read(size)

    with traced_socket(pair[0]) as sock, pytest.raises(ZeroDivisionError):
        sock.sendfile(Torn(bytes(100_000)))

    assert (crossed(registry), outcome(registry)) == ((8192, 0), ("completed", None))


def test_closed_while_somebody_waits(pair, registry):
    """After the close every call fails as it would, and nothing is counted."""
    sock = traced_socket(pair[0])
    sock.close()
    for call in (
        lambda: sock.send(b"x"),
        lambda: sock.sendall(b"x"),
        lambda: sock.recv(1),
        lambda: sock.sendto(b"x", ("127.0.0.1", 9)),
        lambda: sock.sendmsg([b"x"]),
        lambda: sock.connect(("127.0.0.1", 9)),
        lambda: sock.recvfrom(1),
        sock.accept,
        sock.dup,
    ):
        with pytest.raises(OSError) as caught:
            call()
        assert caught.value.errno == errno.EBADF
    with sock.exchange("late"), pytest.raises(OSError):
        sock.send(b"x")
    sock.close()

    assert [(op.operation, op.bytes_sent) for op in registry.network_ops()] == [
        ("tcp", 0),
        ("late", 0),
    ]


def test_an_interrupt(pair, registry):
    """Ctrl-C in a call is the program's, and says that the operation was cancelled."""

    class Interrupted(socket.socket):
        def recv(self, *args):
            raise KeyboardInterrupt

    sock = traced_socket(Interrupted(fileno=pair[0].detach()))
    with pytest.raises(KeyboardInterrupt):
        sock.recv(1)
    sock.close()

    assert outcome(registry) == ("cancelled", "KeyboardInterrupt")
