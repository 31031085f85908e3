"""`volnux doctor` at real servers: it finds them well, leaves nothing behind, and names what is wrong."""

from __future__ import annotations

import json
import re
from importlib.metadata import version
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.services.fixtures import (  # noqa: F401  # fixtures
    collector,
    elasticsearch,
    elasticsearch8,
    elasticsearch_tls,
    prometheus,
    prometheus_tls,
    pushgateway,
)
from volnux.cli import main
from volnux.telemetry import PrometheusPublisher

pytestmark = pytest.mark.extras
PREFIX = "volnux-tests-of-doctor"


@pytest.fixture
def doctor(capsys, monkeypatch):
    """Calls it; returns its exit status, the kind that it has found, and how each step went."""
    for name in ("VOLNUX_DOCTOR_API_KEY", "OTEL_EXPORTER_OTLP_HEADERS"):
        monkeypatch.delenv(name, raising=False)

    def call(url, *words, password=""):
        monkeypatch.setenv("VOLNUX_DOCTOR_PASSWORD", password)
        status = main(["doctor", "--json", "--index-prefix", PREFIX, *words, url])
        out = capsys.readouterr().out
        assert not password or password not in out
        (found,) = json.loads(out)["back_ends"]
        return status, found["kind"], {one["step"]: one for one in found["steps"]}

    return call


def as_user(url, user):
    """An address with a user in it."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{user}@{rest}"


def test_an_elasticsearch(doctor, elasticsearch):  # noqa: F811  # fixture
    """What was written is found, and gone again with its index."""
    status, kind, steps = doctor(elasticsearch.url)
    assert (status, kind) == (0, "elasticsearch")
    assert all(one["ok"] for one in steps.values())
    assert steps["clean"]["detail"] == "the document and its index are deleted"
    with urlopen(f"{elasticsearch.url}/_cat/indices/{PREFIX}*?format=json", timeout=10) as answer:
        assert json.load(answer) == []


def test_an_elasticsearch_older_than_the_client(doctor, elasticsearch8):  # noqa: F811  # fixture
    """The cure is the command that helps; a client of its age writes there."""
    status, kind, steps = doctor(elasticsearch8.url)
    assert kind == "elasticsearch"
    if version("elasticsearch").startswith("8."):
        assert status == 0
    else:
        assert status == 1
        assert "pip install 'elasticsearch<9'" in steps["write"]["detail"]


def test_an_administrator_by_tls(doctor, elasticsearch_tls):  # noqa: F811  # fixture
    """By a certificate of an authority of one's own."""
    server = elasticsearch_tls
    url = as_user(server.url, server.user)
    status, _, steps = doctor(url, "--ca", server.ca, password=server.password)
    assert status == 0
    assert all(one["ok"] for one in steps.values())


def test_a_writer_by_tls(doctor, elasticsearch_tls):  # noqa: F811  # fixture
    """An account that may only write is well: it is said what stays behind."""
    server = elasticsearch_tls
    url = as_user(server.url, server.writer)
    status, _, steps = doctor(url, "--ca", server.ca, password=server.writer_password)
    assert status == 0
    assert (steps["write"]["ok"], steps["read"]["ok"], steps["clean"]["ok"]) == (True, None, None)


def test_an_index_that_a_writer_may_not_write(doctor, elasticsearch_tls):  # noqa: F811  # fixture
    """The cure names the privileges."""
    server = elasticsearch_tls
    words = ("--ca", server.ca, "--index-prefix", "somebody-elses")
    url = as_user(server.url, server.writer)
    status, _, steps = doctor(url, *words, password=server.writer_password)
    assert (status, steps["write"]["ok"]) == (1, False)


def test_a_wrong_password(doctor, elasticsearch_tls):  # noqa: F811  # fixture
    """It is not known who this is."""
    server = elasticsearch_tls
    url = as_user(server.url, server.user)
    status, _, steps = doctor(url, "--ca", server.ca, password="not the one")
    assert (status, steps["answer"]["detail"]) == (1, "401: it does not know who this is")


def test_an_authority_that_is_not_trusted(doctor, elasticsearch_tls):  # noqa: F811  # fixture
    """The cure names the option."""
    status, _, steps = doctor(elasticsearch_tls.url)
    assert (status, "--ca" in steps["tls"]["cure"]) == (1, True)


def test_http_where_https_is_spoken(doctor, elasticsearch_tls):  # noqa: F811  # fixture
    """The cure is the other scheme."""
    status, _, steps = doctor(elasticsearch_tls.url.replace("https", "http"))
    assert (status, "https://" in steps["answer"]["cure"]) == (1, True)


def test_a_publisher_of_ones_own(doctor):
    """What it serves is read, and ours counted."""
    publisher = PrometheusPublisher(port=0)
    status, kind, steps = doctor(f"http://127.0.0.1:{publisher.port}")
    publisher.close()
    assert (status, kind) == (0, "prometheus")
    assert steps["read"]["detail"] == "10 metrics, 10 of them volnux's"


def test_a_pushgateway(doctor, pushgateway):  # noqa: F811  # fixture
    """What was pushed is there, and gone again."""
    status, kind, steps = doctor(pushgateway.url)
    assert (status, kind) == (0, "pushgateway")
    assert all(one["ok"] for one in steps.values())
    with urlopen(f"{pushgateway.url}/metrics", timeout=10) as answer:
        assert b"volnux-doctor" not in answer.read()


def test_a_collector(doctor, collector):  # noqa: F811  # fixture
    """It takes both signals, and writes down what it has got."""
    status, kind, steps = doctor(collector.url)
    assert (status, kind) == (0, "otlp")
    assert (steps["traces"]["ok"], steps["metrics"]["ok"]) == (True, True)
    assert "volnux.doctor" in collector.output.read_text("utf-8", "replace")


def test_a_prometheus_that_receives_otlp(doctor, prometheus):  # noqa: F811  # fixture
    """It takes metrics and no traces, which is said and is no fault."""
    status, kind, steps = doctor(f"{prometheus.url}/api/v1/otlp")
    assert (status, kind) == (0, "otlp")
    assert (steps["traces"]["ok"], steps["metrics"]["ok"]) == (None, True)


def test_one_behind_tls_and_an_account(doctor, prometheus_tls):  # noqa: F811  # fixture
    """As Grafana Cloud is; and with a wrong password it is a fault of the account."""
    url = as_user(f"{prometheus_tls.url}/api/v1/otlp", prometheus_tls.user)
    status, _, steps = doctor(url, "--ca", prometheus_tls.ca, password=prometheus_tls.password)
    assert (status, steps["metrics"]["ok"]) == (0, True)
    status, _, steps = doctor(url, "--ca", prometheus_tls.ca, password="not the one")
    assert status == 1
    assert "401" in list(steps.values())[-1]["detail"]


def test_the_page_shows_what_it_writes(elasticsearch, collector, capsys):  # noqa: F811  # fixtures
    """The first two back ends of docs/cli.md, but for their ports and the date."""
    page = (Path(__file__).parent.parent.parent / "docs/cli.md").read_text("utf-8")
    shown = page[page.index("http://localhost:9200  elasticsearch") :].partition("https://es")[0]
    urls = [one.url.replace("127.0.0.1", "localhost") for one in (elasticsearch, collector)]
    assert main(["doctor", *urls]) == 0
    said = capsys.readouterr().out.partition("2 of 2")[0]
    # A machine may have another address by that name as well.
    said, shown = (re.sub(r"(resolve ).*|\d\d[\d.]+", r"\1#", text) for text in (said, shown))
    assert said == shown
