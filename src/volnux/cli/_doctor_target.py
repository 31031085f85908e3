"""What `volnux doctor` is to visit: addresses as users write them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The kinds of back ends, and the ports they have where an address names none.
PORTS: Final = {"elasticsearch": 9200, "prometheus": 9464, "pushgateway": 9091, "otlp": 4318}
ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
_SCHEMES: Final = {"http": 80, "https": 443}
_LOOPBACK: Final = re.compile(
    r"(?:localhost|.*\.localhost|127(?:\.\d{1,3}){3}|::1)\.?", re.IGNORECASE
)


@dataclass(frozen=True)
class Target:
    """A back end to visit.

    Attributes:
        url: its address without what proves who one is.
        kind: one of `PORTS`; None where that is to be found out.
        is_secure: whether it is spoken to by TLS.
        host, port, path: where it is.
        user, password: who is to be let in; the password is shown nowhere.
        api_key: the same as one text, for Elasticsearch.
    """

    url: str
    kind: str | None
    is_secure: bool
    host: str
    port: int
    path: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)

    @property
    def is_open_to_ears(self) -> bool:
        """Whether credentials would be sent to another machine in the clear."""
        has_any = self.user is not None or self.api_key is not None
        return has_any and not self.is_secure and _LOOPBACK.fullmatch(self.host) is None

    def without(self, text: str) -> str:
        """Return a text without the secrets of this target, wherever they may stand in it."""
        for secret in (self.password, self.api_key):
            if secret:
                text = text.replace(secret, "[redacted]")
        return text


def targets(urls: Sequence[str], kind: str | None) -> list[Target]:
    """Return what to visit: the addresses given, or else what the environment names.

    Args:
        urls: addresses, as "host:port" or URLs, each with a kind before its scheme if it has one:
            "elasticsearch+https://user@host:9200".
        kind: what those are that do not say so themselves.

    Raises:
        ValueError: one is no address, or there is none at all; the message says so without secrets.
    """
    if urls:
        return [target(url, kind) for url in urls]
    endpoint = os.environ.get(ENDPOINT, "").strip()
    if not endpoint:
        raise ValueError(f"give the address of a back end, or set {ENDPOINT}")
    return [target(endpoint, "otlp")]


def target(text: str, kind: str | None) -> Target:
    """Return the back end that an address stands for.

    Raises:
        ValueError: it is no address.
    """
    scheme, mark, rest = text.partition("://")
    if not mark:
        scheme, rest = "", text
    own, plus, transport = scheme.partition("+")
    if own in PORTS:
        kind, scheme = own, transport
    elif plus or (scheme and scheme not in _SCHEMES):
        known = ", ".join(PORTS)
        raise ValueError(f"{_shown(text)}: a scheme is http or https, after one of {known} and a +")
    try:
        parts = urlsplit(f"//{rest}")
        host, given = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError(f"{_shown(text)} is no address") from None
    if not host or any(char.isspace() for char in text) or parts.query or parts.fragment:
        raise ValueError(f'{_shown(text)} is no address: write "https://host:9200"')
    has_scheme = scheme in _SCHEMES
    scheme = scheme or ("http" if _LOOPBACK.fullmatch(host) else "https")
    number = given or (_SCHEMES[scheme] if has_scheme else PORTS.get(kind or "", _SCHEMES[scheme]))
    shown = f"[{host}]" if ":" in host else host
    path = parts.path.rstrip("/")
    user = None if parts.username is None else unquote(parts.username)
    password = None if parts.password is None else unquote(parts.password)
    if user and password is None:
        password = os.environ.get("VOLNUX_DOCTOR_PASSWORD", "")
    api_key = None
    if user is None and kind in (None, "elasticsearch"):
        api_key = os.environ.get("VOLNUX_DOCTOR_API_KEY") or None
    url = f"{scheme}://{shown}:{number}{path}"
    return Target(url, kind, scheme == "https", host, number, path, user, password, api_key)


def _shown(text: str) -> str:
    return repr(text.rpartition("@")[2])
