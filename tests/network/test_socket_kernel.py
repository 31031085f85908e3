"""Whatever is sent and received, in any order: our count is the kernel's, at both ends."""

from __future__ import annotations

import socket

from hypothesis import given, seed, settings
from hypothesis import strategies as st

from tests.network._sockets import tcp_pair
from tests.network._tcp_info import needs_tcp_info, tcp_info
from volnux.telemetry import capture, traced_socket

pytestmark = needs_tcp_info


def by_file(sock, data):
    with sock.makefile("wb", buffering=0) as file:
        file.write(data)


def by_buffered_file(sock, data):
    with sock.makefile("wb") as file:
        file.write(data)


SEND = {
    "send": lambda sock, data: sock.send(data),
    "sendall": lambda sock, data: sock.sendall(data),
    "sendall, bytearray": lambda sock, data: sock.sendall(bytearray(data)),
    "sendmsg": lambda sock, data: sock.sendmsg([data[:7], data[7:]]),
    "file": by_file,
    "buffered file": by_buffered_file,
}
RECEIVE = {
    "recv": lambda sock, size: sock.recv(size),
    "recv_into": lambda sock, size: sock.recv_into(bytearray(size)),
    "recvfrom": lambda sock, size: sock.recvfrom(size),
    "recvmsg": lambda sock, size: sock.recvmsg(size),
    "recvmsg_into": lambda sock, size: sock.recvmsg_into([bytearray(size // 2), bytearray(size)]),
    "peek": lambda sock, size: sock.recv(size, socket.MSG_PEEK),
}
ends = st.sampled_from([0, 1])
steps = st.one_of(
    st.tuples(ends, st.sampled_from([*SEND]), st.integers(0, 5000)),
    st.tuples(ends, st.sampled_from([*RECEIVE]), st.integers(1, 5000)),
    st.tuples(ends, st.just("exchange"), st.integers(0, 5000)),
)


def take(end, step):
    """Do one step at one end."""
    _, how, size = step
    if how in SEND:
        SEND[how](end, bytes(size))
    elif how == "exchange":
        with end.exchange("exchange"):
            end.sendall(bytes(size))
    else:
        try:
            RECEIVE[how](end, size)
        except BlockingIOError:
            pass


def drain(end):
    """Receive to the end."""
    end.settimeout(10)
    while end.recv(65_536):
        pass


@seed(1202)
@settings(max_examples=200)
@given(st.lists(steps, max_size=30))
def test_our_count_is_the_kernel_s(plan):
    """Sends, receives, peeks and exchanges add up to what TCP_INFO says of the connection."""
    with capture(isolated=True, strict=True) as registry, tcp_pair() as bare:
        pair = [traced_socket(end) for end in bare]
        for end in pair:
            end.setblocking(False)
        for step in plan:
            take(pair[step[0]], step)
        for end in pair:
            end.shutdown(socket.SHUT_WR)
        for end in pair:
            drain(end)
        infos = [tcp_info(end.fileno(), accepted=end is pair[1]) for end in pair]
        for end in pair:
            end.close()
    ours = [[0, 0], [0, 0]]
    ports = [op.port for op in registry.network_ops()[:2]]  # the connections began first
    for op in registry.network_ops():
        end = ours[ports.index(op.port)]
        end[0] += op.bytes_sent
        end[1] += op.bytes_received

    assert ours == [[info.bytes_sent, info.bytes_received] for info in infos]
    assert ours[0] == ours[1][::-1]
