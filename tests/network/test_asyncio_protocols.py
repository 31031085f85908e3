"""`traced_protocol`: protocols and their transports, on asyncio's loops and uvloop's."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys

import pytest

from tests.network._loops import uvloop
from tests.network._protocols import Asking, Filling, connect
from tests.network._records import crossed, only, outcome
from tests.network._sockets import HUNDRED
from volnux.telemetry import traced_event, traced_protocol


class TestConnections:
    """`loop.create_connection` and its like."""

    @pytest.mark.parametrize("kind", [Asking, Filling])
    def test_count_each_way(self, run, kind, echo_server, registry):
        """By whichever kind of protocol."""

        async def main():
            transport, protocol = await connect(traced_protocol(kind), echo_server)
            transport.write(HUNDRED)
            await protocol.until(100)
            transport.close()
            assert await protocol.lost is None

        run(main())
        [seen] = echo_server.wait_closed()

        assert crossed(registry) == (seen.received, seen.sent) == (100, 100)

    def test_is_an_operation(self, run, echo_server, registry, clock):
        """To the host and port, under the current event, until it is lost."""

        async def main():
            with traced_event("step") as event:
                transport, protocol = await connect(traced_protocol(Asking, "ask"), echo_server)
            clock.advance(2)
            transport.close()
            await protocol.lost
            return event.task_id

        parent = run(main())
        op = only(registry)

        assert (op.host, op.port, op.operation) == (*echo_server.address, "ask")
        assert (op.parent_id, op.latency, op.status) == (parent, 2, "completed")

    def test_every_way_of_writing(self, run, sink_server, registry):
        """Through the transport that is returned, and the one that the protocol was given."""

        async def main():
            transport, protocol = await connect(traced_protocol(Asking), sink_server)
            assert transport is protocol.transport
            transport.write(b"x" * 10)
            protocol.transport.write(bytearray(20))
            transport.write(memoryview(bytes(30)))
            transport.writelines([b"x" * 4, bytearray(6)])
            transport.writelines(b"x" for _ in range(10))
            transport.write_eof()
            assert await protocol.lost is None

        run(main())
        [seen] = sink_server.wait_closed()

        assert crossed(registry) == (seen.received, 0) == (80, 0)

    def test_what_is_written_after_the_close(self, run, sink_server, registry):
        """It goes nowhere, and does not count."""

        async def main():
            transport, protocol = await connect(traced_protocol(Asking), sink_server)
            transport.write(b"x")
            transport.close()
            transport.write(b"late")
            await protocol.lost

        run(main())
        [seen] = sink_server.wait_closed()

        assert crossed(registry) == (seen.received, 0) == (1, 0)

    def test_a_wrong_write(self, run, sink_server, registry):
        """It fails as it would, and nothing counts."""

        async def main():
            transport, protocol = await connect(traced_protocol(Asking), sink_server)
            with pytest.raises(TypeError):
                transport.write("text")
            with pytest.raises(TypeError):
                transport.write(None)
            transport.abort()
            await protocol.lost

        run(main())

        assert (crossed(registry), outcome(registry)) == ((0, 0), ("completed", None))

    def test_the_protocol_is_the_program_s(self, run, echo_server):
        """By `isinstance`, by its attributes, and where the transport gives it back."""

        async def main():
            transport, protocol = await connect(traced_protocol(Asking), echo_server)
            assert isinstance(protocol, Asking)
            protocol.mine = 7
            assert (transport.get_protocol().mine, type(transport.get_protocol())) == (7, Asking)
            assert transport.get_protocol() == protocol
            transport.close()
            await protocol.lost

        run(main())

    def test_the_transport_is_the_loop_s(self, run, echo_server):
        """In all but what it counts."""

        async def main():
            transport, protocol = await connect(traced_protocol(Asking), echo_server)
            assert transport.get_extra_info("peername") == echo_server.address
            assert (transport.is_reading(), transport.is_closing()) == (True, False)
            transport.pause_reading()
            assert (transport.is_reading(), transport.get_write_buffer_size()) == (False, 0)
            transport.close()
            assert transport.is_closing()
            await protocol.lost

        run(main())

    def test_another_protocol_takes_over(self, run, echo_server, registry):
        """`set_protocol` goes on with the same operation."""

        async def main():
            transport, _ = await connect(traced_protocol(Asking), echo_server)
            second = Asking()
            transport.set_protocol(second)
            assert transport.get_protocol() is second
            transport.write(HUNDRED)
            await second.until(100)
            transport.close()
            await second.lost

        run(main())

        assert crossed(registry) == (100, 100)

    def test_a_protocol_instead_of_what_makes_one(self, run, echo_server, registry):
        """Made by the program, traced in its factory."""

        async def main():
            mine = Asking()
            transport, protocol = await connect(lambda: traced_protocol(mine, "ask"), echo_server)
            assert protocol.transport is transport is mine.transport
            transport.write(HUNDRED)
            await mine.until(100)
            transport.close()
            await mine.lost

        run(main())

        assert (crossed(registry), only(registry).operation) == ((100, 100), "ask")

    def test_exchanges(self, run, echo_server, registry):
        """The transport has them."""

        async def main():
            transport, protocol = await connect(traced_protocol(Asking), echo_server)
            with transport.exchange("LOGIN"):
                transport.write(HUNDRED)
                await protocol.until(100)
            transport.close()
            await protocol.lost

        run(main())

        assert {op.operation: op.bytes_sent for op in registry.network_ops()} == {
            "tcp": 0,
            "LOGIN": 100,
        }

    @pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix sockets here")
    def test_a_unix_socket(self, run, unix_server, registry):
        """`create_unix_connection`."""

        async def main():
            loop = asyncio.get_running_loop()
            transport, protocol = await loop.create_unix_connection(
                traced_protocol(Asking), unix_server.address
            )
            transport.write(HUNDRED)
            await protocol.until(100)
            transport.close()
            await protocol.lost

        run(main())
        op = only(registry)

        assert (op.host, op.port, op.operation) == ("s", None, "unix")
        assert crossed(registry) == (100, 100)

    def test_bare_protocols_stay_bare(self, run, echo_server):
        """Who traces nothing has the loop's own transport, and his own protocol."""

        async def main():
            transport, protocol = await connect(Asking, echo_server)
            assert type(protocol) is Asking
            assert type(transport).__name__ in {"_SelectorSocketTransport", "TCPTransport"}
            assert protocol.transport is transport
            transport.close()
            await protocol.lost

        run(main())


@pytest.mark.parametrize("given", [None, 5, "protocol", object()])
def test_what_is_no_protocol(given):
    """A mistake at set-up is told at once."""
    with pytest.raises(TypeError, match="needs a protocol, or what makes one"):
        traced_protocol(given)


def test_twice_is_once(run, echo_server, registry):
    """What is traced stays so."""
    factory = traced_protocol(Asking)
    assert traced_protocol(factory) is factory

    async def main():
        transport, protocol = await connect(traced_protocol(factory), echo_server)
        assert traced_protocol(protocol) is protocol
        transport.write(HUNDRED)
        await protocol.until(100)
        transport.close()
        await protocol.lost

    run(main())

    assert crossed(registry) == (100, 100)


@pytest.mark.skipif(uvloop is None, reason="uvloop is not installed")
def test_uvloop_imported_later():
    """The very first connection of a loop that was not there yet is counted in full."""
    program = """
import asyncio, socket, threading
from volnux.telemetry import capture
from volnux.telemetry import traced_protocol
import uvloop

listening = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=lambda: listening.accept()[0].recv(100), daemon=True).start()

async def main():
    loop = asyncio.get_running_loop()
    lost = loop.create_future()
    class Quiet(asyncio.Protocol):
        def connection_lost(self, error):
            lost.set_result(error)
    transport, _ = await loop.create_connection(traced_protocol(Quiet), *listening.getsockname())
    transport.write(b"x" * 100)
    await lost

with capture(strict=True) as registry:
    uvloop.new_event_loop().run_until_complete(main())
print(registry.network_ops()[0].bytes_sent)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )

    assert (done.stdout, done.returncode) == ("100\n", 0), done.stderr
