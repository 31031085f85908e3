"""`ElasticsearchPublisher`: what it sends, and what it makes of answers that a real server seldom gives."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from email.utils import formatdate

import pytest

from tests.publishers.scripted import Answer, Cut, Trickle, all_created, items
from volnux.telemetry import (
    ElasticsearchPublisher,
    PublishError,
    Registry,
    monitor_events,
    network_op,
    traced_event,
)
from volnux.telemetry.formats._elasticsearch import index_template

pytestmark = pytest.mark.extras


@pytest.fixture
def publisher(server):
    """A publisher to the scripted server."""
    publisher = ElasticsearchPublisher([server.place], "pipeline-metrics", request_timeout=5)
    yield publisher
    publisher.close()


class TestDocuments:
    """What is written."""

    def test_an_event(self, publisher, server, event):
        """All that the record says, by its own names, and the exact fields of ECS."""
        assert publisher.publish_batch([event]) == ["ok"]
        (request,) = server.requests
        action, document = request.lines
        assert request.path.startswith("/_bulk?")
        assert action == {
            "create": {
                "_index": "pipeline-metrics-event-2026.01.03",
                "_id": f"00000000000000ab-{1_767_398_399_500_000:x}",
            }
        }
        record = {key: value for key, value in event.to_dict().items() if value is not None}
        del record["kind"]
        assert document == record | {
            "@timestamp": "2026-01-03T00:00:00.500000Z",
            "event.action": "load",
            "event.dataset": "volnux.event",
            "event.duration": 1_000_000_001,
            "event.kind": "event",
            "event.outcome": "failure",
        }

    def test_what_a_record_does_not_say_is_left_out(self, publisher, server, event):
        """So is the only attempt of what was tried once, which says what the event says."""
        plain = type(event)(event_name="a", task_id="1", attempts=event.attempts[1:])
        publisher.publish_event_metrics(plain)
        (document,) = server.requests[0].documents
        left_out = {"error", "error_type", "parent_id", "attributes", "attempts", "items"}
        assert left_out.isdisjoint(document)

    def test_a_network_operation(self, publisher, server, operation):
        """Under its own index, with the bytes each way."""
        publisher.publish_network_metrics(operation.to_dict())
        action, document = server.requests[0].lines
        assert action["create"]["_index"] == "pipeline-metrics-network-2026.01.02"
        wanted = {
            "host": "db.internal",
            "latency": 0.25,
            "event.action": "query",
            "event.duration": 250_000_000,
            "event.outcome": "success",
            "bytes_sent": 10,
            "bytes_received": 2_000,
            "network.bytes": 2_010,
        }
        assert {name: document[name] for name in wanted} == wanted

    def test_the_service_is_named(self, server, event, monkeypatch):
        """By the argument, or by the variable that OpenTelemetry's tools read."""
        monkeypatch.setenv("OTEL_SERVICE_NAME", "nightly")
        ElasticsearchPublisher(server.place, "a").publish_event_metrics(event)
        ElasticsearchPublisher(server.place, "a", service_name="b").publish_event_metrics(event)
        assert [one.documents[0]["service.name"] for one in server.requests] == ["nightly", "b"]

    def test_text_that_is_no_text_is_written_all_the_same(self, publisher, server, event):
        """Half a surrogate pair cannot be encoded, and must not keep the others waiting."""
        odd = type(event)(event_name="a\udc80b", task_id="1", end_time=1.0, error="€")
        assert publisher.publish_batch([odd, event]) == ["ok", "ok"]
        assert server.requests[0].documents[0]["error"] == "€"

    def test_every_field_of_a_document_is_mapped(self, publisher, server, event, operation):
        """No field is left to the server's guess, and none is mapped that no document has."""
        whole = type(event)(
            **{name: getattr(event, name) for name in event._fields}
            | {"error_origin": "1", "active_time": 1.0, "items": 1, "time_to_first_item": 1.0}
        )
        failed = type(operation)(
            **{name: getattr(operation, name) for name in operation._fields}
            | {
                "error": "x",
                "error_type": "x",
                "parent_id": "1",
                "trace_id": "1",
                "pipeline_id": "1",
            }
        )
        publisher._service = "a"
        publisher.publish_batch([whole, failed])
        first, second = server.requests[0].documents
        mappings = index_template("a", is_data_stream=False)["template"]["mappings"]
        properties = mappings["properties"]
        real = {name for name, kind in properties.items() if kind["type"] != "alias"}
        assert {*first, *second} == real


class TestVerdicts:
    """What a server says of single documents."""

    @pytest.mark.parametrize(
        ("status", "verdict"),
        [
            *[(200, "ok"), (201, "ok"), (409, "duplicate")],
            *[(429, "retry"), (500, "retry"), (503, "retry")],
            *[(400, "reject"), (403, "reject"), (404, "reject")],
        ],
    )
    def test_of_a_status(self, publisher, server, event, status, verdict):
        """Taken, there already, no room just now, or refused."""
        server.script.append(items(201, status))
        assert publisher.publish_batch([event, event]) == ["ok", verdict]

    def test_only_what_had_no_room_comes_again(self, server):
        """A mixed answer: what arrived is not sent twice, what was refused not at all."""
        server.script += [items(201, 429, 400, 409), items(201)]
        registry = Registry()
        with monitor_events(
            [ElasticsearchPublisher(server.place, "a")], registry=registry, interval=3600
        ) as monitor:
            for number in range(4):
                with traced_event(f"step {number}"):
                    pass
            monitor.flush(timeout=30)
            counts = monitor.health().publishers["ElasticsearchPublisher"]
        assert counts["dropped"] == {"rejected": 1}
        assert (counts["accepted"], counts["delivered"], counts["pending"]) == (4, 3, 0)
        sent = [[one["event_name"] for one in each.documents] for each in server.requests]
        assert sent == [["step 0", "step 1", "step 2", "step 3"], ["step 1"]]

    def test_of_one_record(self, publisher, server, event):
        """Called for a single record, it says by an error what is not well."""
        server.script += [items(429), items(400), items(409)]
        with pytest.raises(PublishError, match="no room") as caught:
            publisher.publish_event_metrics(event)
        assert not caught.value.permanent
        with pytest.raises(PublishError, match="refused") as caught:
            publisher.publish_event_metrics(event)
        assert caught.value.permanent
        publisher.publish_event_metrics(event)

    def test_of_many_requests_at_once(self, publisher, server, event):
        """A large batch goes in several requests, and each record has the verdict of its own."""
        records = [type(event)(event_name=str(number), task_id="1") for number in range(2_600)]
        server.usual = lambda request: items(
            *(400 if one["event_name"] == "1234" else 201 for one in request.documents)
        )
        verdicts = publisher.publish_batch(records)
        assert [place for place, verdict in enumerate(verdicts) if verdict != "ok"] == [1234]
        assert sorted(len(one.documents) for one in server.requests) == [100, *[500] * 5]

    @pytest.mark.parametrize(
        "body",
        [b"", b"<html>", [], {}, {"items": None}, {"items": []}, {"items": [{}]}, {"items": [1]}],
    )
    def test_what_is_no_answer_is_an_outage(self, publisher, server, event, body):
        """Whatever a broken proxy says, the records stay."""
        server.script.append(Answer(body=body))
        with pytest.raises(PublishError) as caught:
            publisher.publish_batch([event])
        assert not caught.value.permanent


class TestWholeAnswers:
    """What a server says of a whole request."""

    @pytest.mark.parametrize("status", [404, 405, 408, 429, 500, 502, 503, 504, 302])
    def test_an_outage_is_waited_out(self, publisher, server, event, status):
        """Nothing is given up, and each attempt is one request: the client retries nothing by itself."""
        server.script.append(Answer(status, {"error": "busy"}))
        with pytest.raises(PublishError, match=f"{status}: busy") as caught:
            publisher.publish_batch([event])
        assert not caught.value.permanent
        assert len(server.requests) == 1

    def test_retry_after_in_seconds(self, publisher, server, event):
        """It is handed on to delivery, which obeys it."""
        server.script.append(Answer(429, {}, {"Retry-After": "17"}))
        with pytest.raises(PublishError) as caught:
            publisher.publish_batch([event])
        assert caught.value.retry_after == 17

    def test_retry_after_as_a_date(self, publisher, server, event):
        """A date is as good; one that has passed asks for no wait."""
        for seconds, most in ((3600, 3600), (-3600, 0)):
            date = formatdate(time.time() + seconds, usegmt=True)
            server.script.append(Answer(503, {}, {"Retry-After": date}))
            with pytest.raises(PublishError) as caught:
                publisher.publish_batch([event])
            assert most - 60 <= caught.value.retry_after <= most

    @pytest.mark.parametrize("text", ["soon", "-5", "", "1e999"])
    def test_retry_after_that_says_nothing(self, publisher, server, event, text):
        """It is passed over, by us or by delivery."""
        server.script.append(Answer(503, {}, {"Retry-After": text}))
        with pytest.raises(PublishError):
            publisher.publish_batch([event])

    @pytest.mark.parametrize("status", [401, 403])
    def test_an_account_that_may_not_write(self, publisher, server, event, status):
        """The message says what is needed; it is tried again a minute later, not at once."""
        error = {"type": "security_exception", "reason": "action is unauthorized"}
        server.script.append(Answer(status, {"error": error}))
        with pytest.raises(PublishError, match="create_doc and auto_configure") as caught:
            publisher.publish_batch([event])
        assert caught.value.retry_after == 60
        assert "security_exception: action is unauthorized" in str(caught.value)

    def test_a_server_older_than_the_client(self, publisher, server, event):
        """The message is the command that helps."""
        reason = "Accept version must be either version 8 or 7, but found 9"
        error = {"type": "media_type_header_exception", "reason": reason}
        server.script.append(Answer(400, {"error": error}))
        with pytest.raises(PublishError, match="pip install 'elasticsearch<"):
            publisher.publish_batch([event])

    def test_what_is_no_elasticsearch(self, publisher, server, event):
        """The client insists on the product; the message says what else can be done."""
        server.script.append(Answer(200, {"items": []}, {"X-Elastic-Product": "Other"}))
        with pytest.raises(PublishError, match="client="):
            publisher.publish_batch([event])

    def test_a_fault_of_the_records_is_no_outage(self, publisher, server, event):
        """Any other 400 speaks of what was sent: delivery then looks for the record to blame."""
        server.script.append(Answer(400, {"error": {"type": "parse_exception", "reason": "?"}}))
        with pytest.raises(Exception, match="parse_exception") as caught:
            publisher.publish_batch([event])
        assert not isinstance(caught.value, (PublishError, OSError))


class TestSizes:
    """Requests that are too large."""

    @staticmethod
    def at_most(limit):
        """What a server answers that takes so many documents at once."""
        return lambda request: (
            Answer(413, {"error": "too large"})
            if len(request.documents) > limit
            else all_created(request)
        )

    def test_a_request_is_halved(self, publisher, server, event):
        """Until the server takes it; every document arrives once."""
        server.usual = self.at_most(2)
        assert publisher.publish_batch([event] * 7) == ["ok"] * 7
        taken = [one for one in server.requests if len(one.documents) <= 2]
        assert sum(len(one.documents) for one in taken) == 7

    def test_the_next_one_is_smaller_from_the_start(self, publisher, server, event):
        """What was learned is not asked again."""
        server.usual = self.at_most(2)
        publisher.publish_batch([event] * 4)
        server.requests.clear()
        assert publisher.publish_batch([event] * 4) == ["ok"] * 4
        assert all(len(one.documents) <= 2 for one in server.requests)

    def test_a_single_document_that_is_too_large_is_refused(self, publisher, server, event):
        """It is given up, and the others go."""
        large = type(event)(event_name="large", task_id="1", end_time=1.0, error="x" * 5_000)
        server.usual = lambda request: (
            Answer(413) if len(request.body) > 5_000 else all_created(request)
        )
        assert publisher.publish_batch([event, large, event]) == ["ok", "reject", "ok"]

    def test_a_limit_of_ones_own(self, server, event):
        """`max_request_bytes` splits before the server has to say so; one document always goes."""
        publisher = ElasticsearchPublisher(server.place, "a", max_request_bytes=1)
        assert publisher.publish_batch([event] * 3) == ["ok"] * 3
        assert [len(one.documents) for one in server.requests] == [1, 1, 1]

    def test_what_arrived_before_an_outage_has_arrived(self, server, event):
        """What did not comes again, and nothing else."""
        publisher = ElasticsearchPublisher(server.place, "a", max_request_bytes=1)
        server.script += [all_created, Answer(503)]
        assert sorted(publisher.publish_batch([event] * 3)) == ["ok", "ok", "retry"]


class TestConnections:
    """Where there is no answer at all."""

    @pytest.mark.parametrize(
        "cut",
        [Cut(), Cut(b"HTTP/1.1 200 OK\r\n"), Cut(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{")],
    )
    def test_that_end_in_the_middle(self, publisher, server, event, cut):
        """An outage, and no word of the address in the message."""
        server.script.append(cut)
        with pytest.raises(PublishError, match=r"no answer|no Elasticsearch") as caught:
            publisher.publish_batch([event])
        assert server.place not in str(caught.value)

    def test_that_hang(self, server, event):
        """A request takes no longer than it may."""
        with socket.create_server(("127.0.0.1", 0)) as silent:
            place = f"127.0.0.1:{silent.getsockname()[1]}"
            publisher = ElasticsearchPublisher(place, "a", request_timeout=0.1)
            with pytest.raises(PublishError, match="ConnectionTimeout"):
                publisher.publish_batch([event])

    def test_that_trickle(self, server, event):
        """A server that sends a little now and then is as good as one that hangs, and left alone."""
        publisher = ElasticsearchPublisher(server.place, "a", request_timeout=0.3)
        server.script.append(Trickle())
        with pytest.raises(PublishError, match=r"no answer within 0\.6 s"):
            publisher.publish_batch([event])
        assert publisher.publish_batch([event]) == ["ok"]

    def test_to_one_of_several_hosts(self, server, event):
        """While one is away, an attempt or two later the other has the record."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            away = f"127.0.0.1:{listening.getsockname()[1]}"
        publisher = ElasticsearchPublisher([away, server.place], "a")
        outcomes = []
        for _ in range(3):
            try:
                outcomes += publisher.publish_batch([event])
            except PublishError:
                outcomes.append("away")
        assert outcomes.count("ok") >= 2

    def test_that_are_refused(self, event):
        """The records wait for it."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            place = f"127.0.0.1:{listening.getsockname()[1]}"
        with pytest.raises(PublishError, match="no answer: ConnectionError"):
            ElasticsearchPublisher(place, "a").publish_batch([event])

    @pytest.mark.parametrize("records", [10, 2_000])
    def test_that_hang_do_not_keep_a_program_from_ending(self, records, tmp_path):
        """The end of the process waits as long as it was told to, and for no request."""
        program = f"""
import sys
from volnux.telemetry import ElasticsearchPublisher, monitor_events, traced_event
monitor_events([ElasticsearchPublisher(sys.argv[1], "a", request_timeout=60)], interval=0.01)
for _ in range({records}):
    with traced_event("step"):
        pass
"""
        environment = {**os.environ, "VOLNUX_EXIT_TIMEOUT": "0.5"}
        with socket.create_server(("127.0.0.1", 0)) as silent:
            place = f"127.0.0.1:{silent.getsockname()[1]}"
            command = [sys.executable, "-c", program, place]
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=30, check=True
            )
        assert f"lost {records} records" in done.stderr


class TestSetUp:
    """Arguments, and what is wrong with them."""

    @pytest.mark.parametrize(
        ("host", "url"),
        [
            ("localhost:9200", "http://localhost:9200"),
            ("localhost", "http://localhost:9200"),
            ("127.0.0.1:19200", "http://127.0.0.1:19200"),
            ("[::1]:9200", "http://[::1]:9200"),
            ("es.internal:9200", "https://es.internal:9200"),
            ("es.internal", "https://es.internal:9200"),
            ("http://es.internal", "http://es.internal:80"),
            ("https://es.example/path/", "https://es.example:443/path"),
        ],
    )
    def test_a_host(self, host, url):
        """Without a scheme: this machine is spoken to by http, any other by https."""
        assert url in repr(ElasticsearchPublisher([host], "a"))

    @pytest.mark.parametrize(
        "hosts", [None, [], "", ["a b"], ["ftp://a"], ["a:port"], ["http://"], ["http://a?b=c"]]
    )
    def test_what_is_no_host(self, hosts):
        """It is said at once, and what one looks like."""
        with pytest.raises(ValueError, match="hosts"):
            ElasticsearchPublisher(hosts, "a")

    @pytest.mark.parametrize("given", [{"api_key": "secret"}, {"basic_auth": ("user", "secret")}])
    def test_credentials_do_not_travel_in_the_clear(self, given):
        """Not to another machine; the message names the ways out and not the secret."""
        with pytest.raises(ValueError, match="https://") as caught:
            ElasticsearchPublisher("http://es.internal:9200", "a", **given)
        assert "secret" not in str(caught.value)
        assert ElasticsearchPublisher("es.internal", "a", **given)
        assert ElasticsearchPublisher("localhost", "a", **given)

    def test_credentials_in_a_url(self, server, event):
        """They prove who one is, and appear nowhere else."""
        publisher = ElasticsearchPublisher(f"http://user:p%40ss@{server.place}", "a")
        publisher.publish_batch([event])
        assert server.requests[0].headers["authorization"] == "Basic dXNlcjpwQHNz"
        assert "p%40ss" not in repr(publisher)
        assert "p@ss" not in repr(publisher)

    def test_an_api_key(self, server, event):
        """As a header of its scheme."""
        ElasticsearchPublisher(server.place, "a", api_key="a2V5").publish_batch([event])
        assert server.requests[0].headers["authorization"] == "ApiKey a2V5"

    @pytest.mark.parametrize(
        "given",
        [
            {"api_key": "a", "basic_auth": ("a", "b")},
            {"mode": "weekly"},
            {"request_timeout": 0},
            {"request_timeout": float("inf")},
            {"max_request_bytes": -1},
            {"client": object()},
        ],
    )
    def test_arguments_that_do_not_go_together(self, given):
        """A set-up mistake raises at once."""
        with pytest.raises(ValueError, match=r"api_key|mode|request_timeout|max_request|client="):
            ElasticsearchPublisher("localhost", "a", **given)

    @pytest.mark.parametrize("prefix", ["", "Upper", "a b", "_a", "-a", "a*", "a/b", "a" * 201])
    def test_what_is_no_name_of_an_index(self, prefix):
        """The server would refuse each document."""
        with pytest.raises(ValueError, match="index_prefix"):
            ElasticsearchPublisher("localhost", prefix)

    @pytest.mark.parametrize("prefix", ["metrics", "logs", "metrics-pipeline", "traces"])
    def test_a_name_that_is_taken(self, prefix):
        """Templates that come with the server would make data streams of such indices."""
        with pytest.raises(ValueError, match="comes with Elasticsearch"):
            ElasticsearchPublisher("localhost", prefix)

    @pytest.mark.parametrize(
        "arguments",
        [{"hosts": 9200}, {"hosts": [None]}, {"index_prefix": 1}, {"request_timeout": "1"}],
    )
    def test_arguments_of_another_type(self, arguments):
        """Likewise."""
        with pytest.raises(TypeError):
            ElasticsearchPublisher(**{"hosts": "localhost", "index_prefix": "a", **arguments})

    def test_accounts_in_several_places(self):
        """All hosts have one account, given once."""
        for hosts, given in (
            (["http://a:b@localhost", "http://c:d@localhost:9201"], {}),
            (["http://a:b@localhost"], {"basic_auth": ("a", "b")}),
        ):
            with pytest.raises(ValueError, match="one account"):
                ElasticsearchPublisher(hosts, "a", **given)

    def test_a_client_of_ones_own(self, server, event):
        """It is used as it is, and stays open."""
        from elasticsearch import Elasticsearch

        with Elasticsearch(f"http://{server.place}") as client:
            publisher = ElasticsearchPublisher(client=client, index_prefix="a")
            publisher.publish_batch([event])
            publisher.close()
            assert client.bulk(operations=[{"create": {}}, {}]).body["items"]
        assert repr(publisher) == "ElasticsearchPublisher(client=..., 'a')"

    def test_the_traffic_of_the_publisher_is_nobodys(self, server):
        """What it sends to the server is no network operation of the program's."""
        from volnux.telemetry import instrument, uninstrument

        registry = Registry()
        instrument("urllib3")
        try:
            publisher = ElasticsearchPublisher(server.place, "a")
            with monitor_events([publisher], registry=registry), network_op("h", 1):
                pass
        finally:
            uninstrument("urllib3")
        assert [one.host for one in registry.network_ops()] == ["h"]
        assert len(server.requests) == 1


class TestTemplates:
    """`setup_templates`."""

    def test_it_is_installed_under_the_prefix(self, publisher, server):
        """For both kinds of indices, and before those that come with the server."""
        server.script.append(Answer(body={"acknowledged": True}))
        publisher.setup_templates()
        (request,) = server.requests
        body = json.loads(request.body)
        assert request.path == "/_index_template/pipeline-metrics"
        assert body["index_patterns"] == ["pipeline-metrics-event-*", "pipeline-metrics-network-*"]
        assert body["priority"] > 200
        assert "data_stream" not in body

    def test_for_data_streams(self, server, event):
        """One stream for each kind, which must exist or have a template."""
        publisher = ElasticsearchPublisher(server.place, "a", mode="data_stream")
        server.script.append(Answer(body={"acknowledged": True}))
        publisher.setup_templates()
        publisher.publish_batch([event])
        template, bulk = server.requests
        body = json.loads(template.body)
        assert (body["index_patterns"], body["data_stream"]) == (["a-event", "a-network"], {})
        action = bulk.lines[0]["create"]
        assert (action["_index"], action["require_data_stream"]) == ("a-event", True)

    def test_an_account_that_may_not(self, publisher, server):
        """The message is the server's."""
        server.script.append(Answer(403, {"error": {"type": "security", "reason": "no"}}))
        with pytest.raises(PublishError, match="security: no"):
            publisher.setup_templates()

    def test_a_template_that_is_refused(self, publisher, server):
        """So is that."""
        server.script.append(Answer(400, {"error": {"type": "illegal", "reason": "no"}}))
        with pytest.raises(PublishError, match="refused the template: illegal: no"):
            publisher.setup_templates()
