"""The totals of datasets, their rows over time, and what they have undeclared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, literal_column, select, text

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from api.rows.shapes import RowShape

SAMPLED_ROWS = 5_000  # in which undeclared columns are looked for; all of a smaller table
MOST_UNDECLARED = 100

_TOTALS = """
SELECT dataset, rows, attached, retired, shadowed, objects, problems, errors, run_id, changed_at
FROM dataset_tally
"""

_HOURS = """
SELECT hour, rows, rows - (rows_inserted + rows_restored - rows_retired) AS before
FROM dataset_hour WHERE dataset = :dataset AND hour >= :start ORDER BY hour
"""


@dataclass(frozen=True, slots=True)
class Totals:
    """The totals of a dataset; `run_id` is the last run that changed its rows."""

    rows: int = 0
    attached: int = 0
    retired: int = 0
    shadowed: int = 0
    objects: int = 0
    problems: int = 0
    errors: int = 0
    run_id: int | None = None
    changed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class RowsAt:
    """The rows of a dataset at the end of an hour in which they changed."""

    hour: datetime
    rows: int


@dataclass(frozen=True, slots=True)
class UndeclaredColumn:
    """A column that rows have in `_extra`, and in how many rows of the sample."""

    name: str
    rows: int


def all_totals(connection: Connection) -> dict[str, Totals]:
    """The totals of all datasets."""
    rows = connection.execute(text(_TOTALS)).all()
    return {row.dataset: _totals(row) for row in rows}


def totals(connection: Connection, dataset: str) -> Totals:
    """The totals of a dataset; zeros before its first run."""
    row = connection.execute(
        text(f"{_TOTALS} WHERE dataset = :dataset"), {"dataset": dataset}
    ).one_or_none()
    return Totals() if row is None else _totals(row)


def _totals(row: Any) -> Totals:  # noqa: ANN401 - a row
    return Totals(*row[1:])


def rows_since(connection: Connection, dataset: str, start: datetime) -> list[RowsAt]:
    """The rows at `start`, and in the hours since then that changed them; none if none did."""
    rows = connection.execute(text(_HOURS), {"dataset": dataset, "start": start}).all()
    if not rows:
        return []
    return [RowsAt(start, rows[0].before), *(RowsAt(row.hour, row.rows) for row in rows)]


def undeclared(connection: Connection, shape: RowShape, rows: int) -> list[UndeclaredColumn]:
    """The columns in `_extra` of about SAMPLED_ROWS rows of a table of `rows`, most rows first."""
    percent = min(100.0, 100 * SAMPLED_ROWS / max(rows, 1))
    sample = shape.table.tablesample(func.system(percent), seed=literal_column("0"))
    extra = sample.c["_extra"]
    names = select(func.jsonb_object_keys(extra).label("name")).where(extra.is_not(None)).subquery()
    count = func.count()
    statement = (
        select(names.c.name, count)
        .group_by(names.c.name)
        .order_by(count.desc(), names.c.name)
        .limit(MOST_UNDECLARED)
    )
    return [UndeclaredColumn(*row) for row in connection.execute(statement)]
