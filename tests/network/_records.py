"""What a test asks of the operations recorded, and of the server that counted them too."""

from __future__ import annotations


def only(registry):
    """The one operation that there is."""
    [op] = registry.network_ops()
    return op


def ended(registry):
    """The one operation that there is, and nothing is under way."""
    assert registry.health().in_flight == 0
    return only(registry)


def crossed(registry):
    """The bytes of the one operation that there is."""
    op = only(registry)
    return op.bytes_sent, op.bytes_received


def outcome(registry):
    """How the one operation that there is ended."""
    op = only(registry)
    return op.status, op.error_type


def counts(ops):
    """The bytes of each operation."""
    return [(op.bytes_sent, op.bytes_received) for op in ops]


def kernel(server, count):
    """What the kernel counted at the other end, of each exchange."""
    return [(each.wire_received, each.wire_sent) for each in server.wait_exchanges(count)]


def equal_to_the_kernel(ops, server):
    """Compare what was recorded with what the kernel counted at the other end."""
    assert counts(ops) == kernel(server, len(ops))
