"""Servers whose certificate is not in order: nothing is sent there, nothing is lost, and the log says why."""

from __future__ import annotations

import logging
import ssl
import time
from typing import NamedTuple

import pytest

from tests.network._authority import Authority
from tests.publishers.scripted import Answer, Scripted, all_created
from volnux.telemetry import (
    ElasticsearchPublisher,
    OTLPPublisher,
    Registry,
    monitor_events,
    traced_event,
)
from volnux.telemetry._certificates import certificate_fault
from volnux.telemetry._notices import tell

pytestmark = pytest.mark.extras
SECRET = "pl4nted-s3cret"


class Kind(NamedTuple):
    """A publisher by HTTPS.

    Attributes:
        make: makes it, of a host with its port and the path of the authority to trust.
        usual: what makes the answer to its requests.
    """

    make: object
    usual: object


KINDS = {
    "elasticsearch": Kind(
        lambda place, ca: ElasticsearchPublisher(
            f"https://planted:{SECRET}@{place}", "a", ca_certs=ca
        ),
        all_created,
    ),
    "otlp": Kind(
        lambda place, ca: OTLPPublisher(
            f"https://planted:{SECRET}@{place}", ca_certs=ca, signals=("traces",)
        ),
        lambda request: Answer(200, b"", {"Content-Type": "application/x-protobuf"}),
    ),
}
#: By name: the certificate, the host that is asked for, and what the log says.
FAULTS = {
    "expired": ("expired", "localhost", "the server's certificate has expired"),
    "another host": ("wrong-name", "localhost", "certificate is for another host"),
    "another address": ("wrong-name", "127.0.0.1", "certificate is for another host"),
    "unknown authority": ("untrusted", "localhost", "certificate is signed by no authority that"),
}


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """Who vouches for the servers here."""
    return Authority(tmp_path_factory.mktemp("authority"))


def counts(monitor):
    """What has become of the records, which adds up whenever it is asked."""
    (found,) = monitor.health().publishers.values()
    assert found["accepted"] == (
        found["delivered"] + sum(found["dropped"].values()) + found["pending"]
    )
    return found


def warnings(caplog):
    """What the log has said of deliveries."""
    return [one.getMessage() for one in caplog.records if one.name == "volnux.telemetry"]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", KINDS)
def test_records_wait_until_the_certificate_is_in_order(kind, fault, authority, caplog):
    """They are kept, the log says what is wrong and no secret, and with a new certificate they arrive."""
    caplog.set_level(logging.DEBUG)
    certificate, host, said = FAULTS[fault]
    server = Scripted(KINDS[kind].usual)
    context = authority.server_context(certificate)

    def accepted():
        connection, address = server.server.socket.accept()
        return context.wrap_socket(
            connection, server_side=True, do_handshake_on_connect=False
        ), address

    server.server.get_request = accepted
    server.server.handle_error = lambda *args: None  # a client that has turned away
    serving = server.running()
    next(serving)
    publisher = KINDS[kind].make(f"{host}:{server.place.rpartition(':')[2]}", authority.pem)
    with monitor_events([publisher], registry=Registry(), interval=0.01) as monitor:
        (delivery,) = monitor._deliveries
        delivery._sender.backoff._uniform = lambda low, high: 0.001
        for _ in range(3):
            with traced_event("step"):
                pass
        deadline = time.monotonic() + 30
        while not warnings(caplog):
            assert not monitor.flush(timeout=0.1)
            assert time.monotonic() < deadline
        assert (counts(monitor)["pending"], counts(monitor)["dropped"]) == (3, {})
        assert server.requests == []
        # A new context: OpenSSL crashes where a certificate is exchanged under a handshake.
        context = authority.server_context("good")
        assert monitor.flush(timeout=30)
        assert (counts(monitor)["delivered"], counts(monitor)["dropped"]) == (3, {})
    next(serving, None)
    (warning,) = warnings(caplog)
    assert said in warning
    assert SECRET not in caplog.text


def test_what_a_publisher_of_ones_own_raises_is_told_as_well():
    """However deep the error of the certificate is wrapped: its number is none of the system's."""
    inner = ssl.SSLCertVerificationError(1, "certificate verify failed: host secret.internal")
    inner.verify_code = 62
    outer = ConnectionError("https://me:secret@host")
    outer.reason = RuntimeError(inner)
    wanted = "ConnectionError: the server's certificate is for another host"
    assert tell(outer) == wanted


def test_a_fault_that_has_no_words_of_ours():
    """OpenSSL's number is better than nothing; and what is no matter of certificates has none."""
    error = ssl.SSLCertVerificationError(1, "x")
    error.verify_code = 23
    assert certificate_fault(error) == "the server's certificate is not accepted (OpenSSL: 23)"
    assert certificate_fault(ConnectionError("away")) is None


def test_errors_that_go_round_in_circles():
    """Such a chain has an end, too."""
    one, other = OSError("one"), OSError("other")
    one.__cause__, other.__cause__ = other, one
    assert certificate_fault(one) is None
