"""Bad days of a traced socket: the error is the program's own, and the record says how far it came."""

from __future__ import annotations

import ctypes
import errno
import io
import select
import socket
import threading
import time
import traceback

import pytest

from tests.network._records import crossed, only, outcome
from tests.network._sockets import BIG, SECONDS, fill, reset, wait_for
from volnux.telemetry import traced_socket
from volnux.telemetry.clients._kernel import taken_bytes


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
        with pytest.raises(TimeoutError, match=r"^timed out$"):
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


def test_sendall_in_steps_of_numbers(pair, registry):
    """Whatever layout a buffer has, it is sent as it would be."""
    near, far = pair
    numbers = (ctypes.c_int * (BIG // 4))()
    taken = []
    thread = threading.Thread(target=lambda: taken.extend(iter(lambda: len(far.recv(65_536)), 0)))
    with traced_socket(near) as sock:
        thread.start()
        sock.sendall(numbers)
    thread.join()

    assert (sum(taken), crossed(registry)) == (BIG, (BIG, 0))


def test_closed_in_the_middle_of_sendall(pair, registry):
    """It fails as it would, and what had been taken counts."""
    near, _ = pair

    class Closing(socket.socket):
        def send(self, *args):
            try:
                return super().send(*args)
            finally:
                self.close()

    sock = traced_socket(Closing(fileno=near.detach()))
    sock.settimeout(10)
    with pytest.raises(OSError, match="Bad file descriptor"):
        sock.sendall(bytes(BIG))
    sock.close()

    assert 0 < only(registry).bytes_sent < BIG


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
