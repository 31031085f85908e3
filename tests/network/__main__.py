"""`python -m tests.network`: the table of docs/network.md, made by counting.

Random exchanges by every client, and random connections by sockets and streams, each compared with
what the kernel at the other end says of the same connection; and retries, compared with the other
side's own count of attempts.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.network._authority import Authority
from tests.network._connections import connections
from tests.network._drivers import DRIVERS
from tests.network._exactness import EXCHANGES, random_exchange, retried_requests
from tests.network._raw_server import RawServer
from tests.network._records import counts, kernel
from tests.network._tcp_info import LINUX
from volnux.telemetry import capture

if TYPE_CHECKING:
    from tests.network._drivers import Driver


class Row(NamedTuple):
    """One comparison, both ways."""

    what: str
    how_many: str
    ours: tuple[int, ...]
    theirs: tuple[int, ...]
    is_equal: bool

    def cells(self) -> list[str]:
        """The row as text."""
        same = "equal" if self.is_equal else "**different**"
        return [self.what, self.how_many, _shown(self.ours), _shown(self.theirs), same]


def _shown(numbers: tuple[int, ...]) -> str:
    return " / ".join(f"{number:,}" for number in numbers)


def exchanges(kind: type[Driver]) -> Row:
    """Compare every single exchange; the row has the sums."""
    chance = random.Random(f"table {kind.name}")
    with RawServer() as server, capture(strict=True) as registry, kind() as driver:
        for _ in range(EXCHANGES):
            driver.fetch(*random_exchange(server, chance))
        theirs = kernel(server, EXCHANGES)
    ours = counts(registry.network_ops())
    return _compared(f"{kind.name}: bytes sent / received", "exchanges", ours, theirs)


def _compared(what: str, things: str, ours: list[Any], theirs: list[Any]) -> Row:
    single = sum(a == b for a, b in zip(ours, theirs, strict=True))
    how_many = f"{single} of {len(ours)} {things} equal"
    return Row(what, how_many, _sums(ours), _sums(theirs), ours == theirs)


def _sums(pairs: list[tuple[int | None, int | None]]) -> tuple[int, int]:
    return sum(a or 0 for a, _ in pairs), sum(b or 0 for _, b in pairs)


def table(rows: list[Row]) -> str:
    """The rows in Markdown."""
    header = ["what", "how many", "volnux", "the other side", ""]
    lines = [header, ["---"] * len(header), *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main() -> int:
    """Print the table; the exit status is 1 if anything differs."""
    if not LINUX:
        sys.exit("The kernel's own count, to compare with, is known in Linux only.")
    rows = [exchanges(kind) for kind in DRIVERS]
    with TemporaryDirectory() as folder:
        for what, ours, theirs in connections(Authority(Path(folder))):
            rows.append(_compared(what, "connections", ours, theirs))
    with RawServer() as server:
        for what, how_many, found, made in retried_requests(server):
            rows.append(Row(what, how_many, (found,), (made,), found == made))
    print(table(rows))
    return int(not all(row.is_equal for row in rows))


if __name__ == "__main__":
    sys.exit(main())
