"""The rows that a page shows: its filters, order and columns, from the URL and back to it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from flask import request

from api.http.errors import WrongParameters
from api.rows import requests
from api.rows.conditions import ColumnFilters, Condition
from api.rows.requests import row_query
from api.state.services import services
from api.ui.parameters import address, given, number
from etl.db.dataset_names import PLACE, RETIRED_AT, indexes
from etl.model.safe_text import printable
from etl.model.types import Operator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from api.rows.query import RowQuery
    from api.rows.shapes import RowShape
    from etl.model.dataset import Dataset
    from etl.model.types import SqlType

PARAMETERS = (*requests.PARAMETERS, "sort")
LIMITS = (20, 100, 500)
MOST_COLUMNS = 12  # unless the URL names them
MOST_CHARACTERS = 120  # of a cell
LINEAGE = (*PLACE, "_run_id", "_updated_at", RETIRED_AT)
CONDITIONS = {
    "gte": "at least",
    "lte": "at most",
    "eq": "is",
    "neq": "is not",
    "like": "contains",
    "is.null": "is empty",
    "is.not_null": "is not empty",
}
_SYMBOLS = {
    Operator.EQ: "=",
    Operator.NEQ: "≠",
    Operator.GT: ">",
    Operator.GTE: "≥",
    Operator.LT: "<",
    Operator.LTE: "≤",
    Operator.LIKE: "like",
    Operator.IN: "in",
    Operator.IS: "is",
}
_DESCENDING = "-"
NUMBERS = {"smallint", "integer", "bigint", "numeric", "real", "double precision"}
_TIMES = {"timestamptz", "timestamp"}
_NO_FRACTION = ".000000"
_INEXACT = "real"  # a page cannot go on after one, because it is compared as another number

Pairs = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class AskedRows:
    """A page of rows: its query, the shown columns, and the parameters of the URL.

    `shape` is in the order of the key, that of the query in the order that was asked for.
    `sortable` are the columns that the rows can be ordered by: those that begin an index.
    """

    shape: RowShape
    query: RowQuery
    fields: tuple[str, ...]
    pairs: Pairs
    sortable: tuple[str, ...]
    sort: str
    leaves_out_empty: bool

    @property
    def filters(self) -> Pairs:
        """The filters as parameters of the API."""
        return [one for one in self.pairs if requests.is_filter(one[0]) and one[0] != "sort"]

    @property
    def is_filtered(self) -> bool:
        """Whether not all rows are asked for."""
        return bool(self.filters) or self.leaves_out_empty

    def is_number(self, name: str) -> bool:
        """Whether a column is of numbers, which are aligned."""
        return self.shape.columns[name].type.name in NUMBERS

    def order_of(self, name: str) -> str | None:
        """How the rows are ordered by the column, in the word of `aria-sort`."""
        if self.sort != name:
            return None
        return "descending" if self.query.is_descending else "ascending"


def asked_rows(shape: RowShape, dataset: Dataset, *, is_live: bool = True) -> AskedRows:
    """What the URL asks for.

    Raises:  WrongParameters.
    """
    pairs = [(name, text) for name, text in request.args.items(multi=True) if text]
    sortable = _sortable(shape, dataset if is_live else None)
    sort, is_descending = _sort(shape, sortable)
    ordered = _ordered_by(shape, sort)
    query = row_query(
        ordered,
        pairs,
        services().today(),
        parameters=PARAMETERS,
        fields=given("fields"),
        limit=_limit(),
        after=given("after"),
    )
    fields = query.fields if given("fields") else query.fields[:MOST_COLUMNS]
    needed = [name for name in LINEAGE if name in shape.columns]
    leaves_out_empty = not shape.columns[sort].is_not_null
    if leaves_out_empty:  # an empty value has no place in a page that continues another one
        filters = cast("ColumnFilters", query.filters)
        is_given = Condition(sort, Operator.IS, constant="not_null")
        query = replace(query, filters=filters.with_condition(is_given))
    every = tuple(dict.fromkeys((*fields, *_attached(dataset, shape), *ordered.identity, *needed)))
    query = replace(query, fields=every, is_descending=is_descending)
    return AskedRows(shape, query, fields, pairs, sortable, sort, leaves_out_empty)


def _attached(dataset: Dataset, shape: RowShape) -> list[str]:
    return [one.column for one in dataset.attachments if one.column in shape.columns]


def _limit() -> int:
    found = number("limit") or LIMITS[0]
    if found > LIMITS[-1]:
        raise WrongParameters([("limit", f"must be at most {LIMITS[-1]}")])
    return found


def _sortable(shape: RowShape, dataset: Dataset | None) -> tuple[str, ...]:
    """The columns that begin an index; of other tables than that of the dataset, its key."""
    begin = [shape.identity[0]]
    if dataset is not None:
        begin += [one.columns[0] for one in indexes(dataset)]
    known = [name for name in dict.fromkeys(begin) if name in shape.columns]
    return tuple(name for name in known if _has_order(shape, name))


def _has_order(shape: RowShape, name: str) -> bool:
    column = shape.columns[name]
    is_ordered = Operator.GT in column.type.traits.operators and column.type.name != _INEXACT
    return name in shape.identity or (is_ordered and not column.is_age)


def _sort(shape: RowShape, sortable: Sequence[str]) -> tuple[str, bool]:
    """The column that the rows are ordered by, and whether the greatest is first."""
    text = given("sort") or shape.identity[0]
    if text in sortable or text == shape.identity[0]:
        return text, False
    name = text.removeprefix(_DESCENDING)
    if name not in (*sortable, shape.identity[0]):
        known = ", ".join(sortable)
        raise WrongParameters([("sort", f"must be a column that begins an index: {known}")])
    return name, True


def _ordered_by(shape: RowShape, sort: str) -> RowShape:
    if sort == shape.identity[0]:
        return shape
    return replace(shape, identity=tuple(dict.fromkeys((sort, *shape.identity))))


# -- URLs


def changed(pairs: Pairs, **changes: object) -> Pairs:
    """The parameters from the first page on, with some of them changed; None removes one."""
    kept = [one for one in pairs if one[0] not in changes and one[0] != "after"]
    return [*kept, *((name, str(value)) for name, value in changes.items() if value is not None)]


def filter_named(column: str) -> str:
    """The parameter that filters a column, in quotes where the name would mean another one."""
    if column not in PARAMETERS and not column.startswith('"'):
        return column
    escaped = column.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def filter_text(operator: str, value: str) -> str:
    """The value of the parameter of a filter, for a condition of the form."""
    if operator.startswith("is."):
        return operator
    if operator == "like":
        for one in ("\\", "%", "_"):
            value = value.replace(one, f"\\{one}")
        return f"like.*{value}*"
    return f"{operator}.{value}"


def applied(asked: AskedRows, path: str) -> list[tuple[str, str]]:
    """The filters in words, each with the URL of the page without it."""
    conditions = cast("ColumnFilters", asked.query.filters).conditions
    found = []
    for pair, one in zip(asked.filters, conditions, strict=False):
        rest = list(asked.pairs)
        rest.remove(pair)
        found.append((_words(one, pair[1]), address(path, changed(rest))))
    return found


def _words(one: Condition, text: str) -> str:
    words = "not " if one.is_negated else ""
    if one.constant is not None:
        value = {"null": "empty", "not_null": "not empty"}.get(one.constant, one.constant)
        return printable(f"{one.column} {words}is {value}")
    value = text.removeprefix("not.").partition(".")[2]
    return printable(f"{words}{one.column} {_SYMBOLS[one.operator]} {value}")


# -- cells


def cell(
    value: Any,  # noqa: ANN401 - any JSON value
    type_: SqlType | None = None,
    most: int = MOST_CHARACTERS,
) -> str | None:
    """A value as text that cannot forge what is around it; None if it is empty.

    A time of this type has no fraction of a second if that is zero. A text of more than `most`
    characters is cut.
    """
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    if type_ is not None and type_.name in _TIMES:
        text = text.replace(_NO_FRACTION, "")
    shown = printable(text[: most + 1])
    return shown if len(text) <= most else shown[:most] + "…"
