"""Prometheus by HTTPS and with a password: to those who push to it, it is Grafana Cloud's gateway."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.services import _certificates, _http
from tests.services._prometheus import Prometheus
from tests.services._server import PREFIX

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

#: Grafana Cloud's users are numbers of stacks. The hash is bcrypt's, which Python does not come with.
USER, PASSWORD = "123456", "a password that only opens a test server"
HASH = "$2b$04$9m61URrHLu3TD1fUKGgm8usyiutdh/NNNp6k/nYaSo0/kxq0GE0nK"


class PrometheusTLS(Prometheus):
    """Prometheus 3.16 that receives OTLP by HTTPS, with Basic auth."""

    name = "prometheus-tls"
    url = "PROMETHEUS_TLS_URL"

    def configured(self, folder: Path) -> tuple[dict[str, Any], list[str], dict[str, str]]:
        certificate = _certificates.issue(folder)
        web = {
            "tls_server_config": {"cert_file": certificate.chain, "key_file": certificate.key},
            "basic_auth_users": {USER: HASH},
        }
        file = folder / "web.json"
        file.write_text(json.dumps(web), "utf-8")
        return (
            {},
            [f"--web.config.file={file}"],
            {
                "PROMETHEUS_TLS_CA": certificate.authority,
                "PROMETHEUS_TLS_USER": USER,
                "PROMETHEUS_TLS_PASSWORD": PASSWORD,
            },
        )

    def is_ready(self, variables: Mapping[str, str]) -> bool:
        parts = ("URL", "CA", "USER", "PASSWORD")
        url, ca, user, password = (variables[f"{PREFIX}PROMETHEUS_TLS_{part}"] for part in parts)
        return _http.status(f"{url}/-/ready", ca=ca, user=user, password=password) == 200
