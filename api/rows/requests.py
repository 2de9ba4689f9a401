"""From the parameters of a request for rows to a query; all faults are reported at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.http.errors import WrongParameters
from api.rows import cursors
from api.rows.conditions import (
    ColumnFilters,
    Condition,
    WrongFilter,
    condition,
    items,
    unknown_column,
)
from api.rows.query import RowQuery
from api.rows.values import WrongValue

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date

    from api.rows.shapes import Shape

PARAMETERS = ("fields", "limit", "after", "format")
_ALL = "*"

Faults = list[tuple[str, str]]


def is_filter(parameter: str) -> bool:
    """Whether a parameter is a filter, which may be repeated."""
    return parameter not in PARAMETERS


def row_query(  # noqa: PLR0913 - the parameters of the request
    shape: Shape,
    arguments: Iterable[tuple[str, str]],
    today: date,
    *,
    parameters: Sequence[str] = PARAMETERS,
    fields: str | None = None,
    limit: int | None,
    after: str | None,
) -> RowQuery:
    """The query; `arguments` are all parameters. Those not in `parameters` are filters.

    Raises:  WrongParameters.
    """
    faults: Faults = []
    given = [one for one in arguments if one[0] not in parameters]
    filters = _filters(shape, given, faults)
    names = _fields(shape, fields, faults)
    place = None if after is None else _place(shape, after, faults)
    if faults:
        raise WrongParameters(faults)
    return RowQuery(shape, filters, today, names, place, limit)


def _filters(shape: Shape, arguments: Iterable[tuple[str, str]], faults: Faults) -> ColumnFilters:
    found: list[Condition] = []
    for parameter, text in arguments:
        try:
            found.append(condition(shape, parameter, text))
        except WrongFilter as error:
            faults.append((parameter, str(error)))
    return ColumnFilters(tuple(found))


def _fields(shape: Shape, text: str | None, faults: Faults) -> tuple[str, ...]:
    if text is None:
        return shape.default_fields
    try:
        given = items(text)
    except ValueError:
        faults.append(("fields", 'has a name to be written in double quotes, such as "a,b"'))
        return ()
    names = [name for one in given for name in (shape.default_fields if one == _ALL else (one,))]
    unknown = [name for name in names if name not in shape.columns]
    faults += [("fields", f"names {one!r}, which {_unknown(one, shape)}") for one in unknown]
    if len(set(names)) < len(names):
        faults.append(("fields", "contains a field more than once"))
    return tuple(names)


def _unknown(name: str, shape: Shape) -> str:
    return unknown_column(name, shape.columns)


def _place(shape: Shape, text: str, faults: Faults) -> tuple[object, ...] | None:
    try:
        return cursors.parsed(shape, text)
    except WrongValue as error:
        faults.append(("after", str(error)))
        return None
