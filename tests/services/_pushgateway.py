"""The Pushgateway: built by Go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.services import _http
from tests.services._commands import run
from tests.services._ports import LOOPBACK, free_ports
from tests.services._server import PREFIX, Launch, Server

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MODULE = "github.com/prometheus/pushgateway"
VERSION = "v1.11.1"


class Pushgateway(Server):
    """What short-lived processes push their metrics to, for Prometheus to scrape."""

    name = "pushgateway"
    distribution = f"pushgateway-{VERSION}"

    def install(self, folder: Path) -> None:
        # `go install MODULE@VERSION` wants the list of all versions too, which not every proxy has.
        (folder / "go.mod").write_text(f"module services\n\nrequire {MODULE} {VERSION}\n", "utf-8")
        run(["go", "install", "-mod=mod", MODULE], folder, {"GOBIN": str(folder)})

    def launch(self, distribution: Path, folder: Path) -> Launch:
        (port,) = free_ports(1)
        address = f"{LOOPBACK}:{port}"
        command = [str(distribution / "pushgateway"), f"--web.listen-address={address}"]
        return Launch(command, {"PUSHGATEWAY_URL": f"http://{address}"})

    def is_ready(self, variables: Mapping[str, str]) -> bool:
        return _http.status(f"{variables[PREFIX + 'PUSHGATEWAY_URL']}/-/ready") == 200
