"""Bad days of streams: the error is asyncio's own, and the record says how far it came."""

from __future__ import annotations

import asyncio
import gc
import os
import socket

import pytest

from tests.at_once import cancel
from tests.network._protocols import ask, closed, listening, turns
from tests.network._records import crossed, only, outcome
from tests.network._sockets import BIG, HUNDRED, reset
from tests.network._tcp_info import needs_tcp_info, tcp_info
from volnux.telemetry import traced_open_connection, traced_open_unix_connection


class TestBadDays:
    """What fails."""

    def test_connection_refused(self, run, nobody, registry):
        """The operation has the host and port as given, and the error as raised."""

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
            await cancel(task)
            far.close()
            sock.close()
            await turns()

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

    def test_half_a_message_in_a_loop_of_lines(self, run, source_server, registry):
        """`async for` is followed too: what interrupts it is recorded."""

        async def lines(reader, writer):
            try:
                async for _ in reader:
                    pass
            finally:
                writer.close()

        async def main():
            reader, writer = await traced_open_connection(*source_server.address)
            writer.write(b"5\n")
            task = asyncio.ensure_future(lines(reader, writer))
            await turns()
            await cancel(task)
            await writer.wait_closed()

        run(main())

        assert outcome(registry) == ("cancelled", "CancelledError")

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
            await turns()
            await cancel(task)
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

    @needs_tcp_info
    def test_what_never_left_does_not_count(self, run, registry):
        """After a reset, the bytes are those that the system had taken, though more was written."""

        async def main():
            sock, accepting = await listening()
            _, writer = await traced_open_connection(*sock.getsockname())
            far, _ = await accepting
            witness = socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno()))
            writer.write(bytes(BIG))
            await turns()
            reset(far)
            with pytest.raises(ConnectionError):
                await writer.drain()
            info = tcp_info(witness)
            witness.close()
            sock.close()
            return info.bytes_sent + info.bytes_unsent

        taken = run(main())

        assert 0 < taken < BIG
        assert (crossed(registry), outcome(registry)[0]) == ((taken, 0), "failed")

    def test_what_never_left_a_unix_socket(self, run, registry):
        """There the transport is asked what it holds."""

        async def main():
            near, far = socket.socketpair()
            near.setblocking(False)
            _, writer = await traced_open_unix_connection(sock=near)
            writer.write(bytes(BIG))
            await turns()
            held = writer.transport.get_write_buffer_size()
            writer.write(b"")  # anything that is done with it has it asked again
            far.close()
            with pytest.raises(ConnectionError):
                await writer.drain()
            return BIG - held

        taken = run(main())

        assert 0 < taken < BIG
        assert (crossed(registry), outcome(registry)[0]) == ((taken, 0), "failed")

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

        run(main(), complaints=[])  # some Pythons complain of it at once
        gc.collect()

        assert (crossed(registry), registry.health().in_flight) == ((100, 100), 0)
