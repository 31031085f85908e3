"""Servers, datagrams and files through `traced_protocol`."""

from __future__ import annotations

import asyncio
import socket

import pytest

from tests.network._loops import run_on, uvloop
from tests.network._protocols import Asking, Datagrams, Making, closed, connect, listening, turns
from tests.network._records import crossed, only, outcome
from tests.network._sockets import BIG, HUNDRED
from tests.network._tcp_info import LINUX, needs_tcp_info, tcp_info
from volnux.telemetry import traced_protocol


class TestServers:
    """`loop.create_server`."""

    def test_each_connection_is_an_operation(self, run, registry):
        """From its beginning, with the client's address."""

        class Echo(Asking):
            def data_received(self, data):
                self.transport.write(data)

        async def main():
            loop, making = asyncio.get_running_loop(), Making(Echo)
            server = await loop.create_server(traced_protocol(making, "serve"), "127.0.0.1", 0)
            address = server.sockets[0].getsockname()
            names = []
            for _ in range(2):
                reader, writer = await asyncio.open_connection(*address)
                writer.write(HUNDRED)
                assert await reader.readexactly(100) == HUNDRED
                names.append(writer.get_extra_info("sockname"))
                await closed(writer)
                await (await making.next()).lost
            server.close()
            return names

        clients = run(main())
        ops = registry.network_ops()

        assert [(op.host, op.port) for op in ops] == clients
        assert {(op.operation, op.bytes_sent, op.bytes_received) for op in ops} == {
            ("serve", 100, 100)
        }

    def test_an_accepted_socket(self, run, registry):
        """`connect_accepted_socket` is told whom it talks to."""

        async def main():
            sock, accepting = await listening()
            reader, writer = await asyncio.open_connection(*sock.getsockname())
            far, client = await accepting
            transport, protocol = await asyncio.get_running_loop().connect_accepted_socket(
                traced_protocol(Asking, "serve"), far
            )
            writer.write(HUNDRED)
            await protocol.until(100)
            transport.write(b"ok")
            transport.close()
            assert await reader.read() == b"ok"
            await protocol.lost
            writer.close()
            await writer.wait_closed()
            sock.close()
            return client

        client = run(main())

        assert (only(registry).host, only(registry).port) == client
        assert crossed(registry) == (2, 100)


class TestDatagrams:
    """`loop.create_datagram_endpoint`."""

    def test_with_a_remote_address(self, run, udp_server, registry):
        """It is whom the operation names."""

        async def main():
            transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
                traced_protocol(Datagrams), remote_addr=udp_server.address
            )
            transport.sendto(HUNDRED)
            assert (await protocol.heard.get())[0] == HUNDRED
            transport.close()
            await protocol.lost

        run(main())
        op = only(registry)

        assert (op.host, op.port, op.operation) == (*udp_server.address, "udp")
        assert crossed(registry) == (100, 100)

    def test_without(self, run, udp_server, registry):
        """The first datagram says whom it talks to."""

        async def main():
            transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
                traced_protocol(Datagrams), local_addr=("127.0.0.1", 0)
            )
            assert registry.health().started == 0
            transport.sendto(HUNDRED, udp_server.address)
            assert await protocol.heard.get() == (HUNDRED, udp_server.address)
            transport.close()
            await protocol.lost

        run(main())
        op = only(registry)

        assert (op.host, op.port, op.operation) == (*udp_server.address, "udp")
        assert crossed(registry) == (100, 100)

    def test_who_is_heard_first(self, run, registry):
        """Of a server of datagrams, the first that has sent one."""

        async def main():
            transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
                traced_protocol(Datagrams), local_addr=("127.0.0.1", 0)
            )
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                other.bind(("127.0.0.1", 0))
                other.sendto(b"hello", transport.get_extra_info("sockname"))
                await protocol.heard.get()
                name = other.getsockname()
            transport.close()
            await protocol.lost
            return name

        name = run(main())

        assert (only(registry).host, only(registry).port) == name
        assert crossed(registry) == (0, 5)

    @pytest.mark.skipif(not LINUX, reason="only there a refused datagram is told at once")
    def test_nobody_listens(self, run, registry):
        """What `error_received` is told is the operation's error."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
            bound.bind(("127.0.0.1", 0))
            nobody = bound.getsockname()

        async def main():
            transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
                traced_protocol(Datagrams), remote_addr=nobody
            )
            transport.sendto(HUNDRED)
            assert isinstance(await protocol.errors.get(), ConnectionRefusedError)
            transport.close()
            await protocol.lost

        run(main())

        assert outcome(registry) == ("failed", "ConnectionRefusedError")


class TestFiles:
    """`loop.sendfile`."""

    @pytest.fixture(name="file")
    def _file(self, tmp_path):
        (tmp_path / "file").write_bytes(bytes(BIG))
        with (tmp_path / "file").open("rb") as opened:
            yield opened

    @pytest.fixture(name="run", params=["asyncio"])
    def _run(self, request):
        """The loop that has it: uvloop has not."""
        return lambda main: run_on(request.param, main)

    def test_counts(self, run, file, sink_server, registry):
        """What it says it has sent."""

        async def main():
            loop = asyncio.get_running_loop()
            transport, protocol = await connect(traced_protocol(Asking), sink_server)
            transport.write(b"head")
            assert await loop.sendfile(transport, file, 1000, 500_000) == 500_000
            transport.close()
            await protocol.lost

        run(main())
        [seen] = sink_server.wait_closed()

        assert crossed(registry) == (seen.received, 0) == (500_004, 0)

    def test_counts_over_tls(self, run, file, authority, client_context, registry):
        """Where it is read and written in pieces, once."""

        async def main():
            loop = asyncio.get_running_loop()
            done = loop.create_future()

            async def serve(reader, writer):
                done.set_result(len(await reader.readexactly(500_000)))
                writer.close()

            server = await asyncio.start_server(
                serve, "127.0.0.1", 0, ssl=authority.server_context()
            )
            transport, protocol = await loop.create_connection(
                traced_protocol(Asking),
                *server.sockets[0].getsockname(),
                ssl=client_context,
                server_hostname="localhost",
            )
            assert await loop.sendfile(transport, file, 0, 500_000) == 500_000
            await done
            transport.close()
            await protocol.lost
            server.close()

        run(main())

        assert crossed(registry) == (500_000, 0)

    @needs_tcp_info
    def test_cut_short(self, run, file, registry):
        """What had gone counts when it is cancelled, as the kernel says."""

        async def main():
            loop = asyncio.get_running_loop()
            sock, accepting = await listening()
            transport, protocol = await loop.create_connection(
                traced_protocol(Asking), *sock.getsockname()
            )
            far, _ = await accepting
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(loop.sendfile(transport, file), 0.05)
            info = tcp_info(transport.get_extra_info("socket").fileno())
            transport.abort()
            await protocol.lost
            far.close()
            sock.close()
            return info.bytes_sent + info.bytes_unsent

        done = run(main())

        assert 0 < done < BIG
        assert (crossed(registry), outcome(registry)[0]) == ((done, 0), "cancelled")

    @pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix sockets here")
    def test_cut_short_by_the_other_side(self, run, file, registry):
        """Where the kernel does not say how far it came, the file does."""

        async def main():
            loop = asyncio.get_running_loop()
            near, far = socket.socketpair()
            near.setblocking(False)
            transport, protocol = await loop.create_unix_connection(
                traced_protocol(Asking), sock=near
            )
            sending = asyncio.ensure_future(loop.sendfile(transport, file, 1000))
            await turns()
            far.close()
            with pytest.raises(ConnectionError):
                await sending
            transport.abort()
            await protocol.lost
            return file.tell() - 1000

        done = run(main())

        assert 0 < done < BIG
        assert (crossed(registry), outcome(registry)[0]) == ((done, 0), "failed")

    def test_of_what_is_not_traced(self, run, file, sink_server):
        """Bare transports go through as they are."""

        async def main():
            loop = asyncio.get_running_loop()
            transport, protocol = await connect(Asking, sink_server)
            assert await loop.sendfile(transport, file, 0, 1000) == 1000
            transport.close()
            await protocol.lost

        run(main())
        [seen] = sink_server.wait_closed()

        assert seen.received == 1000

    def test_refused(self, echo_server, registry):
        """Uvloop refuses it as it would."""
        if uvloop is None:
            pytest.skip("uvloop is not installed")

        async def main():
            transport, protocol = await connect(traced_protocol(Asking), echo_server)
            with pytest.raises(NotImplementedError):
                await asyncio.get_running_loop().sendfile(transport, None)
            transport.close()
            await protocol.lost

        run_on("uvloop", main())

        assert outcome(registry) == ("completed", None)
