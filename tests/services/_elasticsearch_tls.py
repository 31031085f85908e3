"""Elasticsearch as it is in production: TLS, and users who may do more or less."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
from typing import TYPE_CHECKING, Any

from tests.services import _certificates
from tests.services._elasticsearch import Elasticsearch
from tests.services._server import PREFIX

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ADMINISTRATOR, WRITER = "elastic", "volnux_writer"
#: All that a bulk `create` needs, also into a daily index that is not there yet: the writer may not
#: read, change, delete, or look at the cluster; templates are installed by the administrator.
ROLES = {
    WRITER: {
        "indices": [
            {
                "names": ["volnux-*", "pipeline-metrics*"],
                "privileges": ["create_doc", "auto_configure"],
            }
        ]
    }
}
#: The file realm is the only one, so that `elastic` may stand in the file like anybody else.
SETTINGS = {
    "xpack.security.enabled": True,
    "xpack.security.authc.reserved_realm.enabled": False,
    "xpack.security.authc.realms.file.file.order": 0,
    "xpack.security.http.ssl.enabled": True,
}


class ElasticsearchTLS(Elasticsearch):
    """Elasticsearch 9 by HTTPS, for an administrator and for one who may only write."""

    name = "elasticsearch-tls"
    url = "ELASTICSEARCH_TLS_URL"

    def secured(self, config: Path) -> tuple[dict[str, Any], dict[str, str]]:
        passwords = {user: secrets.token_urlsafe(16) for user in (ADMINISTRATOR, WRITER)}
        users = "".join(f"{user}:{_hashed(word)}\n" for user, word in passwords.items())
        (config / "users").write_text(users, "utf-8")
        roles = f"superuser:{ADMINISTRATOR}\n{WRITER}:{WRITER}\n"
        (config / "users_roles").write_text(roles, "utf-8")
        (config / "roles.yml").write_text(json.dumps(ROLES), "utf-8")
        certificate = _certificates.issue(config)
        files = {
            "xpack.security.http.ssl.key": certificate.key,
            "xpack.security.http.ssl.certificate": certificate.chain,
        }
        return SETTINGS | files, {
            "ELASTICSEARCH_TLS_CA": certificate.authority,
            "ELASTICSEARCH_TLS_USER": ADMINISTRATOR,
            "ELASTICSEARCH_TLS_PASSWORD": passwords[ADMINISTRATOR],
            "ELASTICSEARCH_TLS_WRITER": WRITER,
            "ELASTICSEARCH_TLS_WRITER_PASSWORD": passwords[WRITER],
        }

    def is_ready(self, variables: Mapping[str, str]) -> bool:
        parts = ("URL", "CA", "USER", "PASSWORD")
        url, ca, user, password = (variables[f"{PREFIX}ELASTICSEARCH_TLS_{part}"] for part in parts)
        return self.health(url, ca=ca, user=user, password=password) == 200


def _hashed(password: str, rounds: int = 10_000) -> str:
    """A password as the file realm stores it."""
    salt = os.urandom(32)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, rounds, 32)
    encoded = "$".join(base64.b64encode(part).decode() for part in (salt, digest))
    return f"{{PBKDF2}}{rounds}${encoded}"
