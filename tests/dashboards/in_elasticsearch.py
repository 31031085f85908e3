"""The workload in a real Elasticsearch, and what it answers."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

from tests.dashboards import lens
from tests.dashboards.files import kibana
from tests.dashboards.workload import ROUNDS, recording
from volnux.telemetry import ElasticsearchPublisher

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.dashboards.files import Lens


class Held(NamedTuple):
    """An Elasticsearch in which the workload was recorded."""

    client: Any
    prefix: str

    def rows(self, panel: Lens) -> list[lens.Row]:
        """What a panel shows."""
        index = view(panel.view).replace("volnux-telemetry", self.prefix)
        answer = self.client.search(index=index, **lens.request(panel, "now-24h"))
        return lens.rows(panel, answer.body)


def view(identifier: str) -> str:
    """The indices that a data view is of."""
    (found,) = [
        one["attributes"]["title"]
        for one in kibana()
        if (one["type"], one["id"]) == ("index-pattern", identifier)
    ]
    return found


@contextmanager
def held(url: str) -> Iterator[Held]:
    """Record both rounds there, under a prefix of their own, with our template."""
    from elasticsearch import Elasticsearch

    prefix = f"volnux-test-{uuid4().hex[:12]}"
    publisher = ElasticsearchPublisher(url, prefix)
    publisher.setup_templates()
    with recording(publisher, waits=False) as recorder:
        for _ in range(1, ROUNDS):
            recorder.once_more()
    client = Elasticsearch(url)
    try:
        client.indices.refresh(index=f"{prefix}-*")
        yield Held(client, prefix)
    finally:
        for index in client.indices.get(index=f"{prefix}-*"):
            client.indices.delete(index=index)
        client.options(ignore_status=404).indices.delete_index_template(name=prefix)
        client.close()
