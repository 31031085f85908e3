"""Write the dashboards next to this file: `python examples/telemetry/build_dashboards.py`.

They are generated so that all panels of a kind are alike, and written the same byte for byte each time. With
`--check` nothing is written, and the exit status says whether the files are up to date.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from _grafana_panels import grafana_dashboard
from _kibana_panels import PREFIX, kibana_objects

HERE = Path(__file__).parent


def files(prefix: str = PREFIX) -> dict[str, str]:
    """Return the text of each file.

    Args:
        prefix: the `index_prefix` of the `ElasticsearchPublisher`.
    """
    lines = [
        json.dumps(one, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        for one in kibana_objects(prefix)
    ]
    objects = "".join(f"{line}\n" for line in lines)
    grafana = json.dumps(grafana_dashboard(), ensure_ascii=False, indent=1, sort_keys=True)
    return {
        "prometheus_dashboard.json": f"{grafana}\n",
        "elasticsearch_dashboard.json": objects,
        # Kibana takes no other ending.
        "elasticsearch_dashboard.ndjson": objects,
    }


def main(argv: list[str] | None = None) -> int:
    """Write the files, or compare them."""
    parser = argparse.ArgumentParser(description="Write the dashboards.")
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    is_check = parser.parse_args(argv).check
    stale = 0
    for name, text in files().items():
        path = HERE / name
        wanted = text.encode()
        if path.exists() and path.read_bytes() == wanted:
            continue
        stale += 1
        print(f"{name}: {'not what is generated' if is_check else 'written'}")
        if not is_check:
            path.write_bytes(wanted)
    return 1 if is_check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
