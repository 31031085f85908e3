"""What recording a client's exchanges adds to a request, beside OpenTelemetry's instrumentation."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from benchmarks import _rounds
from benchmarks._http_server import SIZE, Server
from benchmarks._machine import one_core
from benchmarks._result import Measured, Result, not_installed, number
from benchmarks.contenders import CONTENDERS

if TYPE_CHECKING:
    from collections.abc import Mapping

CALLS = 2_500
PROCESSES = 4
"""So many of each contender for each client: a target of 5 % is less than what luck with memory makes, and an
interpreter that has specialised for one client is slower at the next."""
ROUNDS, WARM_UP = 3, 500
OURS = ("http_bare", "http_volnux")
PEERS = ("http_otel",)
#: The cases of `contenders._http`, and whether OpenTelemetry has an instrumentation.
CASES = ("http.client", "urllib3", "requests", "httpx", "httpx_async", "aiohttp")
#: Percent of the bare call that may be added, and of what OpenTelemetry adds.
ADDED, OF_PEER = 5.0, 25.0


def measure(
    *,
    calls: int = CALLS,
    rounds: int = PROCESSES,
    pythons: Mapping[str, str] | None = None,
    peers: tuple[str, ...] = PEERS,
) -> Result:
    """Fetch 1 KiB over a kept connection, by each client: bare, recorded, and by the peer."""
    figures = _rounds.Figures()
    names = (*OURS, *(name for name in peers if name in PEERS))
    with one_core(), Server() as url:
        os.environ["BENCHMARKS_URL"] = url
        try:
            for case in CASES:
                one = _rounds.interleaved(
                    names,
                    {case: f"elapsed:{case}"},
                    calls=calls,
                    rounds=ROUNDS,
                    processes=rounds,
                    warm_up=WARM_UP,
                    pythons=pythons,
                )
                figures.join(one)
        finally:
            del os.environ["BENCHMARKS_URL"]
    figures.require(OURS)
    return Result(
        "network",
        "Network",
        f"A GET of {SIZE:,} bytes over a connection that is kept, from a server in another process on the same "
        f"core; microseconds on the wall clock, least of {ROUNDS} interleaved rounds in each of {rounds} processes that "
        "do nothing else. Folding and flushing is inside, sending is not.",
        [row for case in CASES for row in _measured(figures, case)],
        ["client", *(CONTENDERS[name].title for name in names)],
        [[case, *(_cell(figures, name, case) for name in names)] for case in CASES],
        not_installed(figures.missing),
        figures.versions,
    )


def _measured(figures: _rounds.Figures, case: str) -> list[Measured]:
    bare = figures["http_bare"][case]
    added = figures["http_volnux"][case] - bare
    note = f"{added / 1000:.1f} us on {bare / 1000:.1f}"
    rows = [Measured(f"{case}: added to a GET", 100 * added / bare, "%", ADDED, note=note)]
    peer = figures.get("http_otel", {}).get(case)
    if peer is not None:
        theirs = peer - bare
        note = f"{added / 1000:.1f} us against {theirs / 1000:.1f}"
        what = f"{case}: of what OpenTelemetry adds"
        rows.append(Measured(what, 100 * added / theirs, "%", OF_PEER, note=note))
    return rows


def _cell(figures: _rounds.Figures, name: str, case: str) -> str:
    cost = figures.get(name, {}).get(case)
    return "-" if cost is None else f"{number(cost / 1000)} us"
