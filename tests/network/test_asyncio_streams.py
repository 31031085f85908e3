"""Streams of asyncio and uvloop: one operation for each connection, in exact bytes."""

from __future__ import annotations

import asyncio
import inspect
import socket

import pytest

from tests.network._protocols import ask, closed
from tests.network._records import crossed, only
from tests.network._sockets import BIG
from volnux.telemetry import traced_event, traced_open_connection, traced_open_unix_connection


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

        assert {
            op.operation: (op.bytes_sent, op.bytes_received) for op in registry.network_ops()
        } == {"tcp": (1, 1), "LOGIN": (10, 10), "STAT": (20, 20)}

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
