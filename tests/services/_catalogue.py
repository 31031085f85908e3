"""The servers that there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.services._collector import Collector
from tests.services._elasticsearch import Elasticsearch, Elasticsearch8
from tests.services._elasticsearch_tls import ElasticsearchTLS
from tests.services._prometheus import Prometheus
from tests.services._prometheus_tls import PrometheusTLS
from tests.services._pushgateway import Pushgateway

if TYPE_CHECKING:
    from tests.services._server import Server

KINDS: list[type[Server]] = [
    Elasticsearch,
    Elasticsearch8,
    ElasticsearchTLS,
    Prometheus,
    PrometheusTLS,
    Collector,
    Pushgateway,
]
SERVERS = {kind.name: kind() for kind in KINDS}
