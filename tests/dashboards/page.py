"""The tables of docs/dashboards.md: what each panel asks, and what it was answered."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tests.dashboards.files import ROOT, kibana_panels, lenses, panels, queries
from tests.dashboards.workload import EVENTS, OPERATIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.dashboards.files import Lens, Query
    from tests.dashboards.in_elasticsearch import Held
    from tests.dashboards.in_prometheus import Asked, Values
    from tests.dashboards.lens import Row

PAGE = ROOT / "docs" / "dashboards.md"
#: Rows or series that an answer shows; more are said to be there.
SHOWN = 4
#: What stands in the page for the choices at the top of the dashboard.
CHOSEN = re.compile(r'job=~"\$job", instance=~"\$instance"(, event=~"\$event")?')


def table(headings: list[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of Markdown."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join(
        f"| {' | '.join(one.replace('|', chr(92) + '|') for one in line)} |\n" for line in lines
    )


def replaced(page: str, name: str, text: str) -> str:
    """The page with another text between `<!-- NAME -->` and `<!-- end of NAME -->`."""
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    assert after, f"the page has no place for {name}"
    return f"{before}{begin}{text}{end}{after}"


def between(page: str, name: str) -> list[list[str]]:
    """The rows of the table there, without its headings."""
    text = page.partition(f"<!-- {name} -->\n")[2].partition(f"<!-- end of {name} -->")[0]
    rows = [re.split(r"(?<!\\) \| ", line.strip("| ")) for line in text.splitlines()]
    return rows[2:]


def workload() -> str:
    """What is recorded, once a round."""
    events = table(
        ["event", "times", "takes", "outcome", "retries"],
        [
            (
                f"`{one.name}`",
                str(one.times),
                _seconds(one.seconds),
                _ended(one),
                str(one.retries or "-"),
            )
            for one in EVENTS
        ],
    )
    operations = table(
        ["network operation", "times", "takes", "outcome", "sent", "received"],
        [
            (
                *(
                    f"`{one.name}` at {one.host}",
                    str(one.times),
                    _seconds(one.seconds),
                    _ended(one),
                ),
                *(_bytes(one.sent), _bytes(one.received)),
            )
            for one in OPERATIONS
        ],
    )
    return f"{events}\n{operations}"


def _ended(one: Any) -> str:
    return one.status + (f", `{one.error.__name__}`" if one.status == "failed" else "")


def grafana(asked: Asked | None) -> str:
    """What each panel of Grafana asks, and what it is answered; without a server, nothing."""
    described = {panel["title"]: panel["description"] for panel in panels()}
    rows = [
        (
            one.panel if len(_of_panel(one)) == 1 else f"{one.panel}: {one.legend}",
            described[one.panel],
            f"`{CHOSEN.sub('…', one.expr)}`",
            "" if asked is None else _series(one, asked.values(one.expr)),
        )
        for one in queries()
    ]
    return table(["panel", "what it shows", "query", "answer"], rows)


def _of_panel(query: Query) -> list[Query]:
    return [one for one in queries() if one.panel == query.panel]


def _series(query: Query, found: Values) -> str:
    """Values by their labels, the largest first; of buckets those in which there is something."""
    show = UNITS[query.unit]
    if query.legend == "{{le}}":
        ordered = sorted(found.items(), key=lambda one: float(dict(one[0])["le"]))
        steps = zip(ordered, [0.0, *(value for _, value in ordered)], strict=False)
        filled = [
            f"{value - below:.3g} up to {_seconds(float(dict(key)['le']))}"
            for (key, value), below in steps
            if value - below > 1e-6
        ]
        return _several(filled)
    names = re.findall(r"\{\{(\w+)\}\}", query.legend)
    ordered = sorted(found.items(), key=lambda one: (-one[1], one[0]))
    return _several(
        [
            " ".join([*(dict(key)[name] for name in names if name in dict(key)), show(value)])
            for key, value in ordered
        ]
    )


def kibana(held: Held | None) -> str:
    """What each panel of Kibana asks, and what it is answered; without a server, nothing."""
    described = {
        panel["title"]: panel["embeddableConfig"]["attributes"]["description"]
        for panel in kibana_panels()
    }
    rows = [
        (
            one.title,
            described[one.title],
            _question(one),
            "" if held is None else _several([_row(one, row) for row in held.rows(one)]),
        )
        for one in lenses()
    ]
    return table(["panel", "what it shows", "query", "answer"], rows)


def _question(lens: Lens) -> str:
    """What Lens asks for, in a line."""
    columns = [lens.columns[name] for name in lens.order]
    numbers = ", ".join(_column(one) for one in columns if not one["isBucketed"])
    groups = ", ".join(_column(one) for one in columns if one["isBucketed"])
    kind = lens.view.rpartition("-")[2]
    return (
        f"{kind}: `{numbers}`"
        + (f" by `{groups}`" if groups else "")
        + (f" where `{lens.query}`" if lens.query else "")
    )


def _column(column: dict[str, Any]) -> str:
    operation, field = column["operationType"], column["sourceField"]
    if operation == "percentile":
        operation = f"p{column['params']['percentile']}"
    asked = "count()" if operation == "count" else f"{operation}({field})"
    # Lens has each last value be one of those that have the field at all.
    return (
        f"{asked}[{column['filter']['query']}]"
        if "filter" in column and operation != "last_value"
        else asked
    )


def _row(lens: Lens, row: Row) -> str:
    """Groups as they are; numbers by their labels, unless there is only one."""
    shown = [name for name in lens.order if name in row and name not in {"ended", "task"}]
    numbers = [name for name in shown if not isinstance(row[name], str)]
    return " ".join(
        _cell(lens.columns[name], row[name], is_alone=numbers == [name]) for name in shown
    )


def _cell(column: dict[str, Any], value: Any, *, is_alone: bool) -> str:
    if isinstance(value, str):
        return value
    show = FIELDS.get(column["sourceField"], _number)
    return show(value) if is_alone else f"{column['label']} {show(value)}"


def _several(parts: list[str]) -> str:
    more = len(parts) - SHOWN
    return " · ".join([*parts[:SHOWN], *([f"{more} more"] if more > 0 else [])])


def _number(value: float) -> str:
    return f"{value:.3g}"


def _seconds(value: float) -> str:
    if value == float("inf"):
        return "any"
    return f"{value:.3g} s" if value >= 1 else f"{value * 1e3:.3g} ms"


def _bytes(value: float) -> str:
    return f"{value:,.0f} B"


UNITS: dict[str, Callable[[float], str]] = {
    "cps": lambda value: f"{value:.3g}/s",
    "ops": lambda value: f"{value:.3g}/s",
    "Bps": lambda value: f"{value:.3g} B/s",
    "percentunit": lambda value: f"{value:.1%}".replace("%", " %"),
    "s": _seconds,
    "short": _number,
}
FIELDS: dict[str, Callable[[float], str]] = {
    **dict.fromkeys(("duration", "latency"), _seconds),
    **dict.fromkeys(("bytes_sent", "bytes_received"), _bytes),
}
