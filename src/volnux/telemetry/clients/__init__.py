"""Sockets and clients that record what they exchange: one file per library, loaded when it is used.

The public names are in `volnux.telemetry`.
"""
