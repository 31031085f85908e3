"""PromQL taken apart: what an expression asks for, and whether Prometheus could answer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import promql_parser

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What Grafana puts in place of the variables of a panel, unless somebody chooses.
EVERYTHING = ".+"


class Selector(NamedTuple):
    """A metric that an expression names: its labels there, the function around it and its range."""

    metric: str
    matchers: dict[str, str]
    function: str | None
    seconds: float | None


def filled(expr: str, *, window: str = "1m", **chosen: str) -> str:
    """An expression as Grafana sends it: `$__rate_interval` and `$__range` are `window`."""
    values = {"__rate_interval": window, "__range": window}
    return re.sub(r"\$(\w+)", lambda found: {**values, **chosen}.get(found[1], EVERYTHING), expr)


def nodes(expr: Any, parents: tuple[Any, ...] = ()) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """Every part of a parsed expression, with those around it."""
    yield expr, parents
    inner = [
        getattr(expr, name, None) for name in ("lhs", "rhs", "expr", "param", "vector_selector")
    ]
    for one in [*inner, *(getattr(expr, "args", None) or [])]:
        if one is not None:
            yield from nodes(one, (*parents, expr))


def selectors(expr: str) -> list[Selector]:
    """The metrics that an expression names."""
    found = []
    for node, parents in nodes(promql_parser.parse(expr)):
        if isinstance(node, promql_parser.VectorSelector):
            calls = [one.func.name for one in parents if isinstance(one, promql_parser.Call)]
            around = [one for one in parents if isinstance(one, promql_parser.MatrixSelector)]
            found.append(
                Selector(
                    node.name,
                    {one.name: one.value for one in node.matchers.matchers},
                    calls[-1] if calls else None,
                    around[-1].range.total_seconds() if around else None,
                )
            )
    return found


def grouped(expr: str) -> set[str]:
    """The labels by which, or without which, an expression groups."""
    return {
        label
        for node, _ in nodes(promql_parser.parse(expr))
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None
        for label in node.modifier.labels
    }
