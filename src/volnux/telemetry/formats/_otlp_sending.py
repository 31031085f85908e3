"""Posting to a receiver of OTLP."""

from __future__ import annotations

import zlib
from http.client import HTTPException
from threading import Lock
from typing import TYPE_CHECKING

from volnux.telemetry.errors import PublishError
from volnux.telemetry.formats._otlp_answers import Answer
from volnux.telemetry.formats._otlp_resource import own_version

if TYPE_CHECKING:
    from typing import Any

    from volnux.telemetry.formats._otlp_settings import Target

#: Bytes of an answer that are read.
_LONGEST = 1 << 20
_PIECE = 1 << 16
#: The headers by which an empty answer says that it is one.
_LENGTHS = ("content-length", "transfer-encoding")
#: The fastest: spans repeat themselves so much that more effort gains little.
_LEVEL = 1
_GZIP = 16 + zlib.MAX_WBITS


class Sending:
    """Posts bodies, through connections that it keeps. Safe from several threads; each process has one of its own.

    Args:
        library: requests.
        connections: how many there may be at once.
    """

    def __init__(self, library: Any, connections: int) -> None:
        self._library = library
        self._connections = connections
        self._agent = f"volnux/{own_version()}"
        self._errors = (library.RequestException, OSError, HTTPException)
        self._lock = Lock()
        self._made: Any = None

    def post(self, target: Target, body: bytes, timeout: float) -> Answer:
        """Send one request and return the answer, whatever it says; redirections are not followed.

        Args:
            target: where to.
            body: in the wire format.
            timeout: seconds without anything coming, at most.

        Raises:
            PublishError: there was no answer.
        """
        headers = {
            **target.headers,
            "content-type": "application/x-protobuf",
            "user-agent": target.headers.get("user-agent", self._agent),
        }
        if target.is_compressed:
            headers["content-encoding"] = "gzip"
            body = compressed(body)
        return self.ask("POST", target, headers, body, timeout)

    def ask(
        self, method: str, target: Target, headers: dict[str, str], body: bytes, timeout: float
    ) -> Answer:
        """Send any request; as `post`."""
        try:
            with self._session().request(
                method,
                target.url,
                data=body,
                headers=headers,
                timeout=min(timeout, target.timeout),
                allow_redirects=False,
                verify=target.verify,
                cert=target.certificate,
                auth=_as_it_is,
                stream=True,
            ) as response:
                content = _content(response)
        except self._errors as error:
            # Its text holds the address, and what it comes from may hold more.
            raise PublishError(f"no answer: {type(error).__name__}") from None
        has_length = any(name in response.headers for name in _LENGTHS)
        if not content and response.status_code != 204 and not has_length:
            # It may have ended in the middle of its head, which looks the same.
            raise PublishError("no answer: it was cut off")
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        return Answer(response.status_code, kind, response.headers.get("retry-after"), content)

    def close(self) -> None:
        """Close the connections; the next request makes new ones."""
        with self._lock:
            made, self._made = self._made, None
        if made is not None:
            made.close()

    def _session(self) -> Any:
        with self._lock:
            if self._made is None:
                session = self._made = self._library.Session()
                adapter = self._library.adapters.HTTPAdapter(pool_maxsize=self._connections)
                session.mount("https://", adapter)
                session.mount("http://", adapter)
            return self._made


def compressed(body: bytes) -> bytes:
    """Return a body as gzip has it."""
    packing = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    return packing.compress(body) + packing.flush()


def _content(response: Any) -> bytes:
    found = b""
    for piece in response.iter_content(_PIECE):
        found += piece
        if len(found) > _LONGEST:
            break
    return found


def _as_it_is(request: Any) -> Any:
    """Leave the headers alone: without this, requests would put in what a .netrc has for the host."""
    return request
