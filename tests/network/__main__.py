"""`python -m tests.network`: the table of docs/network.md, made by counting.

Random exchanges by every client, and connections by every kind of socket, each compared with what the
kernel says of the same connection; and retries, compared with the server's own count.
"""

from __future__ import annotations

import random
import sys
from typing import TYPE_CHECKING, NamedTuple

from tests.network._drivers import DRIVERS
from tests.network._exactness import EXCHANGES, random_exchange, retried_requests
from tests.network._raw_server import RawServer
from volnux.telemetry import capture

if TYPE_CHECKING:
    from tests.network._drivers import Driver


class Row(NamedTuple):
    """One comparison, both ways."""

    what: str
    how_many: str
    ours: tuple[int, ...]
    theirs: tuple[int, ...]

    def cells(self) -> list[str]:
        """The row as text."""
        same = "equal" if self.ours == self.theirs else "**different**"
        return [self.what, self.how_many, _shown(self.ours), _shown(self.theirs), same]


def _shown(numbers: tuple[int, ...]) -> str:
    return " / ".join(f"{number:,}" for number in numbers)


def exchanges(kind: type[Driver]) -> Row:
    """Compare every single exchange; the row has the sums."""
    chance = random.Random(f"table {kind.name}")
    with RawServer() as server, capture(strict=True) as registry, kind() as driver:
        for _ in range(EXCHANGES):
            driver.fetch(*random_exchange(server, chance))
        kernel = [(it.wire_received, it.wire_sent) for it in server.wait_exchanges(EXCHANGES)]
    ours = [(op.bytes_sent, op.bytes_received) for op in registry.network_ops()]
    single = sum(a == b for a, b in zip(ours, kernel, strict=True))
    return Row(
        f"{kind.name}: bytes sent / received",
        f"{single} of {EXCHANGES} exchanges equal",
        _sums(ours),
        _sums(kernel),
    )


def _sums(pairs: list[tuple[int, int]] | list[tuple[int | None, int | None]]) -> tuple[int, int]:
    return sum(a or 0 for a, _ in pairs), sum(b or 0 for _, b in pairs)


def table(rows: list[Row]) -> str:
    """The rows in Markdown."""
    header = ["what", "how many", "volnux", "the other side", ""]
    lines = [header, ["---"] * len(header), *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main() -> int:
    """Print the table; the exit status is 1 if anything differs."""
    rows = [exchanges(kind) for kind in DRIVERS]
    with RawServer() as server:
        for what, how_many, ours, made in retried_requests(server):
            rows.append(Row(what, how_many, (ours,), (made,)))
    print(table(rows))
    return int(any(row.ours != row.theirs for row in rows))


if __name__ == "__main__":
    sys.exit(main())
