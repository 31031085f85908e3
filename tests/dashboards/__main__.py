"""Ask every panel on real servers, and write the answers into docs/dashboards.md: `python -m tests.dashboards`.

It finds Prometheus and Elasticsearch by the variables that this prints:

    eval "$(python -m tests.services up prometheus elasticsearch)"
"""

from __future__ import annotations

import os
import sys

from tests.dashboards import page
from tests.dashboards.in_elasticsearch import held
from tests.dashboards.in_prometheus import recorded
from tests.services.fixtures import ScrapingPrometheus


def main() -> int:
    """Write the tables."""
    names = ("PROMETHEUS", "PROMETHEUS_TARGETS", "ELASTICSEARCH_URL")
    try:
        address, targets, url = (os.environ[f"VOLNUX_TEST_{name}"] for name in names)
    except KeyError as missing:
        print(f"{missing.args[0]} is not set\n{__doc__}", file=sys.stderr)
        return 2
    with recorded(ScrapingPrometheus(address, targets), "scrape") as asked:
        grafana = page.grafana(asked)
    with held(url) as found:
        kibana = page.kibana(found)
    text = page.PAGE.read_text("utf-8")
    for name, table in {"workload": page.workload(), "grafana": grafana, "kibana": kibana}.items():
        text = page.replaced(text, name, table)
    page.PAGE.write_text(text, "utf-8")
    print(f"{page.PAGE.name}: written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
