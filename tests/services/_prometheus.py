"""Prometheus with its OTLP receiver, and promtool: built by Go."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

from tests.services import _http
from tests.services._commands import run
from tests.services._ports import LOOPBACK, free_ports
from tests.services._server import PREFIX, Launch, Server

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MODULE = "github.com/prometheus/prometheus"
VERSION = "v0.316.0"
#: Without all the clouds in which targets could be discovered; those from a file stay.
TAGS = "remove_all_sd"


class Prometheus(Server):
    """Prometheus 3.16, open to whoever asks, scraping what tests write into its file of targets."""

    name = "prometheus"
    distribution = f"prometheus-{VERSION}"
    url: ClassVar[str] = "PROMETHEUS"

    def install(self, folder: Path) -> None:
        programs = [f"{MODULE}/cmd/{name}@{VERSION}" for name in ("prometheus", "promtool")]
        run(["go", "install", "-tags", TAGS, *programs], folder, {"GOBIN": str(folder)})

    def launch(self, distribution: Path, folder: Path) -> Launch:
        (port,) = free_ports(1)
        settings, options, variables = self.configured(folder)
        config = folder / "prometheus.json"
        config.write_text(json.dumps(settings), "utf-8")
        command = [
            str(distribution / "prometheus"),
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={LOOPBACK}:{port}",
            "--web.enable-lifecycle",
            "--web.enable-otlp-receiver",
            *options,
        ]
        scheme = "https" if options else "http"
        address = {
            self.url: f"{scheme}://{LOOPBACK}:{port}",
            "PROMTOOL": str(distribution / "promtool"),
        }
        return Launch(command, address | variables)

    def configured(self, folder: Path) -> tuple[dict[str, Any], list[str], dict[str, str]]:
        """The settings, further options, and the variables that tests need besides."""
        targets = folder / "targets" / "targets.json"
        targets.parent.mkdir()
        targets.write_text("[]", "utf-8")
        settings = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
            "scrape_configs": [
                {"job_name": "volnux", "file_sd_configs": [{"files": [str(targets)]}]}
            ],
        }
        return settings, [], {"PROMETHEUS_TARGETS": str(targets)}

    def is_ready(self, variables: Mapping[str, str]) -> bool:
        return _http.status(f"{variables[PREFIX + self.url]}/-/ready") == 200
