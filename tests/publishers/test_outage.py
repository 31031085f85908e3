"""Servers that are away, or say what no server should: nothing is lost, and nothing comes twice."""

from __future__ import annotations

import socket
import struct

import pytest

from tests.publishers.scripted import Answer, Cut, Scripted, all_created
from tests.test_delivery import SETTINGS, Bench
from volnux.telemetry import ElasticsearchPublisher, PublishError

pytestmark = pytest.mark.extras
HOUR, PERIOD = 3_600.0, 10.0


@pytest.mark.parametrize(
    "answer",
    [Answer(503, {}), Answer(429, {}, {"Retry-After": "7"}), Cut()],
    ids=["503", "429", "cut"],
)
def test_an_hour_by_the_clock_of_delivery(server, answer):
    """Records come all the time; when the server is back, each is there once, in its order."""
    bench = Bench(ElasticsearchPublisher(server.place, "a"), SETTINGS._replace(queue_items=10_000))
    begun, recorded = bench.time, 0
    arrived, tries = [], set()

    def take(request):
        tries.add(bench.time)
        if bench.time - begun < HOUR:
            return answer
        arrived.extend(document["task_id"] for document in request.documents)
        return all_created(request)

    server.usual = take
    while bench.time - begun < HOUR or bench.delivery.counts().pending:
        if bench.time - begun < HOUR:
            bench.put(*(f"{number:05}" for number in range(recorded, recorded + 1)))
            recorded += 1
        pause = bench.turn()
        delivered, dropped, pending = bench.counts  # which add up, every time
        assert (delivered + pending, dropped) == (recorded, {})
        bench.time += min(pause, PERIOD)
    assert sorted(arrived) == [f"{number:05}" for number in range(recorded)]
    assert recorded > 360
    assert len(tries) < 150


class Reset:
    """Part of an answer, and then a connection that is reset."""

    def send(self, handler):
        """Send it, and let the kernel say that there is nobody any more."""
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Elastic-Product: Elast")
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.close_connection = True
        handler.server.shutdown_request = lambda request: request.close()


@pytest.mark.parametrize(
    "answer",
    [
        Reset(),
        Cut(b"hello, world\r\n\r\n"),
        Cut(b"\x16\x03\x01\x00\x05nonsense"),
        Cut(b"HTTP/9.9 abc\r\n\r\n"),
    ],
    ids=["reset", "text", "bytes", "status"],
)
def test_what_is_no_answer(server, event, answer):
    """The record waits, and arrives at the next try."""
    server.script.append(answer)
    server.server.handle_error = lambda *args: None  # of the connection that was reset
    publisher = ElasticsearchPublisher(server.place, "a", request_timeout=5)
    with pytest.raises(PublishError) as caught:
        publisher.publish_batch([event])
    assert not caught.value.permanent
    assert publisher.publish_batch([event]) == ["ok"]
    publisher.close()


def test_a_redirection_leads_nowhere(server, event):
    """Records and credentials go where they were to go, and to nobody that a server names."""
    serving = Scripted(all_created).running()
    elsewhere = next(serving)
    server.script.append(Answer(307, {}, {"Location": f"http://{elsewhere.place}/_bulk"}))
    publisher = ElasticsearchPublisher(server.place, "a", basic_auth=("me", "pl4nted"))
    with pytest.raises(PublishError, match="307"):
        publisher.publish_batch([event])
    publisher.close()
    next(serving, None)
    assert elsewhere.requests == []
