"""Sockets and clients that record what they exchange: one file per library, loaded when it is used."""

from __future__ import annotations

from volnux.telemetry.clients._instruments import instrument, traced_client, uninstrument, untrace
from volnux.telemetry.clients._traced_socket import traced_socket

__all__ = ["instrument", "traced_client", "traced_socket", "uninstrument", "untrace"]
