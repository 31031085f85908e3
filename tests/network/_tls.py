"""TLS on both ends of a traced connection."""

from __future__ import annotations

import socket
import threading

from tests.network._sockets import SECONDS
from volnux.telemetry import traced_socket


def wire(op):
    attributes = op.attributes
    return attributes.get("wire_bytes_sent"), attributes.get("wire_bytes_received")


def connect(server, context):
    """A traced TLS socket to a server."""
    plain = traced_socket(socket.create_connection(server.address, SECONDS))
    return context.wrap_socket(plain, server_hostname="localhost")


def take(sock, size):
    data = b""
    while len(data) < size:
        data += sock.recv(size - len(data))
    return data


def serving(authority, far, talk=None):
    """A thread that is the TLS server at the far end."""

    def serve():
        try:
            with authority.server_context().wrap_socket(far, server_side=True) as end:
                if talk is not None:
                    talk(end)
        except OSError:
            pass  # what a client does to its server

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


def echo(end):
    while data := end.recv(65_536):
        end.sendall(data)
