"""Bad days of protocols: the loop says what happened, and the record says the same."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import warnings

import pytest

from tests.network._protocols import Asking, Making, connect
from tests.network._records import crossed, only, outcome
from tests.network._sockets import HUNDRED, reset
from tests.network._tcp_server import EchoServer
from volnux.telemetry import traced_protocol


class TestBadDays:
    """What fails."""

    def test_connection_refused(self, run, nobody, registry):
        """The protocol never hears of it; the operation does."""

        async def main():
            loop = asyncio.get_running_loop()
            with pytest.raises(ConnectionRefusedError):
                await loop.create_connection(traced_protocol(Asking), *nobody)

        run(main())
        op = only(registry)

        assert ((op.host, op.port), outcome(registry)) == (
            nobody,
            ("failed", "ConnectionRefusedError"),
        )

    def test_a_factory_that_raises(self, run, echo_server, registry):
        """The program's error is its own, and the operation's."""
        boom = ZeroDivisionError("boom")

        def fail():
            raise boom

        async def main():
            with pytest.raises(ZeroDivisionError) as caught:
                await connect(traced_protocol(fail), echo_server)
            return caught.value

        assert run(main()) is boom
        boom.__traceback__ = None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # asyncio forgets the socket then
            gc.collect()
        assert outcome(registry) == ("failed", "ZeroDivisionError")

    def test_reset(self, run, source_server, registry):
        """`connection_lost` is told, and the operation."""

        async def main():
            transport, protocol = await connect(traced_protocol(Asking), source_server)
            transport.write(b"1000 reset\n")
            error = await protocol.lost
            return len(protocol.data), type(error)

        assert run(main()) == (1000, ConnectionResetError)
        assert crossed(registry) == (11, 1000)
        assert outcome(registry) == ("failed", "ConnectionResetError")

    def test_the_other_side_ends(self, run, source_server, registry):
        """The protocol hears of the end, and then of the loss."""

        async def main():
            transport, protocol = await connect(traced_protocol(Asking), source_server)
            transport.write(b"10 close\n")
            assert await protocol.lost is None
            return protocol.calls

        assert run(main()) == ["eof"]
        assert (crossed(registry), outcome(registry)) == ((9, 10), ("completed", None))

    def test_a_name_that_will_not_do(self, run, authority, client_context, registry):
        """TLS fails before the protocol is connected."""

        async def main(server):
            with pytest.raises(ssl.SSLCertVerificationError):
                await connect(
                    traced_protocol(Asking), server, ssl=client_context, server_hostname="localhost"
                )

        with EchoServer(tls=authority, certificate="wrong-name") as server:
            run(main(server))

        assert outcome(registry) == ("failed", "SSLCertVerificationError")

    def test_the_end_comes_before_the_protocol_is_told(self, run, echo_server, registry):
        """In `connection_lost` the record is there."""
        found = []

        class Looking(Asking):
            def connection_lost(self, error):
                found.extend(registry.network_ops())
                super().connection_lost(error)

        async def main():
            transport, protocol = await connect(traced_protocol(Looking), echo_server)
            transport.close()
            await protocol.lost

        run(main())

        assert [op.status for op in found] == ["completed"]

    @pytest.mark.filterwarnings("ignore::ResourceWarning")
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    def test_a_loop_that_is_closed_first(self, run, echo_server, registry):
        """The operation ends with the protocol."""

        async def main():
            transport, protocol = await connect(traced_protocol(Asking), echo_server)
            transport.write(HUNDRED)
            await protocol.until(100)

        run(main())
        gc.collect()

        assert (crossed(registry), registry.health().in_flight) == ((100, 100), 0)

    def test_reset_of_a_server_s_connection(self, run, registry):
        """A client that is gone fails the server's operation, not the server."""

        async def main():
            making = Making()
            server = await asyncio.get_running_loop().create_server(
                traced_protocol(making), "127.0.0.1", 0
            )
            with socket.create_connection(server.sockets[0].getsockname()) as client:
                client.sendall(HUNDRED)
                protocol = await making.next()
                await protocol.until(100)
                reset(client)
            assert isinstance(await protocol.lost, ConnectionResetError)
            server.close()

        run(main())

        assert (crossed(registry), outcome(registry)) == (
            (0, 100),
            ("failed", "ConnectionResetError"),
        )
