"""`volnux doctor` where something is wrong: what it says, and that no secret is among it."""

from __future__ import annotations

import io
import json
import socket
import sys

import pytest

from tests.network._authority import Authority
from tests.publishers.scripted import Answer, Cut, Scripted, Trickle, all_created
from volnux.cli import main

pytestmark = pytest.mark.extras
SECRET = "pl4nted-s3cret"
VARIABLES = ("VOLNUX_DOCTOR_PASSWORD", "VOLNUX_DOCTOR_API_KEY", "OTEL_EXPORTER_OTLP_ENDPOINT")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch):
    for name in (*VARIABLES, "NO_COLOR", "FORCE_COLOR", "OTEL_EXPORTER_OTLP_HEADERS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """Who vouches for the servers here."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def doctor(capsys):
    """Calls it for JSON; returns its exit status and what it has found at the only back end."""

    def call(*words):
        status = main(["doctor", "--timeout", "1", "--json", *words])
        out = capsys.readouterr().out
        assert SECRET not in out
        (found,) = json.loads(out)["back_ends"]
        return status, found

    return call


def elasticsearch(request):
    """Answers as Elasticsearch does that takes everything, and finds and deletes it again."""
    if "/_bulk" in request.path:
        return all_created(request)
    if "/_search" in request.path:
        task = json.loads(request.body)["query"]["match"]["task_id"]
        hits = [{"_index": "a-doctor-event-2026.01.01", "_id": f"{task}-1"}]
        return Answer(body={"hits": {"hits": hits}})
    if "/_count" in request.path:
        return Answer(body={"count": 0})
    return Answer(405 if request.path == "/" else 200, {})


@pytest.fixture
def server():
    """A server that answers as Elasticsearch, unless its script says otherwise."""
    yield from Scripted(elasticsearch).running()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


def last(found):
    """The step that ended the visit, what was found there, and what helps."""
    return tuple(found["steps"][-1][name] for name in ("step", "detail", "cure"))


def test_all_is_well(doctor, server):
    """A marked document is written, found and deleted, its index too, and nothing else is touched."""
    status, found = doctor(f"http://{server.place}", "--index-prefix", "a")
    assert (status, found["ok"], found["kind"]) == (0, True, "elasticsearch")
    steps = [one["step"] for one in found["steps"]]
    assert steps == ["resolve", "connect", "answer", "write", "read", "clean"]
    (bulk,) = [one for one in server.requests if "/_bulk" in one.path]
    assert bulk.documents[0]["event_name"] == "volnux.doctor"
    assert bulk.lines[0]["create"]["_index"].startswith("a-doctor-event-")
    assert server.requests[-1].path == "/a-doctor-event-2026.01.01"


class TestTheWay:
    """Names, ports and certificates."""

    def test_a_name_that_nobody_knows(self, doctor):
        """And what is to be checked."""
        status, found = doctor("https://nowhere.invalid")
        assert status == 1
        assert last(found)[:2] == ("resolve", "the name nowhere.invalid is not known")

    def test_a_port_where_nobody_listens(self, doctor):
        """Likewise."""
        port = free_port()
        status, found = doctor(f"localhost:{port}")
        wanted = (
            "connect",
            f"nobody listens at port {port}",
            "start the server, or check the port",
        )
        assert (status, last(found)) == (1, wanted)

    @pytest.mark.parametrize(
        ("certificate", "detail", "cure"),
        [
            ("expired", "its certificate has expired", "renewed"),
            ("wrong-name", "its certificate is for another host", "localhost"),
            ("untrusted", "nobody vouches for its certificate that is trusted here", "--ca FILE"),
        ],
    )
    def test_a_certificate_that_is_not_in_order(self, doctor, authority, certificate, detail, cure):
        """Each has a name and a cure of its own; nothing was sent."""
        server = secure(Scripted(elasticsearch), authority.server_context(certificate))
        serving = server.running()
        next(serving)
        place = f"https://planted:{SECRET}@localhost:{server.place.rpartition(':')[2]}"
        status, found = doctor("--ca", authority.pem, place)
        next(serving, None)
        assert (status, *last(found)[:2]) == (1, "tls", detail)
        assert cure in last(found)[2]
        assert server.requests == []

    def test_a_certificate_that_is_in_order(self, doctor, authority):
        """By an authority of one's own."""
        server = secure(Scripted(elasticsearch), authority.server_context("good"))
        serving = server.running()
        next(serving)
        port = server.place.rpartition(":")[2]
        status, found = doctor("--ca", authority.pem, f"https://me:{SECRET}@localhost:{port}")
        next(serving, None)
        assert (status, found["ok"]) == (0, True)
        assert found["url"] == f"https://localhost:{port}"

    def test_tls_where_there_is_none(self, doctor, server):
        """The way out is the other scheme."""
        status, found = doctor(f"https://{server.place}")
        assert (status, last(found)[0]) == (1, "tls")
        assert "http://" in last(found)[2]

    @pytest.mark.parametrize("answer", [Trickle(), Cut(), Cut(b"garbage\r\n\r\n")])
    def test_what_never_answers(self, doctor, server, answer):
        """Nobody waits for it for longer than twice the timeout."""
        server.script += [answer] * 3
        status, found = doctor(f"elasticsearch+http://{server.place}")
        assert (status, last(found)[0]) == (1, "answer")
        assert "no answer" in last(found)[1]

    def test_what_says_nothing(self, doctor):
        """It listens, and that is all."""
        with socket.create_server(("127.0.0.1", 0)) as silent:
            status, found = doctor(f"127.0.0.1:{silent.getsockname()[1]}", "--timeout", "0.2")
        assert (status, *last(found)[:2]) == (1, "answer", "no answer within 0.2 s")


def secure(server, context):
    """Have a server speak TLS."""
    server.server.socket = context.wrap_socket(
        server.server.socket, server_side=True, do_handshake_on_connect=False
    )
    server.server.handle_error = lambda *args: None  # a client that has turned away
    return server


class TestAccounts:
    """Who is let in."""

    def test_a_password_from_the_environment(self, doctor, server, monkeypatch):
        """It is sent, and shown nowhere."""
        monkeypatch.setenv("VOLNUX_DOCTOR_PASSWORD", SECRET)
        status, _ = doctor(f"http://planted@{server.place}")
        assert status == 0
        wanted = "Basic cGxhbnRlZDpwbDRudGVkLXMzY3JldA=="
        assert {one.headers["authorization"] for one in server.requests} == {wanted}

    def test_a_key_from_the_environment(self, doctor, server, monkeypatch):
        """Likewise."""
        monkeypatch.setenv("VOLNUX_DOCTOR_API_KEY", SECRET)
        status, _ = doctor(f"http://{server.place}")
        assert status == 0
        assert {one.headers["authorization"] for one in server.requests} == {f"ApiKey {SECRET}"}

    def test_one_that_is_not_known(self, doctor, server):
        """The cure is how to say who one is."""
        server.script.append(Answer(401, {}, {"WWW-Authenticate": "ApiKey"}))
        status, found = doctor(f"http://planted:{SECRET}@{server.place}")
        assert (status, *last(found)[:2]) == (1, "answer", "401: it does not know who this is")
        assert "VOLNUX_DOCTOR_PASSWORD" in last(found)[2]

    def test_one_that_may_not_write(self, doctor, server):
        """The cure names the privileges; a server that repeats the secret is not quoted with it."""
        error = {"type": "security_exception", "reason": f"planted:{SECRET} may not"}
        server.script += [Answer(405, {}), Answer(403, {"error": error})]
        status, found = doctor(f"http://planted:{SECRET}@{server.place}")
        assert (status, last(found)[0]) == (1, "write")
        assert "create_doc" in last(found)[2]

    def test_one_that_may_only_write(self, doctor, server):
        """That is enough; what stays behind is said."""
        server.script += [Answer(405, {}), all_created, Answer(403, {})]
        status, found = doctor(f"http://{server.place}")
        assert (status, [one["ok"] for one in found["steps"]][3:]) == (0, [True, None, None])
        assert "stays" in last(found)[1]

    def test_credentials_in_the_clear(self, doctor, monkeypatch):
        """They are not sent to another machine."""
        monkeypatch.setattr(
            "volnux.cli._doctor_wire.Wire.connect", lambda self: "as if it were there"
        )
        monkeypatch.setattr("volnux.cli._doctor_wire.Wire.resolve", lambda self: "10.0.0.1")
        status, found = doctor(f"http://planted:{SECRET}@es.example:9200")
        wanted = ("answer", "credentials would be sent in the clear", "write https://")
        assert (status, last(found)) == (1, wanted)


class TestKinds:
    """What it is that answers."""

    METRICS = Answer(body=b"# TYPE volnux_events_total counter\nvolnux_events_total 1\n")

    def test_metrics(self, doctor, server):
        """They are read, and ours counted."""
        kind = {"Content-Type": "text/plain; version=0.0.4"}
        page = Answer(body=self.METRICS.body, headers={**kind, "X-Elastic-Product": ""})
        server.script += [page, page]
        status, found = doctor(f"prometheus+http://{server.place}")
        assert (status, last(found)[:2]) == (0, ("read", "1 metric, 1 of them volnux's"))

    def test_what_is_no_metrics(self, doctor, server):
        """It cannot be read."""
        server.usual = lambda request: Answer(body=b"{hello} world of mine {")
        status, found = doctor(f"prometheus+http://{server.place}")
        assert (status, last(found)[0]) == (1, "read")

    def test_what_nobody_knows(self, doctor):
        """The cure is to say what it is."""
        serving = Scripted(plain).running()
        server = next(serving)
        status, found = doctor(f"http://{server.place}")
        next(serving, None)
        assert (status, found["kind"], last(found)[1]) == (1, None, "no back end that is known")
        assert "--kind" in last(found)[2]

    def test_another_product(self, doctor):
        """What was said to be Elasticsearch and is none."""
        serving = Scripted(plain).running()
        server = next(serving)
        status, found = doctor("--kind", "elasticsearch", f"http://{server.place}")
        next(serving, None)
        assert (status, last(found)[1]) == (1, "what answers is no Elasticsearch")

    def test_a_redirection(self, doctor, server):
        """It is told, not followed."""
        server.script.append(Answer(302, {}, {"Location": "http://elsewhere/"}))
        status, found = doctor(f"elasticsearch+http://{server.place}")
        assert (status, last(found)[1]) == (1, "302: it sends elsewhere")

    def test_one_that_is_overloaded(self, doctor, server):
        """Its own trouble."""
        server.script.append(Answer(503, {}))
        status, found = doctor(f"elasticsearch+http://{server.place}")
        assert (status, last(found)[1]) == (1, "503: it cannot answer now")

    def test_a_document_that_is_not_found_again(self, doctor, server):
        """Written is not enough."""
        server.usual = lambda request: (
            Answer(body={"hits": {"hits": []}})
            if "/_search" in request.path
            else elasticsearch(request)
        )
        status, found = doctor(f"http://{server.place}", "--timeout", "0.3")
        assert (status, last(found)[0]) == (1, "read")

    def test_a_receiver_of_otlp(self, doctor, server):
        """What takes one of both signals is told which; what takes none is not well."""
        empty = {"Content-Type": "application/x-protobuf"}
        server.usual = lambda request: (
            Answer(404, {}) if "traces" in request.path else Answer(200, b"", empty)
        )
        status, found = doctor(f"otlp+http://{server.place}")
        assert [one["ok"] for one in found["steps"]][2:] == [None, True], found
        assert status == 0
        server.usual = lambda request: Answer(404, {})
        status, found = doctor(f"http://{server.place}/v1/traces")
        assert (status, found["kind"]) == (1, "otlp")


def plain(request):
    """What a web server answers that is something else."""
    headers = {"Content-Type": "text/html"}
    answer = Answer(404, b"<html>", headers)
    answer.send = lambda handler: _send(handler, answer)
    return answer


def _send(handler, answer):
    handler.send_response(answer.status)
    handler.send_header("Content-Type", "text/html")
    handler.send_header("Content-Length", str(len(answer.body)))
    handler.end_headers()
    handler.wfile.write(answer.body)


class TestUsage:
    """What it is given, and what it writes."""

    @pytest.mark.parametrize(
        "words",
        [
            [],
            ["ftp://host"],
            ["kafka+http://host"],
            ["http://"],
            ["host:port"],
            ["http://a b"],
            [f"ftp://planted:{SECRET}@host"],
            ["--kind", "kafka", "host"],
            ["--timeout", "0", "host"],
            ["--ca", "/nowhere.pem", "host"],
        ],
    )
    def test_bad_usage(self, words, capsys):
        """The exit status is 2, and what is said holds no secret."""
        assert main(["doctor", *words]) == 2
        assert SECRET not in capsys.readouterr().err

    def test_the_environment_names_a_back_end(self, doctor, monkeypatch):
        """As for OpenTelemetry's exporters."""
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://localhost:{free_port()}")
        status, found = doctor()
        assert (status, found["kind"], last(found)[0]) == (1, "otlp", "connect")

    def test_several(self, capsys, server):
        """All are visited, whatever becomes of one; plain text where there is no terminal."""
        away = f"http://localhost:{free_port()}"
        assert main(["doctor", away, f"http://{server.place}", "--timeout", "1"]) == 1
        out = capsys.readouterr().out
        assert out.splitlines()[-1] == "1 of 2 back ends well"
        assert "  ✗ connect  nobody listens" in out
        assert "  ✓ write    one document" in out
        assert "\033" not in out

    def test_a_stream_without_signs(self, monkeypatch):
        """They are written out where they cannot be encoded."""
        stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        monkeypatch.setattr(sys, "stdout", stream)
        assert main(["doctor", f"http://localhost:{free_port()}"]) == 1
        stream.seek(0)
        assert "  NOconnect" in stream.read().replace(" connect", "connect")
