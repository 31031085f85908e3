"""The first steps of a visit to a back end: its name, its port, its certificate, and what it answers to HTTP."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import threading
from base64 import b64encode
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from volnux.cli._doctor_target import Target

#: Bytes of an answer that are looked at.
MOST: Final = 32 << 20
_TRUST: Final = "give its authority: --ca FILE here, ca_certs=FILE to the publisher"
#: By the numbers of OpenSSL, X509_V_ERR_… in its x509_vfy.h: what is wrong, and what helps.
_CERTIFICATES: Final = {
    9: ("its certificate is not valid yet", "check the clocks of both machines"),
    10: ("its certificate has expired", "have the server's certificate renewed"),
    **dict.fromkeys((62, 64), ("its certificate is for another host", "")),
    **dict.fromkeys((18, 19, 20, 21), ("nobody vouches for its certificate that is trusted here", _TRUST)),
}  # fmt: skip


class StepError(Exception):
    """A step that failed.

    Attributes:
        detail: what is wrong.
        cure: what helps; empty if the detail says it, or nobody knows.
    """

    def __init__(self, detail: str, cure: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.cure = cure


class StepSkippedError(Exception):
    """A step that cannot be taken, which is nothing to worry about; its text says why."""


class Answer(NamedTuple):
    """What a server answered to a request."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")


class Wire:
    """The way to one back end.

    Args:
        target: where it is, and who wants to be let in.
        timeout: seconds that a step may take.
        ca: a file with the authorities to trust; the system's by default.
    """

    def __init__(self, target: Target, timeout: float, ca: str | None) -> None:
        self.target = target
        self.timeout = timeout
        self.ca = ca

    def resolve(self) -> str:
        """Find the addresses of the host."""
        target = self.target
        try:
            found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            cure = "check how it is spelled, and the name servers of this machine"
            raise StepError(f"the name {target.host} is not known", cure) from None
        return ", ".join(dict.fromkeys(str(one[4][0]) for one in found))

    def connect(self) -> str:
        """Reach its port."""
        self._connected().close()
        return f"port {self.target.port}"

    def secure(self) -> str:
        """Agree on TLS, and look at the certificate."""
        with self._secured(self._connected()) as connection:
            return f"{connection.version()}, certificate in order"

    def ask(
        self, method: str, path: str, body: bytes = b"", kind: str = "application/json"
    ) -> Answer:
        """Send a request, and return what was answered.

        Raises:
            StepError: nothing was, or nothing that could be understood.
        """
        target = self.target
        connection = http.client.HTTPConnection(target.host, target.port, timeout=self.timeout)
        connected = self._connected()
        connection.sock = self._secured(connected) if target.is_secure else connected
        headers = {"Accept": "*/*", "User-Agent": "volnux-doctor", **self.credentials()}
        if body or method in ("POST", "PUT"):
            headers["Content-Type"] = kind
        try:
            connection.request(method, path or "/", body=body or None, headers=headers)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read(MOST))
        except TimeoutError:
            raise self._silent() from None
        except (OSError, http.client.HTTPException) as error:
            cure = "" if target.is_secure else "if it speaks TLS, write https://"
            raise StepError(f"no answer that is HTTP ({type(error).__name__})", cure) from None
        finally:
            connection.close()

    def bounded(self, step: Callable[[], str]) -> str:
        """Take a step, and give it up after twice the timeout, whatever trickles in.

        Raises:
            StepError, StepSkippedError: as the step does, or since it takes too long.
        """
        found: list[str | BaseException] = []

        def take() -> None:
            try:
                found.append(step())
            except BaseException as error:  # noqa: BLE001  # raised below
                found.append(error)

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        thread.join(2 * self.timeout)
        if not found:
            raise self._silent()
        (answer,) = found
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _silent(self) -> StepError:
        cure = "see whether the server is busy or a firewall in the way; --timeout gives it longer"
        return StepError(f"no answer within {self.timeout:g} s", cure)

    def credentials(self) -> dict[str, str]:
        """Return the headers that say who this is."""
        target = self.target
        if target.user is not None:
            pair = f"{target.user}:{target.password or ''}".encode()
            return {"Authorization": f"Basic {b64encode(pair).decode()}"}
        return {"Authorization": f"ApiKey {target.api_key}"} if target.api_key else {}

    def _connected(self) -> socket.socket:
        target = self.target
        try:
            return socket.create_connection((target.host, target.port), self.timeout)
        except TimeoutError:
            raise self._silent() from None
        except ConnectionRefusedError:
            cure = "start the server, or check the port"
            raise StepError(f"nobody listens at port {target.port}", cure) from None
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else type(error).__name__
            raise StepError(
                f"cannot connect: {reason}", "check the address and the way there"
            ) from None

    def _secured(self, connection: socket.socket) -> ssl.SSLSocket:
        try:
            context = ssl.create_default_context(cafile=self.ca)
            return context.wrap_socket(connection, server_hostname=self.target.host)
        except ssl.SSLCertVerificationError as error:
            connection.close()
            detail, cure = _CERTIFICATES.get(
                error.verify_code, (f"its certificate is not accepted: {error.verify_message}", "")
            )
            cure = cure or f"use a name that it is for, or have one issued for {self.target.host}"
            raise StepError(detail, cure) from None
        except TimeoutError:
            connection.close()
            raise self._silent() from None
        except OSError as error:  # that of TLS is one as well
            connection.close()
            reason = getattr(error, "reason", None) or type(error).__name__
            cure = "if it does not speak TLS, write http://"
            raise StepError(f"no TLS with what answers there ({reason})", cure) from None
