"""What a benchmark hands back: rows with targets, and the peers' columns beside them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks import _table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence


@dataclass
class Measured:
    """One row: what was measured, what it must reach, whether it does."""

    what: str
    value: float
    unit: str = "x floor"
    target: float | None = None
    at_least: bool = False
    note: str = ""

    @property
    def met(self) -> bool | None:
        """None where there is nothing to reach."""
        if self.target is None:
            return None
        return self.value >= self.target if self.at_least else self.value <= self.target

    def cells(self) -> list[str]:
        """The row as text."""
        sign = "≥" if self.at_least else "≤"
        verdict = {None: "", True: "met", False: "MISSED"}[self.met]
        target = "" if self.target is None else f"{sign} {number(self.target)}"
        return [self.what, f"{number(self.value)} {self.unit}".strip(), target, verdict, self.note]


@dataclass
class Result:
    """One benchmark's outcome on one Python."""

    name: str
    title: str
    explanation: str
    rows: list[Measured]
    header: list[str] = field(default_factory=list)
    peers: list[list[str]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    #: Date and machine, if they are not those of the run that it is part of.
    where: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, with a verdict in every row."""
        plain = asdict(self)
        for row, measured in zip(plain["rows"], self.rows, strict=False):
            row["met"] = measured.met
        return plain

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Result:
        """Inverse of ``to_dict``."""
        rows = [Measured(**{k: v for k, v in row.items() if k != "met"}) for row in saved["rows"]]
        return cls(**{**saved, "rows": rows})

    def text(
        self, table: Callable[[Sequence[str], Sequence[Sequence[str]]], str] = _table.plain
    ) -> str:
        """Both tables and the remarks, as plain text or through *table*."""
        parts = [
            table(["what", "measured", "target", "", "detail"], [row.cells() for row in self.rows])
        ]
        if self.peers:
            parts.append(table(self.header, self.peers))
        bullet = "- " if table is _table.markdown else "  "
        return "\n\n".join([*parts, "\n".join(bullet + remark for remark in self.remarks)]).rstrip()


def number(value: float) -> str:
    """Three significant digits or so, thousands in groups."""
    if value == 0 or abs(value) >= 1000:
        return f"{value:,.0f}"
    digits = 3 if abs(value) < 1 else 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:.{digits}f}"


def not_installed(missing: Iterable[str]) -> list[str]:
    """One remark for each contender that could not run."""
    return [
        f"{name}: not installed (python -m benchmarks setup, or the dependency group `bench`)"
        for name in missing
    ]
