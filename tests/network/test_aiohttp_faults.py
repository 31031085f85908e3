"""aiohttp's bad days: its own exception, and one end of the operation with the bytes so far."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import socket
import ssl
import traceback

import aiohttp
import pytest

from tests.network._aiohttp_client import failing
from tests.network._raw_server import RawServer
from tests.network._records import ended
from tests.network._sockets import reset
from tests.network._tcp_info import needs_tcp_info, tcp_info
from volnux.telemetry import capture, traced_client


def same(client):
    return client


def shape(error):
    """What a program can tell of an exception: its type, what it was made of, and where it came from."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame.name for frame in frames if "/volnux/" not in frame.filename]
    # How much of a body had come already when it was asked for is a matter of luck.
    lucky = {"read", "readany", "_wait"}
    return type(error), type(error.__cause__), [name for name in theirs if name not in lucky]


FAULTS = {
    "/reset-mid-body/100000": "ConnectionResetError",
    "/half-chunk": "IncompleteRead",
    "/short/1000": "IncompleteRead",
    "/close-before-response": "ServerDisconnectedError",
    "/close-mid-headers": "ServerDisconnectedError",
    "/reset": "ConnectionResetError",
    "/bad-gzip": "ClientPayloadError",
    "/garbage": "ClientResponseError",
}


@pytest.mark.parametrize("target", FAULTS)
def test_a_fault_of_the_server_is_the_operations(registry, raw_server, target):
    """It fails once, with what lies at the root where that is an error of the system."""
    failing(raw_server.url(target))
    op = ended(registry)
    assert (op.status, op.error_type) == ("failed", FAULTS[target])


def test_what_an_exception_says_of_a_url_is_redacted(registry, raw_server):
    """The program's exception has the query in it, the record has not."""
    error = failing(raw_server.url("/garbage?token=hunter2"))
    assert "hunter2" in str(error)
    assert "hunter2" not in str(ended(registry).to_dict())


@pytest.mark.parametrize("target", FAULTS)
def test_the_exception_is_the_librarys_own(raw_server, target):
    """The same type, from the same places, made of the same error, as without telemetry."""
    with capture(strict=True):
        ours = failing(raw_server.url(target))
    assert shape(ours) == shape(failing(raw_server.url(target), make=same))


def test_half_a_body_counts_as_far_as_it_came(registry, raw_server):
    """The bytes up to the end of the connection are kept, and that some are missing is said."""
    failing(raw_server.url("/short/1000"))
    op = ended(registry)
    (seen,) = raw_server.wait_exchanges(1)
    assert (op.bytes_sent, op.bytes_received) == (seen.wire_received, seen.wire_sent)
    assert op.attributes["http.response.body.size"] == 500
    assert op.attributes["declared"] == 1000
    assert op.attributes["complete"] is False
    assert op.error == "the connection ended after 500 bytes of the body, of 1000"


def test_nonsense_in_a_body_fails_the_operation(registry, raw_server):
    """Even where aiohttp itself tells nobody, and the program waits until it has had enough."""
    timeout = aiohttp.ClientTimeout(total=0.2)
    failing(raw_server.url("/bad-chunk-size"), timeout=timeout)
    op = ended(registry)
    assert op.status == "failed"
    assert op.error_type in ("HttpProcessingError", "ClientPayloadError", "ClientResponseError")
    assert op.attributes["http.response.body.size"] == 100


def test_what_comes_behind_the_end_is_a_finding(registry, raw_server):
    """A body longer than declared is complete; the rest is counted apart."""

    async def main():
        async with traced_client(aiohttp.ClientSession()) as client:
            with contextlib.suppress(aiohttp.ClientError):
                async with client.post(raw_server.url("/long/1000")) as response:
                    await response.read()

    asyncio.run(main())
    op = ended(registry)
    assert op.attributes["http.response.body.size"] == 1000
    assert op.attributes["complete"] is True
    assert op.attributes.get("excess", 0) in (0, 10)  # aiohttp does not wait for it


def test_each_of_aiohttps_own_tries_is_an_operation(registry, raw_server):
    """What is safe to repeat it sends twice, and both times are recorded."""
    failing(raw_server.url("/close-before-response"), "GET")
    assert [op.error_type for op in registry.network_ops()] == ["ServerDisconnectedError"] * 2
    assert raw_server.total_attempts("/close-before-response") == 2


def test_a_refused_connection_fails_the_operation(registry, nobody):
    """It has its host and port, and no bytes."""
    host, port = nobody
    error = failing(f"http://{host}:{port}/")
    assert type(error) is aiohttp.ClientConnectorError
    op = ended(registry)
    assert (op.host, op.port) == nobody
    assert (op.status, op.error_type) == ("failed", "ConnectionRefusedError")
    assert (op.bytes_sent, op.bytes_received) == (0, 0)


def test_a_name_that_is_none_fails_the_operation(registry):
    """DNS failures have the name that was looked for."""
    failing("http://nowhere.invalid/")
    op = ended(registry)
    assert (op.host, op.status, op.error_type) == ("nowhere.invalid", "failed", "gaierror")


@pytest.mark.parametrize("certificate", ["wrong-name", "expired", "untrusted"])
def test_a_certificate_that_does_not_hold_fails_the_operation(
    registry, authority, client_context, certificate
):
    """Before any byte of the request has gone."""
    with RawServer(tls=authority, certificate=certificate) as server:
        error = failing(server.url("/bytes/1"), ssl=client_context)
    assert isinstance(error, aiohttp.ClientConnectorCertificateError)
    op = ended(registry)
    assert (op.status, op.error_type) == ("failed", "SSLCertVerificationError")
    assert op.bytes_sent == 0


def test_something_else_where_tls_was_meant_fails(registry, echo_server, client_context):
    """A handshake with what speaks no TLS is an error of TLS."""
    host, port = echo_server.address
    failing(f"https://{host}:{port}/", ssl=client_context)
    op = ended(registry)
    assert op.status == "failed"
    assert issubclass(getattr(ssl, op.error_type), ssl.SSLError)


def test_a_body_that_raises_fails_its_operation(registry, raw_server):
    """What aiohttp makes of the program's own error while the request is being sent."""

    async def body():
        yield b"abc"
        raise ZeroDivisionError

    error = failing(raw_server.url("/echo"), data=body())
    assert type(error.__cause__) is ZeroDivisionError
    op = ended(registry)
    assert (op.status, op.error_type) == ("failed", "ClientConnectionError")
    assert op.bytes_sent > 0


def test_a_body_that_is_broken_when_the_headers_come_fails_the_operation(registry):
    """Both have come at once: there was never anything to be read."""

    async def main(listening):
        async with traced_client(aiohttp.ClientSession()) as client:
            url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
            task = asyncio.ensure_future(client._request("GET", url))
            peer, _ = await asyncio.to_thread(listening.accept)
            await asyncio.to_thread(peer.recv, 10_000)
            head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 8\r\n\r\n"
            peer.sendall(head + b"not gzip")
            with pytest.raises(aiohttp.ClientPayloadError):
                await (await task).read()
            peer.close()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        asyncio.run(main(listening))
    op = ended(registry)
    assert (op.status, op.error_type) == ("failed", "ClientPayloadError")
    assert op.attributes["complete"] is True


LARGE = bytes(90_000_000)


def watched(sockets):
    """Make sockets whose kernel's counts can be asked when aiohttp has closed them."""

    def make(info):
        made = socket.socket(*info[:3])
        sockets.append(made.dup())
        return made

    return make


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@needs_tcp_info
@pytest.mark.parametrize("way", ["reset", "timeout"])
def test_an_upload_that_is_cut_off_counts_what_the_kernel_took(registry, raw_server, way):
    """Not what waited in memory to be sent."""
    sockets = []

    async def main(url):
        connector = aiohttp.TCPConnector(socket_factory=watched(sockets))
        timeout = aiohttp.ClientTimeout(total=0.2 if way == "timeout" else 20)
        client = traced_client(aiohttp.ClientSession(connector=connector, timeout=timeout))
        async with client:
            with pytest.raises((aiohttp.ClientError, asyncio.TimeoutError)):
                await client.post(url, data=io.BytesIO(LARGE))

    with socket.create_server(("127.0.0.1", 0)) as deaf:
        heard = f"http://127.0.0.1:{deaf.getsockname()[1]}/"
        asyncio.run(main(heard if way == "timeout" else raw_server.url("/close-unread")))
        (sock,) = sockets
        info = tcp_info(sock)
        sock.close()
    op = ended(registry)
    assert op.status == "failed"
    assert op.bytes_sent == info.bytes_sent + info.bytes_unsent
    assert op.attributes["http.request.body.size"] < len(LARGE)
    gc.collect()  # asyncio warns of a connection that could not send what it had to


def is_waiting(connector):
    return any(each.transport and each.writing_paused for each in connector._acquired)


@needs_tcp_info
def test_an_upload_that_is_reset_while_it_waits_counts_what_the_kernel_took(registry):
    """The transport forgets what it could not send; the kernel knows what it was given."""
    sockets = []

    async def main(deaf):
        connector = aiohttp.TCPConnector(socket_factory=watched(sockets))
        async with traced_client(aiohttp.ClientSession(connector=connector)) as client:
            url = f"http://127.0.0.1:{deaf.getsockname()[1]}/"
            task = asyncio.ensure_future(client._request("POST", url, data=io.BytesIO(LARGE)))
            peer, _ = await asyncio.to_thread(deaf.accept)
            while not is_waiting(connector):  # noqa: ASYNC110  # nobody is told
                await asyncio.sleep(0)
            peer.close()  # with what nobody has read: a reset
            with pytest.raises(aiohttp.ClientError):
                await task

    with socket.create_server(("127.0.0.1", 0)) as deaf:
        asyncio.run(main(deaf))
    (sock,) = sockets
    info = tcp_info(sock)
    sock.close()
    op = ended(registry)
    assert (op.status, op.error_type) == ("failed", "ConnectionResetError")
    assert op.bytes_sent == info.bytes_sent + info.bytes_unsent


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_answer_that_comes_too_early_ends_the_upload(registry):
    """It is a response like any other; what had not been sent by then does not count."""

    async def main(hasty):
        connector = aiohttp.TCPConnector()
        async with traced_client(aiohttp.ClientSession(connector=connector)) as client:
            url = f"http://127.0.0.1:{hasty.getsockname()[1]}/"
            task = asyncio.ensure_future(client._request("POST", url, data=io.BytesIO(LARGE)))
            peer, _ = await asyncio.to_thread(hasty.accept)
            while not is_waiting(connector):  # noqa: ASYNC110  # nobody is told
                await asyncio.sleep(0)
            peer.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
            assert (await task).status == 413
            peer.close()

    with socket.create_server(("127.0.0.1", 0)) as hasty:
        asyncio.run(main(hasty))
    op = ended(registry)
    assert (op.status, op.error_type) == ("failed", "413")
    assert 0 < op.bytes_sent < len(LARGE)
    gc.collect()  # asyncio warns of a connection that could not send what it had to


@pytest.mark.parametrize("data", [None, b"x" * 1000])
def test_a_request_that_meets_a_dead_connection_has_sent_nothing(registry, data):
    """What the system did not take did not cross."""

    async def main(listening):
        async with traced_client(aiohttp.ClientSession()) as client:
            url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
            first = asyncio.ensure_future(client._request("GET", url))
            peer, _ = await asyncio.to_thread(listening.accept)
            await asyncio.to_thread(peer.recv, 10_000)
            peer.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
            await first
            # Before aiohttp can notice it: the loop is not asked in between.
            reset(peer)
            with pytest.raises(aiohttp.ClientOSError):
                await client.post(url, data=data)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        asyncio.run(main(listening))
    _, op = registry.network_ops()
    assert (op.status, op.error_type) == ("failed", "ConnectionResetError")
    assert (op.bytes_sent, op.attributes["connection_reused"]) == (0, True)
