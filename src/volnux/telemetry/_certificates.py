"""What is wrong with a back end's certificate."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_ANOTHER = "is for another host"
#: By the numbers of OpenSSL, X509_V_ERR_… in its x509_vfy.h; in our words, for its own may name the host.
_FAULTS = {
    9: "is not valid yet, or the clock of this machine is wrong",
    10: "has expired",
    **dict.fromkeys((62, 64), _ANOTHER),
    **dict.fromkeys((18, 19, 20, 21), "is signed by no authority that is trusted here"),
}
#: Errors looked at, of those that an error comes from: each library wraps them in some of its own.
_MOST = 20


def certificate_fault(error: BaseException) -> str | None:
    """Return what is wrong with a certificate that an error comes from; None if it comes from none."""
    for each in _origins(error):
        number = getattr(each, "verify_code", None)
        if isinstance(number, int):
            fault = _FAULTS.get(number, f"is not accepted (OpenSSL: {number})")
            return f"the server's certificate {fault}"
        if type(each).__name__ == "CertificateError":  # urllib3's, which compares names by itself
            return f"the server's certificate {_ANOTHER}"
    return None


def _origins(error: BaseException) -> Iterator[BaseException]:
    """Give an error, and those that it was raised for or wraps."""
    waiting, seen = [error], 0
    while waiting and seen < _MOST:
        each = waiting.pop(0)
        seen += 1
        yield each
        around = (each.__cause__, each.__context__, getattr(each, "reason", None), *each.args)
        waiting += [one for one in around if isinstance(one, BaseException)]
