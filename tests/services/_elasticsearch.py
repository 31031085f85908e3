"""Elasticsearch as its own integration tests run it: the bare server, from Maven's repository."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING, Any, ClassVar

from tests.services import _http
from tests.services._commands import program, run
from tests.services._java import java_home
from tests.services._ports import LOOPBACK, free_ports
from tests.services._server import PREFIX, Launch, Server

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ARTIFACT = "org.elasticsearch.distribution.integ-test-zip:elasticsearch"
#: Elasticsearch refuses to be root. So it is nobody, who keeps root's right to enter all folders:
#: the capability opens them, and by the security bit access(2) knows of the capability.
AS_NOBODY = (
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--inh-caps=+dac_override",
    "--ambient-caps=+dac_override",
    "--securebits=+no_setuid_fixup",
)
HEAP = "-Xms512m -Xmx512m"


class Elasticsearch(Server):
    """Elasticsearch 9, open to whoever asks."""

    name = "elasticsearch"
    version: ClassVar[str] = "9.2.0"
    distribution = f"elasticsearch-{version}"
    java: ClassVar[int] = 21
    url: ClassVar[str] = "ELASTICSEARCH_URL"
    limit = 300.0

    def install(self, folder: Path) -> None:
        unpack = ["-Dartifact=" + f"{ARTIFACT}:{self.version}:zip", f"-DoutputDirectory={folder}"]
        run(["mvn", "--batch-mode", "dependency:unpack", *unpack], folder)

    def launch(self, distribution: Path, folder: Path) -> Launch:
        home = distribution / f"elasticsearch-{self.version}"
        port, transport = free_ports(2)
        config = folder / "config"
        shutil.copytree(home / "config", config)
        settings, variables = self.secured(config)
        settings |= {
            "discovery.type": "single-node",
            "network.host": LOOPBACK,
            "http.port": port,
            "transport.port": transport,
            "path.data": str(folder / "data"),
            "path.logs": str(folder / "logs"),
            "cluster.routing.allocation.disk.threshold_enabled": False,
        }
        (config / "elasticsearch.yml").write_text(json.dumps(settings), "utf-8")
        (folder / "temporary").mkdir()
        environment = {
            "ES_JAVA_HOME": str(java_home(self.java)),
            "ES_JAVA_OPTS": HEAP,
            "ES_PATH_CONF": str(config),
            "ES_TMPDIR": str(folder / "temporary"),
            "HOME": str(folder),
        }
        scheme = "https" if variables else "http"
        address = {self.url: f"{scheme}://{LOOPBACK}:{port}"}
        return Launch(
            [*_user(), str(home / "bin" / "elasticsearch")], address | variables, environment
        )

    def secured(self, config: Path) -> tuple[dict[str, Any], dict[str, str]]:
        """The settings that say who may enter, and the variables that tests need for it."""
        return {"xpack.security.enabled": False}, {}

    def is_ready(self, variables: Mapping[str, str]) -> bool:
        return self.health(variables[PREFIX + self.url]) == 200

    def health(self, url: str, **access: str) -> int:
        """The status of the answer to the question how the cluster is."""
        return _http.status(f"{url}/_cluster/health?wait_for_status=yellow&timeout=1s", **access)


class Elasticsearch8(Elasticsearch):
    """Elasticsearch 8, open to whoever asks."""

    name = "elasticsearch8"
    version = "8.19.0"
    distribution = f"elasticsearch-{version}"
    java = 17
    url = "ELASTICSEARCH8_URL"


def _user() -> list[str]:
    return [program("setpriv"), *AS_NOBODY] if os.geteuid() == 0 else []
