"""Columns of Lens: what is counted, added up or shown, and by what it is grouped."""

from __future__ import annotations

from typing import Any

Part = dict[str, Any]


def _column(
    operation: str, field: str, label: str, *, kind: str, params: Part, query: str | None = None
) -> Part:
    column = {
        "customLabel": True,
        "dataType": kind,
        "isBucketed": operation in {"terms", "date_histogram", "range"},
        "label": label,
        "operationType": operation,
        "params": params,
        "scale": {"number": "ratio", "string": "ordinal", "date": "interval"}[kind],
        "sourceField": field,
    }
    if query is not None:
        column["filter"] = {"language": "kuery", "query": query}
    return column


def count(label: str, query: str | None = None) -> Part:
    """Return how many documents there are, or match."""
    params = {"emptyAsNull": False}
    return _column("count", "___records___", label, kind="number", params=params, query=query)


def total(field: str, label: str) -> Part:
    """Return a field's sum."""
    return _column("sum", field, label, kind="number", params={"emptyAsNull": False})


def latest(label: str) -> Part:
    """Return when the newest document ended."""
    return _column("max", "@timestamp", label, kind="date", params={"emptyAsNull": True})


def percentile(field: str, share: int, label: str) -> Part:
    """Return what a share of all values does not exceed."""
    return _column("percentile", field, label, kind="number", params={"percentile": share})


def last(field: str, label: str, kind: str = "string") -> Part:
    """Return a field of the newest document."""
    params = {"showArrayValues": True, "sortField": "@timestamp"}
    query = f"{field}: *"
    return _column("last_value", field, label, kind=kind, params=params, query=query)


def terms(field: str, label: str, order: str, size: int = 10, kind: str = "string") -> Part:
    """Return groups by the values of a field, those with the most of another column first."""
    params = {
        "exclude": [],
        "excludeIsRegex": False,
        "include": [],
        "includeIsRegex": False,
        "missingBucket": False,
        "orderBy": {"columnId": order, "type": "column"},
        "orderDirection": "desc",
        "otherBucket": False,
        "parentFormat": {"id": "terms"},
        "size": size,
    }
    return {**_column("terms", field, label, kind=kind, params=params), "scale": "ordinal"}


def dates() -> Part:
    """Return groups by time, as fine as the range allows."""
    params = {"dropPartials": False, "includeEmptyRows": True, "interval": "auto"}
    return _column("date_histogram", "@timestamp", "ended", kind="date", params=params)


def ranges(field: str, label: str, bounds: dict[str, tuple[float, float | None]]) -> Part:
    """Return groups by ranges of a number, each with its label."""
    params = {
        "maxBars": 499.5,
        "parentFormat": {
            "id": "range",
            "params": {"replaceInfinity": True, "template": "arrow_right"},
        },
        "ranges": [
            {"from": low, "label": name, "to": high} for name, (low, high) in bounds.items()
        ],
        "type": "range",
    }
    return _column("range", field, label, kind="string", params=params)
