"""HTTP/2 by httpx on bad days, and frames however they come."""

from __future__ import annotations

import random
import socket

import h2.config
import h2.connection
import httpx
import pytest

from tests.network import _httpx_proxies as proxies
from tests.network._httpx_runs import HTTP2
from tests.network._records import ended
from tests.network._routes import content
from volnux.telemetry.clients._http2 import PREFACE, Frames


def test_a_read_timeout_fails_the_operation(httpx_run, registry, h2c_server):
    """With the half of the body that had come."""
    timeout = httpx.Timeout(10, read=1.0)
    httpx_run.failing(h2c_server.url("/hang-mid-body/1000"), timeout=timeout, **HTTP2)
    h2c_server.release()
    op = ended(registry)
    assert (op.error_type, op.attributes["library_error"]) == ("TimeoutError", "ReadTimeout")
    assert op.attributes["http.response.body.size"] == 500
    assert op.attributes["complete"] is False


def answering(*doings):
    """Answer one request of HTTP/2 by what `doings` make of the connection's state, one by one."""

    def answer(client):
        state = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        state.initiate_connection()
        client.sendall(state.data_to_send())
        begun = False
        while not begun and (data := client.recv(65_536)):
            begun = any(
                type(event).__name__ == "RequestReceived" for event in state.receive_data(data)
            )
        for doing in doings:
            doing(state)
            client.sendall(state.data_to_send())
        client.shutdown(socket.SHUT_WR)
        while client.recv(65_536):
            pass

    return answer


def headers(state):
    state.send_headers(1, [(":status", "200"), ("content-length", "100")])


def half(state):
    state.send_data(1, content(50))


def padded(state):
    state.send_data(1, content(100), end_stream=True, pad_length=30)


def reset(state):
    state.reset_stream(1)


def go_away(state):
    state.close_connection()


def test_a_connection_that_ends_mid_body_cuts_it(httpx_run, registry):
    """Where it was cut is said as for every other client."""
    with proxies.serving(answering(headers, half)) as port:
        error = httpx_run.failing(f"http://127.0.0.1:{port}/", **HTTP2)
    assert type(error) is httpx.RemoteProtocolError
    op = ended(registry)
    assert (op.status, op.error_type) == ("failed", "IncompleteRead")
    assert op.error == "the connection ended after 50 bytes of the body, of 100"
    assert op.attributes["library_error"] == "RemoteProtocolError"


@pytest.mark.parametrize("last", [reset, go_away])
def test_a_stream_that_is_reset_fails_its_operation(httpx_run, registry, last):
    """With httpx's own error."""
    with proxies.serving(answering(headers, half, last)) as port:
        httpx_run.failing(f"http://127.0.0.1:{port}/", **HTTP2)
    op = ended(registry)
    assert op.status == "failed"
    assert op.attributes["http.response.body.size"] == 50
    assert op.attributes["complete"] is False


def test_padding_is_no_body(httpx_run, registry):
    """It crosses the socket all the same."""
    with proxies.serving(answering(headers, padded)) as port:
        httpx_run.fetch(f"http://127.0.0.1:{port}/", **HTTP2)
    op = ended(registry)
    assert op.attributes["http.response.body.size"] == 100
    assert op.bytes_received > 100 + 31


def frame(kind, stream, payload, flags=0):
    head = len(payload).to_bytes(3, "big") + bytes([kind, flags])
    return head + stream.to_bytes(4, "big") + payload


def test_frames_are_followed_however_they_are_cut():
    """A thousand ways to cut the same bytes come to the same."""
    data = PREFACE + b"".join(
        [
            frame(4, 0, b"s" * 18),
            frame(1, 1, b"h" * 40),
            frame(0, 1, b"d" * 300),
            frame(1, 3, b"h" * 7, flags=1),
            frame(0, 1, bytes([5]) + b"d" * 20 + bytes(5), flags=8 | 1),
            frame(0, 5, b"", flags=1),
        ]
    )
    chance = random.Random("volnux frames")
    for _ in range(1000):
        found = {}

        def give(stream, kind, count, body, is_last, found=found):
            entry = found.setdefault(stream, [0, 0, False])
            entry[0] += count
            entry[1] += body
            entry[2] = entry[2] or is_last

        frames, at = Frames(give), 0
        while at < len(data):
            step = max(chance.randrange(1, 60), 16 if at == 0 else 1)
            frames.feed(data[at : at + step])
            at += step
        assert found == {
            0: [24 + 27, 0, False],
            1: [49 + 309 + 9 + 26, 320, True],
            3: [16, 0, True],
            5: [9, 0, True],
        }
