"""TLS on event loops: the plain bytes are the program's, the wire's are the kernel's."""

from __future__ import annotations

import asyncio
import ssl
import sys

import pytest

from tests.network._protocols import Asking, Filling, Making, ask, closed, connect, listening
from tests.network._records import crossed, only, outcome
from tests.network._sockets import HUNDRED
from tests.network._tcp_info import LINUX
from tests.network._tcp_server import EchoServer
from volnux.telemetry import traced_open_connection, traced_protocol


class TestStreams:
    """`traced_open_connection` with `ssl`, and `start_tls`."""

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
        served = None

        async def serve(reader, writer):
            await reader.readline()
            writer.write(b"go\n")
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await writer.start_tls(authority.server_context("wrong-name"))
            served.set_result(None)

        async def main():
            nonlocal served
            served = asyncio.get_running_loop().create_future()
            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            reader, writer = await traced_open_connection(*server.sockets[0].getsockname())
            writer.write(b"STARTTLS\n")
            await reader.readline()
            with pytest.raises(ssl.SSLCertVerificationError):
                await writer.start_tls(client_context, server_hostname="localhost")
            await served
            server.close()

        run(main())

        assert crossed(registry) == (9, 3)
        assert outcome(registry) == ("failed", "SSLCertVerificationError")


class TestProtocols:
    """`traced_protocol` with `ssl`, and `loop.start_tls`."""

    @pytest.mark.parametrize("kind", [Asking, Filling])
    def test_plain_and_wire(self, run, kind, tls_echo_server, client_context, registry):
        """The program's bytes, and those of the wire to the last one."""

        async def main():
            transport, protocol = await connect(
                traced_protocol(kind),
                tls_echo_server,
                ssl=client_context,
                server_hostname="localhost",
            )
            transport.write(HUNDRED)
            await protocol.until(100)
            transport.close()
            await protocol.lost

        run(main())
        [seen] = tls_echo_server.wait_closed()
        op = only(registry)

        assert crossed(registry) == (seen.received, seen.sent) == (100, 100)
        if LINUX:
            assert op.attributes["wire_bytes_sent"] == seen.wire_received
            assert op.attributes["wire_bytes_received"] == seen.wire_sent

    def test_a_server_s(self, run, authority, client_context, registry):
        """The handshake is in it."""

        async def main():
            making = Making()
            server = await asyncio.get_running_loop().create_server(
                traced_protocol(making, "serve"), "127.0.0.1", 0, ssl=authority.server_context()
            )
            reader, writer = await asyncio.open_connection(
                *server.sockets[0].getsockname(), ssl=client_context, server_hostname="localhost"
            )
            writer.write(HUNDRED)
            await writer.drain()
            protocol = await making.next()
            await protocol.until(100)
            protocol.transport.write(b"ok")
            assert await reader.readexactly(2) == b"ok"
            writer.close()
            await writer.wait_closed()
            await protocol.lost
            protocol.transport.close()
            server.close()

        run(main())
        op = only(registry)

        assert (op.operation, op.bytes_sent, op.bytes_received) == ("serve", 2, 100)
        if LINUX:
            assert op.attributes["wire_bytes_received"] > 400

    def test_an_upgrade(self, run, authority, client_context, registry):
        """`loop.start_tls` takes a traced transport and gives one; plain bytes go on counting."""

        async def serve(sock):
            loop = asyncio.get_running_loop()
            transport, protocol = await loop.connect_accepted_socket(Asking, sock)
            assert await protocol.until(8) == b"STARTTLS"
            transport.write(b"go")
            secure = await loop.start_tls(
                transport, protocol, authority.server_context(), server_side=True
            )
            secure.write(await protocol.until(100))
            await protocol.lost
            secure.close()

        async def main():
            loop = asyncio.get_running_loop()
            sock, accepting = await listening()
            transport, protocol = await loop.create_connection(
                traced_protocol(Asking), *sock.getsockname()
            )
            far, _ = await accepting
            serving = asyncio.ensure_future(serve(far))
            transport.write(b"STARTTLS")
            assert await protocol.until(2) == b"go"
            secure = await loop.start_tls(
                transport, protocol, client_context, server_hostname="localhost"
            )
            secure.write(HUNDRED)
            await protocol.until(100)
            secure.close()
            await protocol.lost
            await serving
            sock.close()

        run(main())
        op = only(registry)

        assert (op.bytes_sent, op.bytes_received, op.status) == (108, 102, "completed")
        if LINUX:
            assert op.attributes["wire_bytes_sent"] > 400

    def test_a_wrong_upgrade(self, run, echo_server, registry):
        """A call that is wrong in itself leaves the connection as it was."""

        async def main():
            transport, protocol = await connect(traced_protocol(Asking), echo_server)
            with pytest.raises(TypeError):
                await asyncio.get_running_loop().start_tls(transport, protocol, "no context")
            transport.write(HUNDRED)
            await protocol.until(100)
            transport.close()
            await protocol.lost

        run(main())

        assert (crossed(registry), outcome(registry)) == ((100, 100), ("completed", None))
