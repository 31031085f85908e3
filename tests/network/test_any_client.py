"""Clients of no library that we know, behind a proxy."""

from __future__ import annotations

import asyncio

import pytest

from volnux.telemetry import capture, traced_client, untrace


class Response:
    """What the clients here give."""

    def __init__(self, status=200, length="12"):
        self.status_code = status
        self.headers = {"content-length": length}


class Client:
    """One as they come with the SDK of some service."""

    base_url = "https://api.example.org:8443/v1"

    def __init__(self, status=200):
        self.status = status

    def request(self, method, path):
        if path == "/broken":
            raise ConnectionResetError("gone")
        return Response(self.status)

    def other(self):
        return self.request("GET", "/inside")

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        return None


class AsyncClient:
    """One that is asynchronous, and is given whole requests."""

    async def send(self, request):
        return Response()


class Request:
    method = "put"
    url = "http://files.example.org/a"


def test_a_call_is_an_operation(registry):
    """With the host and port that the client goes to, and what the response declares."""
    traced_client(Client()).request("GET", "/users")
    (op,) = registry.network_ops()
    assert (op.host, op.port, op.operation) == ("api.example.org", 8443, "GET")
    assert op.attributes == {
        "source": "declared",
        "http.response.status_code": 200,
        "declared": 12,
    }


def test_no_byte_is_reported_that_nobody_counted(registry):
    """A declared length is none."""
    traced_client(Client()).request("GET", "/users")
    (op,) = registry.network_ops()
    assert (op.bytes_sent, op.bytes_received) == (0, 0)


def test_an_awaited_call_ends_when_it_is_done(registry):
    """Not when the coroutine has been made."""

    async def main():
        client = traced_client(AsyncClient())
        waiting = client.send(Request())
        assert registry.network_ops()[0].status == "running"
        await waiting

    asyncio.run(main())
    (op,) = registry.network_ops()
    assert (op.host, op.port, op.operation) == ("files.example.org", 80, "PUT")
    assert op.status == "completed"


def test_an_error_is_the_clients_own(registry):
    """And fails the operation."""
    with pytest.raises(ConnectionResetError, match="gone"):
        traced_client(Client()).request("GET", "/broken")
    (op,) = registry.network_ops()
    assert (op.status, op.error_type) == ("failed", "ConnectionResetError")


def test_a_status_of_failure_fails(registry):
    """As with any other client."""
    traced_client(Client(status=500)).request("GET", "/users")
    (op,) = registry.network_ops()
    assert (op.status, op.error_type) == ("failed", "500")


def test_the_proxy_is_the_client_in_all_else(registry):
    """Its type, its attributes, its with-block."""
    client = Client()
    with traced_client(client) as traced:
        assert isinstance(traced, Client)
        assert traced.base_url == client.base_url
        traced.status = 201
        assert client.status == 201
        traced.request("GET", "/")
    assert len(registry.network_ops()) == 1


def test_untrace_gives_the_client(registry):
    """The very one."""
    client = Client()
    assert untrace(traced_client(client)) is client
    assert untrace(traced_client(traced_client(client))) is client


def test_a_route_names_the_operation(registry):
    """As far as there is a whole URL."""
    client = traced_client(AsyncClient(), route=lambda path: path.replace("a", "{file}"))
    asyncio.run(client.send(Request()))
    assert registry.network_ops()[0].operation == "PUT /{file}"


@pytest.mark.parametrize("url", ["http://[", "http://host:port/", "::", "", 7, None, object()])
def test_what_a_client_says_of_itself_cannot_hurt(url):
    """The call goes on, whatever its URL is."""

    class Odd:
        def __init__(self):
            self.url = url

        def send(self, given):
            return given

    with capture() as registry:
        assert traced_client(Odd()).send(url) is url
    assert len(registry.network_ops()) == 1
