"""Fixtures with the servers that ``python -m tests.services up`` has started.

Import those that you need into a conftest. Each gives the addresses that tests need, and skips where the
server's variables are not set; with ``VOLNUX_TEST_REQUIRE_SERVERS`` set, it fails there instead.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.services import targets
from tests.services._server import PREFIX

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

REQUIRED = f"{PREFIX}REQUIRE_SERVERS"


@dataclass(frozen=True)
class Open:
    """A server that is open to whoever asks."""

    url: str


@dataclass(frozen=True)
class Secured:
    """A server behind TLS and Basic auth.

    Attributes:
        url: without credentials.
        ca: path of the file with the authority to trust.
        user: who may do everything.
        password: the user's.
    """

    url: str
    ca: str
    user: str
    password: str


@dataclass(frozen=True)
class SecuredElasticsearch(Secured):
    """Elasticsearch behind TLS and Basic auth.

    Attributes:
        writer: who may only create documents, in `volnux-*` and `pipeline-metrics*`.
        writer_password: the writer's.
    """

    writer: str
    writer_password: str


@dataclass(frozen=True)
class ScrapingPrometheus(Open):
    """Prometheus, which scrapes what it is told to."""

    targets: str

    def scraping(self, address: str, **labels: str) -> AbstractContextManager[None]:
        """Let it scrape HOST:PORT every second while the block lasts; see `targets.scraping`."""
        return targets.scraping(self.targets, address, **labels)


@dataclass(frozen=True)
class Collecting(Open):
    """The OpenTelemetry collector.

    Attributes:
        url: for OTLP over HTTP, without a path.
        grpc: HOST:PORT for OTLP over gRPC.
        output: the file into which it writes what it receives, in detail.
    """

    grpc: str
    output: Path


@pytest.fixture(scope="session")
def elasticsearch() -> Open:
    """Elasticsearch 9."""
    return Open(*_values("elasticsearch", "ELASTICSEARCH_URL"))


@pytest.fixture(scope="session")
def elasticsearch8() -> Open:
    """Elasticsearch 8."""
    return Open(*_values("elasticsearch8", "ELASTICSEARCH8_URL"))


@pytest.fixture(scope="session")
def elasticsearch_tls() -> SecuredElasticsearch:
    """Elasticsearch 9 by HTTPS, with an administrator and a writer."""
    parts = ("URL", "CA", "USER", "PASSWORD", "WRITER", "WRITER_PASSWORD")
    names = (f"ELASTICSEARCH_TLS_{part}" for part in parts)
    return SecuredElasticsearch(*_values("elasticsearch-tls", *names))


@pytest.fixture(scope="session")
def prometheus() -> ScrapingPrometheus:
    """Prometheus with its OTLP receiver, and targets to be added."""
    return ScrapingPrometheus(*_values("prometheus", "PROMETHEUS", "PROMETHEUS_TARGETS"))


@pytest.fixture(scope="session")
def prometheus_tls() -> Secured:
    """Prometheus that receives OTLP as Grafana Cloud does: by HTTPS, with Basic auth."""
    names = (f"PROMETHEUS_TLS_{part}" for part in ("URL", "CA", "USER", "PASSWORD"))
    return Secured(*_values("prometheus-tls", *names))


@pytest.fixture(scope="session")
def promtool() -> str:
    """The path of promtool."""
    (path,) = _values("prometheus", "PROMTOOL")
    return path


@pytest.fixture(scope="session")
def collector() -> Collecting:
    """The OpenTelemetry collector, by HTTP and gRPC."""
    url, grpc, output = _values("collector", "OTLP_URL", "OTLP_GRPC", "OTLP_OUTPUT")
    return Collecting(url, grpc, Path(output))


@pytest.fixture(scope="session")
def pushgateway() -> Open:
    """The Pushgateway."""
    return Open(*_values("pushgateway", "PUSHGATEWAY_URL"))


def _values(server: str, *names: str) -> list[str]:
    """The values of a server's variables, in the order of the names."""
    variables = [PREFIX + name for name in names]
    missing = [name for name in variables if not os.environ.get(name)]
    if missing:
        cure = f'eval "$(python -m tests.services up {server})"'
        give_up = pytest.fail if os.environ.get(REQUIRED) else pytest.skip
        give_up(f"{missing[0]} is not set; this starts the server and sets it: {cure}")
    return [os.environ[name] for name in variables]
