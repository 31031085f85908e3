"""A small shop: its steps are traced, and what talks to a host says so."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from volnux.telemetry import Budget, network_op, record_retry, traced_event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class BusyError(Exception):
    """The other side asks to come back later."""


class Hosts:
    """How the shop talks to others.

    Args:
        send: takes a host and what to ask it, and returns the answer.
        sleep: waits for so many seconds.
    """

    def __init__(
        self,
        send: Callable[[str, bytes], bytes],
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._send = send
        self.sleep = sleep

    def ask(self, host: str, question: bytes) -> bytes:
        """Return what a host answers."""
        with network_op(host, 443, "POST") as op:
            op.sent(len(question))
            answer = self._send(host, question)
            op.received(len(answer))
        return answer


@traced_event
def load_orders(hosts: Hosts, customer: str) -> list[bytes]:
    """Return a customer's orders."""
    numbers = hosts.ask("orders.example.org", f"numbers of {customer}".encode())
    return [load_order(hosts, number) for number in numbers.split()]


@traced_event
def load_order(hosts: Hosts, number: bytes) -> bytes:
    """Return one order."""
    return hosts.ask("orders.example.org", b"order " + number)


@traced_event
def checkout(hosts: Hosts, customer: str, cents: int) -> None:
    """Have an order paid, shipped and confirmed."""
    pay(hosts, cents)
    send_receipt(hosts, customer)
    ship(hosts, customer)
    recommend(hosts, customer)


@traced_event
def pay(hosts: Hosts, cents: int) -> bytes:
    """Take the money; a bank that is busy is asked three times."""
    for delay in (0.5, 1.0):
        try:
            return hosts.ask("pay.example.org", b"%d cents" % cents)
        except BusyError as error:
            record_retry(error, delay=delay)
            hosts.sleep(delay)
    return hosts.ask("pay.example.org", b"%d cents" % cents)


@traced_event
def send_receipt(hosts: Hosts, customer: str) -> None:
    """Write to the customer."""
    hosts.ask("mail.example.org", f"dear {customer}".encode())


@traced_event
def ship(hosts: Hosts, customer: str) -> None:
    """Send the parcel."""
    hosts.ask("orders.example.org", f"ship to {customer}".encode())


@traced_event
def recommend(hosts: Hosts, customer: str) -> bytes:
    """Return what else the customer may like; nothing if that cannot be found out."""
    try:
        return rank(hosts, customer)
    except BusyError:
        return b""


@traced_event
def rank(hosts: Hosts, customer: str) -> bytes:
    """Ask a service that knows what customers like."""
    return hosts.ask("ads.example.net", f"likes of {customer}".encode())


@traced_event
def search(hosts: Hosts, words: str) -> bytes:
    """Return what the shop has of something."""
    return hosts.ask("search.example.org", words.encode())


@traced_event(budget=Budget(max_bytes=64 * 1024))
def upload(hosts: Hosts, picture: bytes) -> None:
    """Store the picture of an article."""
    hosts.ask("files.example.org", picture)


@traced_event
def prices(hosts: Hosts) -> Iterator[bytes]:
    """Yield the price of an article whenever it changes."""
    while True:
        yield hosts.ask("orders.example.org", b"price")


@traced_event
def total(hosts: Hosts, cents: list[int]) -> int:
    """Return what a basket costs, with postage."""
    return sum(cents) + len(hosts.ask("orders.example.org", b"postage"))


@traced_event
def load_catalogue() -> list[str]:
    """Read what there is to sell, which takes a while."""
    return ["tea", "cups"]
