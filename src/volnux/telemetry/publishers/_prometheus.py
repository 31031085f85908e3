"""Totals of what is recorded, for Prometheus to scrape."""

from __future__ import annotations

import os
import socket
from threading import Lock
from typing import TYPE_CHECKING

from volnux.telemetry._fork import on_fork
from volnux.telemetry._publisher import MetricsPublisher, require
from volnux.telemetry._records import NetworkMetrics
from volnux.telemetry.errors import PublishError
from volnux.telemetry.formats._exposition import families, filled
from volnux.telemetry.formats._prometheus import BOUNDS, Accumulator, checked_bounds, observation
from volnux.telemetry.formats._relay import Relay

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from volnux.telemetry._publisher import Record, Verdict
    from volnux.telemetry._records import EventMetrics


class PrometheusPublisher(MetricsPublisher):
    """Counts what is recorded, and serves the totals to Prometheus at `/metrics`.

    A scrape sees one consistent state: counts, buckets and sums of the same records. Counters begin at 0
    with the first record of a name, for each outcome. Processes that are forked from this one, such as
    the workers of gunicorn with a publisher made in its master, send theirs here and are counted with it.

    Args:
        port: where to listen; 0 for any free port, None to serve nothing.
        addr: the address to listen at; "0.0.0.0" for all of this machine.
        registry: the `CollectorRegistry` to be part of; one of its own by default.
        buckets: upper bounds of the durations' buckets, in seconds, ascending.
        max_names: how many events, and how many operations, are counted by name; what exceeds it is
            counted together, as `__other__`.
        certfile, keyfile: serve by HTTPS, with this certificate.
        client_cafile: ask clients for a certificate, which one of these authorities must have signed.
        push_gateway: the address of a Pushgateway that gets the totals when this publisher is
            closed, at the end of a batch job.
        job: the `job` under which they are pushed.
        grouping_key: further labels for that.

    Attributes:
        port: the port that it listens at; None if it serves nothing.

    Raises:
        MissingDependencyError: the client is not installed: pip install "volnux[prometheus]".
        OSError: it cannot listen there; the message says what to do.
        TypeError, ValueError: an argument is none of those above.
    """

    batch_size: int = 2_000

    def __init__(
        self,
        port: int | None = 9464,
        addr: str = "127.0.0.1",
        *,
        registry: Any = None,
        buckets: Sequence[float] = BOUNDS,
        max_names: int = 500,
        certfile: str | os.PathLike[str] | None = None,
        keyfile: str | os.PathLike[str] | None = None,
        client_cafile: str | os.PathLike[str] | None = None,
        push_gateway: str | None = None,
        job: str | None = None,
        grouping_key: Mapping[str, str] | None = None,
    ) -> None:
        self._library = require("prometheus_client", "prometheus")
        self._core = require("prometheus_client.core", "prometheus")
        self._bounds = checked_bounds(buckets)
        if push_gateway is not None and not job:
            raise ValueError("push_gateway needs job=, the name under which the totals are pushed")
        if (certfile is None) != (keyfile is None) or (client_cafile and not certfile):
            raise ValueError("HTTPS needs certfile= and keyfile=, and client_cafile= needs HTTPS")
        self._gateway = push_gateway
        self._job = job
        self._grouping_key = dict(grouping_key or {})
        self._accumulator = Accumulator(self._bounds, max_names)
        self._lock = Lock()
        self._health: Callable[[], Any] | None = None
        self._is_closed = False
        self._owner = os.getpid()
        self._registry = self._library.CollectorRegistry() if registry is None else registry
        self._server: Any = None
        self._thread: Any = None
        self.port: int | None = None
        self._registry.register(self)
        if port is not None:
            tls = [
                None if one is None else os.fspath(one)
                for one in (certfile, keyfile, client_cafile)
            ]
            try:
                self._listen(port, addr, tls)
            except BaseException:
                self._registry.unregister(self)
                raise
        self._relay = Relay(self._add) if hasattr(os, "fork") else None
        on_fork(self)

    def __repr__(self) -> str:
        return f"PrometheusPublisher(port={self.port})"

    def _listen(self, port: int, addr: str, tls: list[str | None]) -> None:
        certfile, keyfile, client_cafile = tls
        try:
            self._server, self._thread = self._library.start_http_server(
                port,
                addr,
                self._registry,
                certfile=certfile,
                keyfile=keyfile,
                client_cafile=client_cafile,
                client_auth_required=client_cafile is not None,
            )
        except (OSError, OverflowError, TypeError) as error:
            if isinstance(error, (FileNotFoundError, TypeError)):
                raise
            hint = " (Prometheus itself listens there)" if port == 9090 else ""
            raise OSError(
                f"cannot listen at {addr}:{port}{hint}: {getattr(error, 'strerror', None) or error}; "
                "give another port=, or 0 for any that is free"
            ) from error
        self.port = self._server.server_port

    # -- publishing ------------------------------------------------------------------------------

    def watch(self, health: Callable[[], Any]) -> None:
        """Show a monitor's health as well: what is in flight, and what was dropped."""
        self._health = health

    def publish_event_metrics(self, metrics: EventMetrics) -> None:
        """Count one event."""
        self.publish_batch([metrics])

    def publish_network_metrics(self, metrics: dict[str, Any]) -> None:
        """Count one network operation."""
        self.publish_batch([NetworkMetrics.from_dict(metrics)])

    def publish_batch(self, records: Sequence[Record]) -> Sequence[Verdict] | None:
        """Count several records.

        Returns:
            None, or in a forked process that could send only some of them, which these are.

        Raises:
            PublishError: this is a forked process, and the one that serves is gone.
        """
        observations = list(map(observation, records))
        if os.getpid() == self._owner or self._relay is None:
            self._add(observations)
            return None
        try:
            sent = self._relay.send(observations)
        except OSError as error:
            raise PublishError("the process that serves the totals does not answer") from error
        return ["ok" if place < sent else "retry" for place in range(len(records))]

    def _add(self, observations: list[list[Any]]) -> None:
        with self._lock:
            self._accumulator.add(observations)

    def close(self, timeout: float | None = None) -> None:
        """Push the totals, if that was asked for, and stop serving them; the port is free again.

        Raises:
            PublishError: they could not be pushed.
        """
        if self._is_closed or os.getpid() != self._owner:
            return
        self._is_closed = True
        try:
            if self._gateway is not None:
                self._push(self._gateway, 10.0 if timeout is None else timeout)
        finally:
            if self._relay is not None:
                self._relay.close()
            if self._server is not None:
                self._server.shutdown()
                self._server.server_close()
                self._thread.join()
            self._registry.unregister(self)

    def _push(self, gateway: str, timeout: float) -> None:
        try:
            self._library.push_to_gateway(
                gateway, self._job, self._registry, self._grouping_key, timeout
            )
        except OSError as error:
            raise PublishError("the totals could not be pushed") from error

    def _after_fork(self) -> None:
        self._lock = Lock()
        if self._is_closed:
            return
        if self._relay is not None:
            self._relay.leave_to_parent()
        if self._server is not None:
            # This copy of it would keep the port taken, and nobody would answer there.
            socket.socket.close(self._server.socket)

    # -- what prometheus_client asks a collector ---------------------------------------------------

    def describe(self) -> list[Any]:
        """Name the metrics; without this, `CollectorRegistry.register` would collect them."""
        return list(families(self._core).values())

    def collect(self) -> list[Any]:
        """Give everything that was counted, as it is now: called at each scrape."""
        health = None if self._health is None else self._health()
        with self._lock:
            totals = self._accumulator.totals()
        return filled(self._core, self._bounds, totals, health)
