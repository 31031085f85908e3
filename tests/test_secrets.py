"""Forty planted secrets, of which no output shows one."""

from __future__ import annotations

import asyncio
import io
import json
import pickle
import subprocess
import sys
from itertools import count

import pytest

from volnux.telemetry import (
    ConsolePublisher,
    JSONLinesPublisher,
    Redactor,
    capture,
    current_event,
    get_event_stats,
    get_failed_events,
    get_failed_network_ops,
    get_metrics,
    get_network_stats,
    get_retry_stats,
    get_slow_events,
    get_slow_network_ops,
    health,
    monitor_events,
    network_op,
    pipeline,
    record_retry,
    set_redactor,
    traced_event,
)
from volnux.telemetry._render import record_of

SHAPES = {
    "github": "ghp_{}16C7e42F292c6912E7710c83",
    "gitlab": "glpat-{}abcDEF1234567890",
    "grafana": "glsa_{}abcdEFGH1234567890",
    "openai": "sk-{}abcdEFGH1234567890abcd",
    "slack": "xoxb-1234567890-{}abcdefghij",
    "aws": "AKIA{}IOSFODNN7EXA",
    "google": "AIza{}SyA1234567890abcdefghijk",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.{}SIsIm4iOiJ4.dozjgNryP4J3jVm",
}


class Plants:
    """Makes secrets, and remembers them: each has a core that occurs nowhere else."""

    def __init__(self):
        self.cores = []
        self._numbers = count(10)

    def __call__(self, shape="{}"):
        core = f"ZQ{next(self._numbers)}PLANTED"
        self.cores.append(core)
        return SHAPES.get(shape, shape).format(core)

    def found_in(self, text):
        return [core for core in self.cores if core in text]


def plant_attributes(secret):
    """Secrets that the program says about its events."""

    @traced_event("decorated", attributes={"config": {"db": [{"password": secret()}]}})
    def decorated(argument, *, keyword):
        current_event().set_attribute("api_key", secret())
        return argument

    decorated(secret(), keyword=secret())
    with traced_event("block", attributes={"Authorization": secret("Bearer {}")}) as event:
        event.set_attribute("url", secret("https://bob:{}@example.com/"))
        event.set_attribute("query", secret("https://example.com/?q={}&page=1"))
        event.set_attributes({"headers": {"X-Api-Key": secret(), "Cookie": secret("sid={}")}})
        event.set_attribute("body", secret('{{"client_secret": "{}"}}'))
        event.set_attribute("raw", secret("password={}").encode())
        event.set_attribute("items", [secret("github"), (secret("gitlab"),), {secret("aws")}])
        event.set_attribute(secret("openai"), "a key that is a secret")
        event.set_attribute("pin", 40_961_733)
        event.set_attribute("customer_email", secret("{}@example.com"))
    with pipeline(secret("nightly?token={}"), db_password=secret(), note=secret("slack")):
        with traced_event("in pipeline"):
            pass
        with network_op("h", 1, attributes={"session_id": secret()}) as op:
            op.set_attribute("dsn", secret("postgres://u:{}@db/app"))


def plant_errors(secret):
    """Secrets in the texts of exceptions."""
    texts = [
        secret("could not connect to postgres://app:{}@db.internal:5432/app"),
        secret("GET https://example.com/v1?api_key={}&page=2 failed"),
        secret("invalid password: {}"),
        secret("{{'Authorization': 'Basic {}'}}"),
        secret("Set-Cookie: session={}; Path=/"),
        secret("jwt"),
        secret("-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----"),
        secret("Command '['mysql', '--password', '{}']' returned 1"),
        secret("first line\nsecond: token = {}\nthird"),
    ]
    for text in texts:
        with pytest.raises(ValueError), traced_event("outer"), traced_event("failing"):
            raise ValueError(text)
    with pytest.raises(KeyError), traced_event("key"):
        raise KeyError(secret("google"))
    with pytest.raises(OSError), network_op("h", 1):
        raise OSError(secret("refused: redis://:{}@cache:6379"))
    with traced_event("retried"):
        record_retry(ValueError(secret("secret={}")), delay=0.1)

    @traced_event("stream")
    def stream():
        yield secret()
        raise ValueError(secret("grafana"))

    with pytest.raises(ValueError):
        list(stream())

    @traced_event("task")
    async def task():
        raise asyncio.CancelledError(secret("passphrase: {}"))

    with pytest.raises(asyncio.CancelledError):
        task().send(None)


def plant_names(secret):
    """Secrets in names, hosts and operations."""
    with traced_event(secret("load https://bob:{}@example.com")):
        pass
    traced_event(secret("call --token {}"))(lambda: None)()
    with network_op(secret("https://bob:{}@api.example.com/v1"), 443, secret("GET /v1?key={}")):
        pass
    with network_op(secret("bob:{}@db.internal"), 5432):
        pass


def open_reprs(secret):
    """Return the reprs of what the program holds while it runs."""
    with traced_event(secret("open?token={}")) as event, network_op(secret("u:{}@h"), 1) as op:
        event.set_attribute("password", secret())
        return [repr(event), str(event.attributes), event.name, repr(op)]


@pytest.fixture(name="redactor", autouse=True)
def _redactor():
    previous = set_redactor(Redactor(keys=["customer_email"]))
    yield
    set_redactor(previous)


@pytest.fixture(name="planted")
def _planted(tmp_path):
    """Run a program full of secrets; give them, its registry, and all that was published."""
    secret = Plants()
    console, path = io.StringIO(), tmp_path / "events.jsonl"
    heard, shown = [], []
    with capture() as registry:
        registry.subscribe(lambda batch: heard.extend(map(record_of, batch)))
        with monitor_events(
            [JSONLinesPublisher(path), ConsolePublisher(console)], registry=registry
        ) as monitor:
            plant_attributes(secret)
            plant_errors(secret)
            plant_names(secret)
            shown += open_reprs(secret)
            assert monitor.flush(20)
            shown += [repr(monitor), repr(monitor.health())]
        shown += [json.dumps(record.to_dict()) for record in heard]
    return secret, registry, path, console.getvalue(), shown


class TestSecrets:
    """What is planted comes up nowhere."""

    def test_there_are_enough(self, planted):
        """Forty secrets at least have been planted, and the records are all there."""
        secret, registry, path, *_ = planted
        assert len(secret.cores) >= 40
        finished = registry.health().finished
        assert finished >= 30
        assert len(path.read_text().splitlines()) == finished

    def test_not_in_answers(self, planted):
        """No query shows one, neither as records, nor as text, nor as JSON."""
        secret, registry, *_ = planted
        answers = [
            get_metrics(registry, limit=1_000),
            get_failed_events(registry),
            get_slow_events(-1, registry),
            get_failed_network_ops(registry),
            get_slow_network_ops(-1, registry),
            get_retry_stats(registry),
            get_event_stats(registry),
            get_network_stats(registry),
            health(registry),
            registry,
            registry.events(),
            registry.network_ops(),
            [record.to_dict() for record in registry.events() + registry.network_ops()],
            registry.export(),
        ]
        for answer in answers:
            assert secret.found_in(repr(answer)) == []
            assert secret.found_in(str(answer)) == []
        assert secret.found_in(pickle.dumps(registry.events()).decode("latin-1")) == []
        assert "40961733" not in repr(answers)

    def test_not_in_what_was_published(self, planted):
        """Neither file nor console nor listener has one."""
        secret, _, path, console, shown = planted
        assert secret.found_in(path.read_bytes().decode()) == []
        assert secret.found_in(console) == []
        assert secret.found_in("\n".join(shown)) == []
        assert "[redacted]" in console

    @pytest.mark.extras
    @pytest.mark.parametrize("form", ["term", "json", "md"])
    def test_not_in_reports(self, planted, form):
        """No report of the command line shows one."""
        secret, _, path, *_ = planted
        done = subprocess.run(
            [sys.executable, "-m", "volnux", "report", str(path), "--format", form],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert "failing" in done.stdout
        assert secret.found_in(done.stdout + done.stderr) == []

    def test_what_is_no_secret_remains(self, planted):
        """What surrounds a secret is still there to work with."""
        _, registry, *_ = planted
        text = get_metrics(registry, limit=1_000)
        for plain in (
            "db.internal:5432/app",
            "page=[redacted]",
            "example.com",
            "--token [redacted]",
        ):
            assert plain in text
        assert {host for host, _, _ in registry.network_stats()} == {
            "h",
            "api.example.com",
            "db.internal",
        }
