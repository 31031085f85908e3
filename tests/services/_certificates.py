"""A certificate for a server on the loopback, and the authority that signed it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tests.services._errors import ServiceError

if TYPE_CHECKING:
    from pathlib import Path


class Certificate(NamedTuple):
    """Paths of files in the PEM format.

    Attributes:
        authority: what clients trust.
        chain: what the server shows.
        key: what the server keeps to itself.
    """

    authority: str
    chain: str
    key: str


def issue(folder: Path) -> Certificate:
    """Make a new authority, and a certificate for this machine, in *folder*."""
    try:
        import trustme
    except ImportError:
        raise ServiceError("it needs trustme: pip install trustme") from None
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1", "::1")
    paths = Certificate(*(str(folder / f"{name}.pem") for name in Certificate._fields))
    authority.cert_pem.write_to_path(paths.authority)
    issued.cert_chain_pems[0].write_to_path(paths.chain)
    issued.private_key_pem.write_to_path(paths.key)
    return paths
