"""Where records go by OTLP, and how: what the program says, and what OpenTelemetry's variables do.

The rules of the variables: https://opentelemetry.io/docs/specs/otel/protocol/exporter/. What the program says wins.
"""

from __future__ import annotations

import os
import re
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit
from warnings import warn

from volnux.telemetry.errors import TelemetryWarning
from volnux.telemetry.formats._addresses import address

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

PORT = 4318
TIMEOUT = 10.0
SIGNALS = ("metrics", "traces")
_FOREVER = 86_400.0
_INTERVAL = "OTEL_METRIC_EXPORT_INTERVAL"
_PREFIX = "OTEL_EXPORTER_OTLP_"
ENDPOINT = f"{_PREFIX}ENDPOINT"
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token, RFC 9110, 5.6.2
#: Headers that prove nothing: any other is kept off connections that can be read on the way.
_HARMLESS = {"accept", "user-agent", "x-scope-orgid", "traceparent", "tracestate"}


class Target:
    """Where one signal goes.

    Attributes:
        url: without what proves who one is.
        headers: what does, and others.
        timeout: seconds that a request may take.
        is_compressed: whether bodies are.
        verify: the file with the authorities to trust, or True for those of requests.
        certificate: the files of the certificate to show, and of its key; None for none.
    """

    __slots__ = ("certificate", "headers", "is_compressed", "timeout", "url", "verify")

    def __init__(
        self,
        url: str,
        headers: dict[str, str],
        *,
        timeout: float = TIMEOUT,
        is_compressed: bool = True,
        verify: bool | str = True,
        certificate: tuple[str, str] | str | None = None,
    ) -> None:
        self.url = url
        self.headers = headers
        self.timeout = timeout
        self.is_compressed = is_compressed
        self.verify = verify
        self.certificate = certificate

    def __repr__(self) -> str:
        return f"Target({self.url!r})"

    def secrets(self) -> list[str]:
        """Return what must be in no message, whoever repeats it: each in all shapes in which it may come back."""
        found = set()
        for name, value in self.headers.items():
            if name not in _HARMLESS:
                scheme, _, rest = value.partition(" ")
                found |= {value, rest, rest.rstrip("=")}
                if scheme.lower() == "basic":
                    found.add(_password_in(rest))
        return sorted((one for one in found if len(one) > 3), key=len, reverse=True)


def target(
    signal: str,
    *,
    endpoint: str | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float | None = None,
    compression: str | None = None,
    ca_certs: str | os.PathLike[str] | None = None,
    certfile: str | os.PathLike[str] | None = None,
    keyfile: str | os.PathLike[str] | None = None,
) -> Target:
    """Return where one of `SIGNALS` goes.

    Args:
        signal: which.
        endpoint: the address to whose path `/v1/metrics` and `/v1/traces` are added.
        headers: sent with each request, instead of those in the environment.
        timeout: seconds.
        compression: "gzip" or "none"; gzip by default, but none to this machine.
        ca_certs, certfile, keyfile: files of TLS.

    Raises:
        TypeError, ValueError: they cannot be used; credentials would be sent in the clear.
    """
    url, credentials, is_plain, is_loopback = _url(signal, endpoint)
    found = _headers(signal, headers)
    if credentials is not None:
        if "authorization" in found:
            raise ValueError("give credentials in the address or in the headers, not in both")
        found["authorization"] = basic(*credentials)
    secret = sorted(set(found) - _HARMLESS)
    if is_plain and secret:
        raise ValueError(
            f"{', '.join(secret)} would go to {url} in the clear: write https://, or send through a "
            "collector on this machine"
        )
    if compression not in (None, "gzip", "none"):
        raise ValueError(f'compression is "gzip" or "none", not {compression!r}')
    compression = compression or _compression(signal) or ("none" if is_loopback else "gzip")
    authorities = _file(ca_certs) or _variable(signal, "CERTIFICATE")
    shown = _file(certfile) or _variable(signal, "CLIENT_CERTIFICATE")
    key = _file(keyfile) or _variable(signal, "CLIENT_KEY")
    if key and not shown:
        raise ValueError("a client's key needs its certificate: give certfile=")
    for file in (authorities, shown, key):
        if file and not os.path.exists(file):
            raise ValueError(f"there is no file {file!r}")
    return Target(
        url,
        found,
        timeout=_checked_timeout(timeout) or _timeout(signal),
        is_compressed=compression == "gzip",
        verify=authorities or True,
        certificate=(shown, key) if shown and key else shown,
    )


def basic(user: str, password: str) -> str:
    """Return the value of an `Authorization` header that proves one's identity by a password."""
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


def _password_in(encoded: str) -> str:
    try:
        return b64decode(encoded).decode("utf-8", "replace").partition(":")[2]
    except ValueError:
        return ""


def _url(signal: str, endpoint: str | None) -> tuple[str, tuple[str, str] | None, bool, bool]:
    own = os.environ.get(f"{_PREFIX}{signal.upper()}_ENDPOINT") if endpoint is None else None
    if own:
        what = f"{_PREFIX}{signal.upper()}_ENDPOINT"
        place = address(own, PORT, what)
        path = urlsplit(place.url).path
        url = place.url if path and not own.endswith("/") else f"{place.url}/"
    else:
        what = "endpoint" if endpoint is not None else ENDPOINT
        base = endpoint if endpoint is not None else os.environ.get(ENDPOINT)
        place = address(base or f"http://localhost:{PORT}", PORT, what)
        if re.search("/v1/(metrics|traces|logs)$", place.url):
            raise ValueError(
                f"{what} is what comes before /v1/metrics and /v1/traces: {place.url} already has one"
            )
        url = f"{place.url}/v1/{signal}"
    return url, place.credentials, place.is_plain, place.is_loopback


def _headers(signal: str, given: Mapping[str, str] | None) -> dict[str, str]:
    if given is None:
        return variable_headers(signal)
    if not hasattr(given, "items"):
        raise TypeError("headers must be a dict of texts")
    return {_checked(name, value, "headers"): value for name, value in given.items()}


def variable_headers(signal: str) -> dict[str, str]:
    """Return the headers that the environment has for a signal, decoded, their names in lower case."""
    found = {}
    for item in (_variable(signal, "HEADERS") or "").split(","):
        name, equals, value = item.strip().partition("=")
        if equals:
            value = unquote(value.strip())
            found[_checked(name.strip(), value, f"{_PREFIX}HEADERS")] = value
        elif name:
            _complain("HEADERS", "has an item without =, which is left out")
    return found


def _checked(name: Any, value: Any, what: str) -> str:
    """Return the name of a header in lower case; errors must not hold its value."""
    if not isinstance(name, str) or not isinstance(value, str):
        raise TypeError(f"{what} must be texts by texts: {name!r} is not")
    if not _NAME.fullmatch(name):
        raise ValueError(f"{what}: {name!r} is no name of a header")
    if not value.isprintable() or not value.isascii():
        raise ValueError(f"{what}: {name} has a value with characters that no header may have")
    return name.lower()


def _variable(signal: str, name: str) -> str | None:
    """Return the value of a variable: that of the signal, else that of all; an empty one is none."""
    own = os.environ.get(f"{_PREFIX}{signal.upper()}_{name}", "").strip()
    return own or os.environ.get(f"{_PREFIX}{name}", "").strip() or None


def _compression(signal: str) -> str | None:
    found = _variable(signal, "COMPRESSION")
    if found in (None, "gzip", "none"):
        return found
    _complain("COMPRESSION", f"is neither gzip nor none: {found!r}")
    return None


def _timeout(signal: str) -> float:
    found = _variable(signal, "TIMEOUT")
    if found is None:
        return TIMEOUT
    seconds = _milliseconds(found)
    if seconds is None:
        _complain("TIMEOUT", f"is not a number of milliseconds: {found!r}")
        return TIMEOUT
    return seconds or _FOREVER


def interval_of(given: float | None) -> float:
    """Return the seconds between two pushes of metrics: those given, else the environment's, else 60.

    Raises:
        TypeError, ValueError: it is no number of seconds.
    """
    if given is not None:
        check_positive("interval", given)
        return given
    text = os.environ.get(_INTERVAL, "").strip()
    seconds = _milliseconds(text) if text else 60.0
    if not seconds:
        warn(f"{_INTERVAL} is not a number of milliseconds: {text!r}", TelemetryWarning, 2)
        return 60.0
    return seconds


def _milliseconds(text: str) -> float | None:
    """Return the seconds of a text with milliseconds; None where it is none."""
    try:
        number = int(text)
    except ValueError:
        return None
    return number / 1e3 if number >= 0 else None


def _checked_timeout(timeout: float | None) -> float | None:
    if timeout is not None:
        check_positive("timeout", timeout)
    return timeout


def check_positive(name: str, value: object) -> None:
    """Refuse what is no finite number above 0.

    Raises:
        TypeError, ValueError: it is none.
    """
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number, not {value!r}")
    if not 0 < value < float("inf"):
        raise ValueError(f"{name} must be above 0, not {value!r}")


def _file(path: str | os.PathLike[str] | None) -> str | None:
    return None if path is None else os.fspath(path)


def _complain(name: str, what: str) -> None:
    warn(f"{_PREFIX}{name} {what}", TelemetryWarning, 2)
