"""`GrafanaCloudPublisher`: how it finds the stack, on a scripted copy of the API of grafana.com."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from base64 import b64encode
from pathlib import Path

import pytest

from tests.publishers.decoded import attributes_of, counts, pushes, spans, taken
from tests.publishers.scripted import Answer, Cut, Scripted, Trickle
from tests.workers import in_fork
from volnux.telemetry import (
    GrafanaCloudPublisher,
    OTLPPublisher,
    PublishError,
    Registry,
    monitor_events,
    traced_event,
)
from volnux.telemetry._notices import tell

pytestmark = pytest.mark.extras
ROOT = Path(__file__).parent.parent.parent
TOKEN = "glc_pl4nted"  # it opens nothing


class Cloud:
    """Answers as grafana.com does, and as the gateway of a stack, by what is in it.

    Attributes:
        stacks: number, slug and status of each.
    """

    def __init__(self):
        self.stacks = [(1234, "myorg", "active")]
        self.asked = []
        self.otlp = {"multiAZ": False, "url": None}

    def __call__(self, request):
        if request.path.startswith("/otlp/v1/"):
            return taken(request)
        self.asked.append((request.path, request.headers.get("authorization")))
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return Answer(401, {"message": "Invalid", "code": "InvalidCredentials"})
        path, _, query = request.path.partition("?")
        if path == "/api/orgs/myorg/instances":
            key, _, wanted = query.partition("=")
            place = {"": None, "id": 0, "slug": 1}[key]
            items = [
                {"id": one[0], "slug": one[1], "status": one[2], "url": "https://x"}
                for one in self.stacks
                if place is None or str(one[place]) == wanted
            ]
            return Answer(200, {"items": items, "total": len(items), "pages": 1, "page": 1})
        found = re.fullmatch(r"/api/v1/stacks/(\d+)/connections", path)
        if found and int(found[1]) in [one[0] for one in self.stacks]:
            return Answer(200, {"otlp": self.otlp, "tenants": []})
        return Answer(404, {"message": "Not Found", "code": "NotFound"})


@pytest.fixture
def cloud():
    """What is in the cloud."""
    return Cloud()


@pytest.fixture
def server(cloud, monkeypatch):
    """The server that is grafana.com, and the gateway of its stacks."""
    scripted = Scripted(cloud)
    cloud.otlp["url"] = f"http://{scripted.place}/otlp"
    monkeypatch.setattr(GrafanaCloudPublisher, "_api", f"http://{scripted.place}/api")
    yield from scripted.running()


def basic(number):
    """The header that a gateway wants."""
    return "Basic " + b64encode(f"{number}:{TOKEN}".encode()).decode()


def sent(server):
    """Path and credentials of what the gateway has got."""
    return {
        (one.path, one.headers["authorization"])
        for one in server.requests
        if one.path.startswith("/otlp")
    }


def fails(publisher, event, match):
    """The message of a batch that could not be sent, and the seconds until the next try."""
    with pytest.raises(PublishError, match=match) as caught:
        publisher.publish_batch([event])
    assert not caught.value.permanent
    assert TOKEN not in str(caught.value)
    publisher._sending.close()
    publisher._pushing.end()
    return str(caught.value), caught.value.retry_after


class TestFinding:
    """Where the stack is."""

    def test_the_only_stack(self, server, cloud, event):
        """Is found with two questions, once, and gets traces and metrics."""
        publisher = GrafanaCloudPublisher(TOKEN, "myorg")
        assert publisher.publish_batch([event]) == ["ok"]
        assert publisher.publish_batch([event]) == ["ok"]
        publisher.close(timeout=5)
        paths = [path for path, _ in cloud.asked]
        assert paths == ["/api/orgs/myorg/instances", "/api/v1/stacks/1234/connections"]
        wanted = {(f"/otlp/v1/{signal}", basic(1234)) for signal in ("traces", "metrics")}
        assert sent(server) == wanted
        assert {one.headers["content-encoding"] for one in server.requests[2:]} == {"gzip"}
        assert [one.name for one in spans(server)] == ["load", "load"]
        assert counts(pushes(server)[-1]) == {("load", "failed"): 2}

    def test_nothing_is_asked_when_it_is_made(self, server):
        """Nor by a program that records nothing."""
        publisher = GrafanaCloudPublisher(api_key=TOKEN, org_slug="myorg")
        with monitor_events([publisher], registry=Registry()) as monitor:
            assert monitor.flush(timeout=5)
        assert server.requests == []

    @pytest.mark.parametrize("stack", ["two", "22", 22])
    def test_one_of_several(self, server, cloud, event, stack):
        """By its name or its number."""
        cloud.stacks += [(22, "two", "active")]
        publisher = GrafanaCloudPublisher(TOKEN, "myorg", stack=stack, signals="traces")
        publisher.publish_batch([event])
        publisher.close()
        assert sent(server) == {("/otlp/v1/traces", basic(22))}

    def test_several_and_none_is_named(self, server, cloud, event):
        """The error lists them, and says what to give."""
        cloud.stacks += [(22, "two", "paused"), (3, "gone", "deleted")]
        told, pause = fails(GrafanaCloudPublisher(TOKEN, "myorg"), event, "several stacks")
        assert told.endswith("give stack= one of myorg, two")
        assert pause == 60

    @pytest.mark.parametrize(
        ("stacks", "stack", "match"),
        [([], None, "has no stack, or"), ([(1, "a", "active")], "b", "has no stack b, or")],
    )
    def test_none(self, server, cloud, event, stacks, stack, match):
        """A token that may not see them looks the same, so that is said as well."""
        cloud.stacks[:] = stacks
        told, _ = fails(GrafanaCloudPublisher(TOKEN, "myorg", stack=stack), event, match)
        assert "stacks:read" in told

    def test_a_number_that_json_has_as_a_fraction(self, server, cloud, event):
        """The API calls it a number, and is free to write 1234.0."""
        cloud.stacks[:] = [(1234.0, "myorg", "active")]
        publisher = GrafanaCloudPublisher(TOKEN, "myorg", signals="traces")
        publisher.publish_batch([event])
        publisher.close()
        assert sent(server) == {("/otlp/v1/traces", basic(1234))}

    @pytest.mark.parametrize("code", [401, 403])
    def test_a_token_that_may_not_ask(self, server, event, code):
        """The error says what to give instead, and where that stands."""
        server.script.append(Answer(code, {"message": "no", "code": "Forbidden"}))
        told, pause = fails(GrafanaCloudPublisher(TOKEN, "myorg"), event, str(code))
        shown = tell(PublishError(told))  # as the log has it: without secrets, and cut
        for part in (
            "endpoint=",
            "instance_id=",
            "OpenTelemetry card",
            "OTEL_EXPORTER_OTLP_HEADERS",
        ):
            assert part in shown
        assert pause == 60

    def test_an_organization_that_is_not_there(self, server, event):
        """Its name is what to look at."""
        fails(GrafanaCloudPublisher(TOKEN, "other"), event, "check org_slug=")

    @pytest.mark.parametrize(
        ("answer", "match"),
        [
            (Answer(500, b""), "answers 500"),
            (Answer(302, b"", {"Location": "http://127.0.0.1:1/"}), "answers 302"),
            (Answer(200, b"<html>"), "not understood"),
            (Answer(200, []), "not understood"),
            (Answer(200, {"items": [1]}), "not understood"),
            (Cut(), "no answer"),
        ],
    )
    def test_answers_that_help_nobody(self, server, event, answer, match):
        """The records wait."""
        server.script.append(answer)
        fails(GrafanaCloudPublisher(TOKEN, "myorg"), event, match)

    def test_an_answer_that_never_ends(self, server, event):
        """Is waited for as long as two requests may take, twice over."""
        server.script.append(Trickle())
        publisher = GrafanaCloudPublisher(TOKEN, "myorg", timeout=0.1)
        fails(publisher, event, "no answer of grafana.com within 0.4 s")

    def test_retry_after(self, server, event):
        """Is obeyed."""
        server.script.append(Answer(429, b"", {"Retry-After": "7"}))
        assert fails(GrafanaCloudPublisher(TOKEN, "myorg"), event, "429")[1] == 7

    @pytest.mark.parametrize("otlp", [None, {"multiAZ": False}, {"url": ""}])
    def test_a_stack_without_an_address(self, server, cloud, event, otlp):
        """What can be given instead is said."""
        cloud.otlp = otlp
        fails(GrafanaCloudPublisher(TOKEN, "myorg"), event, "give endpoint= and instance_id=")

    def test_an_address_in_the_clear(self, server, cloud, event):
        """The token is not sent there, whoever says so."""
        cloud.otlp["url"] = "http://otlp.example/otlp"
        fails(GrafanaCloudPublisher(TOKEN, "myorg"), event, "cannot be used: authorization would")

    def test_an_outage_is_waited_out(self, server, event):
        """Asking is part of an attempt, and the next one asks again."""
        server.script.append(Answer(503, b""))
        publisher = GrafanaCloudPublisher(TOKEN, "myorg", signals="traces")
        with pytest.raises(PublishError, match="answers 503"):
            publisher.publish_batch([event])
        assert publisher.publish_batch([event]) == ["ok"]
        publisher.close()


class TestGiven:
    """What need not be asked."""

    def test_endpoint_and_instance(self, server, cloud, event):
        """Nothing is asked at all."""
        publisher = GrafanaCloudPublisher(
            TOKEN, "myorg", endpoint=f"http://{server.place}/otlp", instance_id=77
        )
        publisher.publish_batch([event])
        publisher.close(timeout=5)
        assert cloud.asked == []
        assert {credentials for _, credentials in sent(server)} == {basic(77)}

    @pytest.mark.parametrize("given", ["endpoint", "instance_id"])
    def test_one_of_them(self, server, event, given):
        """The other is asked for."""
        values = {"endpoint": f"http://{server.place}/otlp", "instance_id": "77"}
        publisher = GrafanaCloudPublisher(
            TOKEN, "myorg", signals="traces", **{given: values[given]}
        )
        publisher.publish_batch([event])
        publisher.close()
        number = 1234 if given == "endpoint" else 77
        assert sent(server) == {("/otlp/v1/traces", basic(number))}

    def test_the_variables_of_opentelemetry(self, server, cloud, event, monkeypatch):
        """As the card of a stack shows them: address and credentials."""
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://{server.place}/otlp")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Basic%20Y2FyZA==")
        publisher = GrafanaCloudPublisher(TOKEN, "myorg", signals="traces")
        publisher.publish_batch([event])
        publisher.close()
        assert cloud.asked == []
        assert sent(server) == {("/otlp/v1/traces", "Basic Y2FyZA==")}

    def test_an_address_without_credentials_is_somebody_elses(self, server, event, monkeypatch):
        """The token is not sent to a collector that is named for other exporters."""
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:1/other")
        publisher = GrafanaCloudPublisher(TOKEN, "myorg", signals="traces")
        publisher.publish_batch([event])
        publisher.close()
        assert sent(server) == {("/otlp/v1/traces", basic(1234))}

    @pytest.mark.parametrize(
        ("given", "error"),
        [
            ({"api_key": ""}, ValueError),
            ({"api_key": "s3cret\n"}, ValueError),
            ({"api_key": " s3cret"}, ValueError),
            ({"api_key": b"s3cret"}, TypeError),
            ({"org_slug": None}, TypeError),
            ({"endpoint": "http://otlp.example"}, ValueError),
            ({"endpoint": "http://otlp.example", "instance_id": 1}, ValueError),
            ({"interval": 0}, ValueError),
        ],
    )
    def test_arguments_that_cannot_be(self, given, error):
        """A set-up mistake raises at once, and shows no secret."""
        with pytest.raises(error) as caught:
            GrafanaCloudPublisher(**{"api_key": TOKEN, "org_slug": "myorg", **given})
        assert "s3cret" not in str(caught.value)
        assert TOKEN not in str(caught.value)

    def test_it_shows_no_secret(self, server):
        """Only whose it is."""
        publisher = GrafanaCloudPublisher(
            TOKEN, "myorg", endpoint="https://a.example", instance_id=1
        )
        assert repr(publisher) == "GrafanaCloudPublisher('myorg')"
        assert isinstance(publisher, OTLPPublisher)

    def test_a_gateway_that_lets_nobody_in(self, server, event):
        """The message names the scopes and the number."""
        server.script.append(Answer(401, {"message": f"no: {basic(1)}"}))
        publisher = GrafanaCloudPublisher(
            TOKEN, "myorg", endpoint=f"http://{server.place}/otlp", instance_id=1
        )
        told, _ = fails(publisher, event, "metrics:write and traces:write")
        assert "OpenTelemetry card" in tell(PublishError(told))
        assert basic(1) not in told

    def test_a_process_of_its_own(self, server, event):
        """As after a fork: nothing is counted yet, and everything is sent as another instance."""
        publisher = GrafanaCloudPublisher(
            TOKEN, "myorg", endpoint=f"http://{server.place}/otlp", instance_id=1
        )
        publisher.publish_batch([event])
        publisher.flush(timeout=5)
        publisher._pushing.end()
        publisher._sending.close()
        publisher._after_fork()
        publisher.publish_batch([event])
        publisher.close(timeout=5)
        first, second = pushes(server)
        assert counts(first) == counts(second) == {("load", "failed"): 1}
        instances = [
            attributes_of(one.resource_metrics[0].resource)["service.instance.id"]
            for one in (first, second)
        ]
        assert len(set(instances)) == 2

    def test_a_fork_need_not_ask_again(self, server, cloud):
        """It sends for itself to where its parent does."""
        publisher = GrafanaCloudPublisher(TOKEN, "myorg", signals="traces")
        with monitor_events([publisher], registry=Registry()) as monitor:
            with traced_event("parent"):
                pass
            assert monitor.flush(timeout=30)

            def child():
                with traced_event("child"):
                    pass
                return monitor.flush(timeout=30)

            assert in_fork(child)
        assert {one.name for one in spans(server)} == {"parent", "child"}
        assert len(cloud.asked) == 2


def blocks():
    """The Python blocks of the requirement."""
    text = (ROOT / "docs/telemetry.rst").read_text("utf-8")
    found = re.findall(r"code-block:: python\n\n((?: +[^\n]*\n|\n)+)", text)
    return [textwrap.dedent(one) for one in found]


def run(program, server, folder):
    """Run a program of the requirement, whose grafana.com is the scripted one."""
    start = (
        "from volnux.telemetry import *\n"
        f"GrafanaCloudPublisher._api = 'http://{server.place}/api'\n"
    )
    work = "\nwith traced_event('work'): pass\n"
    (folder / "page.py").write_text(start + program + work, "utf-8")
    environment = {**os.environ, "VOLNUX_EXIT_TIMEOUT": "20"}
    command = [sys.executable, "-W", "error", "page.py"]
    subprocess.run(command, cwd=folder, env=environment, check=True, timeout=60)


def test_the_requirement_runs_as_written(server, cloud, tmp_path):
    """With its token and its organization, as they stand there."""
    (block,) = [one for one in blocks() if "GrafanaCloudPublisher(" in one]
    program = block.replace("your-api-key", TOKEN).replace("your-org", "myorg")
    run(program, server, tmp_path)
    assert [one.name for one in spans(server)] == ["work"]
    assert counts(pushes(server)[-1]) == {("work", "completed"): 1}


def test_the_composite_of_the_requirement_runs_as_written(server, cloud, tmp_path):
    """All three of its publishers get the record, each on its own way, and once: they were switched on before."""
    wanted = (
        "ElasticsearchPublisher(",
        "PrometheusPublisher(",
        "GrafanaCloudPublisher(",
        "CompositePublisher(",
    )
    chosen = [next(one for one in blocks() if part in one) for part in wanted]
    made = "\n".join(chosen).replace("localhost:9200", server.place).replace("9090", "0")
    made = made.replace("your-api-key", TOKEN).replace("your-org", "myorg")
    answer = server.usual

    def usual(request):
        if request.path.startswith("/_bulk"):
            items = [{"create": {"status": 201}} for _ in request.documents]
            return Answer(200, {"errors": False, "items": items})
        return answer(request)

    server.usual = usual
    run(made, server, tmp_path)
    assert [one.name for one in spans(server)] == ["work"]
    bulks = [one for one in server.requests if one.path.startswith("/_bulk")]
    assert [one["event_name"] for bulk in bulks for one in bulk.documents] == ["work"]
