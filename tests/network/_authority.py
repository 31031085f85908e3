"""Certificates for the loopback servers, and the contexts of both sides."""

from __future__ import annotations

import ssl
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import trustme

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("localhost", "127.0.0.1", "::1")


class Authority:
    """A certificate authority of this test session, and what it has issued.

    Certificates by name: "good"; "wrong-name", for another host; "expired"; "untrusted", from an
    authority that nobody knows.
    """

    def __init__(self, folder: Path) -> None:
        ours, stranger = trustme.CA(), trustme.CA()
        past = datetime(2001, 1, 1, tzinfo=timezone.utc), datetime(2001, 2, 1, tzinfo=timezone.utc)
        issued = {
            "good": ours.issue_cert(*NAMES),
            "wrong-name": ours.issue_cert("elsewhere.example"),
            "expired": ours.issue_cert(*NAMES, not_before=past[0], not_after=past[1]),
            "untrusted": stranger.issue_cert(*NAMES),
        }
        self._folder = folder
        for name, certificate in issued.items():
            certificate.private_key_and_cert_chain_pem.write_to_path(str(folder / f"{name}.pem"))
        ours.cert_pem.write_to_path(self.pem)
        stranger.cert_pem.write_to_path(self.stranger)

    @property
    def pem(self) -> str:
        """Path of the file with the authority's own certificate."""
        return str(self._folder / "ca.pem")

    @property
    def stranger(self) -> str:
        """Path of the file with the certificate of an authority that has issued nothing of worth here."""
        return str(self._folder / "stranger.pem")

    def certificate(self, name: str = "good") -> str:
        """Path of the file with a certificate and its private key."""
        return str(self._folder / f"{name}.pem")

    def client_context(self, *, alpn: tuple[str, ...] = ()) -> ssl.SSLContext:
        """A new context that trusts this authority and nobody else."""
        context = ssl.create_default_context(cafile=self.pem)
        if alpn:
            context.set_alpn_protocols(list(alpn))
        return context

    def server_context(
        self, certificate: str = "good", *, alpn: tuple[str, ...] = ("http/1.1",)
    ) -> ssl.SSLContext:
        """A new context that shows one of the certificates."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate(certificate))
        context.set_alpn_protocols(list(alpn))
        return context
