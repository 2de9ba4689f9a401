"""Numbers of a dataset: how many rows, and the statistics of its columns.

Both are computed once per revision of the rows. Retired and shadowed rows change with them.
"""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, Text, cast, func, literal_column, null, select
from sqlalchemy.dialects.postgresql import JSONB, UUID

from api.rows.shapes import live_rows, retired_rows, shadowed_rows
from api.state.services import services
from etl.db.engine import schemas_of
from etl.model.types import Operator

if TYPE_CHECKING:
    from datetime import date

    from sqlalchemy import ColumnElement, Connection, FromClause

    from api.rows.columns import Column
    from api.rows.shapes import Shape
    from api.state.catalog import CatalogState, Installed
    from etl.model.types import SqlType


def count_rows(connection: Connection, state: CatalogState, installed: Installed) -> dict[str, int]:
    """The number of live, retired and shadowed rows."""
    shared = services()
    schema = schemas_of(shared.engine).data
    key = (installed, state.revision(installed))

    def count() -> dict[str, int]:
        tables = {"rows": live_rows(installed, schema), "retired": retired_rows(installed, schema)}
        if installed.dataset.primary_key:
            tables["shadowed"] = shadowed_rows(installed, schema)
        found = {name: _count(connection, shape.table) for name, shape in tables.items()}
        return {"rows": 0, "retired": 0, "shadowed": 0} | found

    found: dict[str, int] = shared.figures.get(("count", installed.dataset.name), key, count)
    return found


def _count(connection: Connection, table: FromClause) -> int:
    return connection.scalar(select(func.count()).select_from(table)) or 0


def statistics(
    connection: Connection, state: CatalogState, installed: Installed, today: date
) -> dict[str, Any]:
    """The number of rows, and of each column its nulls, distinct values, minimum and maximum.

    Raises:  TransientError while another request computes them for too long.
    """
    shared = services()
    shape = live_rows(installed, schemas_of(shared.engine).data)
    has_ages = any(one.is_age for one in shape.columns.values())
    key = (installed, state.revision(installed), today if has_ages else None)

    def compute() -> dict[str, Any]:
        columns = {
            name: _column(connection, shape, shape.columns[name], today)
            for name in shape.default_fields
        }
        return {"count": _count(connection, shape.table), "columns": columns}

    found: dict[str, Any] = shared.figures.get(("stats", installed.dataset.name), key, compute)
    return found


def _column(connection: Connection, shape: Shape, column: Column, today: date) -> dict[str, Any]:
    """One statement per column, so that each has the time of a whole statement."""
    chosen = _extremes(shape, column, today).subquery("chosen")
    ends = (replace(column, name=name, is_not_null=False) for name in ("min", "max"))
    encoded: list[ColumnElement[Any]] = [
        literal_column(f"CAST({one.json(has_json_scalar=False)} AS text)") for one in ends
    ]
    statement = select(chosen.c.nulls, chosen.c.distinct, *encoded).select_from(chosen)
    nulls, distinct, least, greatest = connection.execute(statement).one()
    return {
        "nulls": nulls,
        "distinct": distinct,
        "min": json.loads(least, parse_float=_exact),
        "max": json.loads(greatest, parse_float=_exact),
    }


def _exact(number: str) -> float | str:
    """The number; as text if it has more digits than a float."""
    return float(number) if Decimal(repr(float(number))) == Decimal(number) else number


def _extremes(shape: Shape, column: Column, today: date) -> Select[Any]:
    """The figures of a column; texts are in byte order, so that all servers agree."""
    value = column.value(today)
    least, greatest = _ends(value, column.type)
    return select(
        (func.count() - func.count(value)).label("nulls"),
        func.count(value.distinct()).label("distinct"),
        least.label("min"),
        greatest.label("max"),
    ).select_from(shape.table)


def _ends(value: ColumnElement[Any], type_: SqlType) -> tuple[ColumnElement[Any], ...]:
    """The least and the greatest value; null for types without an order."""
    if type_.name == "boolean":
        return func.bool_and(value), func.bool_or(value)
    if Operator.GT not in type_.traits.operators:
        return cast(null(), JSONB), cast(null(), JSONB)
    if type_.traits.is_text:
        value = cast(value, Text).collate("C")
    if type_.name == "uuid":
        return cast(func.min(cast(value, Text)), UUID), cast(func.max(cast(value, Text)), UUID)
    return func.min(value), func.max(value)
