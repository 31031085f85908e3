"""Loopback servers and who vouches for them, what is recorded, and the ways to run a test.

Hypercorn and aiohttp are imported late: they are dear, and most tests here need neither.
"""

from __future__ import annotations

import gc
import os
import socket
from functools import partial

import pytest

from tests.network._authority import Authority
from tests.network._httpx_runs import RUNS
from tests.network._loops import LOOPS, run_on
from tests.network._raw_server import RawServer
from tests.network._sockets import tcp_pair
from tests.network._tcp_server import (
    EchoServer,
    SinkServer,
    SourceServer,
    UdpEchoServer,
    UnixEchoServer,
)
from volnux.telemetry import capture, instrument, uninstrument


@pytest.fixture
def timed_registry():
    """As `registry`, in real time."""
    with capture(strict=True) as registry:
        yield registry


@pytest.fixture
def nothing_left():
    """Whatever a test instruments is taken back, and what others have traced is gone."""
    gc.collect()
    yield
    uninstrument()


@pytest.fixture
def instrumented_httpx():
    """All clients of the process, for as long as a test takes."""
    instrument("httpx")
    yield
    uninstrument("httpx")


@pytest.fixture(params=RUNS)
def httpx_run(request):
    """Each way to run httpx."""
    return request.param


@pytest.fixture(params=LOOPS)
def run(request):
    """Runs a coroutine, on each kind of event loop."""
    return partial(run_on, request.param)


@pytest.fixture
def pair():
    """Both ends of a TCP connection."""
    with tcp_pair() as ends:
        yield ends


@pytest.fixture
def nobody():
    """An address where nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """Who has issued every certificate here."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def ca_pem(authority):
    """Path of the certificate of the authority, for clients that take a file."""
    return authority.pem


@pytest.fixture(scope="package", autouse=True)
def _few_authorities(authority):
    """What clients trust unless told otherwise: one file instead of all there is, which takes 20 ms to read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", authority.stranger)
        patch.setattr("certifi.where", lambda: authority.stranger)  # httpx without `trust_env`
        yield


@pytest.fixture
def client_context(authority):
    """A client's TLS context that trusts the servers here."""
    return authority.client_context()


@pytest.fixture
def raw_server():
    """HTTP/1.1 to the byte."""
    with RawServer() as server:
        yield server


@pytest.fixture
def tls_server(authority):
    """HTTP/1.1 to the byte, over TLS."""
    with RawServer(tls=authority) as server:
        yield server


@pytest.fixture
def echo_server():
    """TCP that comes back."""
    with EchoServer() as server:
        yield server


@pytest.fixture
def tls_echo_server(authority):
    """TLS that comes back."""
    with EchoServer(tls=authority) as server:
        yield server


@pytest.fixture
def sink_server():
    """TCP that only listens."""
    with SinkServer() as server:
        yield server


@pytest.fixture
def source_server():
    """TCP that sends as much as it is asked for."""
    with SourceServer() as server:
        yield server


@pytest.fixture
def udp_server():
    """Datagrams that come back."""
    with UdpEchoServer() as server:
        yield server


@pytest.fixture
def unix_server(tmp_path_factory):
    """A Unix socket that echoes."""
    # Not tmp_path, which is named for the test: the path of a Unix socket has room for 107 bytes.
    folder = tmp_path_factory.mktemp("unix")
    with UnixEchoServer(os.path.relpath(folder / "s")) as server:
        yield server


@pytest.fixture
def h2_server(authority):
    """HTTP/2 over TLS."""
    from tests.network._asgi_server import H2Server

    with H2Server(tls=authority) as server:
        yield server


@pytest.fixture
def h2c_server():
    """HTTP/2 without TLS, for who knows."""
    from tests.network._asgi_server import H2Server

    with H2Server() as server:
        yield server


@pytest.fixture
def aiohttp_server():
    """HTTP/1.1 by aiohttp."""
    from tests.network._asgi_server import AiohttpServer

    with AiohttpServer() as server:
        yield server


@pytest.fixture
def tls_aiohttp_server(authority):
    """HTTP/1.1 by aiohttp, over TLS."""
    from tests.network._asgi_server import AiohttpServer

    with AiohttpServer(tls=authority) as server:
        yield server
