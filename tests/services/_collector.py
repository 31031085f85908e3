"""The OpenTelemetry collector, made of no more than is needed here: built by its own builder."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.services import _http
from tests.services._commands import run
from tests.services._ports import LOOPBACK, free_ports
from tests.services._server import PREFIX, Launch, Server

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MODULE = "go.opentelemetry.io/collector"
VERSION, PROVIDER_VERSION = "v0.155.0", "v1.61.0"
PARTS = {
    "receivers": [{"gomod": f"{MODULE}/receiver/otlpreceiver {VERSION}"}],
    "exporters": [{"gomod": f"{MODULE}/exporter/debugexporter {VERSION}"}],
    # It wants the one for "env", although the configuration comes from a file.
    "providers": [
        {"gomod": f"{MODULE}/confmap/provider/{name}provider {PROVIDER_VERSION}"}
        for name in ("env", "file")
    ],
}
PROGRAM = "collector"
SIGNALS = ("traces", "metrics", "logs")


class Collector(Server):
    """The OpenTelemetry collector, which writes out all that it receives in OTLP."""

    name = "collector"
    distribution = f"collector-{VERSION}"

    def install(self, folder: Path) -> None:
        parts = {"dist": {"name": PROGRAM, "output_path": str(folder)}, **PARTS}
        (folder / "parts.json").write_text(json.dumps(parts), "utf-8")
        builder = f"{MODULE}/cmd/builder@{VERSION}"
        choices = ["--skip-strict-versioning", "--config", "parts.json"]
        run(["go", "run", builder, *choices], folder)

    def launch(self, distribution: Path, folder: Path) -> Launch:
        http, grpc = (f"{LOOPBACK}:{port}" for port in free_ports(2))
        output = folder / "output"
        pipeline = {"receivers": ["otlp"], "exporters": ["debug"]}
        settings = {
            "receivers": {
                "otlp": {"protocols": {"http": {"endpoint": http}, "grpc": {"endpoint": grpc}}}
            },
            "exporters": {"debug": {"verbosity": "detailed"}},
            "service": {
                "telemetry": {
                    "metrics": {"level": "none"},
                    "logs": {"output_paths": [str(output)]},
                },
                "pipelines": dict.fromkeys(SIGNALS, pipeline),
            },
        }
        config = folder / "collector.json"
        config.write_text(json.dumps(settings), "utf-8")
        variables = {
            "OTLP_URL": f"http://{http}",
            "OTLP_GRPC": grpc,
            "OTLP_OUTPUT": str(output),
        }
        return Launch([str(distribution / PROGRAM), f"--config=file:{config}"], variables)

    def is_ready(self, variables: Mapping[str, str]) -> bool:
        # It listens when it knows this path, and that what comes there is posted.
        return _http.status(f"{variables[PREFIX + 'OTLP_URL']}/v1/traces") == 405
