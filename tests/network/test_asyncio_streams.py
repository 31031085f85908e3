"""Streams of asyncio and uvloop: one operation for each connection, whatever becomes of it."""

from __future__ import annotations

import asyncio
import gc
import inspect
import socket
import ssl
import sys
import warnings

import pytest

from tests.network._loops import LOOPS, run_on
from tests.network._sockets import crossed, only, reset
from tests.network._tcp_info import LINUX
from tests.network._tcp_server import EchoServer
from volnux.telemetry import capture, traced_event
from volnux.telemetry.clients._asyncio import (
    traced_open_connection,
    traced_open_unix_connection,
    traced_streams,
)
from volnux.telemetry.clients._traced_socket import traced_socket

HUNDRED = bytes(range(100))
BIG = 20_000_000


@pytest.fixture(name="run", params=LOOPS)
def _run(request):
    return lambda main: run_on(request.param, main)


def outcome(registry):
    op = only(registry)
    return op.status, op.error_type


async def closed(writer):
    writer.close()
    await writer.wait_closed()


async def ask(reader, writer, data=HUNDRED):
    writer.write(data)
    await writer.drain()
    assert await reader.readexactly(len(data)) == data


async def listening():
    """A socket that listens, and the future end of the first connection to it."""
    loop = asyncio.get_running_loop()
    sock = socket.create_server(("127.0.0.1", 0))
    sock.setblocking(False)
    return sock, loop.create_task(loop.sock_accept(sock))


class TestOpenConnection:
    """`traced_open_connection`."""

    def test_counts_each_way(self, run, echo_server, registry):
        """What was written and what has come, as the server saw it."""

        async def main():
            reader, writer = await traced_open_connection(*echo_server.address)
            await ask(reader, writer)
            await closed(writer)

        run(main())
        [seen] = echo_server.wait_closed()

        assert crossed(registry) == (seen.received, seen.sent) == (100, 100)

    def test_is_an_operation(self, run, echo_server, registry, clock):
        """To the host and port, under the event that was current, until the connection is lost."""

        async def main():
            with traced_event("step") as event:
                _, writer = await traced_open_connection(*echo_server.address, operation="ask")
            clock.advance(2)
            await closed(writer)
            return event.task_id

        parent = run(main())
        op = only(registry)

        assert (op.host, op.port, op.operation) == (*echo_server.address, "ask")
        assert (op.parent_id, op.latency, op.status) == (parent, 2, "completed")
        assert op.attributes == {"source": "counted"}

    def test_has_ended_when_it_is_closed(self, run, echo_server, registry):
        """After `wait_closed` the record is there."""

        async def main():
            _, writer = await traced_open_connection(*echo_server.address)
            assert registry.health().in_flight == 1
            await closed(writer)
            return registry.health().in_flight

        assert run(main()) == 0

    def test_streams_are_streams(self, run, echo_server):
        """By `isinstance`, by their attributes, and by what their methods are."""

        async def main():
            reader, writer = await traced_open_connection(*echo_server.address, limit=1234)
            assert isinstance(reader, asyncio.StreamReader)
            assert isinstance(writer, asyncio.StreamWriter)
            assert isinstance(writer.transport, asyncio.Transport) == (
                type(asyncio.get_running_loop()).__module__ != "uvloop"
            )
            assert inspect.iscoroutinefunction(reader.read)
            assert inspect.iscoroutinefunction(writer.drain)
            assert (reader._limit, reader.at_eof(), writer.is_closing()) == (1234, False, False)
            assert writer.get_extra_info("peername") == echo_server.address
            await closed(writer)
            assert writer.is_closing()

        run(main())

    def test_every_way_of_reading(self, run, source_server, registry):
        """Each gives what it would."""

        async def main():
            reader, writer = await traced_open_connection(*source_server.address)
            writer.write(b"300 close\n")
            whole = await reader.read(10)
            whole += await reader.readexactly(20)
            whole += await reader.readuntil(b"0")
            whole += await reader.readline()
            async for line in reader:
                whole += line
            assert await reader.read() == b""
            await closed(writer)
            return whole

        assert len(run(main())) == 300
        assert crossed(registry) == (10, 300)

    def test_every_way_of_writing(self, run, sink_server, registry):
        """Each counts once."""

        async def main():
            reader, writer = await traced_open_connection(*sink_server.address)
            writer.write(b"x" * 10)
            writer.write(bytearray(20))
            writer.write(memoryview(bytes(30)))
            writer.writelines([b"x" * 4, bytearray(6)])
            writer.writelines(b"x" for _ in range(10))
            writer.write(b"")
            writer.write_eof()
            assert await reader.read() == b""
            await closed(writer)

        run(main())
        [seen] = sink_server.wait_closed()

        assert crossed(registry) == (seen.received, 0) == (80, 0)

    def test_more_than_fits(self, run, echo_server, registry):
        """With flow control, to the last byte."""

        async def main():
            reader, writer = await traced_open_connection(*echo_server.address)
            reading = asyncio.ensure_future(reader.readexactly(3_000_000))
            for _ in range(30):
                writer.write(bytes(100_000))
                await writer.drain()
            await reading
            await closed(writer)

        run(main())
        [seen] = echo_server.wait_closed()

        assert crossed(registry) == (seen.received, seen.sent) == (3_000_000, 3_000_000)

    def test_closed_before_all_has_gone(self, run, sink_server, registry):
        """What a transport holds when it is closed is still sent, and counts."""

        async def main():
            _, writer = await traced_open_connection(*sink_server.address)
            writer.write(bytes(BIG))
            await closed(writer)

        run(main())
        [seen] = sink_server.wait_closed()

        assert crossed(registry) == (seen.received, 0) == (BIG, 0)

    def test_a_socket_that_is_connected(self, run, echo_server, registry):
        """What it carried before is not ours."""

        async def main():
            loop = asyncio.get_running_loop()
            sock = socket.socket()
            sock.setblocking(False)
            await loop.sock_connect(sock, echo_server.address)
            await loop.sock_sendall(sock, b"before")
            reader, writer = await traced_open_connection(sock=sock)
            assert await reader.readexactly(6) == b"before"
            await ask(reader, writer)
            await closed(writer)

        run(main())
        op = only(registry)

        assert (op.host, op.port) == echo_server.address
        assert crossed(registry) == (100, 106)

    @pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix sockets here")
    def test_a_unix_socket(self, run, unix_server, registry):
        """`traced_open_unix_connection` does it for those."""

        async def main():
            reader, writer = await traced_open_unix_connection(unix_server.address)
            await ask(reader, writer)
            await closed(writer)

        run(main())
        op = only(registry)

        assert (op.port, op.operation, op.bytes_sent, op.bytes_received) == (None, "unix", 100, 100)
        assert op.host == "s"

    def test_while_telemetry_is_off(self, run, echo_server):
        """It works, and counts for nobody."""

        async def main():
            reader, writer = await traced_open_connection(*echo_server.address)
            async with writer.exchange("ask"):
                await ask(reader, writer)
            await closed(writer)

        run(main())


class TestExchanges:
    """`writer.exchange`."""

    def test_cut_the_connection(self, run, echo_server, registry):
        """What crosses in a block is the exchange's, sync or async."""

        async def main():
            reader, writer = await traced_open_connection(*echo_server.address)
            await ask(reader, writer, b"x")
            async with writer.exchange("LOGIN"):
                await ask(reader, writer, b"x" * 10)
            with writer.exchange("STAT"):
                await ask(reader, writer, b"x" * 20)
            await closed(writer)

        run(main())

        assert {op.operation: (op.bytes_sent, op.bytes_received) for op in registry.network_ops()} == {
            "tcp": (1, 1),
            "LOGIN": (10, 10),
            "STAT": (20, 20),
        }

    def test_fail_alone(self, run, sink_server, registry):
        """A timeout of one is its own, and the connection may go on."""

        async def main():
            reader, writer = await traced_open_connection(*sink_server.address)
            with pytest.raises(asyncio.TimeoutError):
                async with writer.exchange("LOGIN"):
                    writer.write(b"xxx")
                    await asyncio.wait_for(reader.read(1), 0.01)
            writer.write_eof()
            await closed(writer)

        run(main())
        _, login = registry.network_ops()

        assert (login.status, login.error_type, login.bytes_sent) == ("failed", "TimeoutError", 3)


class TestTLS:
    """Both levels."""

    def test_plain_and_wire(self, run, tls_echo_server, client_context, registry):
        """Plain bytes are the program's; those of the wire are the server's to the last byte."""

        async def main():
            reader, writer = await traced_open_connection(
                *tls_echo_server.address, ssl=client_context, server_hostname="localhost"
            )
            await ask(reader, writer)
            await closed(writer)

        run(main())
        [seen] = tls_echo_server.wait_closed()
        op = only(registry)

        assert crossed(registry) == (seen.received, seen.sent) == (100, 100)
        if LINUX:
            assert op.attributes["wire_bytes_sent"] == seen.wire_received
            assert op.attributes["wire_bytes_received"] == seen.wire_sent
            assert op.attributes["wire_source"] == "tcp_info"

    @pytest.mark.parametrize("certificate", ["wrong-name", "untrusted", "expired"])
    def test_a_certificate_that_will_not_do(
        self, run, certificate, authority, client_context, registry
    ):
        """The error is asyncio's own, and the operation's."""

        async def main(server):
            with pytest.raises(ssl.SSLCertVerificationError) as caught:
                await traced_open_connection(
                    *server.address, ssl=client_context, server_hostname="localhost"
                )
            return caught.value

        with EchoServer(tls=authority, certificate=certificate) as server:
            error = run(main(server))
        op = only(registry)

        assert (op.status, op.error_type, op.error) == (
            "failed",
            "SSLCertVerificationError",
            str(error),
        )

    @pytest.mark.skipif(sys.version_info < (3, 11), reason="StreamWriter.start_tls came with 3.11")
    def test_an_upgrade(self, run, authority, client_context, registry):
        """`start_tls` goes on with the same operation, in plain bytes."""

        async def serve(reader, writer):
            assert await reader.readline() == b"STARTTLS\n"
            writer.write(b"go\n")
            await writer.start_tls(authority.server_context())
            writer.write(await reader.readexactly(100))
            await closed(writer)

        async def main():
            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            address = server.sockets[0].getsockname()
            reader, writer = await traced_open_connection(*address)
            writer.write(b"STARTTLS\n")
            assert await reader.readline() == b"go\n"
            await writer.start_tls(client_context, server_hostname="localhost")
            await ask(reader, writer)
            await closed(writer)
            server.close()

        run(main())
        op = only(registry)

        assert (op.bytes_sent, op.bytes_received, op.status) == (109, 103, "completed")
        if LINUX:
            assert op.attributes["wire_bytes_sent"] > 400

    @pytest.mark.skipif(sys.version_info < (3, 11), reason="StreamWriter.start_tls came with 3.11")
    def test_an_upgrade_that_fails(self, run, authority, client_context, registry):
        """The operation ends with the handshake's error."""

        async def serve(reader, writer):
            await reader.readline()
            writer.write(b"go\n")
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await writer.start_tls(authority.server_context("wrong-name"))

        async def main():
            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            reader, writer = await traced_open_connection(*server.sockets[0].getsockname())
            writer.write(b"STARTTLS\n")
            await reader.readline()
            with pytest.raises(ssl.SSLCertVerificationError):
                await writer.start_tls(client_context, server_hostname="localhost")
            server.close()
            await asyncio.sleep(0.01)

        run(main())

        assert crossed(registry) == (9, 3)
        assert outcome(registry) == ("failed", "SSLCertVerificationError")


class TestBadDays:
    """What fails."""

    def test_connection_refused(self, run, registry):
        """The operation has the host and port as given, and the error as raised."""
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            nobody = bound.getsockname()

            async def main():
                with pytest.raises(ConnectionRefusedError):
                    await traced_open_connection(*nobody)

            run(main())
        op = only(registry)

        assert (op.host, op.port) == nobody
        assert (op.status, op.error_type) == ("failed", "ConnectionRefusedError")

    def test_no_such_host(self, run, registry):
        """A name that nobody knows."""

        async def main():
            with pytest.raises(socket.gaierror):
                await traced_open_connection("nowhere.invalid", "80")

        run(main())
        op = only(registry)

        assert (op.host, op.port, op.error_type) == ("nowhere.invalid", 80, "gaierror")

    def test_cancelled_while_it_connects(self, run, tls_echo_server, client_context, registry):
        """Nobody waits for the connection any more: it is cancelled, and ended once."""

        async def main():
            sock, accepting = await listening()
            task = asyncio.ensure_future(
                traced_open_connection(
                    *sock.getsockname(), ssl=client_context, server_hostname="localhost"
                )
            )
            far, _ = await accepting
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            far.close()
            sock.close()
            await asyncio.sleep(0.01)

        run(main())

        assert outcome(registry) == ("cancelled", "CancelledError")

    def test_reset(self, run, source_server, registry):
        """The bytes before it stay."""

        async def main():
            reader, writer = await traced_open_connection(*source_server.address)
            writer.write(b"1000 reset\n")
            assert len(await reader.readexactly(1000)) == 1000
            with pytest.raises(ConnectionResetError):
                await reader.read(1)
            writer.close()
            with pytest.raises(ConnectionResetError):
                await writer.wait_closed()

        run(main())

        assert crossed(registry) == (11, 1000)
        assert outcome(registry) == ("failed", "ConnectionResetError")

    def test_half_a_message(self, run, source_server, registry):
        """The other side ends in the middle of what was waited for."""

        async def main():
            reader, writer = await traced_open_connection(*source_server.address)
            writer.write(b"10 close\n")
            with pytest.raises(asyncio.IncompleteReadError):
                await reader.readexactly(20)
            await closed(writer)

        run(main())

        assert crossed(registry) == (9, 10)
        assert outcome(registry) == ("failed", "IncompleteReadError")

    def test_the_other_side_ends(self, run, source_server, registry):
        """In order, that is no failure."""

        async def main():
            reader, writer = await traced_open_connection(*source_server.address)
            writer.write(b"10 close\n")
            assert len(await reader.read()) == 10
            await closed(writer)

        run(main())

        assert (crossed(registry), outcome(registry)) == ((9, 10), ("completed", None))

    def test_cancelled_in_the_middle_of_a_body(self, run, sink_server, registry):
        """The operation is cancelled, and has what had come."""

        async def read(reader, writer):
            try:
                await reader.readexactly(20)
            finally:
                writer.close()

        async def main():
            reader, writer = await traced_open_connection(*sink_server.address)
            writer.write(HUNDRED)
            task = asyncio.ensure_future(read(reader, writer))
            await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await writer.wait_closed()

        run(main())

        assert crossed(registry) == (100, 0)
        assert outcome(registry) == ("cancelled", "CancelledError")

    def test_a_timeout(self, run, sink_server, registry):
        """What cancelled the read was a timeout: the program's handler has it when it closes."""

        async def main():
            reader, writer = await traced_open_connection(*sink_server.address)
            try:
                await asyncio.wait_for(reader.read(1), 0.01)
            except asyncio.TimeoutError:
                writer.close()
            await writer.wait_closed()

        run(main())

        assert outcome(registry) == ("failed", "TimeoutError")

    def test_a_timeout_that_is_made_good(self, run, echo_server, registry):
        """What is read later makes it good."""

        async def main():
            reader, writer = await traced_open_connection(*echo_server.address)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(reader.read(1), 0.01)
            await ask(reader, writer)
            await closed(writer)

        run(main())

        assert outcome(registry) == ("completed", None)

    def test_what_never_left_does_not_count(self, run, registry):
        """After a reset, the bytes are those that the system had taken, though more was written."""

        async def main():
            sock, accepting = await listening()
            _, writer = await traced_open_connection(*sock.getsockname())
            far, _ = await accepting
            near = writer.get_extra_info("socket")
            writer.write(bytes(BIG))
            held = writer.transport.get_write_buffer_size()
            reset(far)
            with pytest.raises(ConnectionError):
                await writer.drain()
            del near
            sock.close()
            return held

        held = run(main())
        sent, _ = crossed(registry)

        assert outcome(registry)[0] == "failed"
        assert 0 < held < BIG
        assert 0 < sent <= BIG - held + 65_536

    def test_aborted(self, run, registry):
        """What the transport still held is dropped, and does not count; no error is not one."""

        async def main():
            sock, accepting = await listening()
            _, writer = await traced_open_connection(*sock.getsockname())
            far, _ = await accepting
            writer.write(bytes(BIG))
            held = writer.transport.get_write_buffer_size()
            writer.transport.abort()
            await writer.wait_closed()
            far.close()
            sock.close()
            return held

        held = run(main())

        assert held > 0
        assert (crossed(registry), outcome(registry)) == ((BIG - held, 0), ("completed", None))

    def test_written_after_the_close(self, run, sink_server, registry):
        """It goes nowhere, and does not count."""

        async def main():
            _, writer = await traced_open_connection(*sink_server.address)
            writer.write(b"x")
            writer.close()
            writer.write(b"late")
            await writer.wait_closed()

        run(main())
        [seen] = sink_server.wait_closed()

        assert crossed(registry) == (seen.received, 0) == (1, 0)

    @pytest.mark.filterwarnings("ignore::ResourceWarning")
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    def test_dropped_without_a_close(self, run, echo_server, registry):
        """The operation ends when the loop is gone and nobody keeps the streams."""

        async def main():
            reader, writer = await traced_open_connection(*echo_server.address)
            await ask(reader, writer)

        try:
            run(main())
        except AssertionError as error:  # the loop's own complaint about it
            assert "garbage" in str(error)
        gc.collect()

        assert (crossed(registry), registry.health().in_flight) == ((100, 100), 0)


class TestPairs:
    """`traced_streams`."""

    def test_counts_from_here_on(self, run, echo_server, registry):
        """What was exchanged before is nobody's."""

        async def main():
            reader, writer = await asyncio.open_connection(*echo_server.address)
            await ask(reader, writer)
            reader, writer = traced_streams(reader, writer, "ask")
            await ask(reader, writer, b"x" * 10)
            await closed(writer)

        run(main())
        op = only(registry)

        assert (op.host, op.port, op.operation) == (*echo_server.address, "ask")
        assert crossed(registry) == (10, 10)

    def test_a_server_s(self, run, registry):
        """In the callback of a server it counts all, and what waits to be read already."""

        async def serve(reader, writer):
            await asyncio.sleep(0.01)
            reader, writer = traced_streams(reader, writer, "serve")
            writer.write(await reader.readexactly(100))
            await closed(writer)

        async def main():
            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            await ask(reader, writer)
            assert await reader.read() == b""
            name = writer.get_extra_info("sockname")
            await closed(writer)
            server.close()
            return name

        client = run(main())
        op = only(registry)

        assert (op.host, op.port, op.operation) == (*client, "serve")
        assert (crossed(registry), op.status) == ((100, 100), "completed")

    def test_with_tls(self, run, tls_echo_server, client_context, registry):
        """On the wire too, it counts from here on."""

        async def main():
            reader, writer = await asyncio.open_connection(
                *tls_echo_server.address, ssl=client_context, server_hostname="localhost"
            )
            await ask(reader, writer)
            reader, writer = traced_streams(reader, writer)
            await ask(reader, writer)
            await closed(writer)

        run(main())
        op = only(registry)

        assert crossed(registry) == (100, 100)
        if LINUX:
            # A record of a hundred bytes, and one of TLS's goodbye.
            assert op.attributes["wire_bytes_sent"] == 122 + 24

    def test_twice_is_once(self, run, echo_server, registry):
        """What is traced stays so, with the same account."""

        async def main():
            pair = await traced_open_connection(*echo_server.address)
            again = traced_streams(*pair)
            assert (again[0] is pair[0], again[1] is pair[1]) == (True, True)
            await ask(*again)
            await closed(again[1])

        run(main())

        assert crossed(registry) == (100, 100)

    def test_of_a_connection_that_is_lost(self, run, echo_server, registry):
        """An operation without a byte, that has ended."""

        async def main():
            reader, writer = await asyncio.open_connection(*echo_server.address)
            await closed(writer)
            traced_streams(reader, writer)

        run(main())

        assert (crossed(registry), registry.health().in_flight) == ((0, 0), 0)

    @pytest.mark.parametrize("pair", [(None, None), (1, 2), (socket.socket, socket.socket)])
    def test_what_is_no_pair(self, pair):
        """A mistake at set-up is told at once."""
        with pytest.raises(TypeError, match="needs a StreamReader and a StreamWriter"):
            traced_streams(*pair)


def test_a_traced_socket_may_be_handed_in(run, echo_server):
    """Beside the streams' operation it has one of its own, which on asyncio counts the same."""

    async def main():
        with capture(isolated=True, strict=True) as registry:
            sock = traced_socket(socket.create_connection(echo_server.address))
            reader, writer = await traced_open_connection(sock=sock)
            await ask(reader, writer)
            await closed(writer)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)
                del sock
        return registry

    registry = run(main())

    assert [op.bytes_sent for op in registry.network_ops()][-1] == 100
