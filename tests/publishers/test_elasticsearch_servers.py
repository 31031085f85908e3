"""`ElasticsearchPublisher` against real servers: what was recorded is there, once, field by field."""

from __future__ import annotations

import os
import random
import re
import socket
import subprocess
import sys
import textwrap
import threading
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import elasticsearch as library
import pytest

from volnux.telemetry import (
    ElasticsearchPublisher,
    EventMetrics,
    PublishError,
    Registry,
    monitor_events,
    network_op,
    pipeline,
    traced_event,
)

pytestmark = pytest.mark.extras
ROOT = Path(__file__).parent.parent.parent
MAJOR = library.__version__[0]
#: Those that the installed client speaks to: none that is older than itself.
SERVERS = ["elasticsearch", "elasticsearch8"] if MAJOR == 8 else ["elasticsearch"]


class Server:
    """A real server, and the indices that a test makes there."""

    def __init__(self, url, **options):
        self.url = url
        self.options = options
        self.prefix = f"volnux-test-{uuid4().hex[:12]}"
        self.client = library.Elasticsearch(url, **options)

    def publisher(self, **options):
        """A publisher to this server, under a prefix of the test's own."""
        return ElasticsearchPublisher(self.url, self.prefix, **{**self.options, **options})

    def count(self):
        """How many documents there are."""
        self.client.indices.refresh(index=f"{self.prefix}-*")
        return self.client.count(index=f"{self.prefix}-*")["count"]

    def search(self, **query):
        """What a search finds."""
        self.client.indices.refresh(index=f"{self.prefix}-*")
        return self.client.search(index=f"{self.prefix}-*", size=100, **query)

    def documents(self, **query):
        """The documents that a search finds, in the order in which they ended."""
        found = self.search(sort=["@timestamp"], **query)["hits"]["hits"]
        return [hit["_source"] for hit in found]

    def clean(self):
        """Remove what the test has made."""
        for index in self.client.indices.get(index=f"{self.prefix}-*"):
            self.client.indices.delete(index=index)
        self.client.options(ignore_status=404).indices.delete_index_template(name=self.prefix)
        self.client.close()


@contextmanager
def using(url, **options):
    """A server for one test."""
    server = Server(url, **options)
    try:
        yield server
    finally:
        server.clean()


@pytest.fixture(params=SERVERS)
def server(request):
    """Each server that the installed client speaks to."""
    with using(request.getfixturevalue(request.param).url) as server:
        yield server


@pytest.fixture
def secured(elasticsearch_tls):
    """The server behind TLS, for its administrator."""
    account = (elasticsearch_tls.user, elasticsearch_tls.password)
    with using(elasticsearch_tls.url, basic_auth=account, ca_certs=elasticsearch_tls.ca) as server:
        yield server


def record_some(publisher):
    """Record a little of everything; return the records and what became of them."""
    registry = Registry()
    with monitor_events([publisher], registry=registry) as monitor:
        with pipeline("nightly", region="eu"):
            with traced_event("load", attributes={"rows": 3, "nested": {"a": [1, 2.5]}}) as event:
                event.retry(OSError("first"), delay=0.0)
                with network_op("db.internal", 5432, "query") as op:
                    op.sent(10)
                    op.received(2_000)
            with pytest.raises(ValueError, match="no"), traced_event("fail"):
                raise ValueError("no " + "x" * 300)
        assert monitor.flush(timeout=30)
        counts = monitor.health().publishers["ElasticsearchPublisher"]
    assert counts["accepted"] == counts["delivered"] == 3
    return [*registry.events(), *registry.network_ops()]


def as_written(record):
    """A record as its document has it, but for what is there besides."""
    data = {name: one for name, one in record.to_dict().items() if one not in (None, {})}
    if len(data.get("attempts", ())) == 1:
        del data["attempts"]
    del data["kind"]
    return data


class TestRecords:
    """What is read back by a search."""

    def test_equals_what_was_recorded(self, server):
        """Field by field."""
        publisher = server.publisher()
        publisher.setup_templates()
        records = record_some(publisher)
        documents = {one["task_id"]: one for one in server.documents()}
        for record in records:
            wanted = as_written(record)
            document = documents.pop(record.task_id)
            assert {name: document[name] for name in wanted} == wanted
        assert documents == {}

    def test_is_found_by_the_names_of_ecs(self, server):
        """Also by those that the mapping only calls otherwise; numbers are numbers, dates are dates."""
        publisher = server.publisher()
        publisher.setup_templates()
        record_some(publisher)
        found = server.search(
            query={"term": {"event.outcome": "failure"}},
            fields=["error.message", "error.type", "event.start", "process.pid"],
        )["hits"]["hits"]
        (fields,) = [hit["fields"] for hit in found]
        assert fields["error.type"] == ["ValueError"]
        assert fields["error.message"] == ["no " + "x" * 300]
        assert fields["process.pid"] == [os.getpid()]
        asked = {
            "bytes": {"sum": {"field": "network.bytes"}},
            "latest": {"max": {"field": "@timestamp"}},
            "ports": {"terms": {"field": "server.port"}},
            "errors": {"terms": {"field": "error"}},
            "regions": {"terms": {"field": "attributes.region"}},
            "tried": {"terms": {"field": "attempts.error_type"}},
        }
        answers = server.search(aggs=asked)["aggregations"]
        assert answers["bytes"]["value"] == 2_010
        assert [one["key"] for one in answers["ports"]["buckets"]] == [5432]
        assert [len(one["key"]) for one in answers["errors"]["buckets"]] == [303]
        assert [(one["key"], one["doc_count"]) for one in answers["regions"]["buckets"]] == [
            ("eu", 3)
        ]
        assert [one["key"] for one in answers["tried"]["buckets"]] == ["OSError"]
        assert answers["latest"]["value"] > 1.7e12

    def test_arrives_without_a_template(self, server, event, operation):
        """Nothing has to be set up before the first record; the server then guesses the types."""
        assert server.publisher().publish_batch([event, operation]) == ["ok", "ok"]
        assert server.count() == 2

    def test_is_refused_where_a_guess_was_wrong(self, server, caplog):
        """Attributes may be anything, which only the template knows: the log says what to do."""
        with monitor_events([server.publisher()], registry=Registry()) as monitor:
            for value in (3, "three"):
                with traced_event("step", attributes={"rows": value}):
                    pass
                monitor.flush(timeout=30)
            counts = monitor.health().publishers["ElasticsearchPublisher"]
        assert (counts["delivered"], counts["dropped"]) == (1, {"rejected": 1})
        assert "failed to parse field [attributes.rows]" in caplog.text
        assert "setup_templates()" in caplog.text

    def test_is_there_once_however_often_it_is_sent(self, server):
        """A record that is sent again counts as delivered, and makes no other document."""
        publisher = server.publisher()
        publisher.setup_templates()
        records = record_some(publisher)
        assert publisher.publish_batch(records) == ["duplicate"] * 3
        assert server.count() == 3

    def test_keeps_no_other_waiting_if_it_is_refused(self, server, event):
        """What does not fit the mapping is given up; the rest of its batch is there."""
        publisher = server.publisher()
        publisher.setup_templates()
        bad = EventMetrics(event_name="bad", task_id="bad", items=1 << 70)
        assert publisher.publish_batch([event, bad]) == ["ok", "reject"]
        assert server.count() == 1


class TestTemplates:
    """`setup_templates` on a real server."""

    def test_can_be_repeated(self, server):
        """The second time changes nothing."""
        publisher = server.publisher()
        publisher.setup_templates()
        before = server.client.indices.get_index_template(name=server.prefix).body
        publisher.setup_templates()
        assert server.client.indices.get_index_template(name=server.prefix).body == before

    def test_nothing_is_mapped_by_a_guess(self, server):
        """Every index has the fields of the template and no other."""
        publisher = server.publisher()
        publisher.setup_templates()
        record_some(publisher)
        (template,) = server.client.indices.get_index_template(name=server.prefix)[
            "index_templates"
        ]
        wanted = template["index_template"]["template"]["mappings"]["properties"]
        found = server.client.indices.get_mapping(index=f"{server.prefix}-*").body
        assert len(found) == 2
        assert all(one["mappings"]["properties"] == wanted for one in found.values())


class TestAccounts:
    """TLS, and who may do what."""

    def test_a_writer_needs_no_more_than_to_write(self, secured, elasticsearch_tls):
        """`create_doc` and `auto_configure` are enough, once somebody has installed the template."""
        secured.publisher().setup_templates()
        account = (elasticsearch_tls.writer, elasticsearch_tls.writer_password)
        publisher = secured.publisher(basic_auth=account)
        records = record_some(publisher)
        assert publisher.publish_batch(records) == ["duplicate"] * 3
        assert secured.count() == 3
        with pytest.raises(PublishError, match="403"):
            publisher.setup_templates()

    def test_a_wrong_password(self, secured, event):
        """The message says what is needed, and not what was given."""
        publisher = secured.publisher(basic_auth=("elastic", "wr0ng-s3cret"))
        with pytest.raises(PublishError, match=r"401.*create_doc") as caught:
            publisher.publish_batch([event])
        assert "wr0ng" not in str(caught.value)
        assert "wr0ng" not in repr(publisher)

    def test_a_certificate_of_nobody_that_is_trusted(self, elasticsearch_tls, event):
        """Nothing is sent there."""
        account = (elasticsearch_tls.user, elasticsearch_tls.password)
        publisher = ElasticsearchPublisher(elasticsearch_tls.url, "a", basic_auth=account)
        with pytest.raises(PublishError, match="signed by no authority that is trusted here"):
            publisher.publish_batch([event])


if MAJOR > 8:

    def test_a_server_older_than_the_client_is_told(elasticsearch8, event):
        """The message is the command that helps."""
        with pytest.raises(PublishError, match="pip install 'elasticsearch<9'"):
            ElasticsearchPublisher(elasticsearch8.url, "a").publish_batch([event])


class Cutting:
    """A way to a server that breaks every now and then, in either direction."""

    def __init__(self, url, seed):
        host, _, port = url.removeprefix("http://").partition(":")
        self._target = (host, int(port))
        self._random = random.Random(seed)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._threads = []
        self._sockets = [self._listening]
        self.place = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self.cuts = 0
        self.may_cut = True

    def __enter__(self):
        self._start(self._accept)
        return self

    def __exit__(self, *exc_info):
        for each in self._sockets:
            shut(each)
        for thread in self._threads:
            thread.join(10)
        for each in self._sockets:
            each.close()

    def _start(self, target, *args):
        thread = threading.Thread(target=target, args=args)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        while True:
            try:
                ours, _ = self._listening.accept()
            except OSError:
                return
            theirs = socket.create_connection(self._target)
            self._sockets += (ours, theirs)
            # So many bytes pass, the answer's sometimes among them.
            left = [self._random.randrange(1, 600_000)]
            self._start(self._pass, ours, theirs, left)
            self._start(self._pass, theirs, ours, left)

    def _pass(self, source, target, left):
        try:
            while data := source.recv(16_384):
                if self.may_cut and len(data) > left[0]:
                    self.cuts += 1
                    target.sendall(data[: left[0]])
                    break
                left[0] -= len(data)
                target.sendall(data)
        except OSError:
            pass
        shut(source)
        shut(target)


def shut(connection):
    """End a connection, if it has not ended."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


@pytest.mark.parametrize("seed", range(3))
def test_connections_that_break_lose_and_double_nothing(server, seed):
    """Requests are cut off on their way, or their answers: each record is there once, at the end."""
    server.publisher().setup_templates()
    registry = Registry(capacity=100)
    with Cutting(server.url, seed) as way:
        publisher = ElasticsearchPublisher(way.place, server.prefix)
        monitor = monitor_events([publisher], registry=registry, interval=0.01)
        (delivery,) = monitor._deliveries
        # Waits of a fraction of a second would only make the test long.
        delivery._sender.backoff._uniform = lambda low, high: 0.001
        for number in range(6_000):
            with traced_event("step"):
                pass
            if number % 100 == 0:
                counts = monitor.health().publishers["ElasticsearchPublisher"]
                dropped = sum(counts["dropped"].values())
                assert counts["accepted"] == counts["delivered"] + dropped + counts["pending"]
        monitor.flush(timeout=5)
        way.may_cut = False
        assert monitor.close(timeout=30)
    counts = monitor.health().publishers["ElasticsearchPublisher"]
    assert (counts["delivered"], counts["dropped"], counts["pending"]) == (6_000, {}, 0)
    assert way.cuts > 0
    assert server.count() == 6_000


@pytest.mark.parametrize("page", ["docs/elasticsearch.md", "docs/telemetry.rst"])
def test_what_the_documentation_says_runs_as_written(server, page, tmp_path):
    """With another address, and a prefix that no other test has."""
    text = (ROOT / page).read_text("utf-8")
    blocks = re.findall(
        r"code-block:: python\n\n((?: +[^\n]*\n|\n)+)|```python\n(.+?)```", text, re.DOTALL
    )
    (program,) = [one for pair in blocks for one in pair if "index_prefix=" in one]
    program = textwrap.dedent(program).replace("localhost:9200", server.url.removeprefix("http://"))
    program = program.replace("pipeline-metrics", server.prefix)
    work = "from volnux.telemetry import *\n" + program + "\nwith traced_event('work'): pass\n"
    (tmp_path / "page.py").write_text(work, "utf-8")
    subprocess.run([sys.executable, "-W", "error", "page.py"], cwd=tmp_path, check=True, timeout=60)
    assert server.count() == 1


def test_children_of_a_fork_write_their_own(server):
    """Each has connections of its own, and delivers what it has recorded."""
    publisher = server.publisher()
    publisher.setup_templates()
    registry = Registry()
    with monitor_events([publisher], registry=registry) as monitor:
        with traced_event("parent"):
            pass
        assert monitor.flush(timeout=30)
        children = []
        for _ in range(4):
            child = os.fork()
            if not child:
                status = 1
                try:
                    with traced_event("child"):
                        pass
                    status = 0 if monitor.flush(timeout=30) else 2
                finally:
                    os._exit(status)
            children.append(child)
        assert [os.waitstatus_to_exitcode(os.waitpid(one, 0)[1]) for one in children] == [0] * 4
    found = server.search(aggs={"names": {"terms": {"field": "event_name"}}})
    names = {one["key"]: one["doc_count"] for one in found["aggregations"]["names"]["buckets"]}
    assert names == {"parent": 1, "child": 4}
