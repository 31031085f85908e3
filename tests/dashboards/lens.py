"""Lens panels as what Kibana asks Elasticsearch for: an aggregation, and its answer as rows.

Written after what Lens does: each group holds the next one, and in each of them stand the numbers.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.dashboards.files import Lens

#: What Kibana takes for 24 hours.
INTERVAL = "30m"
#: A row: value by column.
Row = dict[str, Any]


def request(lens: Lens, since: str) -> dict[str, Any]:
    """The search of a panel, from a point in time on."""
    time = {"range": {"@timestamp": {"gte": since}}}
    return {
        "size": 0,
        "track_total_hits": True,
        "query": {"bool": {"filter": [time, kuery(lens.query)]}},
        "aggs": _level(lens, _groups(lens)),
    }


def kuery(text: str) -> dict[str, Any]:
    """The few forms of Kibana's query language that the dashboard uses, as a query."""
    if not text:
        return {"match_all": {}}
    return {"bool": {"filter": [_clause(one) for one in text.split(" and ")]}}


def _clause(text: str) -> dict[str, Any]:
    if text.startswith("not "):
        return {"bool": {"must_not": [_clause(text.removeprefix("not "))]}}
    field, operator, value = re.fullmatch(r"(\S+?)(:| >) (\S+)", text).groups()
    if operator == " >":
        return {"range": {field: {"gt": float(value)}}}
    if value == "*":
        return {"exists": {"field": field}}
    return {"term": {field: value}}


def _groups(lens: Lens) -> list[str]:
    return [name for name in lens.order if lens.columns[name]["isBucketed"]]


def _numbers(lens: Lens) -> list[str]:
    return [name for name in lens.order if not lens.columns[name]["isBucketed"]]


def _level(lens: Lens, groups: list[str]) -> dict[str, Any]:
    """The numbers, and the first group with what is in it."""
    found = {
        name: one for name in _numbers(lens) if (one := _number(lens.columns[name])) is not None
    }
    if groups:
        found[groups[0]] = {
            **_group(lens, lens.columns[groups[0]]),
            "aggs": _level(lens, groups[1:]),
        }
    return found


def _number(column: dict[str, Any]) -> dict[str, Any] | None:
    """One number; None for how many documents there are, which every answer says."""
    field, params = column["sourceField"], column["params"]
    match column["operationType"]:
        case "count":
            inner = None
        case "sum" | "max" as operation:
            inner = {operation: {"field": field}}
        case "percentile":
            inner = {"percentiles": {"field": field, "percents": [params["percentile"]]}}
        case "last_value":
            inner = {
                "top_hits": {
                    "size": 1,
                    "sort": [{params["sortField"]: "desc"}],
                    "_source": False,
                    "fields": [field],
                }
            }
    if "filter" not in column:
        return inner
    within = {} if inner is None else {"aggs": {"value": inner}}
    return {"filter": kuery(column["filter"]["query"]), **within}


def _group(lens: Lens, column: dict[str, Any]) -> dict[str, Any]:
    field, params = column["sourceField"], column["params"]
    match column["operationType"]:
        case "terms":
            by = params["orderBy"]["columnId"]
            order = "_count" if lens.columns[by]["operationType"] == "count" else by
            size = params["size"]
            return {
                "terms": {"field": field, "size": size, "order": {order: params["orderDirection"]}}
            }
        case "date_histogram":
            return {
                "date_histogram": {
                    "field": field,
                    "fixed_interval": INTERVAL,
                    "min_doc_count": 0 if params["includeEmptyRows"] else 1,
                }
            }
        case "range":
            ranges = [
                {"key": one["label"]}
                | {end: one[end] for end in ("from", "to") if one[end] is not None}
                for one in params["ranges"]
            ]
            return {"range": {"field": field, "ranges": ranges}}
    raise AssertionError(column)


def rows(lens: Lens, answer: dict[str, Any]) -> list[Row]:
    """The answer to its search: one row for each innermost group that holds something."""
    whole = {"doc_count": answer["hits"]["total"]["value"], **answer.get("aggregations", {})}
    return list(_rows(lens, _groups(lens), whole))


def _rows(lens: Lens, groups: list[str], bucket: dict[str, Any]):
    if groups:
        for inner in bucket[groups[0]]["buckets"]:
            for row in _rows(lens, groups[1:], inner):
                yield {groups[0]: inner["key"], **row}
    elif bucket["doc_count"]:
        yield {name: _value(lens.columns[name], bucket, name) for name in _numbers(lens)}


def _value(column: dict[str, Any], bucket: dict[str, Any], name: str) -> Any:
    part = bucket.get(name, bucket)
    if column["operationType"] == "count":
        return part["doc_count"]
    if "filter" in column:
        part = part["value"]
    if column["operationType"] == "last_value":
        return next((hit["fields"][column["sourceField"]][0] for hit in part["hits"]["hits"]), None)
    if column["operationType"] == "percentile":
        (value,) = part["values"].values()
        return value
    return part["value"]
