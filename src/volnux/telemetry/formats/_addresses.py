"""Where a back end is: what users write for it, and what that means."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

#: The ports that a scheme stands for where a URL names none.
_PORTS = {"http": 80, "https": 443}
_LOOPBACK = re.compile(r"(?:localhost|.*\.localhost|127(?:\.\d{1,3}){3}|::1)\.?", re.IGNORECASE)


class Address(NamedTuple):
    """One place that a back end answers at.

    Attributes:
        url: scheme, host, port and path, without what proves who one is.
        credentials: user and password, where the address held them.
    """

    url: str
    credentials: tuple[str, str] | None

    @property
    def is_loopback(self) -> bool:
        """Whether it is on this machine, by its name alone."""
        return is_loopback(urlsplit(self.url).hostname or "")

    @property
    def is_plain(self) -> bool:
        """Whether what goes there can be read on the way."""
        return self.url.startswith("http:") and not self.is_loopback


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine: localhost and its subdomains, 127.0.0.0/8, ::1."""
    return _LOOPBACK.fullmatch(host) is not None


def address(text: object, port: int, what: str) -> Address:
    """Return the address that a text stands for.

    Where it names no scheme, that is http for this machine and https for any other, on the back end's
    own port; a URL without a port means its scheme's.

    Args:
        text: "host", "host:port", "[::1]:port" or a URL.
        port: the back end's own port.
        what: the argument that it was given as, for errors.

    Raises:
        TypeError, ValueError: it is no such text.
    """
    if not isinstance(text, str):
        raise TypeError(f'{what} must be a text such as "localhost:{port}", not {text!r}')
    has_scheme = "://" in text
    try:
        parts = urlsplit(text if has_scheme else f"//{text}")
        host, given = parts.hostname or "", parts.port
    except ValueError as error:
        raise ValueError(f"{what} is no address: {_without_credentials(text)!r}") from error
    if not host or any(character.isspace() for character in text) or parts.query or parts.fragment:
        raise ValueError(
            f'{what} is no address: {_without_credentials(text)!r}; write "localhost:{port}" or '
            f'"https://elsewhere.example:{port}"'
        )
    scheme = parts.scheme if has_scheme else "http" if is_loopback(host) else "https"
    if scheme not in _PORTS:
        raise ValueError(f"{what} must be http or https, not {scheme!r}")
    number = given if given is not None else _PORTS[scheme] if has_scheme else port
    name = f"[{host}]" if ":" in host else host
    credentials = None
    if parts.username is not None or parts.password is not None:
        credentials = (unquote(parts.username or ""), unquote(parts.password or ""))
    return Address(f"{scheme}://{name}:{number}{parts.path.rstrip('/')}", credentials)


def _without_credentials(text: str) -> str:
    return text.rpartition("@")[2]
